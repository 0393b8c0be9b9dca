"""The projectors of one process for one log: `tables` and `feed` (Postgres) and `hot` (Redis), with their owners' locks and
rebuilds."""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any

import psycopg
import redis

from infrastructure.log.key_expiry import KEY_SECONDS, KeyExpiry
from infrastructure.log.source import PostgresLogSource, Reconnecting
from infrastructure.processes.failpoints import failpoint
from infrastructure.read_models.checkpoint_rows import read_checkpoints
from infrastructure.read_models.hot_store import HotStore
from infrastructure.read_models.layouts import build_layouts, drop_superseded, show_life
from infrastructure.read_models.rebuild import rebuild
from infrastructure.read_models.table_store import TableStore
from infrastructure.servers.model_tables import has_models
from infrastructure.servers.postgres import is_of_another_release, log_schema, models_schema
from infrastructure.servers.redis_client import READ_MODELS, applied_channel, sync_client
from projections import ALL, DOCUMENTS, FEED, HOT, TOGETHER
from projections.engine.changes import KEPT_BYTES, ChangeReader
from projections.engine.checkpoint import Checkpoint
from projections.engine.port import Hold, Incomplete
from projections.engine.projector import Projector
from projections.task.snapshots import TaskSnapshots

logger = logging.getLogger("taskmaster.projections")

PROJECTORS = ("tables", "feed", "hot")
AWAY = (psycopg.OperationalError, psycopg.InterfaceError, redis.RedisError)
TRIES_FOR_THE_LOCK = 50
TURN_SECONDS = 3.0
"""How long a worker waits for another rebuild of the same read model; then its other work goes on."""


class LogProjecting:
    """Runs the projectors of one log. Every method may be called from any thread, as often as anybody likes.

    An advisory lock a projector keeps other processes from doing the same work at the same time. What makes two owners
    harmless is the checkpoints, not the lock.
    """

    def __init__(
        self,
        database_url: str,
        redis_url: str,
        log_name: str,
        key_seconds: int = KEY_SECONDS,
        cache_bytes: int = KEPT_BYTES,
    ) -> None:
        self._database_url = database_url
        self._redis_url = redis_url
        self._log_name = log_name
        schema = log_schema(log_name)
        self._redis: redis.Redis = sync_client(redis_url, READ_MODELS)
        self._hints: redis.Redis = sync_client(redis_url, READ_MODELS, timeout=0.2)
        self._source = PostgresLogSource(database_url, log_name)
        self._reader = ChangeReader(self._source, DOCUMENTS, cache_bytes)
        self._key_expiry = KeyExpiry(key_seconds)
        self._checks = Reconnecting(database_url, schema, "taskmaster sweep")
        self._runners = {
            "tables": self._runner("tables", schema, lambda connection: TableStore(connection, TOGETHER)),
            "feed": self._runner("feed", schema, lambda connection: TableStore(connection, [FEED])),
            "hot": self._runner("hot", schema, lambda connection: HotStore(connection, self._redis, log_name)),
        }

    def _runner(self, name: str, schema: str, store: Callable[[Reconnecting], Any]) -> "_Runner":
        connection = Reconnecting(self._database_url, schema, f"taskmaster projector {name}")
        projector = Projector(store(connection), self._reader, self._announce)
        return _Runner(f"{models_schema(self._log_name)} {name}", connection, projector, self._rebuild)

    def run(self, name: str) -> None:
        """Bring one projector's read models up to the log's head. What a store that is away prevents is left to later."""
        self._runners[name].run()

    def sweep(self) -> None:
        """Run all projectors, after making sure that every checkpoint still belongs to this log."""
        steps: list[Callable[[], object]] = [
            self._build_layouts,
            self._check_places,
            *(partial(runner.run, afresh=True) for runner in self._runners.values()),
            lambda: self._key_expiry.run(self._checks.get()),
        ]
        for step in steps:
            try:
                step()
            except (*AWAY, Hold):
                logger.warning("the sweep found a store away; the next one tries again")
            except Exception:
                # One step's trouble must not keep the others from being done.
                logger.exception("a step of the sweep failed; the next one tries again")

    def _build_layouts(self) -> None:
        """In the layouts of this release, beside those that another one left, which serve its processes."""
        connection = self._checks.get()
        if not has_models(connection, self._log_name):
            build_layouts(self._database_url, self._log_name)
        else:
            show_life(connection)
        drop_superseded(connection, self._redis, self._log_name)

    def close(self) -> None:
        """Close every connection."""
        for runner in self._runners.values():
            runner.close()
        self._source.close()
        self._checks.close()
        self._redis.close()
        self._hints.close()

    def _announce(self, names: Iterable[str], position: int) -> None:
        failpoint("applied.before_announcement")
        with suppress(redis.RedisError):
            self._hints.publish(applied_channel(self._log_name), f"{','.join(names)} {position}")

    def _check_places(self) -> None:
        """A log that was restored or failed over to an older state is noticed here: a checkpoint's leaf hash is not its own."""
        connection = self._checks.get()
        # Snapshots first: while they tell of another history, what is folded from them does.
        names = sorted(ALL, key=lambda name: name != TaskSnapshots.name)
        for name in names:
            with suppress(*(redis.RedisError,) if name == HOT else ()):
                if self._is_elsewhere(connection, name):
                    logger.error("read model %s reflects another history: rebuilding", name)
                    self._reader.forget()
                    self._rebuild(name, self._is_elsewhere)
                    self._reader.forget()

    def _is_elsewhere(self, connection: psycopg.Connection[Any], projection: str) -> bool:
        """Whether a read model's checkpoint is not a place in this log."""
        if projection != HOT:
            checkpoints = read_checkpoints(connection, [projection])
        else:
            try:
                checkpoints = HotStore(self._checks, self._redis, self._log_name).checkpoints()
            except Incomplete:
                # Its projector finds that as well.
                return False
        return not all(self._in_place(connection, checkpoint) for checkpoint in checkpoints)

    def _is_missing(self, connection: psycopg.Connection[Any], projection: str) -> bool:
        """Whether a read model has still lost its data, or still reflects another history."""
        try:
            if projection == HOT:
                HotStore(self._checks, self._redis, self._log_name).checkpoints()
        except Incomplete:
            return True
        return self._is_elsewhere(connection, projection)

    @staticmethod
    def _in_place(connection: psycopg.Connection[Any], checkpoint: Checkpoint) -> bool:
        row = connection.execute(
            "SELECT log_id, epoch, (SELECT hash FROM events WHERE notification_id = %s) FROM log",
            (checkpoint.position,),
            prepare=True,
        ).fetchone()
        if row is None or (row[0], row[1]) != (checkpoint.identity.log_id, checkpoint.identity.epoch):
            return False
        return checkpoint.position == 0 or checkpoint.leaf_hash is None or row[2] == checkpoint.leaf_hash

    def _rebuild(self, projection: str, still_needed: Callable[[psycopg.Connection[Any], str], bool] | None = None) -> None:
        """Unless another process was faster."""
        needed = still_needed or self._is_missing
        position = rebuild(
            self._database_url,
            self._redis_url,
            self._log_name,
            projection,
            still_needed=lambda connection: needed(connection, projection),
            turn_seconds=TURN_SECONDS,
        )
        if position:
            self._announce([projection], position)


class _Runner:
    """One projector with its lock: whoever finds it busy leaves word that there may be more."""

    def __init__(self, name: str, connection: Reconnecting, projector: Projector, rebuild_one: Callable[[str], None]) -> None:
        self._name = name
        self._connection = connection
        self._projector = projector
        self._rebuild = rebuild_one
        self._busy = threading.Lock()
        self._again = threading.Event()
        self._afresh = threading.Event()

    def run(self, afresh: bool = False) -> None:
        """Catch up; `afresh` looks at the stored checkpoints first, which a store that lost its data has lost as well."""
        if afresh:
            self._afresh.set()
        self._again.set()
        while self._again.is_set() and self._busy.acquire(blocking=False):
            try:
                while self._again.is_set():
                    self._again.clear()
                    self._run_once()
            finally:
                self._busy.release()

    def _run_once(self) -> None:
        try:
            connection = self._connection.get()
            owned = self._own(connection)
            self._projector.is_owner = owned
            try:
                self._catch_up()
            finally:
                if owned and not connection.closed:
                    connection.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 1))", (self._name,), prepare=True)
        except Hold:
            self._projector.forget()
        except AWAY as error:
            self._projector.forget()
            logger.warning("projector %s waits: %s", self._name, str(error).split("\n")[0])
        except psycopg.Error as error:
            if not is_of_another_release(error):
                raise
            # The read models of this release are still being built.
            self._projector.forget()
            logger.warning("projector %s waits for its tables: %s", self._name, str(error).split("\n")[0])

    def _own(self, connection: psycopg.Connection[Any]) -> bool:
        """Wait until nobody else does this work, but not for ever: an owner that is stuck must not stop the read models."""
        for _ in range(TRIES_FOR_THE_LOCK):
            row = connection.execute(
                "SELECT pg_try_advisory_lock(hashtextextended(%s, 1))", (self._name,), prepare=True
            ).fetchone()
            if row and row[0]:
                return True
            time.sleep(0.02)
        return False

    def _catch_up(self) -> None:
        if self._afresh.is_set():
            self._afresh.clear()
            self._projector.forget()
        for _ in ALL:
            try:
                self._projector.catch_up()
            except Incomplete as missing:
                started = time.monotonic()
                logger.warning("%s: rebuilding", missing)
                self._rebuild(missing.projection)
                logger.warning("%s: rebuilt in %.1f s", missing.projection, time.monotonic() - started)
                self._projector.forget()
            else:
                return

    def close(self) -> None:
        self._connection.close()
