"""Rebuilding beside what serves: complete, unnoticed by readers, and repeatable after a kill."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from domain.task.events import TaskCreated, TaskRenamed
from infrastructure.log.places import Place
from infrastructure.read_models.hot_keys import hot_keys
from infrastructure.read_models.projecting import PROJECTORS, LogProjecting
from infrastructure.read_models.rebuild import rebuild, rebuild_all
from infrastructure.read_models.task_reads import Wait
from infrastructure.servers.postgres import conninfo, models_schema
from projections import ALL, HOT, TABLES
from projections.engine.port import Hold
from projections.flow import FlowMetrics, FlowQuery, flow_metrics
from projections.tables.bounds import Room
from projections.task.list_query import TaskQuery
from tests.generated_history import append_history
from tests.infrastructure.processes_under_test import started, wait_until
from tests.infrastructure.reading_world import open_reading
from tests.log_world import HOME, LOG, MODEL_TABLES, SCHEMA, World, number
from tests.older_release import forget


@pytest.fixture
def projecting(world: World) -> Iterator[LogProjecting]:
    running = LogProjecting(world.database_url, world.redis_url, LOG)
    yield running
    running.close()


def schemas(world: World) -> list[str]:
    """Schemas that a rebuild has left behind."""
    rows = world.connection.execute(
        "SELECT nspname FROM pg_namespace WHERE starts_with(nspname, %s)", (f"{models_schema(LOG)}__",)
    )
    return [row[0] for row in rows.fetchall()]


def content(world: World) -> object:
    return world.table_dump(), world.hot_dump()


@pytest.mark.parametrize("name", ALL)
def test_a_rebuild_that_was_killed_changes_nothing_and_is_run_again(world: World, projecting: LogProjecting, name: str) -> None:
    append_history(world, seed=31, commands=400)
    projecting.sweep()
    served = content(world) if name != HOT else None
    arguments = (world.database_url, world.redis_url, name, "250")
    with started("tests.infrastructure.rebuild_process", *arguments) as process:
        assert process.wait(timeout=60) == -9
    if name == HOT:
        assert world.generations() == {2, 3}
        # What an older release may have built differently must not stay.
        world.redis.set(hot_keys(LOG, 3).task(HOME, number(99_999)), "1 {}")
    else:
        assert schemas(world) == [f"{models_schema(LOG)}__{name}"]
        assert content(world) == served
    assert rebuild(world.database_url, world.redis_url, LOG, name) == world.head()
    assert (schemas(world), len(world.generations())) == ([], 1)
    rebuilt = content(world)
    world.forget_read_models()
    world.connection.execute("UPDATE checkpoints SET generation = 1")
    world.project()
    assert rebuilt == content(world)


@pytest.mark.parametrize("name", ALL)
def test_readers_and_writers_do_not_notice_a_rebuild(world: World, projecting: LogProjecting, name: str) -> None:
    """While events are appended and projected, nobody ever sees less than before, or an error."""
    append_history(world, seed=32, commands=300)
    for n in range(2001, 2031):
        world.record(number(n), TaskCreated("Always there"))
    projecting.sweep()
    done = threading.Event()

    def live() -> None:
        n = 3000
        while not done.is_set():
            world.record(number(n), TaskCreated("Added meanwhile"))
            for projector in PROJECTORS:
                projecting.run(projector)
            n += 1

    def build() -> None:
        for _ in range(3):
            rebuild(world.database_url, world.redis_url, LOG, name)

    writer = threading.Thread(target=live)
    writer.start()
    try:
        asyncio.run(_read_until(world, build))
    finally:
        done.set()
        writer.join()
    projecting.sweep()
    assert (schemas(world), len(world.generations())) == ([], 1)
    assert all(world.position(projection.name) == world.head() for projection in TABLES)
    assert world.table_dump(["task_list"])["task_list"]


async def _read_until(world: World, build: Callable[[], None]) -> None:
    newest: dict[str, int] = {}
    asked = 0

    def grows(what: str, rows: int, position: int) -> None:
        assert rows >= newest.get(what, 0), what
        newest[what] = rows
        # Redis and Postgres need not be equally far; each of them only goes on.
        assert position >= newest.get(f"{what} position", 0) or what == "counts"
        newest[f"{what} position"] = position

    async with open_reading(world) as reading:
        building = asyncio.create_task(asyncio.to_thread(build))
        while not building.done():
            found = await reading.reads.find(HOME, TaskQuery(), None, Room(10_000, 10**8), Wait())
            grows("list", len(found.items), found.position)
            history = await reading.reads.changes(HOME, Place(0), Room(10_000, 10**8), Wait())
            grows("history", len(history.items), history.position)
            async with reading.reads.connection() as connection:
                today = datetime.now(UTC).date()
                metrics = await flow_metrics(connection, FlowQuery(workspace_id=HOME, first_day=today, last_day=today), today)
                grows("flow", metrics.days[0].created, metrics.position)
                assert metrics.days[0].created >= 30
            task, _ = await reading.reads.task(HOME, number(2001), Wait())
            assert task is not None
            counted, _ = await reading.reads.counts(HOME, Wait())
            assert counted["open"] >= 30
            asked += 1
        await building
    assert asked > 3


class InterruptedReader(psycopg.AsyncConnection[Any]):
    """A connection on which a rebuild comes between a read's first query and its next one."""

    interrupt: Callable[[], None]

    async def execute(self, query: Any, *arguments: Any, **options: Any) -> Any:
        answer = await super().execute(query, *arguments, **options)
        if b"FROM checkpoints" in bytes(str(query), "utf8"):
            self.interrupt()
        return answer


def test_a_read_of_several_queries_sees_one_state_while_its_tables_are_switched(
    world: World, projecting: LogProjecting
) -> None:
    for n in range(1, 31):
        world.record(number(n), TaskCreated("A"))
    projecting.sweep()
    thread = threading.Thread(target=rebuild, args=(world.database_url, world.redis_url, LOG, "flow"))

    def interrupt() -> None:
        thread.start()
        wait_until(lambda: not thread.is_alive() or waits_for_a_lock())

    def waits_for_a_lock() -> bool:
        return bool(world.connection.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchall())

    async def read() -> FlowMetrics:
        async with await InterruptedReader.connect(conninfo(world.database_url, SCHEMA), autocommit=True) as connection:
            connection.interrupt = interrupt
            today = datetime.now(UTC).date()
            return await flow_metrics(connection, FlowQuery(workspace_id=HOME, first_day=today, last_day=today), today)

    metrics = asyncio.run(read())
    thread.join()
    assert (metrics.days[0].created, metrics.days[0].open, metrics.position) == (30, 30, 30)


def test_all_read_models_built_at_once_are_the_same_as_live(world: World, projecting: LogProjecting) -> None:
    append_history(world, seed=37, commands=1500)
    projecting.sweep()
    live = content(world)
    world.connection.execute("TRUNCATE task_list, flow_daily, task_snapshots")
    assert rebuild_all(world.database_url, world.redis_url, LOG) == world.head()
    assert content(world) == live
    assert (schemas(world), len(world.generations())) == ([], 1)


def test_a_rebuild_goes_as_far_as_this_release_can_read(
    world: World, projecting: LogProjecting, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.record(number(1), TaskCreated("A"))
    world.record(number(1), TaskRenamed("B"))
    with monkeypatch.context() as older:
        forget(older, TaskRenamed)
        projecting.sweep()
        world.redis.flushdb()
        projecting.sweep()
        assert world.generations() == {3}
        projecting.sweep()
        assert world.generations() == {3}, "it is not built again and again"
        assert rebuild(world.database_url, world.redis_url, LOG, "task_list") == 1
    projecting.sweep()
    assert world.position("task_list") == 2


def test_a_rebuild_never_goes_back_behind_a_newer_release(
    world: World, projecting: LogProjecting, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.record(number(1), TaskCreated("A"))
    world.record(number(1), TaskRenamed("B"))
    projecting.sweep()
    served = world.table_dump()
    forget(monkeypatch, TaskRenamed)
    with pytest.raises(Hold):
        rebuild(world.database_url, world.redis_url, LOG, "task_list")
    assert world.position("task_list") == 2
    assert world.table_dump() == served


def test_nor_does_one_of_the_read_model_in_redis_unless_that_is_lost(
    world: World, projecting: LogProjecting, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.record(number(1), TaskCreated("A"))
    world.record(number(1), TaskRenamed("B"))
    projecting.sweep()
    served, generations = world.hot_dump(), world.generations()
    forget(monkeypatch, TaskRenamed)
    with pytest.raises(Hold):
        rebuild(world.database_url, world.redis_url, LOG, HOT)
    assert (world.hot_dump(), world.generations()) == (served, generations)
    world.redis.flushdb()
    assert rebuild(world.database_url, world.redis_url, LOG, HOT) == 1


def test_indexes_and_fill_factors_are_as_before(world: World, projecting: LogProjecting) -> None:
    append_history(world, seed=35, commands=30)
    projecting.sweep()

    def shape() -> list[tuple[Any, ...]]:
        return world.connection.execute(
            "SELECT c.relname, c.reloptions, i.indkey::text, i.indisunique, a.amname, pg_get_expr(i.indpred, i.indrelid) "
            "FROM pg_class c LEFT JOIN pg_index i ON i.indrelid = c.oid LEFT JOIN pg_class x ON x.oid = i.indexrelid "
            "LEFT JOIN pg_am a ON a.oid = x.relam WHERE c.relnamespace = %s::regnamespace AND c.relkind = 'r' "
            "ORDER BY 1, 3, 5, 6",
            (models_schema(LOG),),
        ).fetchall()

    before = shape()
    assert {name for name, *_ in before} >= set(MODEL_TABLES)
    for projection in TABLES:
        rebuild(world.database_url, world.redis_url, LOG, projection.name)
    assert shape() == before


def test_a_rebuild_that_gives_no_sign_of_life_loses_its_turn_and_switches_nothing(
    world: World, projecting: LogProjecting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that is suspended. A worker that needs the read model built waits for it no longer than it was told."""
    append_history(world, seed=38, commands=100)
    projecting.sweep()
    before = content(world)
    monkeypatch.setattr("infrastructure.read_models.rebuild.IDLE_SECONDS", 2)
    begun, woken = threading.Event(), threading.Event()
    ended: list[Exception] = []

    def suspended(_done: int, _total: int) -> None:
        begun.set()
        woken.wait(60)

    def first() -> None:
        try:
            rebuild(world.database_url, world.redis_url, LOG, "task_list", suspended)
        except psycopg.OperationalError as error:
            ended.append(error)

    thread = threading.Thread(target=first)
    thread.start()
    assert begun.wait(60)
    with pytest.raises(psycopg.errors.LockNotAvailable):
        rebuild(world.database_url, world.redis_url, LOG, "task_list", turn_seconds=0.1)
    assert rebuild(world.database_url, world.redis_url, LOG, "task_list", turn_seconds=60) == world.head()
    woken.set()
    thread.join()
    assert len(ended) == 1
    assert (schemas(world), content(world)) == ([], before)
