"""Messages and the sweep: either is enough, and the real processes together project what was announced."""

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

import dramatiq
import psutil
import pytest

from domain.task.events import TaskCreated, TaskRenamed
from infrastructure.read_models.hot_keys import hot_keys
from infrastructure.read_models.projecting import PROJECTORS
from infrastructure.servers.redis_client import BROKER, head_channel, sync_client
from infrastructure.settings import Settings, settings_environ
from projections import HOT, TABLES
from projections.task.hot import checkpoint_position
from tests.generated_history import append_history
from tests.infrastructure.processes_under_test import is_alive, kill, started, wait_until
from tests.log_world import LOG, World, number
from workers.bell import BellBroker
from workers.projector import Projecting, declare_projector, pending_key


@pytest.fixture
def projecting(settings: Settings, broker: BellBroker) -> Iterator[Projecting]:
    """A worker that takes messages; its sweep has run once, and then never again."""
    middleware = Projecting(settings)
    broker.add_middleware(middleware)
    declare_projector(broker, middleware)
    worker = dramatiq.Worker(broker, worker_threads=2)
    worker.start()
    yield middleware
    worker.stop(timeout=5000)


def hot_position(world: World) -> int:
    row = world.connection.execute("SELECT generation FROM checkpoints WHERE projection = %s", (HOT,)).fetchone()
    assert row is not None
    value = world.redis.get(hot_keys(LOG, row[0]).checkpoint)
    assert value is None or isinstance(value, bytes)
    return checkpoint_position(value) or 0


def everywhere(world: World, position: int) -> bool:
    """Whether every read model has come so far."""
    return hot_position(world) >= position and all(world.position(each.name) >= position for each in TABLES)


def announce(world: World, position: int) -> None:
    with sync_client(world.redis_url, BROKER) as client:
        client.publish(head_channel(LOG), position)


def test_a_message_is_enough_without_any_sweep(
    world: World, settings: Settings, broker: BellBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Projecting, "_sweep", lambda _self: None)
    middleware = Projecting(settings)
    broker.add_middleware(middleware)
    actor = declare_projector(broker, middleware)
    worker = dramatiq.Worker(broker, worker_threads=2)
    worker.start()
    try:
        position = world.record(number(1), TaskCreated("A"))
        world.redis.set("tm:unrelated", 1)
        for name in PROJECTORS:
            broker.client.set(pending_key(LOG, name), 1)
            actor.send(LOG, name)
        wait_until(lambda: everywhere(world, position))
        assert not broker.client.exists(*(pending_key(LOG, name) for name in PROJECTORS))
    finally:
        worker.stop(timeout=5000)


def test_the_sweep_is_enough_without_any_message(world: World, projecting: Projecting) -> None:
    for n in range(1, 4):
        position = world.record(number(n), TaskCreated("A"))
        wait_until(lambda position=position: everywhere(world, position))  # type: ignore[misc]  # bound at once


def test_a_message_for_a_log_that_is_not_served_is_dropped(
    world: World, broker: BellBroker, projecting: Projecting, caplog: pytest.LogCaptureFixture
) -> None:
    actor = broker.get_actor("project")
    with caplog.at_level(logging.WARNING, "taskmaster.workers"):
        actor.send("elsewhere", "tables")
        wait_until(lambda: "'elsewhere', which is not served here" in caplog.text)
    position = world.record(number(1), TaskCreated("A"))
    actor.send(LOG, "tables")
    wait_until(lambda: everywhere(world, position))


def test_trouble_in_one_sweep_does_not_end_the_sweeping(
    world: World, settings: Settings, broker: BellBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.projector.SWEEP_SECONDS", 0.05)
    swept = threading.Semaphore(0)

    def broken(*_: object) -> None:
        swept.release()
        raise RuntimeError("a bug")

    monkeypatch.setattr("infrastructure.read_models.projecting.LogProjecting.sweep", broken)
    middleware = Projecting(settings)
    broker.add_middleware(middleware)
    worker = dramatiq.Worker(broker, worker_threads=1)
    worker.start()
    try:
        assert all(swept.acquire(timeout=30) for _ in range(3))
    finally:
        worker.stop(timeout=5000)


@contextmanager
def running(settings: Settings, relay: bool = True, workers: int = 1) -> Iterator[list[int]]:
    """The real processes; the ids of the workers' masters. At the end each is asked to stop, and the rest is killed."""
    environ: Mapping[str, str] = settings_environ(settings)
    with ExitStack() as stack:
        programs = [stack.enter_context(started("workers.relay", environ=environ))] if relay else []
        arguments = ("workers.main", "--processes", "1", "--threads", "2")
        masters = [stack.enter_context(started("dramatiq", *arguments, environ=environ)) for _ in range(workers)]
        try:
            yield [master.pid for master in masters]
        finally:
            children = [child for master in masters for child in children_of(master.pid)]
            for program in (*programs, *masters):
                program.terminate()
            for program in (*programs, *masters):
                program.wait(30)
            kill(*(child for child in children if is_alive(child)))


def children_of(pid: int) -> list[int]:
    """The processes that a process has started."""
    return [child.pid for child in psutil.Process(pid).children(recursive=True)] if psutil.pid_exists(pid) else []


def test_an_announcement_reaches_the_read_models_through_the_real_processes(world: World, settings: Settings) -> None:
    with running(settings):
        first = world.record(number(1), TaskCreated("A"))
        announce(world, first)
        wait_until(lambda: everywhere(world, first))
        head = append_history(world, seed=51, commands=100, first_task=10)
        announce(world, head)
        wait_until(lambda: everywhere(world, head))


def test_real_workers_without_a_relay_project_as_well(world: World, settings: Settings) -> None:
    with running(settings, relay=False):
        position = world.record(number(1), TaskCreated("A"), TaskRenamed("B"))
        wait_until(lambda: everywhere(world, position))


def test_a_worker_whose_master_was_killed_ends_by_itself(world: World, settings: Settings) -> None:
    """Otherwise every restart after a kill would leave one more behind."""
    with running(settings, relay=False) as pids:
        position = world.record(number(1), TaskCreated("A"))
        wait_until(lambda: everywhere(world, position))
        orphans = children_of(pids[0])
        assert orphans
        kill(pids[0])
        try:
            wait_until(lambda: not any(is_alive(orphan) for orphan in orphans))
        finally:
            kill(*(orphan for orphan in orphans if is_alive(orphan)))


def test_two_real_workers_on_one_log_one_of_them_killed_lose_and_double_nothing(world: World, settings: Settings) -> None:
    with running(settings, workers=2) as pids:
        wait_until(lambda: hot_position(world) >= 0 and bool(world.generations()))
        for seed in range(6):
            head = append_history(world, seed=60 + seed, commands=60, first_task=1000 * (seed + 1))
            announce(world, head)
            if seed == 3:
                kill(*children_of(pids[0]), pids[0])
        wait_until(lambda: everywhere(world, head))
    together = world.table_dump(), world.hot_dump()
    world.forget_read_models()
    world.connection.execute("UPDATE checkpoints SET generation = 1")
    world.project()
    assert together == (world.table_dump(), world.hot_dump())
