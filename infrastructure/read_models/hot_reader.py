"""Reads of hot tasks from Redis: requests of one process that come while a round trip is under way share the next one.

Every answer carries the checkpoint that was read in the same command, and is believed only if that names the log and the epoch
that Postgres names. No checkpoint means that the read model is being rebuilt; an error or a silence means that Redis is away.
In these cases the caller turns to Postgres, and for a short while nobody tries again. What is not there is no answer either: a
key may have been lost, so the caller asks Postgres, and where that knows better the read model is marked to be built again.
"""

import asyncio
import logging
import time
from typing import Any
from uuid import UUID

import psycopg
import redis.asyncio
from psycopg_pool import PoolTimeout
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError, ResponseError

from infrastructure.log.watch import LogWatch, Standing
from infrastructure.read_models.hot_keys import hot_keys
from infrastructure.servers.patience import Patience
from infrastructure.servers.postgres import AsyncPool
from projections.engine.changes import LogIdentity
from projections.task.hot import (
    NAME,
    PAGE_SIZE,
    READ_PAGE,
    HotKeys,
    HotPage,
    checkpoint_position,
    identity_prefix,
    read_counts,
    read_page,
)

logger = logging.getLogger("taskmaster.reads")

HOT_READ_SECONDS = 0.25
"""How long Redis may stay silent while the event loop listens."""

SECONDS_OF_REST = 0.25
POLICY_SECONDS = 5.0
MARK_SECONDS = 1.0
MOST_KEYS = 256


_Answer = asyncio.Future[tuple[int, bytes | None]]
_AWAY = (RedisError, OSError, TimeoutError)


class HotUnavailable(Exception):
    """Redis is away, or does not hold the read model whole, or not this log's, or not what was asked for."""


class HotReader:
    """Coalescing reader of one log's hot tasks."""

    def __init__(self, client: redis.asyncio.Redis, pool: AsyncPool, log_name: str, watch: LogWatch | None = None) -> None:
        self._client = client
        self._pool = pool
        self._log_name = log_name
        self._watch = watch
        self._keys = hot_keys(log_name, 1)
        self._identity = b"unknown"
        self._waiting: dict[str, list[_Answer]] = {}
        self._running: asyncio.Task[None] | None = None
        self._marking: asyncio.Task[None] | None = None
        self._connection: AbstractConnection | None = None
        self._page_script = client.register_script(READ_PAGE)
        self._rest_until = 0.0
        self._silences = 0
        self._marked, self._mark_again = "", 0.0
        self._policy, self._policy_known_until = "noeviction", 0.0
        self._newest_page: tuple[bytes, HotPage] = (b"", HotPage(b"", None, 0))

    @property
    def keys(self) -> HotKeys:
        """The keys of the generation that is served."""
        return self._keys

    async def read(self, key: str) -> tuple[int, bytes | None]:
        """The position of the read model and the value at `key`; raises HotUnavailable."""
        if self._watch is not None and self._watch.state == "doubtful":
            await self._settle(key)
        if time.monotonic() < self._rest_until:
            raise HotUnavailable
        answer: _Answer = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, []).append(answer)
        if self._running is None:
            self._running = asyncio.create_task(self._serve(), name="hot reader")
        return await answer

    async def _settle(self, key: str) -> None:
        """Wait until it is known again which log this is. The key may then be one of an old generation."""
        assert self._watch is not None  # noqa: S101 - only asked for where there is one
        await self._watch.settle()
        if self._watch.state == "doubtful" or not key.startswith(self._keys.prefix):
            raise HotUnavailable

    async def position(self) -> int:
        """How far the read model has come; raises HotUnavailable."""
        return (await self.read(self._keys.checkpoint))[0]

    async def _serve(self) -> None:
        try:
            while self._waiting:
                keys = list(self._waiting)[:MOST_KEYS]
                checkpoint = self._keys.checkpoint
                batch = [self._waiting.pop(key) for key in keys]
                try:
                    values = await self._mget([checkpoint, *keys])
                    self._silences = 0
                    position = self._place(values[0])
                except _AWAY as error:
                    await self._fail(batch, isinstance(error, TimeoutError))
                    continue
                if position is None:
                    await self._fail(batch)
                    continue
                for answers, value in zip(batch, values[1:], strict=True):
                    found = (position, value)
                    for answer in answers:
                        if not answer.done():
                            answer.set_result(found)
        finally:
            self._running = None
            self._refuse_waiting()

    def _place(self, checkpoint: bytes | None) -> int | None:
        """The position in a checkpoint of this log and epoch."""
        if checkpoint is None or not checkpoint.startswith(self._identity):
            return None
        return checkpoint_position(checkpoint)

    async def _mget(self, names: list[str]) -> list[Any]:
        """The values, over a connection that is kept: taking one from the pool costs as much as the command itself."""
        async with Patience(HOT_READ_SECONDS):
            pool: Any = self._client.connection_pool
            connection = self._connection = self._connection or await pool.get_connection()
            if not connection.is_connected:
                await connection.connect()
            await connection.send_command("MGET", *names, check_health=False)
            values: list[Any] = await connection.read_response()
            return values

    async def _fail(self, batch: list[list[_Answer]], silent: bool = False) -> None:
        """Refuse, and let Redis rest: but one silence alone says little, so the next read tries a new connection."""
        self._silences = self._silences + 1 if silent else 0
        if self._silences != 1:
            self._rest_until = time.monotonic() + SECONDS_OF_REST
        for answers in batch:
            for answer in answers:
                _refuse(answer)
        await self.find_generation()

    def _refuse_waiting(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for answer in (answer for answers in waiting.values() for answer in answers):
            _refuse(answer)

    async def find_generation(self) -> None:
        """Ask Postgres which log this is, and which generation is served."""
        try:
            async with self._pool.connection() as connection:
                cursor = await connection.execute(
                    "SELECT l.log_id, l.epoch, c.generation FROM log l, checkpoints c WHERE c.projection = %s", (NAME,)
                )
                row = await cursor.fetchone()
        except (psycopg.Error, PoolTimeout):
            return
        if row:
            self._adopt(LogIdentity(row[0], row[1]), row[2])

    def adopt(self, standing: Standing) -> None:
        """Believe Redis by what a look at Postgres found."""
        self._adopt(standing.identity, standing.generation)

    def _adopt(self, identity: LogIdentity, generation: int) -> None:
        believed = identity_prefix(identity)
        if generation == self._keys.generation and believed == self._identity:
            return
        self._keys = hot_keys(self._log_name, generation)
        self._identity = believed
        self._rest_until = 0.0
        # What waits names keys of the old generation: beside the new checkpoint they would read as missing tasks.
        self._refuse_waiting()

    async def page(self, workspace_key: UUID) -> HotPage:
        """The first page of a workspace's default list; raises HotUnavailable."""
        position, value = await self.read(self._keys.page(workspace_key))
        if value is None:
            position, value = await self._make_page(workspace_key)
        # Those who shared the round trip share the page as well.
        if value is not self._newest_page[0]:
            self._newest_page = (value, read_page(value, position))
        return self._newest_page[1]

    async def _make_page(self, workspace_key: UUID) -> tuple[int, bytes]:
        names = self._keys.of_page(workspace_key)
        try:
            async with Patience(HOT_READ_SECONDS):
                found = await self._page_script(keys=names, args=[PAGE_SIZE, workspace_key.hex])
        except ResponseError as error:
            # Such as a key of another type: only this workspace's trouble.
            self.mark_damaged(f"a page could not be made: {error}")
            raise HotUnavailable from None
        except _AWAY:
            raise HotUnavailable from None
        position = self._place(found[0]) if found else None
        if position is None:
            raise HotUnavailable
        if len(found) < 2:
            self.mark_damaged(f"keys of workspace {workspace_key} are missing")
            raise HotUnavailable
        return position, found[1]

    async def counts(self, workspace_key: UUID) -> tuple[dict[str, int], int]:
        """The workspace's tasks by status, and the position; raises HotUnavailable."""
        if self._watch is not None and self._watch.state == "doubtful":
            await self._settle(self._keys.prefix)
        if time.monotonic() < self._rest_until:
            raise HotUnavailable
        keys = self._keys
        try:
            async with Patience(HOT_READ_SECONDS), self._client.pipeline(transaction=True) as pipeline:
                pipeline.get(keys.checkpoint)
                pipeline.hgetall(keys.counts(workspace_key))
                pipeline.hmget(keys.totals, ["", workspace_key.hex])
                checkpoint, counts, totals = await pipeline.execute(raise_on_error=False)
        except _AWAY as error:
            await self._fail([], isinstance(error, TimeoutError))
            raise HotUnavailable from None
        position = self._place(checkpoint) if isinstance(checkpoint, bytes) else None
        if position is None:
            await self._fail([])
            raise HotUnavailable
        found = read_counts(counts, totals)
        if found is None:
            self.mark_damaged(f"counters of workspace {workspace_key} are missing or wrong")
            raise HotUnavailable
        return found, position

    def mark_damaged(self, why: str) -> None:
        """Leave word that a part of the read model was lost: the workers' next sweep builds it again."""
        # Whoever reads it finds the same until it has been built again.
        if self._keys.damaged != self._marked or time.monotonic() > self._mark_again:
            self._marked, self._mark_again = self._keys.damaged, time.monotonic() + MARK_SECONDS
            logger.error("the read model in Redis is damaged: %s", why)
            self._marking = asyncio.create_task(self._mark(self._keys.damaged, why), name="damage mark")

    async def _mark(self, key: str, why: str) -> None:
        try:
            async with Patience(HOT_READ_SECONDS):
                await self._client.set(key, why, nx=True)
        except _AWAY:
            return

    async def evicts(self) -> str | None:
        """The server's eviction policy if it has one, None for `noeviction`, asked for at most every five seconds; raises
        HotUnavailable."""
        if time.monotonic() > self._policy_known_until:
            try:
                async with Patience(HOT_READ_SECONDS):
                    memory: dict[str, Any] = await self._client.info("memory")
            except _AWAY:
                raise HotUnavailable from None
            self._policy = str(memory.get("maxmemory_policy", "noeviction"))
            self._policy_known_until = time.monotonic() + POLICY_SECONDS
        return None if self._policy == "noeviction" else self._policy

    async def close(self) -> None:
        """Answer what waits, and give the connection back."""
        if running := [job for job in (self._running, self._marking) if job]:
            await asyncio.wait(running, timeout=1)
        if self._connection:
            await self._connection.disconnect()
            await self._client.connection_pool.release(self._connection)


def _refuse(answer: "asyncio.Future[tuple[int, bytes | None]]") -> None:
    if not answer.done():
        answer.set_exception(HotUnavailable())
        # Seen here, because whoever waited may have given up.
        answer.exception()
