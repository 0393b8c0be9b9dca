"""PostgreSQL's own client programs, in the version that a server needs: those of the system, or those that came along."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from infrastructure.embedded.home import postgres_programs
from infrastructure.settings import ConfigurationError

_PROGRAMS = ("pg_dump", "pg_restore", "psql")
# From here on what a newer release's programs write is understood by older servers.
_ALIKE_FROM = 17


class PostgresTools:
    """pg_dump, pg_restore and psql of one version, with the address of one database.

    A password goes to them by a file that only this user can read, never by the command line.
    """

    def __init__(self, folder: Path, address: str) -> None:
        self._folder = folder
        self._address = address

    def run(self, program: str, *arguments: str, connected: bool = True) -> str:
        """What the program printed. Raises ConfigurationError with its first complaint where it fails."""
        command = [
            str(self._folder / program),
            *(["--no-password", "--dbname", self._address] if connected else []),
            *arguments,
        ]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)  # noqa: S603 - PostgreSQL's own
        if done.returncode != 0:
            raise ConfigurationError(f"{program}: {_complaint(done.stderr.decode(errors='replace'))}")
        return done.stdout.decode(errors="replace")


@contextmanager
def postgres_tools(database_url: str) -> Iterator[PostgresTools]:
    """Programs that fit the server of `database_url`. Raises ConfigurationError where there are none."""
    with psycopg.connect(database_url, connect_timeout=5) as connection:
        major = connection.info.server_version // 10_000
    folder = _fitting_folder(major)
    with tempfile.TemporaryDirectory(prefix="taskmaster-tools-") as private:
        given: dict[str, Any] = dict(conninfo_to_dict(database_url))
        if password := given.pop("password", None):
            escaped = re.sub(r"([\\:])", r"\\\1", str(password))
            passfile = Path(private) / "password"
            passfile.touch(mode=0o600)
            passfile.write_text(f"*:*:*:*:{escaped}\n", encoding="utf-8")
            given["passfile"] = str(passfile)
        yield PostgresTools(folder, make_conninfo(**given))


def _fitting_folder(server: int) -> Path:
    for folder in _folders(server):
        if all((folder / program).is_file() for program in _PROGRAMS):
            found = _major(folder / "pg_dump")
            if found == server or (server >= _ALIKE_FROM and found is not None and found > server):
                return folder
    raise ConfigurationError(
        f"the server is PostgreSQL {server} and there is no pg_dump, pg_restore and psql of that version here: "
        f"install them (Debian, Ubuntu: apt-get install postgresql-client-{server})"
    )


def _folders(server: int) -> Iterator[Path]:
    yield Path(f"/usr/lib/postgresql/{server}/bin")
    if on_path := shutil.which("pg_dump"):
        yield Path(on_path).parent
    yield from postgres_programs()


def _major(program: Path) -> int | None:
    try:
        told = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout  # noqa: S603 - as above
    except OSError:
        return None
    found = re.search(r"\) (\d+)", told)
    return int(found[1]) if found else None


def _complaint(told: str) -> str:
    """The first line that says what is wrong, without the names of files that are ours."""
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    wrong = [line for line in lines if re.search(r"(?i)\b(error|fatal|panic):", line)]
    line = (wrong or lines or ["it failed without a word"])[0]
    return re.sub(r"^(?:\S+: )?(?i:error|fatal|panic):\s*", "", line)
