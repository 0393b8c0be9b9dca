"""Brings the schemas of a database up to date from ordered .sql files, and refuses servers that could lose
data.

`control/*.sql` run once, in schema `taskmaster`; `log/*.sql` run once for each log, in schema `log_<name>`. A
file runs in one transaction with its schema as `search_path` and is never changed afterwards. A file whose
first line is `-- no-transaction` holds exactly one statement, such as CREATE INDEX CONCURRENTLY IF NOT
EXISTS, that must bear being run twice: it cannot be recorded in the same breath.
"""

import hashlib
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from infrastructure.settings import ConfigurationError

MIGRATIONS = Path(__file__).parent / "migrations"
CONTROL_SCHEMA = "taskmaster"
OLDEST_SERVER = 150_000
_LOCK = 7_216_031_948_520_177
_LOCK_POLL_SECONDS = 0.05
_LOG_NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")

Connection = psycopg.Connection[Any]


def log_schema(log_name: str) -> str:
    """The schema of a log. Raises ConfigurationError for a name that is none."""
    if not _LOG_NAME.fullmatch(log_name):
        raise ConfigurationError(f"TASKMASTER_LOG: {log_name!r} is no log name: a-z first, then up to 30 of a-z, 0-9, _")
    return f"log_{log_name}"


def migrate(database_url: str, log_names: Sequence[str], *, folder: Path = MIGRATIONS) -> list[str]:
    """Apply what is missing; returns what was applied, as `schema/file name`, in order.

    Any number of processes may call this at once: one works, the others wait and find nothing left to do.
    Raises ConfigurationError when a file fails or was changed after it was applied, or when the server is
    refused by `check_server`.
    """
    plan = [(CONTROL_SCHEMA, folder / "control"), *((log_schema(name), folder / "log") for name in log_names)]
    with psycopg.connect(database_url, autocommit=True, connect_timeout=5) as connection:
        check_server(connection)
        with _alone(connection):
            return [done for schema, files in plan for done in _migrate_schema(connection, schema, files)]


def check_server(connection: Connection) -> None:
    """Raise ConfigurationError for a server that is too old or may lose or mangle what it has confirmed."""
    version = connection.info.server_version
    if version < OLDEST_SERVER:
        raise ConfigurationError(f"DATABASE_URL: PostgreSQL 15 or newer is needed, the server is {version // 10_000}")
    needed = {"fsync": "on", "full_page_writes": "on", "server_encoding": "UTF8"}
    for name, value in needed.items():
        row = connection.execute("SELECT current_setting(%s)", [name]).fetchone()
        if row is None or row[0] != value:
            raise ConfigurationError(f"DATABASE_URL: the server has {name}={row and row[0]}, it must be {value}")


@contextmanager
def _alone(connection: Connection) -> Iterator[None]:
    # Asking again and again instead of waiting inside pg_advisory_lock: a waiting statement holds a snapshot,
    # and CREATE INDEX CONCURRENTLY waits for every snapshot. The lock goes with the connection, so a kill
    # frees it.
    while not _one(connection, "SELECT pg_try_advisory_lock(%s)", _LOCK):
        time.sleep(_LOCK_POLL_SECONDS)
    try:
        yield
    finally:
        if not connection.closed:
            connection.execute("SELECT pg_advisory_unlock(%s)", [_LOCK])


def _migrate_schema(connection: Connection, schema: str, folder: Path) -> Iterator[str]:
    connection.execute("SET client_min_messages = warning")
    connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
    connection.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(schema)))
    connection.execute(
        "CREATE TABLE IF NOT EXISTS schema_migrations"
        " (name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
    )
    applied = dict(connection.execute("SELECT name, checksum FROM schema_migrations").fetchall())
    for file in sorted(folder.glob("*.sql")):
        # Line ends may differ between checkouts of one and the same file.
        text = file.read_bytes().replace(b"\r\n", b"\n")
        checksum = hashlib.sha256(text).hexdigest()
        if file.name not in applied:
            _apply(connection, schema, file.name, text, checksum)
            yield f"{schema}/{file.name}"
        elif applied[file.name] != checksum:
            raise ConfigurationError(
                f"migration {folder.name}/{file.name} was changed after it was applied to schema {schema}: "
                "restore it and put the change into a new file"
            )


def _apply(connection: Connection, schema: str, name: str, text: bytes, checksum: str) -> None:
    record = "INSERT INTO schema_migrations (name, checksum) VALUES (%s, %s)"
    try:
        if text.startswith(b"-- no-transaction\n"):
            connection.execute(text)
            connection.execute(record, [name, checksum])
            return
        with connection.transaction():
            connection.execute(text)
            # The file may have set another search_path.
            table = sql.Identifier(schema, "schema_migrations")
            connection.execute(sql.SQL("INSERT INTO {} (name, checksum) VALUES (%s, %s)").format(table), [name, checksum])
    except psycopg.Error as error:
        raise ConfigurationError(f"migration {schema}/{name} failed: {error}") from error


def _one(connection: Connection, query: str, *arguments: object) -> object:
    row = connection.execute(query.encode(), arguments).fetchone()
    return row[0] if row else None
