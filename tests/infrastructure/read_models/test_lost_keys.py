"""A key that Redis has lost, or that is not what it should be, hides nothing, stops nobody, and is repaired."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from domain.task.events import TaskCreated, TaskRenamed, TaskStarted
from infrastructure.cli.projection_operations import read_status
from infrastructure.read_models.hot_keys import hot_keys
from infrastructure.read_models.hot_reader import HotUnavailable
from infrastructure.read_models.projecting import LogProjecting
from infrastructure.read_models.task_reads import Wait
from infrastructure.settings import Settings
from projections import HOT
from tests.infrastructure.reading_world import Reading, open_reading
from tests.log_world import ELSEWHERE, HOME, LOG, World, number

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]

KEYS = hot_keys(LOG, 2)
NOW = Wait()
LOSSES: dict[str, Callable[[Any], Any]] = {
    "a task": lambda client: client.delete(KEYS.task(HOME, number(3))),
    "the rows": lambda client: client.delete(KEYS.rows(HOME), KEYS.page(HOME)),
    "the order": lambda client: client.delete(KEYS.order(HOME), KEYS.page(HOME)),
    "the counters": lambda client: client.delete(KEYS.counts(HOME)),
    "one counter": lambda client: client.hdel(KEYS.counts(HOME), "open"),
    "the totals": lambda client: client.delete(KEYS.totals, KEYS.page(HOME)),
    "all of a workspace": lambda client: client.delete(
        KEYS.rows(HOME), KEYS.order(HOME), KEYS.counts(HOME), KEYS.page(HOME), KEYS.task(HOME, number(3))
    ),
    "the rows to another type": lambda client: (
        client.delete(KEYS.rows(HOME), KEYS.page(HOME)) and client.set(KEYS.rows(HOME), "x")
    ),
    "the counters to another type": lambda client: client.delete(KEYS.counts(HOME)) and client.lpush(KEYS.counts(HOME), "x"),
    "a counter to no number": lambda client: client.hset(KEYS.counts(HOME), "open", "many"),
}


@pytest.fixture
def projecting(world: World) -> Iterator[LogProjecting]:
    running = LogProjecting(world.database_url, world.redis_url, LOG)
    yield running
    running.close()


@pytest.fixture
def filled(world: World, projecting: LogProjecting) -> World:
    """25 tasks here, 2 of them started, and one elsewhere."""
    for n in range(1, 26):
        world.record(number(n), TaskCreated(f"Task {n}"), *([TaskStarted()] if n < 3 else []))
    world.record(number(100), TaskCreated("Elsewhere"), workspace=ELSEWHERE)
    projecting.sweep()
    return world


async def answers(reading: Reading) -> tuple[object, ...]:
    """What is asked most."""
    page = await reading.reads.first_page(HOME, NOW)
    return (
        (await reading.reads.task(HOME, number(3), NOW))[0],
        [row["id"] for row in msgspec.json.decode(page.items)],
        (await reading.reads.counts(HOME, NOW))[0],
    )


@pytest.mark.parametrize("loss", LOSSES)
async def test_what_redis_lost_is_answered_from_postgres_and_built_again(
    filled: World, projecting: LogProjecting, loss: str
) -> None:
    async with open_reading(filled) as reading:
        whole = await answers(reading)
        assert whole[2] == {"open": 23, "in_progress": 2}
        LOSSES[loss](filled.redis)
        assert await answers(reading) == whole
        if reading.hot._marking:
            await reading.hot._marking
    assert filled.redis.get(KEYS.damaged) is not None
    projecting.sweep()
    assert filled.generations() == {3}
    async with open_reading(filled) as reading:
        assert await answers(reading) == whole
        assert await reading.hot.position() == filled.head()


@pytest.mark.parametrize("loss", [name for name in LOSSES if name != "a task"])
async def test_a_batch_that_meets_a_damaged_key_writes_nothing_and_the_read_model_is_built_again(
    filled: World, projecting: LogProjecting, loss: str
) -> None:
    """Other workspaces' counters in the same batch are neither corrupted nor stopped."""
    LOSSES[loss](filled.redis)
    filled.record(number(101), TaskCreated("Before"), workspace=ELSEWHERE)
    filled.record(number(3), TaskStarted())
    filled.record(number(102), TaskCreated("After"), workspace=ELSEWHERE)
    projecting.run("hot")
    keys = hot_keys(LOG, 3)
    assert filled.generations() == {3}
    assert filled.redis.hgetall(keys.counts(ELSEWHERE)) == {b"open": b"3"}
    assert filled.redis.hgetall(keys.counts(HOME)) == {b"open": b"22", b"in_progress": b"3"}
    assert filled.parked(HOT) == []


async def test_a_script_that_ends_half_way_leaves_a_read_model_to_be_rebuilt(filled: World, projecting: LogProjecting) -> None:
    """What nobody foresaw: the first write was done and a later one failed. Redis takes nothing back."""
    checkpoint = filled.redis.get(KEYS.checkpoint)
    store = filled.hot_store()
    store._apply.script = store._apply.script.replace("redis.call('DEL', page)", "error('half-way')")
    store._apply = filled.redis.register_script(store._apply.script)
    filled.record(number(3), TaskStarted())
    projector = filled.hot(begin=False)
    projector._store = store
    projector.advance()
    assert filled.redis.hget(KEYS.counts(HOME), "in_progress") == b"3"
    assert checkpoint is not None
    projecting.run("hot")
    assert filled.redis.hgetall(hot_keys(LOG, 3).counts(HOME)) == {b"open": b"22", b"in_progress": b"3"}


async def test_an_unknown_task_is_still_unknown_and_many_of_them_share_a_query(filled: World) -> None:
    async with open_reading(filled) as reading:
        assert await reading.reads.task(HOME, number(999), NOW) == (None, filled.head())
        assert await reading.reads.task(ELSEWHERE, number(3), NOW) == (None, filled.head())
        asked: list[int] = []
        put = reading.reads._tasks._put

        async def counted(wanted: list[Any]) -> list[Any]:
            asked.append(len(wanted))
            return await put(wanted)

        reading.reads._tasks._put = counted
        found = await asyncio.gather(*(reading.reads.task(HOME, number(1000 + n), NOW) for n in range(200)))
        assert {answer for answer, _ in found} == {None}
        assert len(asked) <= 5
        assert sum(asked) == 200
    assert filled.redis.get(KEYS.damaged) is None


@pytest.mark.parametrize("value", ["", "nonsense", "a b c d", "x 1 - 7", b"\xff\xfe"])
async def test_a_malformed_checkpoint_is_shown_as_rebuilding_and_built_again(
    filled: World, projecting: LogProjecting, value: Any
) -> None:
    filled.redis.set(KEYS.checkpoint, value)
    settings = Settings(database_url=filled.database_url, redis_url=filled.redis_url)
    assert {model.name: model.redis for model in read_status(settings).read_models}[HOT] == "rebuilding"
    async with open_reading(filled) as reading:
        with pytest.raises(HotUnavailable):
            await reading.hot.position()
        assert (await answers(reading))[2] == {"open": 23, "in_progress": 2}
    projecting.sweep()
    assert {model.name: model.redis for model in read_status(settings).read_models}[HOT] == "ok"
    assert filled.generations() == {3}


async def test_an_empty_workspace_needs_no_look_into_postgres(filled: World) -> None:
    async with open_reading(filled) as reading:
        assert (await reading.hot.page(number(7))).items == b"[]"
        assert await reading.hot.counts(number(7)) == ({}, filled.head())
    filled.record(number(3), TaskRenamed("x"))
