"""Group commit: shared transactions, order, refusals, backpressure, stopping."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from application.log import Append, Appended, LogUnavailable, NewEvent, VersionConflict
from domain.task.events import TaskCreated
from infrastructure.log import fair_queue
from infrastructure.log.appender import GroupCommitAppender
from infrastructure.log.fair_queue import MOST_EVENTS_OF_ONE_LINE, QueueBounds
from infrastructure.servers.postgres import connect
from infrastructure.unavailable import Overloaded
from tests.infrastructure.log_under_test import (
    SCHEMA,
    an_append,
    created,
    key,
    log_connection,
    positions,
    renamed,
    stored,
    streams,
    versions,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def log(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with log_connection(database_url) as connection:
        yield connection


@asynccontextmanager
async def an_appender(database_url: str, bounds: QueueBounds | None = None) -> AsyncIterator[GroupCommitAppender]:
    appender = GroupCommitAppender(lambda: connect(database_url, SCHEMA), SCHEMA, bounds=bounds)
    await appender.start()
    try:
        yield appender
    finally:
        await appender.stop()


async def outcomes(appender: GroupCommitAppender, *appends: Append) -> list[Appended | BaseException]:
    """Append all at the same time."""
    return await asyncio.gather(*(appender.append(each) for each in appends), return_exceptions=True)


def transactions(log: psycopg.Connection[Any]) -> int:
    row = log.execute("SELECT count(DISTINCT xmin::text) FROM events").fetchone()
    assert row is not None
    return int(row[0])


class TestGrouping:
    async def test_concurrent_appends_share_transactions(self, database_url: str, log: psycopg.Connection[Any]) -> None:
        async with an_appender(database_url) as appender:
            await outcomes(appender, *(an_append(created(task)) for task in streams(100)))
        assert positions(log) == list(range(1, 101))
        assert transactions(log) <= 3

    async def test_every_caller_gets_its_own_answer(self, database_url: str) -> None:
        taken, first, second = streams(3)
        async with an_appender(database_url) as appender:
            await appender.append(an_append(created(taken)))
            answers = await outcomes(
                appender,
                an_append(created(first)),
                an_append(created(taken)),
                an_append(created(second), renamed(second, 2)),
            )
        assert isinstance(answers[1], VersionConflict)
        assert [a.position for a in answers if isinstance(a, Appended)] == [2, 4]

    async def test_appends_to_one_stream_keep_their_order(self, database_url: str, log: psycopg.Connection[Any]) -> None:
        task, other = streams(2)
        in_flight = [an_append(created(task)), *(an_append(renamed(task, n)) for n in range(2, 12))]
        async with an_appender(database_url) as appender:
            answers = await outcomes(appender, *in_flight, an_append(created(other)))
        assert all(isinstance(answer, Appended) for answer in answers)
        assert versions(log, task) == list(range(1, 12))

    async def test_an_append_waits_behind_an_earlier_one_that_shares_any_of_its_streams(
        self, database_url: str, log: psycopg.Connection[Any]
    ) -> None:
        first, second = streams(2)
        async with an_appender(database_url) as appender:
            answers = await outcomes(
                appender,
                an_append(created(first)),
                an_append(renamed(first, 2), created(second)),
                an_append(renamed(second, 2)),
            )
        assert all(isinstance(answer, Appended) for answer in answers)

    async def test_equal_keys_in_flight_write_once_and_leave_the_others_together(
        self, database_url: str, log: psycopg.Connection[Any]
    ) -> None:
        equal = [an_append(created(task), idempotency=key("k")) for task in streams(5)]
        others = [an_append(created(task)) for task in streams(50)]
        async with an_appender(database_url) as appender:
            answers = await outcomes(appender, *equal, *others)
        assert len({a.receipt for a in answers[:5] if isinstance(a, Appended)}) == 1
        assert len(stored(log)) == 51
        # Together in one call they would be refused together with the others, which then go one by one.
        assert transactions(log) <= 3

    async def test_the_newest_position_is_told_after_each_commit(self, database_url: str) -> None:
        heads: list[int] = []
        appender = GroupCommitAppender(lambda: connect(database_url, SCHEMA), SCHEMA, heads.append)
        await appender.start()
        await outcomes(appender, *(an_append(created(task)) for task in streams(5)))
        await appender.stop()
        assert heads[-1] == 5
        assert heads == sorted(heads)

    async def test_more_events_than_a_call_takes_go_in_several(
        self, database_url: str, log: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(fair_queue, "MOST_EVENTS_A_CALL", 10)
        async with an_appender(database_url) as appender:
            await outcomes(appender, *(an_append(created(task), renamed(task, 2)) for task in streams(50)))
        assert positions(log) == list(range(1, 101))
        assert transactions(log) >= 10

    async def test_an_announcement_that_fails_does_not_stop_the_log(self, database_url: str) -> None:
        def fail(position: int) -> None:
            raise ConnectionError

        appender = GroupCommitAppender(lambda: connect(database_url, SCHEMA), SCHEMA, fail)
        await appender.start()
        answers = [await appender.append(an_append(created(task))) for task in streams(2)]
        await appender.stop()
        assert [answer.position for answer in answers] == [1, 2]


class TestRefusals:
    async def test_an_append_that_the_server_refuses_leaves_the_others_alone(
        self, database_url: str, log: psycopg.Connection[Any]
    ) -> None:
        log.execute("ALTER TABLE events ADD CHECK (topic <> 'task.renamed')")
        first, refused, second = streams(3)
        async with an_appender(database_url) as appender:
            answers = await outcomes(
                appender,
                an_append(created(first)),
                an_append(renamed(refused, 1)),
                an_append(created(second)),
            )
        assert isinstance(answers[1], psycopg.errors.CheckViolation)
        assert {row.stream_id for row in stored(log)} == {first, second}

    async def test_an_append_that_cannot_be_encoded_leaves_the_others_alone(
        self, database_url: str, log: psycopg.Connection[Any]
    ) -> None:
        first, broken, second = streams(3)
        async with an_appender(database_url) as appender:
            answers = await outcomes(
                appender,
                an_append(created(first)),
                an_append(NewEvent(broken, 1, TaskCreated("\ud800"))),
                an_append(created(second)),
            )
            assert isinstance(answers[1], UnicodeEncodeError)
            assert isinstance(await appender.append(an_append(renamed(first, 2))), Appended)
        assert {row.stream_id for row in stored(log)} == {first, second}

    async def test_a_caller_that_gave_up_leaves_the_others_alone(self, database_url: str, log: psycopg.Connection[Any]) -> None:
        first, second = streams(2)
        async with an_appender(database_url) as appender:
            impatient = asyncio.ensure_future(appender.append(an_append(created(first))))
            patient = asyncio.ensure_future(appender.append(an_append(created(second))))
            await asyncio.sleep(0)
            impatient.cancel()
            assert isinstance(await patient, Appended)
            assert isinstance(await appender.append(an_append(renamed(second, 2))), Appended)


class TestBackpressure:
    async def test_more_than_may_wait_are_refused_at_once(self, database_url: str) -> None:
        async with an_appender(database_url, QueueBounds(appends=3)) as appender:
            answers = await outcomes(appender, *(an_append(created(task)) for task in streams(5)))
        assert [type(answer) for answer in answers] == [Appended] * 3 + [Overloaded] * 2

    async def test_a_flood_of_one_workspace_leaves_the_next_call_to_another(
        self, database_url: str, log: psycopg.Connection[Any]
    ) -> None:
        flood = [an_append(created(task)) for task in streams(2_000)]
        async with an_appender(database_url) as appender:
            with log.transaction():
                log.execute("LOCK TABLE events IN SHARE MODE")
                flooding = [asyncio.ensure_future(appender.append(each)) for each in flood]
                await until_blocked(log)
                late = asyncio.ensure_future(appender.append(an_append(created(*streams(1)), workspace_id=uuid4())))
                await asyncio.sleep(0)
            answer = await late
            assert {type(each) for each in await asyncio.gather(*flooding)} == {Appended}
        # One call was under way, and the next one has it among what the flood may send in a call.
        assert answer.position <= 2 * MOST_EVENTS_OF_ONE_LINE + 1

    async def test_what_waited_beyond_its_deadline_is_refused_and_not_stored(
        self, database_url: str, log: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first, second = streams(2)
        async with an_appender(database_url) as appender:
            with log.transaction():
                log.execute("LOCK TABLE events IN SHARE MODE")
                under_way = asyncio.ensure_future(appender.append(an_append(created(first))))
                await until_blocked(log)
                with monkeypatch.context() as patch:
                    patch.setattr("infrastructure.log.appender.DEADLINE_SECONDS", -1.0)
                    late = asyncio.ensure_future(appender.append(an_append(created(second))))
                    await asyncio.sleep(0)
            assert isinstance(await under_way, Appended)
            with pytest.raises(Overloaded):
                await asyncio.wait_for(late, 60)
        assert [row.stream_id for row in stored(log)] == [first]


class TestStopping:
    async def test_what_is_under_way_is_answered_before_it_stops(self, database_url: str, log: psycopg.Connection[Any]) -> None:
        appender = GroupCommitAppender(lambda: connect(database_url, SCHEMA), SCHEMA)
        await appender.start()
        with log.transaction():
            log.execute("LOCK TABLE events IN SHARE MODE")
            under_way = [asyncio.ensure_future(appender.append(an_append(created(t)))) for t in streams(3)]
            await until_blocked(log)
            stopping = asyncio.ensure_future(appender.stop())
            await asyncio.sleep(0)
        await asyncio.wait_for(stopping, 60)
        assert [answer.position for answer in await asyncio.wait_for(asyncio.gather(*under_way), 60)] == [
            1,
            2,
            3,
        ]

    async def test_nothing_is_taken_afterwards(self, database_url: str) -> None:
        async with an_appender(database_url) as appender:
            pass
        with pytest.raises(LogUnavailable):
            await asyncio.wait_for(appender.append(an_append(created(streams(1)[0]))), 60)


async def until_blocked(log: psycopg.Connection[Any]) -> None:
    """Wait until some session waits for a lock that `log` holds."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid))"
    blocked: tuple[int] | None = None
    while not blocked or not blocked[0]:
        await asyncio.sleep(0.01)
        blocked = log.execute(query).fetchone()
