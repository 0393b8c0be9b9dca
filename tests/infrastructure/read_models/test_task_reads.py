"""Reads: from Redis where it is whole, else from Postgres, never fewer rows and never older than asked for."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from application.log import LogUnavailable
from domain.task.events import TaskCreated, TaskRenamed
from infrastructure.embedded.services import LocalServices
from infrastructure.log.places import AheadOfLog, Place
from infrastructure.read_models.hot_keys import hot_keys
from infrastructure.read_models.hot_reader import HotUnavailable
from infrastructure.read_models.projecting import LogProjecting
from infrastructure.read_models.rebuild import rebuild
from infrastructure.read_models.task_reads import NotYetApplied, Wait
from infrastructure.servers.redis_client import applied_channel
from projections import HOT
from projections.flow import FlowQuery, flow_metrics
from projections.tables.bounds import Room
from projections.task.hot import HotPage
from projections.task.list_query import TaskQuery
from projections.task.views import detail_json
from tests.infrastructure.reading_world import Reading, open_reading
from tests.log_world import HOME, LOG, World, number

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]

NOW = Wait()
TODAY = datetime.now(UTC).date()
FLOW_OF_TODAY = FlowQuery(workspace_id=HOME, first_day=TODAY, last_day=TODAY)
PATIENT = 20.0


@pytest.fixture
def projecting(world: World) -> Iterator[LogProjecting]:
    running = LogProjecting(world.database_url, world.redis_url, LOG)
    yield running
    running.close()


@pytest.fixture
def filled(world: World, projecting: LogProjecting) -> World:
    """25 tasks in both stores."""
    for n in range(1, 26):
        world.record(number(n), TaskCreated(f"Task {n}"))
    projecting.sweep()
    assert world.redis.get(hot_keys(LOG, 2).checkpoint), "the first sweep builds the second generation"
    return world


def commands(world: World) -> dict[str, int]:
    """How often Redis was asked what."""
    stats: Any = world.redis.info("commandstats")
    return {name.removeprefix("cmdstat_"): stat["calls"] for name, stat in stats.items()}


async def rows(reading: Reading) -> int:
    page = await reading.reads.first_page(HOME, NOW)
    return len(msgspec.json.decode(page.items))


async def test_a_task_is_read_from_redis(filled: World) -> None:
    async with open_reading(filled) as reading:
        await reading.hot.position()
        before = commands(filled)["mget"]
        found, position = await reading.reads.task(HOME, number(3), NOW)
        assert found == (1, detail_json(filled.folded(number(3))))
        assert position == 25
        assert commands(filled)["mget"] == before + 1


async def test_redis_and_postgres_give_the_same_answers(filled: World) -> None:
    async with open_reading(filled) as reading:
        hot = (
            await reading.reads.task(HOME, number(3), NOW),
            await reading.reads.task(HOME, number(99), NOW),
            await reading.reads.first_page(HOME, NOW),
            await reading.reads.counts(HOME, NOW),
        )
        filled.redis.flushdb()
        tables = (
            await reading.reads.task(HOME, number(3), NOW),
            await reading.reads.task(HOME, number(99), NOW),
            await reading.reads.first_page(HOME, NOW),
            await reading.reads.counts(HOME, NOW),
        )
        assert tables == hot
        assert tables[1] == (None, 25)


async def test_an_emptied_redis_is_no_empty_list(filled: World) -> None:
    async with open_reading(filled) as reading:
        assert await rows(reading) == 20
        filled.redis.flushdb()
        for _ in range(5):
            assert await rows(reading) == 20
            assert (await reading.reads.task(HOME, number(1), NOW))[0] is not None
            assert (await reading.reads.counts(HOME, NOW))[0] == {"open": 25}


async def test_a_half_built_generation_is_not_served(filled: World) -> None:
    async with open_reading(filled) as reading:
        filled.redis.delete(hot_keys(LOG, 2).checkpoint)
        filled.redis.delete(hot_keys(LOG, 2).order(HOME), hot_keys(LOG, 2).page(HOME))
        assert await rows(reading) == 20


async def test_reads_survive_a_killed_redis_and_find_it_again(
    filled: World, projecting: LogProjecting, services: LocalServices
) -> None:
    async with open_reading(filled) as reading:
        services.kill_redis()
        try:
            for _ in range(3):
                assert await rows(reading) == 20
        finally:
            services.start_redis(empty=True)
        assert await rows(reading) == 20
        async with asyncio.timeout(PATIENT):
            while await hot_position(reading) != 25:
                await asyncio.to_thread(projecting.sweep)
        assert await rows(reading) == 20


async def hot_position(reading: Reading) -> int | None:
    try:
        return await reading.reads.hot_position()
    except HotUnavailable:
        return None


async def test_a_paused_redis_is_waited_for_once_and_not_by_everybody(filled: World, services: LocalServices) -> None:
    async with open_reading(filled) as reading:
        await rows(reading)
        services.pause_redis()
        try:
            async with asyncio.timeout(PATIENT):
                found = await asyncio.gather(*(reading.reads.task(HOME, number(n), NOW) for n in range(1, 26)))
            assert all(answer is not None for answer, _ in found)
            with pytest.raises(HotUnavailable):
                await reading.hot.read(reading.hot.keys.checkpoint)
        finally:
            services.resume_redis()


async def test_a_generation_that_changes_while_reads_are_under_way_hides_no_task(filled: World) -> None:
    """Reads that were queued with the old generation's keys must not be answered beside the new one's checkpoint."""
    async with open_reading(filled) as reading:
        old = reading.hot.keys
        await asyncio.to_thread(rebuild, filled.database_url, filled.redis_url, LOG, HOT)
        first = asyncio.create_task(reading.hot.read(old.task(HOME, number(1))))
        await asyncio.sleep(0)
        for _ in range(20):
            if not reading.hot._waiting:
                break
            await asyncio.sleep(0)
        # Its round trip is under way; these are queued behind it.
        queued = [asyncio.create_task(reading.hot.read(old.task(HOME, number(n)))) for n in range(1, 26)]
        answers = await asyncio.gather(first, *queued, return_exceptions=True)
        assert [type(answer) for answer in answers] == [HotUnavailable] * 26
        assert reading.hot.keys.generation == old.generation + 1
        assert (await reading.reads.task(HOME, number(1), NOW))[0] is not None


async def test_no_read_misses_a_row_while_generations_are_switched(filled: World) -> None:
    async with open_reading(filled) as reading:
        switching = asyncio.create_task(asyncio.to_thread(_rebuild_often, filled))
        asked = 0
        while not switching.done():
            found = await asyncio.gather(*(reading.reads.task(HOME, number(n), NOW) for n in range(1, 26)), rows(reading))
            assert found.pop() == 20
            assert all(answer[0] is not None for answer in found if isinstance(answer, tuple))
            asked += 1
        await switching
        assert asked > 5
        assert filled.generations() == {5}


def _rebuild_often(world: World) -> None:
    for _ in range(3):
        rebuild(world.database_url, world.redis_url, LOG, HOT)


async def test_reads_that_come_together_share_round_trips(filled: World) -> None:
    async with open_reading(filled) as reading:
        await reading.hot.position()
        before = commands(filled)
        found = await asyncio.gather(*(reading.reads.task(HOME, number(1 + n % 25), NOW) for n in range(200)))
        asked = commands(filled)["mget"] - before["mget"]
        assert all(answer is not None for answer, _ in found)
        assert 1 <= asked <= 3
        assert commands(filled).get("get", 0) == before.get("get", 0)


async def test_a_read_waits_until_its_position_is_applied(filled: World, projecting: LogProjecting) -> None:
    async with open_reading(filled) as reading:
        position = filled.record(number(3), TaskRenamed("Changed"))
        for ask in (
            lambda: reading.reads.task(HOME, number(3), Wait(position, PATIENT)),
            lambda: reading.reads.first_page(HOME, Wait(position, PATIENT)),
            lambda: reading.reads.counts(HOME, Wait(position, PATIENT)),
        ):
            waiting = asyncio.create_task(ask())  # type: ignore[arg-type]  # each a coroutine
            await asyncio.wait([waiting], timeout=0.1)
            assert not waiting.done()
            await asyncio.to_thread(projecting.sweep)
            answer: Any = await waiting
            assert (answer.position if isinstance(answer, HotPage) else answer[-1]) == position
            position = filled.record(number(4), TaskRenamed(f"Changed at {position}"))


async def test_lists_and_histories_wait_for_their_own_read_models(filled: World, projecting: LogProjecting) -> None:
    async with open_reading(filled) as reading:
        position = filled.record(number(3), TaskRenamed("Changed"))
        wait = Wait(position, PATIENT)
        waiting = [
            asyncio.create_task(reading.reads.find(HOME, TaskQuery(q="changed"), None, Room(10), wait)),
            asyncio.create_task(reading.reads.history(HOME, ("task", number(3)), 0, Room(10), wait)),
            asyncio.create_task(reading.reads.changes(HOME, Place(25), Room(10), wait)),
            asyncio.create_task(
                reading.reads.read(
                    "flow",
                    lambda c: flow_metrics(c, FLOW_OF_TODAY, TODAY),
                    wait,
                )
            ),
        ]
        await asyncio.wait(waiting, timeout=0.1)
        assert not any(each.done() for each in waiting)
        await asyncio.to_thread(projecting.sweep)
        page, history, changes, flow = await asyncio.gather(*waiting)
        assert page is not None
        assert history is not None
        assert changes is not None
        assert flow is not None
        assert [page.position, history.position, changes.position, flow.position] == [position] * 4
        assert (len(page.items), len(history.items), len(changes.items)) == (1, 2, 1)


async def test_the_announcement_wakes_the_waiter_before_it_looks_for_itself(
    filled: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With looking switched off, only the announcement can end the wait."""
    monkeypatch.setattr("infrastructure.read_models.applied_positions.LOOK_SECONDS", 3600.0)
    async with open_reading(filled) as deaf:
        waiting = asyncio.create_task(deaf.positions.wait_for(("flow",), 1000, PATIENT))
        async with asyncio.timeout(PATIENT):
            while not waiting.done():
                filled.redis.publish(applied_channel(LOG), "flow,task_list 1000")
                await asyncio.wait([waiting], timeout=0.05)
            assert await waiting
            assert deaf.positions.known("task_list") == 1000


async def test_a_lost_announcement_costs_only_a_look(filled: World) -> None:
    """The projectors here announce nothing."""
    async with open_reading(filled) as reading:
        position = filled.record(number(3), TaskRenamed("Changed"))
        wait = Wait(position, PATIENT)
        hot = asyncio.create_task(reading.reads.task(HOME, number(3), wait))
        table = asyncio.create_task(reading.reads.history(HOME, ("task", number(3)), 0, Room(10), wait))
        await asyncio.wait([hot, table], timeout=0.1)
        assert not hot.done()
        assert not table.done()
        filled.tables().catch_up()
        filled.hot(begin=False).catch_up()
        assert (await hot)[1] == position
        assert (await table).position == position


async def test_what_is_not_applied_in_time_is_refused_with_both_positions(filled: World) -> None:
    async with open_reading(filled) as reading:
        position = filled.record(number(3), TaskRenamed("Changed"))
        with pytest.raises(NotYetApplied) as refused:
            await reading.reads.task(HOME, number(3), Wait(position, 0.05))
        assert (refused.value.position, refused.value.wanted) == (25, 26)
        with pytest.raises(NotYetApplied):
            await reading.reads.find(HOME, TaskQuery(), None, Room(10), Wait(position, 0.05))


async def test_a_redis_that_stays_behind_does_not_fail_a_read_that_postgres_can_answer(filled: World) -> None:
    async with open_reading(filled) as reading:
        position = filled.record(number(3), TaskRenamed("Changed"))
        filled.tables().catch_up()
        found, at = await reading.reads.task(HOME, number(3), Wait(position, 0.05))
        assert found is not None
        assert (found[0], at) == (2, position)


async def test_a_position_that_the_log_has_not_reached_is_refused_at_once(filled: World) -> None:
    async with open_reading(filled) as reading:
        for ask in (reading.reads.task(HOME, number(3), Wait(999, 3600.0)), reading.reads.counts(HOME, Wait(999, 3600.0))):
            with pytest.raises(AheadOfLog) as refused:
                async with asyncio.timeout(PATIENT):
                    await ask
            assert (refused.value.head, refused.value.wanted) == (25, 999)


async def test_without_postgres_redis_still_serves_and_the_rest_says_so(filled: World, services: LocalServices) -> None:
    async with open_reading(filled) as reading:
        await rows(reading)
        services.kill_postgres()
        try:
            assert await rows(reading) == 20
            with pytest.raises(LogUnavailable):
                await reading.reads.find(HOME, TaskQuery(), None, Room(10), NOW)
        finally:
            services.start_postgres()


async def test_closing_ends_also_while_redis_is_being_connected(world: World) -> None:
    """The library loses a cancellation that comes at the wrong moment."""
    for tenths_of_milliseconds in range(60):
        async with asyncio.timeout(PATIENT):
            async with open_reading(world):
                await asyncio.sleep(tenths_of_milliseconds / 10_000)
