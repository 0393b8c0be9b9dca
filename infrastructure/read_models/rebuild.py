"""Side-by-side rebuild: the read model is built again from the whole log beside the one that serves, then takes its place.

Postgres: into a schema of its own, whose tables move over in one transaction. Redis: under the next generation's prefix.
"""

import logging
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import msgspec
import psycopg
import redis
from psycopg.errors import LockNotAvailable
from psycopg.sql import SQL, Identifier

from infrastructure.log.source import PostgresLogSource, Reconnecting
from infrastructure.processes.failpoints import failpoint
from infrastructure.read_models.ahead import short_turns
from infrastructure.read_models.checkpoint_rows import read_checkpoints
from infrastructure.read_models.hot_keys import generations_pattern, hot_keys
from infrastructure.read_models.hot_store import HotStore, parked_as
from infrastructure.read_models.table_store import TableProjection, TableStore
from infrastructure.servers.model_tables import create_model_tables
from infrastructure.servers.postgres import connect_sync, log_schema, models_schema
from infrastructure.servers.redis_client import READ_MODELS, sync_client
from projections import ALL, DOCUMENTS, HOT, TABLES
from projections.engine.changes import KEPT_CHANGES, ChangeReader
from projections.engine.port import Hold, Incomplete, Moved
from projections.engine.projector import Projector

logger = logging.getLogger("taskmaster.projections")

BATCH = 2_000
"""Twice as many halve the writes of tasks that change again and again; the reader bounds a batch in bytes."""

IDLE_SECONDS = 60
"""After which a rebuild that gives no sign of life, as one that is suspended, loses its turn: the server ends its session."""

SIGN_SECONDS = 5.0
SWITCH_SECONDS = 10
SILENT_SECONDS = 2
NAMES_A_CALL = 500
Progress = Callable[[int, int], None]
Connection = psycopg.Connection[Any]


def silent(done: int, total: int) -> None:
    """No progress is shown."""


def _always(_connection: Connection) -> bool:
    return True


def rebuild(
    database_url: str,
    redis_url: str,
    log_name: str,
    projection: str,
    progress: Progress = silent,
    *,
    still_needed: Callable[[Connection], bool] = _always,
    turn_seconds: float = 0.0,
) -> int:
    """Build one read model again from the log and switch to it; returns the position at which it was switched.

    The old one serves until then. Only one rebuild of a read model runs at a time: a second call waits for the first, and then
    does nothing (0) if it is not `still_needed`. With `turn_seconds` it waits no longer than that, and raises
    psycopg.errors.LockNotAvailable. Raises Hold where the log holds something that this release cannot read and the old one is
    further on.
    """
    connection = connect_sync(database_url, log_schema(log_name), "taskmaster rebuild")
    source = PostgresLogSource(database_url, log_name, snapshots=False)
    try:
        _take_turn(connection, log_name, projection, turn_seconds)
        if not still_needed(connection):
            return 0
        connection.execute(f"SET idle_session_timeout = '{IDLE_SECONDS}s'".encode())
        build = Build(database_url, log_name, ChangeReader(source, DOCUMENTS), _alive(connection, progress))
        if projection == HOT:
            return _rebuild_hot(connection, redis_url, build)
        return _rebuild_tables(connection, [table for table in TABLES if table.name == projection], build)
    finally:
        connection.close()
        source.close()


def rebuild_all(database_url: str, redis_url: str, log_name: str, progress: Progress = silent) -> int:
    """Build every read model again at once: the log is read, decoded and folded once for all of them.

    Returns the lowest position at which one of them was switched. `progress` hears of the tables.
    """
    schema = log_schema(log_name)
    source = PostgresLogSource(database_url, log_name, snapshots=False)
    reader = ChangeReader(source, DOCUMENTS)
    with connect_sync(database_url, schema, "taskmaster rebuild") as tables, connect_sync(database_url, schema) as hot:
        try:
            for name in sorted(ALL):
                _take_turn(tables, log_name, name)
            pace = Pace(2)

            def build_tables() -> int:
                try:
                    return _rebuild_tables(tables, TABLES, Build(database_url, log_name, reader, together(0, progress)))
                finally:
                    pace.leave(0)

            def build_hot() -> int:
                try:
                    return _rebuild_hot(hot, redis_url, Build(database_url, log_name, reader, together(1, silent)))
                finally:
                    pace.leave(1)

            def together(build: int, told: Progress) -> Progress:
                def progressed(done: int, total: int) -> None:
                    told(done, total)
                    pace.reached(build, done)

                return progressed

            with short_turns(), ThreadPoolExecutor(2, "rebuild") as threads:
                builds = [threads.submit(build_tables), threads.submit(build_hot)]
            return min(build.result() for build in builds)
        finally:
            source.close()


class Pace:
    """Keeps builds that read the same log side by side, within what their reader remembers: then it reads everything once."""

    def __init__(self, builds: int) -> None:
        self._at = dict.fromkeys(range(builds), 0)
        self._moved = threading.Condition()

    def reached(self, build: int, events: int) -> None:
        """A build has taken so many events: it waits for the others where it is too far ahead."""
        with self._moved:
            self._at[build] = events
            self._moved.notify_all()
            self._moved.wait_for(lambda: events - min(self._at.values()) <= KEPT_CHANGES - 2 * BATCH)

    def leave(self, build: int) -> None:
        """Nobody waits for this build any longer."""
        with self._moved:
            self._at[build] = sys.maxsize
            self._moved.notify_all()


class Build(msgspec.Struct, frozen=True):
    """What a build reads from, and where it says how far it is."""

    database_url: str
    log_name: str
    reader: ChangeReader
    progress: Progress


def _take_turn(connection: Connection, log_name: str, projection: str, seconds: float = 0.0) -> None:
    """Wait until no other rebuild of the read model runs; the connection keeps the turn until it is closed."""
    connection.execute("SELECT set_config('lock_timeout', %s, false)", (f"{int(seconds * 1000)}ms",))
    connection.execute("SELECT pg_advisory_lock(hashtextextended(%s, 2))", (f"{models_schema(log_name)} {projection}",))
    connection.execute("SET lock_timeout = 0")


def _alive(connection: Connection, progress: Progress) -> Progress:
    """Progress that also lets the server know that this session is not idle."""
    last = time.monotonic()

    def progressed(done: int, total: int) -> None:
        nonlocal last
        progress(done, total)
        # While the switch catches up, the session is in its transaction and has the limits of that.
        if time.monotonic() - last > SIGN_SECONDS:
            last = time.monotonic()
            connection.execute("SELECT 1")

    return progressed


def catch_up(projector: Projector, build: Build) -> Hold | None:
    """To the log's head, or to where this release cannot read on, and why: there the one that serves holds as well, unless a
    release that could read on has been at it."""
    done, head = 0, build.reader.head()
    try:
        while taken := projector.advance(BATCH):
            done += taken
            build.progress(done, max(done, head))
    except Hold as hold:
        return hold
    return None


def _rebuild_tables(connection: Connection, projections: Sequence[TableProjection], build: Build) -> int:
    serving = models_schema(build.log_name)
    building = f"{serving}__{projections[0].name if len(projections) == 1 else 'all'}"
    prepare_schema(connection, projections, build.log_name, building)
    beside = Reconnecting(build.database_url, building, "taskmaster rebuild writer")
    try:
        projector = Projector(TableStore(beside, projections), build.reader)
        catch_up(projector, build)
        failpoint("rebuild.table_built")
        gather_statistics([connection, beside.get()], building, _tables(projections))
        while True:
            try:
                return _switch(connection, projections, projector, serving, building)
            except LockNotAvailable:
                # Long reads go first; meanwhile the log may have grown.
                catch_up(projector, build)
    finally:
        beside.close()


def gather_statistics(connections: Sequence[Connection], schema: str, tables: Sequence[str]) -> None:
    """Without them the first queries after the switch would be planned for empty tables. Each connection takes its share."""

    def gather(share: int) -> None:
        for table in tables[share :: len(connections)]:
            connections[share].execute(SQL("ANALYZE {}").format(Identifier(schema, table)))

    with ThreadPoolExecutor(len(connections), "statistics") as threads:
        list(threads.map(gather, range(len(connections))))


def _tables(projections: Sequence[TableProjection]) -> list[str]:
    return [table for projection in projections for table in projection.tables]


def prepare_schema(connection: Connection, projections: Sequence[TableProjection], log_name: str, building: str) -> None:
    """Make the schema of a build, empty; what a build that was killed has left there goes."""
    with connection.transaction():
        connection.execute("SET LOCAL client_min_messages = warning")
        connection.execute(SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(Identifier(building)))
        create_model_tables(connection, building, log_schema(log_name), projections)


def _switch(
    connection: Connection, projections: Sequence[TableProjection], projector: Projector, serving: str, building: str
) -> int:
    """Under the serving checkpoints' lock nobody advances them: the new ones go past them and take their places.

    A process that is stopped in here holds up projectors, and once it has taken the tables, every read. So the server ends the
    transaction of one that stays silent, after ten seconds and two.
    """
    names = [projection.name for projection in projections]
    with connection.transaction():
        connection.execute(
            f"SET LOCAL lock_timeout = '2s'; SET LOCAL statement_timeout = '{SWITCH_SECONDS}s'; "
            f"SET LOCAL idle_in_transaction_session_timeout = '{SWITCH_SECONDS}s'".encode()
        )
        served = {checkpoint.projection: checkpoint for checkpoint in read_checkpoints(connection, names, lock=True)}
        failpoint("rebuild.table_locked")
        with suppress(Hold):
            projector.catch_up()
        connection.execute(f"SET LOCAL idle_in_transaction_session_timeout = '{SILENT_SECONDS}s'".encode())
        for table in _tables(projections):
            connection.execute(SQL("DROP TABLE {}").format(Identifier(serving, table)))
            connection.execute(SQL("ALTER TABLE {} SET SCHEMA {}").format(Identifier(building, table), Identifier(serving)))
        rows = connection.execute(
            SQL(
                "UPDATE {serving} s SET log_id = b.log_id, epoch = b.epoch, position = b.position, leaf_hash = b.leaf_hash, "
                "attempts = b.attempts, single_until = b.single_until, held = b.held, noted_at = b.noted_at, "
                "generation = s.generation + 1, updated_at = now() FROM {building} b WHERE s.projection = b.projection "
                "RETURNING s.projection, s.position, s.held, s.log_id"
            ).format(serving=Identifier(serving, "checkpoints"), building=Identifier(building, "checkpoints"))
        ).fetchall()
        for name, position, held, log_id in rows:
            if held and position < served[name].position and log_id == served[name].identity.log_id:
                raise Hold(held)
        connection.execute("DELETE FROM parked WHERE projection = ANY(%s)", (names,))
        connection.execute(SQL("INSERT INTO parked SELECT * FROM {}").format(Identifier(building, "parked")))
        connection.execute("SET LOCAL client_min_messages = warning")
        connection.execute(SQL("DROP SCHEMA {} CASCADE").format(Identifier(building)))
        failpoint("rebuild.table_before_commit")
    return min(int(position) for _, position, _, _ in rows)


def _rebuild_hot(connection: Connection, redis_url: str, build: Build) -> int:
    log_name = build.log_name
    client = sync_client(redis_url, READ_MODELS, timeout=30.0)
    writer = Reconnecting(build.database_url, log_schema(log_name), "taskmaster rebuild writer")
    try:
        served = read_checkpoints(connection, [HOT])[0].generation
        generation = served + 1
        _keep_only(client, log_name, served)
        connection.execute("DELETE FROM parked WHERE projection = %s", (parked_as(generation),))
        store = HotStore(writer, client, log_name, generation)
        store.begin(build.reader.identity())
        # The build belongs to the log as it is; the one that serves may belong to the log as it was.
        projector = Projector(store, build.reader)
        held = catch_up(projector, build)
        if held and _is_behind(store, HotStore(writer, client, log_name)):
            _keep_only(client, log_name, served)
            raise held
        # Taking the served checkpoint away stops the projector that serves; readers turn to Postgres for the moment.
        failpoint("rebuild.hot_built")
        client.delete(hot_keys(log_name, served).checkpoint)
        failpoint("rebuild.hot_withdrawn")
        catch_up(projector, build)
        _switch_hot(connection, generation)
        failpoint("rebuild.hot_switched")
        _keep_only(client, log_name, generation)
        return store.checkpoints()[0].position
    except (Moved, Incomplete):
        raise redis.RedisError("the new generation was lost while it was built") from None
    finally:
        writer.close()
        client.close()


def _is_behind(built: HotStore, serving: HotStore) -> bool:
    """Whether what serves is whole, and further on."""
    try:
        return built.checkpoints()[0].position < serving.checkpoints()[0].position
    except Incomplete:
        return False


def _switch_hot(connection: Connection, generation: int) -> None:
    with connection.transaction():
        connection.execute("SET LOCAL lock_timeout = '5s'; SET LOCAL idle_in_transaction_session_timeout = '2s'")
        connection.execute(
            "UPDATE checkpoints c SET generation = %s, log_id = l.log_id, epoch = l.epoch, attempts = 0, "
            "single_until = 0, held = NULL, noted_at = 0, updated_at = now() FROM log l WHERE c.projection = %s",
            (generation, HOT),
        )
        connection.execute("DELETE FROM parked WHERE projection = %s", (HOT,))
        connection.execute("UPDATE parked SET projection = %s WHERE projection = %s", (HOT, parked_as(generation)))


def _keep_only(client: redis.Redis, log_name: str, generation: int) -> None:
    """Remove every other generation, also what a rebuild that was killed has left."""
    kept = hot_keys(log_name, generation).prefix.encode()
    others: list[bytes] = []
    for name in client.scan_iter(match=generations_pattern(log_name), count=1000):
        if not name.startswith(kept):
            others.append(name)
        if len(others) == NAMES_A_CALL:
            client.unlink(*others)
            others.clear()
    if others:
        client.unlink(*others)
