"""One API process's share of reading, over the real servers of a test."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import redis.asyncio

from infrastructure.log.watch import LogWatch
from infrastructure.read_models.applied_positions import AppliedPositions
from infrastructure.read_models.hot_reader import HotReader
from infrastructure.read_models.task_reads import TaskReads
from infrastructure.servers.postgres import conninfo, pool
from infrastructure.servers.redis_client import BROKER, READ_MODELS, async_client
from tests.log_world import LOG, SCHEMA, World


class Reading:
    """The parts, each of which a test may look at."""

    def __init__(
        self, reads: TaskReads, hot: HotReader, positions: AppliedPositions, client: redis.asyncio.Redis, watch: LogWatch
    ) -> None:
        self.watch = watch
        self.reads = reads
        self.hot = hot
        self.positions = positions
        self.client = client


@asynccontextmanager
async def open_reading(world: World) -> AsyncIterator[Reading]:
    """Opened as `bootstrap` does it."""
    opened = pool(world.database_url, SCHEMA, 4, "test reads")
    await opened.open(wait=True, timeout=10)
    client, hints = async_client(world.redis_url, READ_MODELS, None), async_client(world.redis_url, BROKER, 1.0)
    watch = LogWatch(conninfo(world.database_url, SCHEMA, "test watch"))
    hot = HotReader(client, opened, LOG, watch)
    watch.on_look = hot.adopt
    await hot.find_generation()
    await watch.start()
    positions = AppliedPositions(hints, opened, LOG, hot.position)
    positions.start()
    try:
        yield Reading(TaskReads(hot, opened, positions, watch), hot, positions, client, watch)
    finally:
        await positions.close()
        await watch.stop()
        await hot.close()
        await opened.close()
        await client.aclose()
        await hints.aclose()
