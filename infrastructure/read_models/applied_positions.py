"""How far each read model has come, as this process has heard, and waiting until one has come far enough.

What is known here is a hint and may fall: read models commit without waiting for the disk, so after a crash of the server one
may be behind what was announced, and a log may be restored. Answers count, not announcements: a reader that found a read model
behind says so (`found`), and waits for news that came after it looked.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import psycopg
import redis.asyncio
from psycopg_pool import PoolTimeout
from redis.exceptions import RedisError

from infrastructure.read_models.hot_reader import HotUnavailable
from infrastructure.servers.postgres import AsyncPool
from infrastructure.servers.redis_client import applied_channel
from projections import HOT

logger = logging.getLogger("taskmaster.reads")

LOOK_SECONDS = 0.05
"""How often waiters look for themselves: announcements may be lost, the checkpoints are not."""


_PLACES: Final = "SELECT projection, position FROM checkpoints WHERE position IS NOT NULL"


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
        self._known: dict[str, tuple[int, int]] = {}
        self._news = 0
        self._waiters: set[tuple[tuple[str, ...], int, asyncio.Future[None]]] = set()
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
        """The position at which this process last saw or heard a read model."""
        return self._known.get(projection, (0, 0))[0]

    @property
    def now(self) -> int:
        """A moment in the order in which news come, for `found` and `wait_for`."""
        return self._news

    def note(self, projection: str, position: int) -> None:
        """Somebody saw or announced a read model at `position`, further on or further back than before."""
        self._news += 1
        self._known[projection] = (position, self._news)
        for names, wanted, waiter in list(self._waiters):
            if projection in names and wanted <= position and not waiter.done():
                waiter.set_result(None)

    def found(self, projection: str, position: int, since: int) -> None:
        """An answer that was asked for at `since` reflects `position`: what was heard before that counts no longer."""
        if self._known.get(projection, (0, 0))[1] <= since:
            self.note(projection, position)

    async def wait_for(self, projections: tuple[str, ...], position: int, seconds: float) -> bool:
        """Whether one of the read models was seen or announced at `position` within so many seconds."""
        if any(self.known(projection) >= position for projection in projections):
            return True
        if seconds <= 0:
            return False
        waiter = (projections, position, asyncio.get_running_loop().create_future())
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
        names, _, position = data.decode(errors="replace").partition(" ")
        if position.isdigit():
            for name in names.split(","):
                self.note(name, int(position))

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            names = {name for names, _, _ in self._waiters for name in names}
            if HOT in names:
                with suppress(HotUnavailable):
                    self.note(HOT, await self._hot_position())
            if names - {HOT}:
                with suppress(psycopg.Error, PoolTimeout):
                    async with self._pool.connection() as connection:
                        cursor = await connection.execute(_PLACES, prepare=True)
                        for name, position in await cursor.fetchall():
                            self.note(name, position)
