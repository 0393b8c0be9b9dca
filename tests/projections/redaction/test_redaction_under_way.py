"""Whoever is at work when payloads are erased comes by it: projectors ahead of others and behind, a rebuild, other layouts."""

import random
import threading
from typing import Any

import pytest

from domain.project.events import ProjectArchived, ProjectCreated, ProjectKeyChanged
from domain.task.events import TaskCreated, TaskLabelAdded, TaskPrioritySet, TaskRenamed, TaskStarted
from infrastructure.log.erasing import erase_payloads
from infrastructure.log.source import PostgresLogSource
from infrastructure.read_models.layouts import build_layouts
from infrastructure.read_models.parked_events import replay_stream
from infrastructure.read_models.projecting import PROJECTORS, LogProjecting
from infrastructure.read_models.rebuild import rebuild, rebuild_all
from infrastructure.servers.postgres import models_schema
from projections import ALL, DOCUMENTS, HOT, TABLES
from projections.engine.changes import Change, ChangeReader
from projections.task.hot import write_arguments
from projections.task.list import TaskList
from tests.generated_history import append_history
from tests.infrastructure.read_models.test_layouts import dump, newer, sweep
from tests.infrastructure.read_models.test_verify_read_models import findings
from tests.log_world import LOG, SCHEMA, World, number
from tests.projections.engine.test_waiting import checkpoint_of
from tests.projections.redaction.canaries import CANARY, canary, canary_id, content, rebuilt, streams, told


@pytest.mark.parametrize("ahead", PROJECTORS)
def test_a_projector_that_is_ahead_of_the_others_takes_nothing_erased_from_what_they_hold(
    world: World, projecting: LogProjecting, ahead: str
) -> None:
    """The snapshots that it begins from may not be redacted yet; nor may what its process remembers."""
    task = canary(world)
    projecting.sweep()
    erase_payloads(world.connection, SCHEMA, [task])
    projecting.run(ahead)
    world.record(task, TaskLabelAdded("late"))
    projecting.run(ahead)
    fresh = LogProjecting(world.database_url, world.redis_url, LOG)
    world.record(task, TaskLabelAdded("later"))
    fresh.run(ahead)
    fresh.close()
    if ahead == "hot":
        assert CANARY not in repr(world.hot_dump())
    projecting.sweep()
    assert CANARY not in told(world)
    assert content(world) == rebuilt(world)


STORIES: dict[str, tuple[tuple[Any, ...], Any]] = {
    "task": ((TaskCreated(CANARY), TaskPrioritySet("high")), TaskStarted()),
    "project": ((ProjectCreated("ONE", CANARY), ProjectKeyChanged("ONE", "TWO")), ProjectArchived()),
}


@pytest.mark.parametrize("kind", STORIES)
@pytest.mark.parametrize("replayed", [False, True])
def test_what_was_not_yet_applied_of_an_erased_stream_goes_with_what_was(
    world: World, projecting: LogProjecting, monkeypatch: pytest.MonkeyPatch, kind: str, replayed: bool
) -> None:
    """From what is left a range of the past may begin where another one was written before, also out of what was set aside."""
    applied, pending = STORIES[kind]
    (model,) = (each for each in TABLES if each.name == f"{kind}_list")
    world.record(number(1), *applied)
    projecting.sweep()
    world.record(number(1), pending)
    if replayed:
        with monkeypatch.context() as release:
            release.setattr(type(model), "apply", _broken)
            projecting.sweep()
        assert world.parked(model.name) == [3]
    erase_payloads(world.connection, SCHEMA, [number(1)])
    if replayed:
        replay_stream(world.connection, model, number(1))
    projecting.sweep()
    assert [world.parked(name) for name in ALL] == [[]] * len(ALL)
    assert CANARY not in told(world)
    assert content(world) == rebuilt(world)


def _broken(*_: Any) -> None:
    raise ValueError("a bug")


def test_two_workers_at_work_while_streams_are_erased_leave_nothing_and_lose_nothing(world: World) -> None:
    chance = random.Random(8)
    append_history(world, seed=70, commands=300)
    workers = [LogProjecting(world.database_url, world.redis_url, LOG) for _ in range(2)]
    workers[0].sweep()
    ended = threading.Event()

    def work(worker: LogProjecting, projector: str) -> None:
        while not ended.is_set():
            worker.run(projector)

    threads = [threading.Thread(target=work, args=(worker, name)) for worker in workers for name in PROJECTORS]
    for thread in threads:
        thread.start()
    try:
        for turn in range(8):
            canary(world, turn)
            erase_payloads(world.connection, SCHEMA, chance.sample(streams(world), 6))
            append_history(world, seed=71 + turn, commands=20, first_task=1000 * (turn + 1))
        erase_payloads(world.connection, SCHEMA, [canary_id(turn) for turn in range(8)])
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    for worker in workers:
        worker.sweep()
        worker.close()
    assert CANARY not in told(world)
    assert content(world) == rebuilt(world)


def test_a_reader_folds_nothing_that_it_remembers_of_before(world: World) -> None:
    task = canary(world)
    source = PostgresLogSource(world.database_url, LOG)
    reader = ChangeReader(source, DOCUMENTS)
    while reader.after(0, 1000)[-1].record.position < world.head():
        pass
    erase_payloads(world.connection, SCHEMA, [task])
    head = world.record(task, TaskLabelAdded("late"))
    # Past the place of the erasure, as for a projector that was there before.
    (change,) = reader.after(head - 1, 10)
    source.close()
    assert isinstance(change, Change)
    assert CANARY not in repr(change)
    assert change.after.task.labels == ("late",)


@pytest.mark.parametrize("name", [*ALL, "all"])
def test_a_rebuild_that_is_under_way_redacts_what_it_has_read(
    world: World, projecting: LogProjecting, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("infrastructure.read_models.rebuild.BATCH", 50)
    task = canary(world)
    for n in range(200, 300):
        world.record(number(n), TaskCreated("A"))
    projecting.sweep()
    erased_at: list[int] = []

    def progress(done: int, _total: int) -> None:
        if done >= 150 and not erased_at:
            erased_at.append(erase_payloads(world.connection, SCHEMA, [task]).position)

    if name == "all":
        rebuild_all(world.database_url, world.redis_url, LOG, progress)
    else:
        rebuild(world.database_url, world.redis_url, LOG, name, progress)
    assert erased_at
    projecting.sweep()
    assert CANARY not in told(world)
    assert content(world) == rebuilt(world)


def test_read_models_of_another_layout_are_redacted_as_well(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    task = canary(world)
    sweep(world)
    with newer(monkeypatch):
        sweep(world)
    erase_payloads(world.connection, SCHEMA, [task])
    with newer(monkeypatch):
        sweep(world)
        assert CANARY in told(world)
    sweep(world)
    assert CANARY not in told(world)


def test_a_layout_that_is_built_from_one_that_is_not_redacted_yet_is_redacted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = canary(world)
    sweep(world)
    erase_payloads(world.connection, SCHEMA, [task])
    with newer(monkeypatch):
        assert build_layouts(world.database_url, LOG)
        sweep(world)
        new = dump(world, models_schema(LOG))
    sweep(world)
    assert CANARY not in told(world)
    assert new == dump(world, models_schema(LOG))


@pytest.fixture
def partly_parked(world: World, projecting: LogProjecting, monkeypatch: pytest.MonkeyPatch) -> World:
    """A task of which the list and Redis have set everything aside from its tenth event on."""
    apply, arguments = TaskList.apply, "infrastructure.read_models.hot_store.write_arguments"

    def refuse(changes: Any) -> None:
        if any(change.record.version == 10 for change in changes):
            raise ValueError("a bug")

    def broken_apply(self: TaskList, connection: Any, changes: Any) -> None:
        refuse(changes)
        apply(self, connection, changes)

    def broken_arguments(keys: Any, expected: bytes, new: bytes, changes: Any) -> Any:
        refuse(changes)
        return write_arguments(keys, expected, new, changes)

    canary(world)
    with monkeypatch.context() as release:
        release.setattr(TaskList, "apply", broken_apply)
        release.setattr(arguments, broken_arguments)
        projecting.sweep()
    assert world.parked("task_list")[0] == world.parked(HOT)[0] == 10
    return world


def test_what_was_applied_of_a_parked_stream_is_redacted_and_what_was_not_stays_parked(
    partly_parked: World, projecting: LogProjecting
) -> None:
    world = partly_parked
    parked = world.parked("task_list")
    (task,) = {record.stream_id for record in world.records()}
    erase_payloads(world.connection, SCHEMA, [task])
    projecting.sweep()
    assert world.parked("task_list") == parked
    assert CANARY not in told(world)
    row = world.connection.execute("SELECT version FROM task_list WHERE task_id = %s", (task,)).fetchone()
    assert row == (9,)
    (list_,) = (each for each in TABLES if each.name == "task_list")
    assert replay_stream(world.connection, list_, task) == len(parked)
    rebuild(world.database_url, world.redis_url, LOG, HOT)
    projecting.sweep()
    assert content(world) == rebuilt(world)


def test_a_redaction_that_fails_is_waited_for_and_never_passed(
    world: World, projecting: LogProjecting, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = canary(world)
    projecting.sweep()
    head = world.head()
    with monkeypatch.context() as release:

        def broken(*_: Any) -> None:
            raise ValueError("a bug")

        release.setattr(TaskList, "redact", broken)
        erase_payloads(world.connection, SCHEMA, [task])
        world.record(number(2), TaskCreated("A"))
        for _ in range(4):
            projecting.sweep()
        assert world.position("task_list") == head
        assert {world.position(each.name) for each in TABLES} == {head, head + 2}
        assert "cannot be taken out" in (checkpoint_of(world, "task_list") or "")
        assert findings(world)["task_list"].not_compared is not None
    projecting.sweep()
    assert CANARY not in told(world)
    assert (world.position("task_list"), checkpoint_of(world, "task_list")) == (head + 2, None)


def test_a_worker_that_died_of_a_redaction_three_times_does_not_pass_it_either(world: World, projecting: LogProjecting) -> None:
    task = canary(world)
    projecting.sweep()
    head = world.head()
    erase_payloads(world.connection, SCHEMA, [task])
    world.connection.execute(
        "UPDATE checkpoints SET attempts = 3, single_until = %s, noted_at = position WHERE projection = 'feed'", (head + 1,)
    )
    other = LogProjecting(world.database_url, world.redis_url, LOG)
    other.run("feed")
    other.close()
    assert world.position("feed") == head
    assert "cannot be taken out" in (checkpoint_of(world, "feed") or "")


def test_read_models_are_what_the_log_says_after_an_erasure_and_not_compared_before(
    world: World, projecting: LogProjecting
) -> None:
    task = canary(world)
    world.record(number(2), TaskCreated("A"), TaskRenamed("B"))
    projecting.sweep()
    erase_payloads(world.connection, SCHEMA, [task])
    assert all("not been redacted" in (found.not_compared or "") for found in findings(world).values())
    projecting.sweep()
    assert {(found.differing, found.not_compared) for found in findings(world).values()} == {(0, None)}
