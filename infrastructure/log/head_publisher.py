"""Announces new positions on Redis after commits: fire and forget, one announcement under way at a time."""

import asyncio
from contextlib import suppress

import redis.asyncio
from redis.exceptions import RedisError

from infrastructure.processes.failpoints import failpoint
from infrastructure.servers.redis_client import READ_MODELS, head_channel, sync_client

SECONDS_AN_EVENT = 0.002
MOST_SECONDS_BETWEEN = 0.025
SECONDS_AFTER_FAILURE = 0.5


class HeadPublisher:
    """Never blocks and never fails a command: what it does not get through, the workers' sweep finds."""

    def __init__(self, client: redis.asyncio.Redis, log_name: str) -> None:
        self._client = client
        self._channel = head_channel(log_name)
        self._newest = 0
        self._announced = 0
        self._running: asyncio.Task[None] | None = None

    @property
    def newest(self) -> int:
        """The newest position that this process has committed."""
        return self._newest

    def announce(self, position: int) -> None:
        """Announce `position` soon; newer ones take its place."""
        self._newest = max(self._newest, position)
        if self._running is None:
            self._running = asyncio.create_task(self._publish(), name="head publisher")

    async def _publish(self) -> None:
        try:
            while self._announced < self._newest:
                position = self._newest
                failpoint("head.before_announcement")
                try:
                    await self._client.publish(self._channel, position)
                except (RedisError, OSError):
                    await asyncio.sleep(SECONDS_AFTER_FAILURE)
                else:
                    # Under load an announcement stands for many events, and the workers take them in batches anyway.
                    await asyncio.sleep(min(MOST_SECONDS_BETWEEN, SECONDS_AN_EVENT * (position - self._announced)))
                self._announced = position
        finally:
            self._running = None

    async def close(self) -> None:
        """Stop announcing."""
        if self._running:
            self._running.cancel()
            with suppress(asyncio.CancelledError):
                await self._running


class ImportHeadPublisher:
    """The same for an import, which announces one chunk after the other and waits for each."""

    def __init__(self, redis_url: str, log_name: str) -> None:
        self._client = sync_client(redis_url, READ_MODELS, timeout=0.5) if redis_url else None
        self._reachable = redis_url != ""
        self._channel = head_channel(log_name)

    def announce(self, position: int) -> None:
        """Announce `position`, if Redis can be reached."""
        if self._client is None or not self._reachable:
            return
        try:
            self._client.publish(self._channel, str(position))
        except RedisError:
            # Asked no more: waiting for it at every chunk would slow the import down.
            self._reachable = False

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._client is not None:
            self._client.close()
