"""Where faults are tried: servers of its own in a temporary folder, a zygote, and a fresh database for each trial."""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from uuid import uuid4

import psycopg
import redis

from infrastructure.embedded.services import LocalServices
from infrastructure.settings import Settings, load_settings
from tests.faults.releases import Made, Release, copy_of
from tests.faults.zygotes import PROJECT, START_SECONDS, Order, Zygote
from tests.wide_limits import WIDE

SECRET = "a secret of the fault tests, long enough to sign with"


class Laboratory:
    """A context manager; open it in the main thread. Everything it started is gone afterwards, its folder too."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="taskmaster-faults-"))
        self.folder.chmod(0o711)
        self.services = LocalServices(load_settings({"TASKMASTER_DATA_DIR": str(self.folder / "servers")}))
        self.zygote: Zygote
        self._database = ""
        self._releases: dict[str, Release] = {}

    def __enter__(self) -> "Laboratory":
        try:
            self.zygote = Zygote(self.folder / "children.log")
            self.services.start()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._close()

    def _close(self) -> None:
        try:
            for release in self._releases.values():
                release.zygote.close()
            if hasattr(self, "zygote"):
                self.zygote.close()
        finally:
            self.services.stop()
            shutil.rmtree(self.folder, ignore_errors=True)

    def release(self, made: Made) -> Release:
        """A release with a zygote of its own, made when it is first asked for; that of this tree has no changes."""
        if made.name not in self._releases:
            folder, zygote = PROJECT, self.zygote
            if made.changes or made.additions:
                folder = copy_of(made, self.folder / "releases" / made.name)
                zygote = Zygote(self.folder / "children.log", folder)
            self._releases[made.name] = Release(made.name, folder, zygote)
        return self._releases[made.name]

    def fresh(self, zygote: Zygote | None = None, sabotage: Sequence[str] = ()) -> Settings:
        """Settings for a database that was just migrated, by a child of the zygote, and a Redis that is empty. Those of the
        last trial end here."""
        name = f"trial_{uuid4().hex}"
        with psycopg.connect(self.services.database_url, autocommit=True) as connection:
            if self._database:
                connection.execute(f"DROP DATABASE {self._database} WITH (FORCE)")
            self._database = name
            connection.execute(f"CREATE DATABASE {name}")
        database_url = self.services.database_url.replace("/taskmaster?", f"/{name}?", 1)
        with redis.Redis.from_url(self.services.redis_url) as client:
            client.flushall()
        settings = Settings(**WIDE, database_url=database_url, redis_url=self.services.redis_url, secret_key=SECRET)
        migrating = (zygote or self.zygote).fork(Order(role="migrate", sabotage=tuple(sabotage)), settings)
        assert migrating.ended.result(START_SECONDS) == 0
        return settings

    def log_tail(self, lines: int = 40) -> str:
        """The newest words of the children, for a report of a failure."""
        return "\n".join((self.folder / "children.log").read_text(errors="replace").splitlines()[-lines:])
