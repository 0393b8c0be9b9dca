"""Reads of hot tasks from Redis: requests of one process that come while a round trip is under way share the next one.

Every answer carries the checkpoint that was read in the same command. No checkpoint means that the read model is being
rebuilt; an error or a slow answer means that Redis is away. In both cases the caller turns to Postgres, and for a short while
nobody tries again.
"""

import asyncio
import time
from typing import Any
from uuid import UUID

import psycopg
import redis.asyncio
from psycopg_pool import PoolTimeout
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError

from infrastructure.postgres import AsyncPool
from projections.hot_tasks import NAME, PAGE_SIZE, READ_PAGE, HotKeys, HotPage, checkpoint_position, read_page

SECONDS_OF_REST = 0.25
MOST_KEYS = 256


_Answer = asyncio.Future[tuple[int, bytes | None]]


class HotUnavailable(Exception):
    """Redis is away, or does not hold the read model whole."""


class HotReader:
    """Coalescing reader of one log's hot tasks."""

    def __init__(self, client: redis.asyncio.Redis, pool: AsyncPool, log_name: str) -> None:
        self._client = client
        self._pool = pool
        self._log_name = log_name
        self._keys = HotKeys(log_name, 1)
        self._waiting: dict[str, list[_Answer]] = {}
        self._running: asyncio.Task[None] | None = None
        self._connection: AbstractConnection | None = None
        self._page_script = client.register_script(READ_PAGE)
        self._rest_until = 0.0
        self._newest_page: tuple[bytes, HotPage] = (b"", HotPage(b"", None, 0))

    @property
    def keys(self) -> HotKeys:
        """The keys of the generation that is served."""
        return self._keys

    async def read(self, key: str) -> tuple[int, bytes | None]:
        """The position of the read model and the value at `key`; raises HotUnavailable."""
        if time.monotonic() < self._rest_until:
            raise HotUnavailable
        answer: _Answer = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, []).append(answer)
        if self._running is None:
            self._running = asyncio.create_task(self._serve(), name="hot reader")
        return await answer

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
                    position = checkpoint_position(values[0])
                except (RedisError, OSError, TimeoutError, ValueError):
                    position = None
                if position is None:
                    await self._fail([answer for answers in batch for answer in answers])
                    continue
                for answers, value in zip(batch, values[1:], strict=True):
                    found = (position, value)
                    for answer in answers:
                        if not answer.done():
                            answer.set_result(found)
        finally:
            self._running = None
            self._refuse_waiting()

    async def _mget(self, names: list[str]) -> list[Any]:
        """The values, over a connection that is kept: taking one from the pool costs as much as the command itself."""
        pool: Any = self._client.connection_pool
        connection = self._connection = self._connection or await pool.get_connection()
        if not connection.is_connected:
            await connection.connect()
        await connection.send_command("MGET", *names, check_health=False)
        values: list[Any] = await connection.read_response()
        return values

    async def _fail(self, answers: "list[_Answer]") -> None:
        self._rest_until = time.monotonic() + SECONDS_OF_REST
        for answer in answers:
            _refuse(answer)
        await self.find_generation()

    def _refuse_waiting(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for answer in (answer for answers in waiting.values() for answer in answers):
            _refuse(answer)

    async def find_generation(self) -> None:
        """Ask Postgres which generation is served."""
        try:
            async with self._pool.connection() as connection:
                cursor = await connection.execute("SELECT generation FROM checkpoints WHERE projection = %s", (NAME,))
                row = await cursor.fetchone()
        except (psycopg.Error, PoolTimeout):
            return
        if row and row[0] != self._keys.generation:
            self._keys = HotKeys(self._log_name, row[0])
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
        keys = self._keys
        names = [keys.checkpoint, keys.order(workspace_key), keys.rows(workspace_key), keys.page(workspace_key)]
        try:
            found = await self._page_script(keys=names, args=[PAGE_SIZE])
        except (RedisError, OSError, TimeoutError):
            raise HotUnavailable from None
        if not found:
            raise HotUnavailable
        return checkpoint_position(found[0]) or 0, found[1]

    async def counts(self, workspace_key: UUID) -> tuple[dict[str, int], int]:
        """The workspace's tasks by status, and the position; raises HotUnavailable."""
        if time.monotonic() < self._rest_until:
            raise HotUnavailable
        keys = self._keys
        try:
            async with self._client.pipeline(transaction=True) as pipeline:
                pipeline.get(keys.checkpoint)
                pipeline.hgetall(keys.counts(workspace_key))
                checkpoint, counts = await pipeline.execute()
        except (RedisError, OSError, TimeoutError):
            checkpoint = None
        position = checkpoint_position(checkpoint)
        if position is None:
            await self._fail([])
            raise HotUnavailable
        return {name.decode(): int(number) for name, number in counts.items() if int(number)}, position

    async def close(self) -> None:
        """Answer what waits, and give the connection back."""
        if self._running:
            await asyncio.wait([self._running], timeout=1)
        if self._connection:
            await self._connection.disconnect()
            await self._client.connection_pool.release(self._connection)


def _refuse(answer: "asyncio.Future[tuple[int, bytes | None]]") -> None:
    if not answer.done():
        answer.set_exception(HotUnavailable())
        # Seen here, because whoever waited may have given up.
        answer.exception()
