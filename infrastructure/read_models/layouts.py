"""Read models in the layouts of a new release: built beside those of the old one, which go on serving its processes.

Each set of layouts has a schema of its own (in Redis a prefix of its own), with its own checkpoints. So the processes of two
releases do not meet in any table, whichever comes first or stays longer; what was not changed is copied, what was is built from
the log, and the new schema gets its name only when it is complete. One whose workers have given no sign of life for a day while
the log moved on is dropped.
"""

import logging
import time
from typing import Any, Final

import psycopg
import redis
from psycopg.sql import SQL, Identifier, Literal

from infrastructure.log.source import PostgresLogSource, Reconnecting
from infrastructure.read_models.rebuild import Build, catch_up, gather_statistics, prepare_schema, silent
from infrastructure.read_models.table_store import TableProjection, TableStore
from infrastructure.servers.model_tables import add_checkpoints, describe, has_models
from infrastructure.servers.postgres import connect_sync, is_of_another_release, log_schema, models_schema
from projections import DOCUMENTS, HOT, TABLES, layouts
from projections.engine.changes import ChangeReader
from projections.engine.projector import Projector

logger = logging.getLogger("taskmaster.projections")

Connection = psycopg.Connection[Any]
KEPT_AFTER_THE_LAST_SIGN: Final = "1 day"
SIGN_EVERY: Final = "1 hour"

_OTHERS: Final = (
    "SELECT n.nspname FROM pg_namespace n JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = 'checkpoints' "
    "WHERE n.nspname ~ ('^' || %s || '__[0-9a-f]{8}$') AND n.nspname <> %s ORDER BY n.oid DESC"
)

_IDLE: Final = "SELECT max(updated_at) < now() - {}::interval AND max(position) < (SELECT max(notification_id) FROM {}) FROM {}"


def build_layouts(database_url: str, log_name: str) -> bool:
    """Build the Postgres read models in the layouts of this release, if nobody has or does; whether it was done here.

    The read model in Redis is begun by its projector, as after any loss of its data.
    """
    serving = log_schema(log_name)
    building = f"{models_schema(log_name)}__new"
    with connect_sync(database_url, serving, "taskmaster layouts") as connection:
        taken = connection.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 2))", (building,)).fetchone()
        if not (taken and taken[0]) or has_models(connection, log_name):
            return False
        started = time.monotonic()
        logger.warning("building the read models of log %s in the layouts %s", log_name, layouts())
        prepare_schema(connection, TABLES, log_name, building)
        for other in others(connection, log_name):
            _copy_unchanged(connection, other, building)
        _catch_up(connection, database_url, log_name, building)
        with connection.transaction():
            add_checkpoints(connection, building, serving, [HOT])
            describe(connection, building)
            rename = SQL("ALTER SCHEMA {} RENAME TO {}")
            connection.execute(rename.format(Identifier(building), Identifier(models_schema(log_name))))
        logger.warning("the read models of log %s are there in %.1f s", log_name, time.monotonic() - started)
    return True


def others(connection: Connection, log_name: str) -> list[str]:
    """The schemas of the log's read models in other layouts, the newest first."""
    rows = connection.execute(_OTHERS, (log_schema(log_name), models_schema(log_name))).fetchall()
    return [name for (name,) in rows]


def _copy_unchanged(connection: Connection, other: str, building: str) -> None:
    """What another release built in the same layout, and nobody has copied yet, as it stands at its checkpoint.

    Where a release keeps its checkpoints in another form, that is left: everything can be built from the log.
    """
    for projection in TABLES:
        try:
            with connection.transaction():
                # Whoever advances it goes on meanwhile, however long this takes: what is copied is of one snapshot. That is
                # taken once the tables are sure to stay where they are: those of a rebuild would look empty in it.
                connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                _keep(connection, projection, other)
                if _is_the_same(connection, projection, other, building):
                    _copy(connection, projection, other, building)
        except psycopg.Error as error:
            if not is_of_another_release(error):
                raise
            logger.warning("read model %s is not copied from %s: %s", projection.name, other, str(error).split("\n")[0])


def _keep(connection: Connection, projection: TableProjection, other: str) -> None:
    """Let nobody put other tables in the place of these until the transaction ends."""
    names = SQL(", ").join(Identifier(other, table) for table in projection.tables)
    connection.execute(SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(names))


def _is_the_same(connection: Connection, projection: TableProjection, other: str, building: str) -> bool:
    same = SQL("SELECT FROM {} c JOIN {} n USING (projection, layout) WHERE n.position = 0 AND projection = %s")
    query = same.format(Identifier(other, "checkpoints"), Identifier(building, "checkpoints"))
    return connection.execute(query, (projection.name,)).fetchone() is not None


def _copy(connection: Connection, projection: TableProjection, other: str, building: str) -> None:
    for table in projection.tables:
        copied = SQL("INSERT INTO {} SELECT * FROM {}").format(Identifier(building, table), Identifier(other, table))
        connection.execute(copied)
    connection.execute(
        SQL("INSERT INTO {} ({columns}) SELECT {columns} FROM {} WHERE projection = {}").format(
            Identifier(building, "parked"),
            Identifier(other, "parked"),
            Literal(projection.name),
            columns=SQL("projection, position, stream_id, version, error, parked_at"),
        )
    )
    connection.execute(
        SQL(
            "UPDATE {} n SET (log_id, epoch, position, leaf_hash) = (SELECT log_id, epoch, position, leaf_hash FROM {} c "
            "WHERE c.projection = n.projection) WHERE projection = {}"
        ).format(Identifier(building, "checkpoints"), Identifier(other, "checkpoints"), Literal(projection.name))
    )


def _catch_up(connection: Connection, database_url: str, log_name: str, building: str) -> None:
    beside = Reconnecting(database_url, building, "taskmaster layouts writer")
    source = PostgresLogSource(database_url, log_name, snapshots=False)
    try:
        reader = ChangeReader(source, DOCUMENTS)
        catch_up(Projector(TableStore(beside, TABLES), reader), Build(database_url, log_name, reader, silent))
        tables = [table for projection in TABLES for table in projection.tables]
        gather_statistics([connection, beside.get()], building, tables)
    finally:
        beside.close()
        source.close()


def show_life(connection: Connection) -> None:
    """Say that somebody is there for the read models of this release, though they may be held for days by what it cannot read:
    its API processes go on serving them."""
    connection.execute(
        SQL("UPDATE checkpoints SET updated_at = now() WHERE updated_at < now() - {}::interval").format(Literal(SIGN_EVERY))
    )


def drop_superseded(connection: Connection, client: redis.Redis, log_name: str) -> list[str]:
    """Drop the read models of layouts whose workers have been away for a day while the log moved on; their schemas' names."""
    dropped = []
    for schema in others(connection, log_name):
        idle = SQL(_IDLE).format(
            Literal(KEPT_AFTER_THE_LAST_SIGN), Identifier(log_schema(log_name), "events"), Identifier(schema, "checkpoints")
        )
        row = connection.execute(idle).fetchone()
        if row and row[0]:
            logger.warning("dropping the read models %s, for which nobody works", schema)
            connection.execute("SET client_min_messages = warning")
            connection.execute(SQL("DROP SCHEMA {} CASCADE").format(Identifier(schema)))
            layout = schema.rpartition("__")[2]
            for name in client.scan_iter(match=f"tm:{{{log_name}}}:hot-{layout}:*", count=1000):
                client.unlink(name)
            dropped.append(schema)
    return dropped
