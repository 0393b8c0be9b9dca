"""`taskmaster restore`: a backup takes the place of what a database holds, in one transaction.

The restored log gets an epoch that it never had before, in the same transaction: by it read models, API processes and clients'
cursors that know what was appended after the backup find out that this is another history. An event of the log itself then says
where the epoch began. Every session ends, because a backup also brings back sessions and refresh tokens that were ended since.
"""

import tempfile
from pathlib import Path
from typing import Any

import msgspec
import psycopg

from infrastructure.cli.backup import LogState, log_states
from infrastructure.cli.postgres_tools import PostgresTools, postgres_tools
from infrastructure.log.bringing_up import bring_up
from infrastructure.servers.migrate import MIGRATION_LOCK, migrate
from infrastructure.servers.postgres import CONTROL_SCHEMA
from infrastructure.settings import ConfigurationError

Connection = psycopg.Connection[Any]

_OURS = (
    "SELECT n.nspname FROM pg_namespace n WHERE n.nspname = %s OR (n.nspname LIKE 'log\\_%%' AND EXISTS "
    "(SELECT FROM pg_class c WHERE c.relnamespace = n.oid AND c.relname IN ('schema_migrations', 'checkpoints'))) ORDER BY 1"
)
_OTHERS = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
    "AND application_name LIKE 'taskmaster%'"
)
_AFTERWARDS = """
DO $$
DECLARE
    name text;
BEGIN
    FOR name IN SELECT 'log_' || logs.name FROM taskmaster.logs LOOP
        EXECUTE format('UPDATE %%I.log SET epoch = 1 + greatest(epoch, (%%L::jsonb ->> log_id::text)::integer)', name, '%s');
    END LOOP;
    UPDATE taskmaster.sessions SET revoked_at = now(), revoke_reason = 'restored' WHERE revoked_at IS NULL;
END $$;
"""


def restore(database_url: str, file: Path, *, replace: bool = False) -> list[LogState]:
    """Put what `file` holds in the place of what the database holds and bring it up to this release; the logs as they are then.

    All of it happens or nothing. Raises ConfigurationError where the file is no backup, where the database is not empty and
    `replace` is not given, where other processes of TaskMaster use it, and for whatever PostgreSQL complains of.
    """
    if not file.is_file():
        raise ConfigurationError(f"there is no file {file}")
    with postgres_tools(database_url) as tools:
        _check_is_backup(tools, file)
        with psycopg.connect(database_url, autocommit=True) as connection:
            gone = _refuse_to_overwrite(connection, replace=replace)
            epochs = {log.log_id: log.epoch for log in gone}
            schemas = [name for (name,) in connection.execute(_OURS, (CONTROL_SCHEMA,)).fetchall()]
        _put_in_place(tools, file, schemas, epochs)
    with psycopg.connect(database_url, autocommit=True) as connection:
        names = [log.name for log in log_states(connection)]
        migrate(database_url, names)
        # After the migrations, whatever form the backup's own functions had.
        for name in names:
            bring_up(database_url, name)
        connection.execute("ANALYZE")
        return log_states(connection)


def _check_is_backup(tools: PostgresTools, file: Path) -> None:
    try:
        contents = tools.run("pg_restore", "--list", str(file), connected=False)
    except ConfigurationError as error:
        raise ConfigurationError(f"{file} cannot be read as a backup for this server: {error}") from None
    if f"SCHEMA - {CONTROL_SCHEMA}" not in contents:
        raise ConfigurationError(f"{file} is a backup of another database: it has no schema {CONTROL_SCHEMA!r}")


def _refuse_to_overwrite(connection: Connection, *, replace: bool) -> list[LogState]:
    """The logs that will be given up."""
    try:
        present = log_states(connection)
    except (psycopg.Error, ConfigurationError):
        # Whatever is left there of a log cannot be asked any more; it may be given up all the same.
        present = []
    if connection.execute(_OURS, (CONTROL_SCHEMA,)).fetchone() and not replace:
        held = ", ".join(f"log {log.name} up to position {log.head}" for log in present) or "schemas of ours"
        raise ConfigurationError(f"the database holds {held}: say --replace to give that up for the backup")
    others = connection.execute(_OTHERS).fetchone()
    if others and others[0]:
        raise ConfigurationError(
            f"TaskMaster uses the database ({others[0]} connections): stop its API and workers first, here and on other hosts"
        )
    return present


def _put_in_place(tools: PostgresTools, file: Path, schemas: list[str], epochs: dict[str, int]) -> None:
    with tempfile.TemporaryDirectory(prefix="taskmaster-restore-") as private:
        before, script, afterwards = (Path(private) / name for name in ("before.sql", "backup.sql", "afterwards.sql"))
        dropped = "".join(f'DROP SCHEMA "{schema}" CASCADE;\n' for schema in schemas)
        before.write_text(f"SET client_min_messages = warning;\nSELECT pg_advisory_xact_lock({MIGRATION_LOCK});\n{dropped}")
        afterwards.write_text(_AFTERWARDS % msgspec.json.encode(epochs).decode())
        # As a script and not straight into the database: what a damaged archive lacks must be known before the first change.
        tools.run("pg_restore", "--no-owner", "--no-privileges", "--file", str(script), str(file), connected=False)
        files = [part for path in (before, script, afterwards) for part in ("--file", str(path))]
        tools.run("psql", "--no-psqlrc", "--quiet", "--single-transaction", "--set", "ON_ERROR_STOP=1", *files)
