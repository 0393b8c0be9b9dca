"""Brings the schemas of a database up to date from ordered .sql files, and refuses servers that could lose
data.

`control/*.sql` run once, in schema `taskmaster`; `log/*.sql` run once for each log, in schema `log_<name>`. A
file runs in one transaction with its schema as `search_path` and is never changed afterwards. A file whose
first line is `-- no-transaction` holds exactly one statement, such as CREATE INDEX CONCURRENTLY IF NOT
EXISTS, that must bear being run twice: it cannot be recorded in the same breath.
"""

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from domain import tags
from infrastructure.servers.model_tables import create_if_empty
from infrastructure.servers.postgres import CONTROL_SCHEMA, log_schema
from infrastructure.settings import ConfigurationError

MIGRATIONS = Path(__file__).parent / "migrations"
OLDEST_SERVER = 150_000
MIGRATION_LOCK = 7_216_031_948_520_177
_LOCK_POLL_SECONDS = 0.05

Connection = psycopg.Connection[Any]


def migrate(database_url: str, log_names: Sequence[str], *, folder: Path = MIGRATIONS) -> list[str]:
    """Apply what is missing; returns what was applied, as `schema/file name`, in order.

    Any number of processes may call this at once: one works, the others wait and find nothing left to do.
    Raises ConfigurationError when a file fails or was changed after it was applied, when a newer release migrated the database,
    or when the server is refused by `check_server`.
    """
    plan = _plan(log_names, folder)
    with psycopg.connect(database_url, autocommit=True, connect_timeout=5) as connection:
        check_server(connection)
        with alone(connection):
            applied = [done for schema, files in plan for done in _migrate_schema(connection, schema, files)]
            if folder == MIGRATIONS:
                for name in log_names:
                    create_if_empty(connection, name)
                    _begin_with_our_tags(connection, name)
            return applied


def check_migrated(connection: Connection, log_name: str, *, folder: Path = MIGRATIONS) -> None:
    """Raise ConfigurationError unless the database has the accounts and the log exactly as this release expects them."""
    for schema, files in _plan([log_name], folder):
        if _one(connection, "SELECT to_regclass(%s)", f"{schema}.schema_migrations") is None:
            if schema == CONTROL_SCHEMA:
                raise ConfigurationError("DATABASE_URL: the database is empty: run 'taskmaster migrate' first")
            raise ConfigurationError(
                f"TASKMASTER_LOG: there is no log {log_name!r} in this database: 'taskmaster migrate' would make it"
            )
        table = sql.Identifier(schema, "schema_migrations")
        applied = dict(connection.execute(sql.SQL("SELECT name, checksum FROM {}").format(table)).fetchall())
        missing = [file.name for file, _, _ in _files(schema, files, applied) if file.name not in applied]
        if missing:
            raise ConfigurationError(
                f"DATABASE_URL: schema {schema} is older than this release ({missing[0]} is not applied): "
                "run 'taskmaster migrate' first"
            )
    if folder == MIGRATIONS:
        _check_tag_scheme(connection, log_name)


def newer_scheme(log_name: str, scheme: int) -> str:
    """What is said to a release that derives tags as the log had them once."""
    return (
        f"DATABASE_URL: a newer release derives the tags of log {log_name!r} (by scheme {scheme}, this one by scheme "
        f"{tags.TAG_SCHEME}): run that release or a later one"
    )


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
def alone(connection: Connection) -> Iterator[None]:
    """Of all who change the form of what is in the database, one at a time."""
    # Asking again and again instead of waiting inside pg_advisory_lock: a waiting statement holds a snapshot,
    # and CREATE INDEX CONCURRENTLY waits for every snapshot. The lock goes with the connection, so a kill
    # frees it.
    while not _one(connection, "SELECT pg_try_advisory_lock(%s)", MIGRATION_LOCK):
        time.sleep(_LOCK_POLL_SECONDS)
    try:
        yield
    finally:
        if not connection.closed:
            connection.execute("SELECT pg_advisory_unlock(%s)", [MIGRATION_LOCK])


def _check_tag_scheme(connection: Connection, log_name: str) -> None:
    table = sql.Identifier(log_schema(log_name), "log")
    row = connection.execute(sql.SQL("SELECT tag_scheme FROM {}").format(table)).fetchone()
    scheme = row[0] if row else tags.TAG_SCHEME
    if scheme > tags.TAG_SCHEME:
        raise ConfigurationError(newer_scheme(log_name, scheme))
    if scheme < tags.TAG_SCHEME:
        raise ConfigurationError(
            f"DATABASE_URL: an older release has derived the tags of log {log_name!r} (by scheme {scheme}, this one by scheme "
            f"{tags.TAG_SCHEME}): run 'taskmaster migrate' first"
        )


def _begin_with_our_tags(connection: Connection, log_name: str) -> None:
    """A log that holds no event yet has no tags to derive anew."""
    schema = log_schema(log_name)
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"taskmaster {schema}",))
        connection.execute(
            sql.SQL("UPDATE {} SET tag_scheme = %(ours)s WHERE tag_scheme < %(ours)s AND NOT EXISTS (SELECT FROM {})").format(
                sql.Identifier(schema, "log"), sql.Identifier(schema, "events")
            ),
            {"ours": tags.TAG_SCHEME},
        )


def _migrate_schema(connection: Connection, schema: str, folder: Path) -> Iterator[str]:
    connection.execute("SET client_min_messages = warning")
    connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
    connection.execute(sql.SQL("SET search_path = {}").format(sql.Identifier(schema)))
    connection.execute(
        "CREATE TABLE IF NOT EXISTS schema_migrations"
        " (name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
    )
    applied = dict(connection.execute("SELECT name, checksum FROM schema_migrations").fetchall())
    for file, text, checksum in _files(schema, folder, applied):
        if file.name not in applied:
            _apply(connection, schema, file.name, text, checksum)
            yield f"{schema}/{file.name}"


def _plan(log_names: Sequence[str], folder: Path) -> list[tuple[str, Path]]:
    return [(CONTROL_SCHEMA, folder / "control"), *((log_schema(name), folder / "log") for name in log_names)]


def _files(schema: str, folder: Path, applied: Mapping[str, str]) -> list[tuple[Path, bytes, str]]:
    """Each file with its text and checksum. Raises ConfigurationError where what was applied is not what is here."""
    found = []
    for file in sorted(folder.glob("*.sql")):
        # Line ends may differ between checkouts of one and the same file.
        text = file.read_bytes().replace(b"\r\n", b"\n")
        found.append((file, text, hashlib.sha256(text).hexdigest()))
    if unknown := sorted(applied.keys() - {file.name for file, _, _ in found}):
        raise ConfigurationError(
            f"DATABASE_URL: a newer release has migrated schema {schema} ({unknown[-1]}): run that release or a later one"
        )
    for file, _, checksum in found:
        if applied.get(file.name, checksum) != checksum:
            raise ConfigurationError(
                f"migration {folder.name}/{file.name} was changed after it was applied to schema {schema}: "
                "restore it and put the change into a new file"
            )
    return found


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
