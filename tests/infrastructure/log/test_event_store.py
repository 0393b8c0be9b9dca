"""The log in PostgreSQL as it is read: by stream, version, time and position, with snapshots and a cache."""

import random
import tracemalloc
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import Any
from uuid import UUID, uuid4

import msgspec
import psycopg
import pytest

from application.log import Loaded, LogUnavailable, NewEvent
from domain.task.aggregate import TASK
from domain.task.events import TaskCreated, TaskRenamed
from domain.task.rules import Task
from infrastructure.embedded.services import LocalServices
from infrastructure.log.event_store import PostgresEventStore
from infrastructure.log.stream_memory import StreamMemory, size_of
from infrastructure.log.time_travel import ANY_VERSION, Moment, document_as_of
from infrastructure.servers.postgres import connect, models_schema
from projections.engine.changes import Change
from projections.task.document import TaskDocument, TaskRecord, fold
from projections.task.snapshots import EVERY, TASK_DOCUMENTS, TaskSnapshots
from tests.domain.samples import people
from tests.faults.proxy import PostgresProxy
from tests.infrastructure.log_under_test import (
    WORKSPACE,
    an_append,
    created,
    log_connection,
    open_store,
    renamed,
    streams,
)

pytestmark = pytest.mark.anyio
THEN = datetime(2019, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def log(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with log_connection(database_url) as connection:
        yield connection


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[PostgresEventStore]:
    async with open_store(database_url) as opened:
        yield opened


def folded(records: Sequence[TaskRecord]) -> TaskDocument | None:
    start: TaskDocument | None = None
    return reduce(fold, records, start)


async def past(
    store: PostgresEventStore,
    task: UUID,
    version: int = ANY_VERSION,
    position: int | None = None,
    instant: datetime | None = None,
) -> TaskDocument | None:
    """The task at a moment, as its own workspace sees it."""
    found = await store.as_of(TASK_DOCUMENTS, WORKSPACE, task, Moment(version, position, instant))
    assert found is not None
    return found.document


async def a_long_history(store: PostgresEventStore, length: int = 2 * EVERY + 30) -> UUID:
    """A task whose events happened a day apart, the first at THEN, and one event of another task between."""
    task, other = streams(2)
    first = NewEvent(task, 1, TaskCreated("title 1"), THEN)
    later = [NewEvent(task, n, TaskRenamed(f"title {n}"), THEN + DAY * (n - 1)) for n in range(2, length + 1)]
    await store.append(an_append(first, *later[:149]))
    await store.append(an_append(created(other)))
    await store.append(an_append(*later[149:]))
    return task


async def snapshot(store: PostgresEventStore, log: psycopg.Connection[Any], task: UUID) -> None:
    """Apply the projection to the whole history."""
    changes = []
    before: TaskDocument | None = None
    for record in await store.events_of(task):
        after = fold(before, record)
        changes.append(Change(record, before, after, "task"))
        before = after
    TaskSnapshots().apply(log, changes)


class TestDocument:
    async def test_without_bounds_it_is_the_present(self, store: PostgresEventStore) -> None:
        task = await a_long_history(store)
        assert await store.document(TASK_DOCUMENTS, task) == folded(await store.events_of(task))

    async def test_an_unknown_stream_is_none(self, store: PostgresEventStore) -> None:
        assert await store.document(TASK_DOCUMENTS, streams(1)[0]) is None

    async def test_up_to_a_version(self, store: PostgresEventStore) -> None:
        task = await a_long_history(store)
        document = await past(store, task, version=7)
        assert document is not None
        assert (document.task, document.version) == (Task(title="title 7"), 7)

    @pytest.mark.parametrize(
        ("until", "version"),
        [(THEN, 1), (THEN + DAY * 6, 7), (THEN + DAY * 6 + timedelta(hours=3), 7), (THEN + DAY * 999, 230)],
    )
    async def test_up_to_an_instant_at_which_things_happened(
        self, store: PostgresEventStore, until: datetime, version: int
    ) -> None:
        task = await a_long_history(store)
        document = await past(store, task, instant=until)
        assert document is not None
        assert document.version == version

    async def test_before_it_happened_there_was_nothing(self, store: PostgresEventStore) -> None:
        task = await a_long_history(store)
        assert await past(store, task, instant=THEN - timedelta(microseconds=1)) is None
        assert await past(store, task, version=0) is None
        assert await past(store, task, position=0) is None

    async def test_up_to_an_instant_of_recording_where_nothing_was_imported(self, store: PostgresEventStore) -> None:
        (task,) = streams(1)
        first = await store.append(an_append(created(task)))
        await store.append(an_append(renamed(task, 2)))
        document = await past(store, task, instant=first.recorded_at)
        assert document is not None
        assert document.version == 1

    @pytest.mark.parametrize(("position", "version"), [(1, 1), (150, 150), (151, 150), (152, 151), (999, 230)])
    async def test_up_to_a_position_of_the_log(self, store: PostgresEventStore, position: int, version: int) -> None:
        task = await a_long_history(store)
        document = await past(store, task, position=position)
        assert document is not None
        assert document.version == version


class TestSnapshots:
    @pytest.mark.parametrize("version", [99, 100, 101, 199, 200, 201, 230])
    async def test_with_them_every_way_back_leads_to_the_plain_fold(
        self, store: PostgresEventStore, log: psycopg.Connection[Any], version: int
    ) -> None:
        task = await a_long_history(store)
        records = (await store.events_of(task))[:version]
        last = records[-1]
        await snapshot(store, log, task)
        plain = folded(records)
        assert await past(store, task, version=version) == plain
        assert await past(store, task, instant=last.happened_at) == plain
        assert await past(store, task, position=last.position) == plain

    async def test_they_are_used(self, store: PostgresEventStore, log: psycopg.Connection[Any]) -> None:
        task = await a_long_history(store)
        await snapshot(store, log, task)
        kept = log.execute("SELECT version, document FROM task_snapshots ORDER BY version").fetchall()
        assert [row[0] for row in kept] == [100, 200]
        marked = msgspec.json.decode(kept[1][1], type=TaskDocument)
        marked = msgspec.structs.replace(marked, task=msgspec.structs.replace(marked.task, description="marked"))
        log.execute("UPDATE task_snapshots SET document = %s WHERE version = 200", (msgspec.json.encode(marked),))
        present, before = await store.document(TASK_DOCUMENTS, task), await past(store, task, version=199)
        assert present is not None
        assert before is not None
        assert (present.version, present.task.description) == (230, "marked")
        assert (before.version, before.task.description) == (199, "")

    async def test_a_task_is_known_while_the_read_models_are_still_to_be_built(
        self, store: PostgresEventStore, log: psycopg.Connection[Any]
    ) -> None:
        task = await a_long_history(store)
        log.execute(f"DROP SCHEMA {models_schema('main')} CASCADE")
        assert await store.document(TASK_DOCUMENTS, task) == folded(await store.events_of(task))

    async def test_they_change_nothing_where_a_history_jumps_back_in_time(
        self, store: PostgresEventStore, log: psycopg.Connection[Any]
    ) -> None:
        (task,) = streams(1)
        jumping = [
            NewEvent(task, n, TaskRenamed(f"title {n}"), THEN + (DAY * 500 if n == 50 else DAY * n))
            for n in range(1, EVERY + 20)
        ]
        await store.append(an_append(*jumping))
        moments = [THEN + DAY * day for day in (10, 49, 50, 51, 99, 100, 110, 499, 500)]
        plain = [await past(store, task, instant=moment) for moment in moments]
        await snapshot(store, log, task)
        assert [await past(store, task, instant=moment) for moment in moments] == plain

    async def test_a_strangers_task_is_no_task_at_any_moment(
        self, store: PostgresEventStore, log: psycopg.Connection[Any]
    ) -> None:
        task, unknown = await a_long_history(store), uuid4()
        await snapshot(store, log, task)
        for moment in (Moment(), Moment(1), Moment(position=1), Moment(instant=THEN)):
            assert await store.as_of(TASK_DOCUMENTS, uuid4(), task, moment) is None
            assert await store.as_of(TASK_DOCUMENTS, WORKSPACE, unknown, moment) is None

    async def test_any_moment_is_found_among_events_that_jump_in_time(
        self, store: PostgresEventStore, log: psycopg.Connection[Any]
    ) -> None:
        """A second reading of the definition: everything before the first event that had not happened, whatever follows it."""
        (task,) = streams(1)
        chance = random.Random(5)
        news = [NewEvent(task, n, TaskRenamed(f"title {n}"), THEN + DAY * chance.randint(0, 900)) for n in range(1, 450)]
        for start in range(0, len(news), 90):
            await store.append(an_append(*news[start : start + 90]))
        records = await store.events_of(task)
        await snapshot(store, log, task)
        for day in range(0, 900, 13):
            instant = THEN + DAY * day
            last = min((record.version for record in records if record.happened_at > instant), default=len(records) + 1) - 1
            found = await past(store, task, instant=instant)
            assert (found.version if found else 0) == last, day

    async def test_a_span_that_is_missing_closes_nothing(self, store: PostgresEventStore, log: psycopg.Connection[Any]) -> None:
        task = await a_long_history(store, 3 * EVERY)
        await snapshot(store, log, task)
        log.execute("DELETE FROM task_snapshots WHERE version = 100")
        found = await past(store, task, instant=THEN + DAY * 6)
        assert found is not None
        assert found.version == 7

    async def test_an_early_moment_touches_no_more_rows_than_a_late_one(
        self, store: PostgresEventStore, log: psycopg.Connection[Any], database_url: str
    ) -> None:
        """Counted by the server itself: how long it took would depend on the machine."""
        task = await a_long_history(store, 40 * EVERY)
        await snapshot(store, log, task)
        log.execute("ANALYZE")
        for moment in (Moment(position=3), Moment(instant=THEN + DAY * 2), Moment(3)):
            async with await connect(database_url, "log_main") as connection, connection.transaction():
                found = await document_as_of(connection, TASK_DOCUMENTS, WORKSPACE, task, moment)
                cursor = await connection.execute(
                    "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_xact_user_tables "
                    "WHERE relname IN ('events', 'task_snapshots') AND schemaname = current_schema()"
                )
                row = await cursor.fetchone()
            assert found is not None
            assert found.document is not None
            assert found.document.version == 3
            assert row is not None
            assert 0 < row[0] < 3 * EVERY, moment


class TestReading:
    async def test_events_of_a_stream_lie_between_two_versions(self, store: PostgresEventStore) -> None:
        task = await a_long_history(store)
        assert [record.version for record in await store.events_of(task, 3, 6)] == [4, 5, 6]

    async def test_events_of_the_log_come_after_a_position(self, store: PostgresEventStore) -> None:
        await a_long_history(store)
        assert [record.position for record in await store.events_after(149, 4)] == [150, 151, 152, 153]

    async def test_the_head_is_the_newest_position(self, store: PostgresEventStore) -> None:
        assert await store.head() == 0
        await a_long_history(store)
        assert await store.head() == 231

    async def test_a_server_that_is_away_is_told_as_such(self, services: LocalServices, store: PostgresEventStore) -> None:
        (task,) = streams(1)
        services.kill_postgres()
        try:
            with pytest.raises(LogUnavailable):
                await store.document(TASK_DOCUMENTS, task)
            with pytest.raises(LogUnavailable):
                await store.head()
        finally:
            services.start_postgres()


SMALL = Loaded(TASK, Task(title="Ship it"), 1, 1, WORKSPACE, THEN)


class TestCache:
    async def test_an_older_state_does_not_replace_a_newer_one(self, store: PostgresEventStore) -> None:
        (task,) = streams(1)
        newer = Loaded(TASK, Task(title="b"), 2, 2, WORKSPACE, THEN)
        store.remember(task, newer)
        store.remember(task, Loaded(TASK, Task(title="a"), 1, 1, WORKSPACE, THEN))
        assert store.recall(task) == newer

    async def test_a_load_replaces_what_the_log_does_not_know(self, store: PostgresEventStore) -> None:
        (task,) = streams(1)
        await store.append(an_append(created(task)))
        store.remember(task, Loaded(TASK, Task(title="from a log that was lost"), 9, 9, WORKSPACE, THEN))
        loaded = await store.load(TASK, task)
        assert loaded is not None
        assert store.recall(task) == loaded
        assert loaded.version == 1

    async def test_it_is_bounded_in_bytes_whether_tasks_are_loaded_or_remembered(self, database_url: str) -> None:
        tasks = streams(8)
        memory = StreamMemory(3 * size_of(SMALL))
        async with open_store(database_url, memory) as store:
            await store.append(an_append(*(NewEvent(task, 1, TaskCreated("Ship it")) for task in tasks)))
            for task in tasks[:6]:
                await store.load(TASK, task)
            assert [task for task in tasks if store.recall(task)] == tasks[3:6]
            for task in tasks[6:]:
                store.remember(task, SMALL)
            assert [task for task in tasks if store.recall(task)] == tasks[5:]
            large = msgspec.structs.replace(SMALL, state=Task(title="Ship it", description="\U0001f6a2" * 100), version=2)
            store.remember(tasks[7], large)
            assert [task for task in tasks if store.recall(task)] == tasks[6:]
            assert memory.bytes == size_of(SMALL) + size_of(large)
            store.remember(tasks[6], msgspec.structs.replace(large, state=Task(description="x" * 100_000)))
            assert (store.recall(tasks[6]), memory.bytes) == (None, 0)

    @pytest.mark.parametrize(
        "task",
        [
            Task(title="Ship it"),
            Task(title="é" * 200, description="\U0001f6a2" * 16_384),
            Task(labels=tuple(f"label {n}" for n in range(50)), assignees=people(20)),
        ],
        ids=["small", "wide", "many"],
    )
    def test_the_size_of_a_task_is_near_what_it_takes(self, task: Task) -> None:
        stored = msgspec.json.encode((task, uuid4(), THEN))
        decode = msgspec.json.Decoder(tuple[Task, UUID, datetime]).decode
        memory = StreamMemory(2**40)
        tracemalloc.start()
        for stream in streams(100):
            state, workspace, then = decode(stored)
            memory.remember(stream, Loaded(TASK, state, 1, 1, workspace, then))
        taken = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert 0.8 < memory.bytes / taken < 1.6

    async def test_what_was_recalled_lately_stays_longest(self, database_url: str) -> None:
        async with open_store(database_url, StreamMemory(2 * size_of(SMALL))) as store:
            first, second, third = streams(3)
            for task in (first, second):
                store.remember(task, SMALL)
            store.recall(first)
            store.remember(third, SMALL)
            assert [task for task in (first, second, third) if store.recall(task)] == [first, third]

    async def test_a_new_connection_empties_it(self, database_url: str) -> None:
        (task,) = streams(1)
        async with PostgresProxy(database_url) as proxy, open_store(proxy.url) as store:
            await store.append(an_append(created(task)))
            await store.load(TASK, task)
            proxy.cut_all()
            await store.append(an_append(renamed(task, 2)))
            assert store.recall(task) is None
