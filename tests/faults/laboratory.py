"""Where faults are tried: servers of its own in a temporary folder, a zygote, and a fresh database for each trial."""

import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from uuid import uuid4

import psycopg
import redis

from infrastructure.embedded.services import LocalServices
from infrastructure.servers.migrate import migrate
from infrastructure.settings import Settings, load_settings
from tests.faults.zygotes import Zygote
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
            if hasattr(self, "zygote"):
                self.zygote.close()
        finally:
            self.services.stop()
            shutil.rmtree(self.folder, ignore_errors=True)

    def fresh(self) -> Settings:
        """Settings for a database that was just migrated and a Redis that is empty. Those of the last trial end here."""
        name = f"trial_{uuid4().hex}"
        with psycopg.connect(self.services.database_url, autocommit=True) as connection:
            if self._database:
                connection.execute(f"DROP DATABASE {self._database} WITH (FORCE)")
            self._database = name
            connection.execute(f"CREATE DATABASE {name}")
        database_url = self.services.database_url.replace("/taskmaster?", f"/{name}?", 1)
        migrate(database_url, ["main"])
        with redis.Redis.from_url(self.services.redis_url) as client:
            client.flushall()
        return Settings(**WIDE, database_url=database_url, redis_url=self.services.redis_url, secret_key=SECRET)

    def log_tail(self, lines: int = 40) -> str:
        """The newest words of the children, for a report of a failure."""
        return "\n".join((self.folder / "children.log").read_text(errors="replace").splitlines()[-lines:])
