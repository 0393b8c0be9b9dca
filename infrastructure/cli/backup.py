"""`taskmaster backup`: accounts and logs of a database in one file, as they are at one moment, while everything goes on."""

import os
import time
from pathlib import Path
from typing import Any

import msgspec
import psycopg
from psycopg import sql

from infrastructure.cli.postgres_tools import postgres_tools
from infrastructure.servers.postgres import CONTROL_SCHEMA, log_schema, models_schema
from infrastructure.settings import ConfigurationError

Connection = psycopg.Connection[Any]


class LogState(msgspec.Struct, frozen=True):
    """A log's newest position and its epoch."""

    name: str
    log_id: str
    epoch: int
    head: int


class Backup(msgspec.Struct, frozen=True):
    """What a backup holds."""

    file: Path
    bytes: int
    seconds: float
    logs: list[LogState]


def log_states(connection: Connection) -> list[LogState]:
    """The logs of a database; none where there is no schema of ours."""
    if connection.execute("SELECT to_regclass(%s)", (f"{CONTROL_SCHEMA}.logs",)).fetchone() == (None,):
        return []
    names = [name for (name,) in connection.execute("SELECT name FROM taskmaster.logs ORDER BY name").fetchall()]
    return [_log_state(connection, name) for name in names]


def backup(database_url: str, file: Path, *, overwrite: bool = False) -> Backup:
    """Write the database's accounts, logs and read models to `file`, in pg_dump's custom format, readable by its owner alone.

    The file appears whole or not at all. Raises ConfigurationError where it exists and may not be overwritten, where there is
    nothing to back up, and for whatever pg_dump complains of.
    """
    started = time.monotonic()
    if file.is_dir():
        raise ConfigurationError(f"{file} is a folder: name a file in it")
    if file.exists() and not overwrite:
        raise ConfigurationError(f"{file} exists: choose another name, or say --overwrite")
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        draft.touch(mode=0o600)
        # One snapshot for what is told of the backup and for what is in it.
        with postgres_tools(database_url) as tools, psycopg.connect(database_url) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            logs = log_states(connection)
            if not logs:
                raise ConfigurationError("DATABASE_URL: there is nothing to back up: the database is empty")
            snapshot = connection.execute("SELECT pg_export_snapshot()").fetchone()
            # Read models that are being built are left out: workers build them again.
            names = [schema(log.name) for log in logs for schema in (log_schema, models_schema)]
            schemas = [f"--schema={name}" for name in (CONTROL_SCHEMA, *names)]
            tools.run("pg_dump", "-Fc", "--file", str(draft), "--snapshot", str(snapshot and snapshot[0]), *schemas)
        draft.rename(file)
        return Backup(file, file.stat().st_size, time.monotonic() - started, logs)
    except OSError as error:
        raise ConfigurationError(f"cannot write {file}: {error.strerror}") from None
    finally:
        draft.unlink(missing_ok=True)


def _log_state(connection: Connection, name: str) -> LogState:
    table = sql.Identifier(log_schema(name), "log")
    events = sql.Identifier(log_schema(name), "events")
    row = connection.execute(
        sql.SQL("SELECT log_id::text, epoch, (SELECT coalesce(max(notification_id), 0) FROM {}) FROM {}").format(events, table)
    ).fetchone()
    if row is None:
        raise ConfigurationError(f"the log {name!r} has no identity: its table 'log' is empty")
    return LogState(name, *row)
