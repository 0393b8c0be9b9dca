"""What is read while one build of the hot read model takes the place of another."""

import asyncio

import psycopg
import redis

from infrastructure.read_models.hot_keys import hot_keys
from infrastructure.read_models.hot_reader import HotReader, HotUnavailable
from infrastructure.servers.postgres import log_schema, models_schema, pool
from infrastructure.servers.redis_client import READ_MODELS, async_client
from infrastructure.settings import Settings
from tests.faults.laboratory import Laboratory

MISSING = f"{hot_keys('main', 1).prefix}t:somebody:something"


async def _read_while_the_generation_changes(settings: Settings) -> None:
    async with pool(settings.database_url, log_schema("main"), 2) as connections:
        client = async_client(settings.redis_url, READ_MODELS, 5.0)
        reader = HotReader(client, connections, "main")
        # More keys than one round trip takes: the first ones find no checkpoint, the others are still waiting then.
        reads = [asyncio.create_task(reader.read(f"{MISSING}{number}")) for number in range(300)]
        answers = await asyncio.gather(*reads, return_exceptions=True)
        await reader.close()
        await client.aclose()
    assert {type(answer) for answer in answers} == {HotUnavailable}


def test_a_read_that_waits_while_the_generation_changes_does_not_find_its_task_missing(laboratory: Laboratory) -> None:
    settings = laboratory.fresh()
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        connection.execute(f"UPDATE {models_schema('main')}.checkpoints SET generation = 2 WHERE projection = 'hot_tasks'")
        log_id = connection.execute("SELECT log_id FROM log_main.log").fetchone()
        assert log_id
    with redis.Redis.from_url(settings.redis_url) as client:
        client.set(hot_keys("main", 2).checkpoint, f"{log_id[0]} 1 - 7")
    asyncio.run(_read_while_the_generation_changes(settings))
