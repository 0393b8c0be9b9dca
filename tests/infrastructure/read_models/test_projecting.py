"""A process's projectors: they notice another history and a store that lost its data, and any number of them is harmless."""

import threading
from collections.abc import Iterator

import pytest

from domain.task.events import TaskCreated, TaskRenamed
from infrastructure.read_models.projecting import PROJECTORS, LogProjecting
from projections import ALL, HOT, TABLES
from projections.feed.feed import changes_after
from projections.tables.bounds import Room
from tests.generated_history import append_history
from tests.log_world import HOME, LOG, World, number


@pytest.fixture
def projecting(world: World) -> Iterator[LogProjecting]:
    running = LogProjecting(world.database_url, world.redis_url, LOG)
    yield running
    running.close()


def content(world: World) -> object:
    return world.table_dump(), world.hot_dump()


def test_several_workers_that_find_redis_empty_rebuild_it_once(world: World) -> None:
    append_history(world, seed=33, commands=100)
    workers = [LogProjecting(world.database_url, world.redis_url, LOG) for _ in range(3)]
    for worker in workers:
        worker.sweep()
    world.redis.flushdb()
    threads = [threading.Thread(target=worker.sweep) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for worker in workers:
        worker.close()
    # The first generation is only begun, the second was built at the start, the third after the loss.
    assert world.generations() == {3}


def test_a_rebuild_that_has_become_needless_is_not_done(world: World, projecting: LogProjecting) -> None:
    """Another process was faster."""
    world.record(number(1), TaskCreated("A"))
    projecting.sweep()
    for name in ALL:
        projecting._rebuild(name)
    assert world.generations() == {2}
    generations = world.connection.execute("SELECT DISTINCT generation FROM checkpoints WHERE projection <> 'hot_tasks'")
    assert generations.fetchall() == [(1,)]


def test_a_log_with_another_identity_rebuilds_everything(world: World, projecting: LogProjecting) -> None:
    append_history(world, seed=34, commands=80)
    projecting.sweep()
    before = content(world)
    world.connection.execute("UPDATE log SET epoch = epoch + 1")
    world.connection.execute("UPDATE flow_daily SET created = created + 1")
    projecting.sweep()
    assert content(world)[0] == before[0]  # type: ignore[index]  # a pair
    rows = world.connection.execute("SELECT DISTINCT epoch FROM checkpoints").fetchall()
    assert rows == [(2,)]
    assert world.generations() == {3}
    again = content(world)
    projecting.sweep()
    assert world.generations() == {3}
    assert content(world) == again


def test_another_leaf_at_the_checkpoint_rebuilds_everything(world: World, projecting: LogProjecting) -> None:
    """The log was restored to an earlier state and has grown again."""
    world.record(number(1), TaskCreated("Kept"))
    world.record(number(2), TaskCreated("Lost"))
    projecting.sweep()
    world.connection.execute("DELETE FROM events WHERE notification_id = 2")
    world.record(number(3), TaskCreated("Instead"))
    projecting.sweep()
    titles = world.connection.execute("SELECT convert_from(summary, 'UTF8')::jsonb ->> 'title' FROM task_list").fetchall()
    assert sorted(titles) == [("Instead",), ("Kept",)]
    assert b"Lost" not in b"".join(bytes(str(value), "utf8") for value in world.hot_dump().values())
    assert world.generations() == {3}


def test_a_log_that_lost_its_end_rebuilds_everything(world: World, projecting: LogProjecting) -> None:
    world.record(number(1), TaskCreated("Kept"))
    world.record(number(2), TaskCreated("Lost"))
    projecting.sweep()
    world.connection.execute("DELETE FROM events WHERE notification_id = 2")
    projecting.sweep()
    assert [world.position(projection.name) for projection in TABLES] == [1] * len(TABLES)
    assert len(world.table_dump(["task_list"])["task_list"]) == 1


def test_a_message_alone_finds_another_history_before_it_builds_upon_it(world: World) -> None:
    """A worker that starts on a restored log must not apply its next event to the state of the lost one."""
    world.record(number(1), TaskCreated("Kept"))
    world.record(number(2), TaskCreated("Lost"))
    before = LogProjecting(world.database_url, world.redis_url, LOG)
    before.sweep()
    before.close()
    world.connection.execute("DELETE FROM events WHERE notification_id = 2")
    world.record(number(3), TaskCreated("Instead"))
    world.record(number(4), TaskCreated("And another"))
    after = LogProjecting(world.database_url, world.redis_url, LOG)
    for projector in PROJECTORS:
        after.run(projector)
    after.close()
    entries = world.ask(lambda connection: changes_after(connection, HOME, 0, Room(10))).items
    assert len(entries) == 3
    assert not any(b"Lost" in entry for entry in entries)
    assert b"Lost" not in b"".join(bytes(str(value), "utf8") for value in world.hot_dump().values())


def test_a_full_redis_parks_nothing_and_is_caught_up_afterwards(world: World, projecting: LogProjecting) -> None:
    world.record(number(1), TaskCreated("A"))
    projecting.sweep()
    world.redis.config_set("maxmemory", "1mb")
    try:
        world.record(number(1), TaskRenamed("B"))
        for _ in range(5):
            projecting.sweep()
        starting = LogProjecting(world.database_url, world.redis_url, LOG)
        for _ in range(5):
            starting.sweep()
        starting.close()
        assert world.parked(HOT) == []
        assert world.position("task_list") == 2
    finally:
        world.redis.config_set("maxmemory", "0")
    projecting.sweep()
    assert world.parked(HOT) == []
    assert any(b'"B"' in bytes(str(value), "utf8") for value in world.hot_dump().values())


def test_trouble_with_one_store_does_not_keep_the_sweep_from_the_other(
    world: World, projecting: LogProjecting, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.record(number(1), TaskCreated("A"))

    def broken(*_: object) -> bool:
        raise RuntimeError("a bug")

    monkeypatch.setattr(projecting, "_is_elsewhere", broken)
    projecting.sweep()
    assert world.position("task_list") == 1


def test_two_workers_on_one_log_apply_every_event_once(world: World) -> None:
    head = append_history(world, seed=36, commands=400)
    workers = [LogProjecting(world.database_url, world.redis_url, LOG) for _ in range(2)]
    workers[0].sweep()
    threads = [
        threading.Thread(target=lambda worker=worker, name=name: [worker.run(name) for _ in range(20)])
        for worker in workers
        for name in PROJECTORS
    ]
    for thread in threads:
        thread.start()
    for seed in range(10):
        head = append_history(world, seed=40 + seed, commands=20, first_task=5000 + 100 * seed)
    for thread in threads:
        thread.join()
    for worker in workers:
        worker.sweep()
        worker.close()
    assert all(world.position(projection.name) == head for projection in TABLES)
    together = content(world)
    world.forget_read_models()
    world.connection.execute("UPDATE checkpoints SET generation = 1")
    world.project()
    assert together == content(world)
