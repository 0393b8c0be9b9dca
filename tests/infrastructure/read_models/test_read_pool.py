"""What every connection of the API's read pools is told by the server's own word."""

from collections.abc import AsyncIterator

import psycopg
import pytest

from infrastructure.servers.postgres import AsyncPool, models_schema, pool

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def reads(database_url: str) -> AsyncIterator[AsyncPool]:
    async with pool(database_url, "log_main", 1) as opened:
        yield opened


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("plan_cache_mode", "force_custom_plan"),
        ("max_parallel_workers_per_gather", "0"),
        ("jit", "off"),
        ("statement_timeout", "5s"),
        ("lock_timeout", "3s"),
    ],
)
async def test_plans_do_not_flip_and_nothing_waits_for_ever(reads: AsyncPool, setting: str, value: str) -> None:
    async with reads.connection() as connection:
        row = await (await connection.execute(f"SHOW {setting}")).fetchone()
    assert row == (value,)


async def test_a_read_that_meets_a_lock_gives_up(reads: AsyncPool, database_url: str) -> None:
    async with await psycopg.AsyncConnection.connect(database_url) as other, reads.connection() as connection:
        await other.execute(f"LOCK TABLE {models_schema('main')}.task_list IN ACCESS EXCLUSIVE MODE")
        await connection.execute("SET lock_timeout = '50ms'")
        with pytest.raises(psycopg.OperationalError):
            await connection.execute("SELECT count(*) FROM task_list")
