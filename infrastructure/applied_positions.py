"""How far each read model has come, as this process knows it, and waiting until one has come far enough."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

import psycopg
import redis.asyncio
from psycopg_pool import PoolTimeout
from redis.exceptions import RedisError

from infrastructure.hot_reader import HotUnavailable
from infrastructure.postgres import AsyncPool
from infrastructure.redis_client import applied_channel
from projections import HOT

logger = logging.getLogger("taskmaster.reads")

LOOK_SECONDS = 0.05
"""How often waiters look for themselves: announcements may be lost, the checkpoints are not."""


class AppliedPositions:
    """Follows the projectors' announcements. Waiting is event-driven; while somebody waits, the checkpoints are read too."""

    def __init__(
        self,
        client: redis.asyncio.Redis,
        pool: AsyncPool,
        log_name: str,
        hot_position: Callable[[], Awaitable[int]],
    ) -> None:
        self._client = client
        self._pool = pool
        self._hot_position = hot_position
        self._channel = applied_channel(log_name)
        self._known: dict[str, int] = {}
        self._waiters: set[tuple[str, int, asyncio.Future[None]]] = set()
        self._jobs: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to follow."""
        self._jobs = [
            asyncio.create_task(self._follow(), name="applied positions"),
            asyncio.create_task(self._look(), name="checkpoint look-up"),
        ]

    async def close(self) -> None:
        """Stop following; waiters run into their time limits."""
        # More than once: redis-py loses a cancellation that reaches it while it connects.
        while running := [job for job in self._jobs if not job.done()]:
            for job in running:
                job.cancel()
            await asyncio.wait(running, timeout=0.1)

    def known(self, projection: str) -> int:
        """The newest position of a read model that this process has heard of."""
        return self._known.get(projection, 0)

    @property
    def newest(self) -> int:
        """The newest position that this process has seen any read model at."""
        return max(self._known.values(), default=0)

    def note(self, projection: str, position: int) -> None:
        """Somebody saw a read model at `position`."""
        if position > self._known.get(projection, 0):
            self._known[projection] = position
            for waiter in [w for w in self._waiters if w[0] == projection and w[1] <= position]:
                if not waiter[2].done():
                    waiter[2].set_result(None)

    async def wait_for(self, projection: str, position: int, seconds: float) -> bool:
        """Whether the read model reached `position` within so many seconds."""
        if self.known(projection) >= position:
            return True
        waiter = (projection, position, asyncio.get_running_loop().create_future())
        self._waiters.add(waiter)
        try:
            await asyncio.wait_for(waiter[2], seconds)
        except TimeoutError:
            return False
        finally:
            self._waiters.discard(waiter)
        return True

    async def _follow(self) -> None:
        while True:
            try:
                async with self._client.pubsub(ignore_subscribe_messages=True) as announcements:
                    await announcements.subscribe(self._channel)
                    while True:
                        message = await announcements.get_message(timeout=1.0)
                        if message:
                            self._heard(message["data"])
            except (RedisError, OSError):
                await asyncio.sleep(0.2)

    def _heard(self, data: bytes) -> None:
        names, _, position = data.decode().partition(" ")
        for name in names.split(","):
            self.note(name, int(position))

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            names = {name for name, _, _ in self._waiters}
            if HOT in names:
                with suppress(HotUnavailable):
                    self.note(HOT, await self._hot_position())
            if names - {HOT}:
                with suppress(psycopg.Error, PoolTimeout):
                    async with self._pool.connection() as connection:
                        cursor = await connection.execute("SELECT projection, position FROM checkpoints", prepare=True)
                        for name, position in await cursor.fetchall():
                            if name != HOT:
                                self.note(name, position)
