"""After payloads were erased, every read model is byte for byte what it would be if it had been built from what is left."""

import random
from typing import Any
from uuid import UUID

import pytest

import infrastructure.read_models.hot_store
from domain.task.events import (
    TaskAssigned,
    TaskCompleted,
    TaskDescribed,
    TaskLabelAdded,
    TaskPrioritySet,
    TaskRenamed,
)
from infrastructure.log.erasing import erase_payloads
from infrastructure.read_models.projecting import PROJECTORS, LogProjecting
from projections import ALL, HOT, TABLES
from projections.flow import Flow
from tests.generated_history import append_history
from tests.log_world import BEN, SCHEMA, World
from tests.projections.redaction.canaries import CANARY, canary, content, rebuilt, streams, told


def some_more(world: World, tasks: list[UUID], chance: random.Random) -> None:
    """Events of tasks that were erased: what is appended afterwards is not."""
    for task in tasks:
        workspace = world.connection.execute("SELECT workspace_id FROM events WHERE originator_id = %s", (task,)).fetchone()
        assert workspace is not None
        news = (TaskRenamed("anew"), TaskLabelAdded("new"), TaskPrioritySet("high"), TaskAssigned(BEN), TaskDescribed("more"))
        world.record(task, *chance.sample(news, chance.randint(0, 3)), TaskCompleted(), workspace=workspace[0])


@pytest.mark.parametrize("seed", [1, 2])
def test_redacted_equals_rebuilt(world: World, projecting: LogProjecting, seed: int) -> None:
    chance = random.Random(seed)
    for turn in range(3):
        append_history(world, seed=100 * seed + turn, commands=200 if turn else 600, first_task=1000 * turn + 1)
        projecting.sweep()
        before = content(world)
        tasks = streams(world)
        chosen = [tasks[0], *chance.sample(tasks[1:], 7)] if turn < 2 else chance.sample(tasks, 5)
        projects = chance.sample(streams(world, "project"), 3)
        assert erase_payloads(world.connection, SCHEMA, [*chosen, *projects]).events > 0
        if turn == 1:
            some_more(world, chosen, chance)
        for projector in chance.sample(PROJECTORS, len(PROJECTORS)):
            projecting.run(projector)
        after = content(world)
        assert {name for name in before if before[name] != after[name]} >= {"task_list", "project_list", "feed", HOT}
        if turn == 1:
            some_more(world, chosen, chance)
            projecting.sweep()
    redacted = content(world)
    assert redacted["task_snapshots"]
    assert world.connection.execute("SELECT count(*) FROM parked").fetchone() == (0,)
    assert redacted == rebuilt(world)


def no_redaction(*_: Any) -> list[Any]:
    return []


MAY_DIFFER = {each.name: set(each.tables) for each in TABLES if not isinstance(each, Flow)} | {HOT: {HOT}}


@pytest.mark.parametrize("name", MAY_DIFFER)
def test_a_read_model_that_is_not_redacted_is_found_out(
    world: World, projecting: LogProjecting, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The control: without its redaction each read model is another one than the log's."""
    append_history(world, seed=3, commands=600)
    projecting.sweep()
    with monkeypatch.context() as release:
        for projection in TABLES:
            if projection.name == name:
                release.setattr(type(projection), "redact", no_redaction)
        if name == HOT:
            release.setattr(infrastructure.read_models.hot_store, "redacted", no_redaction)
        erase_payloads(world.connection, SCHEMA, [*streams(world)[:5], *streams(world, "project")[:5]])
        projecting.sweep()
    kept, again = content(world), rebuilt(world)
    differing = {table for table in kept if kept[table] != again[table]}
    assert differing
    assert differing <= MAY_DIFFER[name]


def test_every_read_model_says_how_it_is_redacted() -> None:
    assert {projection.name for projection in TABLES} | {HOT} == set(ALL)
    for projection in TABLES:
        assert "redact" in vars(type(projection)), projection.name


def test_nothing_of_what_was_erased_is_left_in_any_table_or_key(world: World, projecting: LogProjecting) -> None:
    task = canary(world)
    projecting.sweep()
    assert CANARY in told(world)
    erase_payloads(world.connection, SCHEMA, [task])
    projecting.sweep()
    assert CANARY not in told(world)
    world.record(task, TaskLabelAdded("late"))
    projecting.sweep()
    assert CANARY not in told(world)
    assert "late" in told(world)
