"""What an answer reflects is what it says, whatever was announced, restored or held up meanwhile."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from application.log import LogUnavailable
from domain.task.events import TaskCreated, TaskRenamed
from infrastructure.embedded.services import LocalServices
from infrastructure.log.places import Place
from infrastructure.read_models.hot_reader import HotUnavailable
from infrastructure.read_models.projecting import LogProjecting
from infrastructure.read_models.task_reads import NotYetApplied, Wait
from infrastructure.servers.patience import Patience
from infrastructure.unavailable import Unavailable
from projections import HOT, TABLES
from projections.flow import flow_metrics
from projections.tables.bounds import Room
from projections.task.list_query import TaskQuery
from tests.infrastructure.read_models.test_task_reads import FLOW_OF_TODAY, TODAY
from tests.infrastructure.reading_world import Reading, open_reading
from tests.log_world import HOME, LOG, World, number

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio"])]

NOW = Wait()
PATIENT = 20.0


@pytest.fixture
def projecting(world: World) -> Iterator[LogProjecting]:
    running = LogProjecting(world.database_url, world.redis_url, LOG)
    yield running
    running.close()


@pytest.fixture
def filled(world: World, projecting: LogProjecting) -> World:
    for n in range(1, 26):
        world.record(number(n), TaskCreated(f"Task {n}"))
    projecting.sweep()
    return world


def asks(reading: Reading, wait: Wait) -> dict[str, Callable[[], Any]]:
    reads = reading.reads
    return {
        "list": lambda: reads.find(HOME, TaskQuery(), None, Room(10), wait),
        "history": lambda: reads.history(HOME, ("task", number(3)), 0, Room(10), wait),
        "changes": lambda: reads.changes(HOME, Place(0), Room(10), wait),
        "flow": lambda: reads.read("flow", lambda c: flow_metrics(c, FLOW_OF_TODAY, TODAY), wait),
    }


@pytest.mark.parametrize("kind", ["list", "history", "changes", "flow"])
async def test_an_announcement_that_did_not_last_makes_no_older_answer_good(
    filled: World, projecting: LogProjecting, kind: str
) -> None:
    """Read models commit without waiting for the disk: after a crash one may be behind what it announced."""
    async with open_reading(filled) as reading:
        position = filled.record(number(3), TaskRenamed("Changed"))
        for projection in TABLES:
            reading.positions.note(projection.name, position)
        reading.positions.note(HOT, position)
        with pytest.raises(NotYetApplied) as refused:
            await asks(reading, Wait(position, 0.2))[kind]()
        assert refused.value.position == position - 1
        waiting = asyncio.ensure_future(asks(reading, Wait(position, PATIENT))[kind]())
        await asyncio.wait([waiting], timeout=0.1)
        assert not waiting.done()
        await asyncio.to_thread(projecting.sweep)
        assert (await waiting).position == position


async def test_what_is_known_falls_when_a_read_model_went_back(filled: World) -> None:
    async with open_reading(filled) as reading:
        reading.positions.note("task_list", 1000)
        filled.record(number(3), TaskRenamed("Changed"))
        with pytest.raises(NotYetApplied):
            await reading.reads.find(HOME, TaskQuery(), None, Room(10), Wait(26, 0.05))
        assert reading.positions.known("task_list") == 25


async def test_news_that_came_while_an_answer_was_made_are_not_taken_back(filled: World) -> None:
    async with open_reading(filled) as reading:
        since = reading.positions.now
        reading.positions.note("task_list", 30)
        reading.positions.found("task_list", 25, since)
        assert reading.positions.known("task_list") == 30


@asynccontextmanager
async def looked_again(reading: Reading) -> AsyncIterator[None]:
    """Until the watch has looked after what was done in the block."""
    looked = asyncio.Event()
    adopt = reading.watch.on_look
    yield

    def look(standing: object) -> None:
        adopt(standing)  # type: ignore[arg-type]  # as it came
        looked.set()

    reading.watch.on_look = look
    async with asyncio.timeout(PATIENT):
        await looked.wait()
    reading.watch.on_look = adopt


async def test_a_log_of_another_epoch_is_not_answered_for_by_redis(filled: World, projecting: LogProjecting) -> None:
    async with open_reading(filled) as reading:
        assert await reading.hot.position() == 25
        async with looked_again(reading):
            filled.connection.execute("UPDATE log SET epoch = epoch + 1")
        with pytest.raises(HotUnavailable):
            await reading.hot.position()
        assert (await reading.reads.task(HOME, number(3), NOW))[1] == 25
        await asyncio.to_thread(projecting.sweep)
        async with looked_again(reading):
            reading.watch.doubt()
        assert await reading.hot.position() == 25


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENT):
        while not condition():  # noqa: ASYNC110 - the state has no event of its own
            await asyncio.sleep(0.001)


async def test_a_lost_history_is_not_read_from_redis_after_a_restore(filled: World) -> None:
    """Every connection breaks, as when a database is replaced; the first read afterwards already knows."""
    async with open_reading(filled) as reading:
        assert (await reading.reads.task(HOME, number(25), NOW))[0] is not None
        filled.connection.execute("UPDATE log SET epoch = epoch + 1")
        filled.connection.execute("DELETE FROM events WHERE notification_id > 20")
        filled.connection.execute("DELETE FROM task_list WHERE created_position > 20")
        filled.connection.execute(
            "UPDATE checkpoints SET position = 20, leaf_hash = (SELECT hash FROM events WHERE notification_id = 20)"
        )
        filled.connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )
        await eventually(lambda: reading.watch.state != "sure")
        assert await once_connected(lambda: reading.reads.task(HOME, number(25), NOW)) == (None, 20)
        position = filled.record(number(50), TaskCreated("After"))
        with pytest.raises(NotYetApplied) as refused:
            await reading.reads.task(HOME, number(50), Wait(position, 0.05))
        assert refused.value.position == 20


async def once_connected(ask: Callable[[], Any]) -> Any:
    """The first answer; connections of the pool that are broken are honest refusals."""
    for _ in range(10):
        with suppress(LogUnavailable):
            return await ask()
    raise AssertionError("no connection came back")


async def test_a_read_model_that_reflects_another_history_is_not_served(filled: World, projecting: LogProjecting) -> None:
    async with open_reading(filled) as reading:
        async with looked_again(reading):
            filled.connection.execute("DELETE FROM events WHERE notification_id > 20")
            filled.connection.execute("UPDATE log SET epoch = epoch + 1")
        for kind, ask in asks(reading, NOW).items():
            with pytest.raises(Unavailable):
                await ask()
            assert kind
        with pytest.raises(Unavailable):
            await reading.reads.task(HOME, number(25), NOW)
        await asyncio.to_thread(projecting.sweep)
        async with looked_again(reading):
            reading.watch.doubt()
        assert (await reading.reads.find(HOME, TaskQuery(), None, Room(100), NOW)).position == 20
        assert (await reading.reads.task(HOME, number(25), NOW)) == (None, 20)


async def test_a_write_that_had_to_reconnect_makes_the_next_read_look_first(filled: World) -> None:
    async with open_reading(filled) as reading:
        assert await reading.hot.position() == 25
        filled.connection.execute("ALTER TABLE log DISABLE TRIGGER tell")
        filled.connection.execute("UPDATE log SET epoch = epoch + 1")
        reading.watch.doubt()
        with pytest.raises(HotUnavailable):
            await reading.hot.position()


# A busy event loop


async def test_a_busy_event_loop_is_not_taken_for_a_silent_redis(filled: World) -> None:
    async with open_reading(filled) as reading:
        await reading.hot.position()
        asking = [asyncio.create_task(reading.hot.read(reading.hot.keys.task(HOME, number(n)))) for n in range(1, 26)]
        await asyncio.sleep(0)
        for _ in range(3):
            # What is on the wire is answered long before the loop comes back to it.
            time.sleep(0.4)  # noqa: ASYNC251 - this is what is tried
            await asyncio.sleep(0)
        answers = await asyncio.gather(*asking)
        assert {position for position, _ in answers} == {25}
        assert reading.hot._rest_until == 0.0


async def test_a_plain_timeout_would_have_blamed_the_answer() -> None:
    """The control: both wait for something that comes while the loop is held up."""
    loop = asyncio.get_running_loop()

    async def held_up(limit: Callable[[], object]) -> bool:
        answered: asyncio.Future[bool] = loop.create_future()

        def answer() -> None:
            if not answered.done():
                answered.set_result(True)

        loop.call_soon(time.sleep, 0.4)
        # As with a socket: that it can be read is found out behind the timers that are due.
        loop.call_later(0.3, lambda: loop.call_soon(loop.call_soon, answer))
        try:
            async with limit():  # type: ignore[attr-defined]  # a context manager
                return await answered
        except TimeoutError:
            return False

    assert not await held_up(lambda: asyncio.timeout(0.25))
    assert await held_up(lambda: Patience(0.25))


async def test_patience_ends_where_nobody_answers() -> None:
    begun = time.monotonic()
    with pytest.raises(TimeoutError):
        async with Patience(0.25):
            await asyncio.get_running_loop().create_future()
    assert time.monotonic() - begun < PATIENT


async def test_one_silence_of_redis_sends_only_those_who_waited_to_postgres(filled: World, services: LocalServices) -> None:
    async with open_reading(filled) as reading:
        await reading.hot.position()
        services.pause_redis()
        try:
            with pytest.raises(HotUnavailable):
                await reading.hot.position()
        finally:
            services.resume_redis()
        assert await reading.hot.position() == 25
