"""The embedded PostgreSQL: its cluster, its process, its address."""

import os
import shutil
import signal
from pathlib import Path
from urllib.parse import quote

import psycopg

from infrastructure.embedded.home import Binaries, Home, LocalServiceError, initdb_user, private
from infrastructure.embedded.server import SERVER_ENVIRON, LocalServer, last_lines
from infrastructure.processes.child_process import SystemUser, start_process

DATABASE = "taskmaster"
_PORT = 5432
# Kept in the cluster's postgresql.conf, where an operator may change them.
DEFAULTS = {
    "shared_buffers": "256MB",
    "max_connections": "100",
    "wal_compression": "pglz",
    "max_wal_size": "2GB",
    "jit": "off",
}


def database_url(home: Home, database: str = DATABASE) -> str:
    """A libpq connection string for a database of the cluster; sockets only, no password."""
    # The port is in the socket's name: unsaid, it would follow the caller's PGPORT.
    return f"postgresql://{DATABASE}@/{database}?host={quote(str(home.sockets), safe='')}&port={_PORT}"


def postgres_server(home: Home, binaries: Binaries) -> LocalServer:
    """The server process, not started. Its cluster must exist by the time it begins."""
    data = home.postgres / "data"
    options = {
        "listen_addresses": "",
        "port": str(_PORT),
        "unix_socket_directories": str(home.sockets),
        "unix_socket_permissions": "0700",
    }
    settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]

    def is_ready() -> bool:
        try:
            psycopg.connect(database_url(home, "postgres"), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    return LocalServer(
        command=[str(binaries.postgres_bin / "postgres"), "-D", str(data), *settings],
        folder=data,
        log=home.folder / "postgres.log",
        user=home.user,
        stop_signal=signal.SIGINT,
        is_ready=is_ready,
        stale=[data / "postmaster.pid", home.sockets / f".s.PGSQL.{_PORT}.lock"],
    )


def create_cluster(home: Home, binaries: Binaries) -> None:
    """Make the cluster if there is none. Raises LocalServiceError with the program's last words."""
    data, draft, log = home.postgres / "data", home.postgres / "draft", home.folder / "initdb.log"
    if data.exists():
        return
    if draft.exists():
        shutil.rmtree(draft)
    draft.mkdir(mode=0o700)
    maker = initdb_user(home.user) if home.user else None
    if home.user and maker:
        os.chown(draft, maker.uid, maker.gid)
        home.postgres.chmod(0o710)
    _run_initdb(draft, log, binaries, maker)
    if home.user:
        for path in (draft, *draft.rglob("*")):
            os.chown(path, home.user.uid, home.user.gid, follow_symlinks=False)
        home.postgres.chmod(0o700)
    # Under its real name only when it is whole: a run that is killed half-way starts over.
    draft.rename(data)


def _run_initdb(data: Path, log: Path, binaries: Binaries, user: SystemUser | None) -> None:
    defaults = [part for name, value in DEFAULTS.items() for part in ("--set", f"{name}={value}")]
    command = [
        str(binaries.postgres_bin / "initdb"), "--pgdata", str(data), "--username", DATABASE, "--auth=trust",
        "--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8",
        "--no-instructions", *defaults,
    ]  # fmt: skip
    with open(log, "wb", opener=private) as output:
        initdb = start_process(
            command, environ=SERVER_ENVIRON, death_signal=signal.SIGKILL, user=user, working_dir="/", output=output,
        )  # fmt: skip
        ended = initdb.wait()
    if ended != 0:
        raise LocalServiceError(f"initdb failed:\n{last_lines(log)}")


def create_database(home: Home) -> None:
    """Make the application's database if there is none; the server must be running."""
    with psycopg.connect(database_url(home, "postgres"), autocommit=True) as connection:
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
            connection.execute(f"CREATE DATABASE {DATABASE}")
