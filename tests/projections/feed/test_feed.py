"""The feed: every event is told with who, when, why, and each field before and after."""

from datetime import UTC, datetime
from typing import Any, get_args

import msgspec

from domain.task.events import (
    TaskActivityLogged,
    TaskAssigned,
    TaskCancelled,
    TaskCompleted,
    TaskCreated,
    TaskDeleted,
    TaskDescribed,
    TaskDueDateCleared,
    TaskDueDateSet,
    TaskEstimateCleared,
    TaskEstimateSet,
    TaskEvent,
    TaskLabelAdded,
    TaskLabelRemoved,
    TaskMoved,
    TaskPrioritySet,
    TaskRenamed,
    TaskReopened,
    TaskRestored,
    TaskStarted,
    TaskStopped,
    TaskUnassigned,
)
from domain.task.rules import Task
from projections.feed.entries import HistoryEntry, field_changes
from projections.feed.feed import Entries, changes_after, history_of
from projections.tables.bounds import Room
from tests.log_world import ANA, BEN, ELSEWHERE, HOME, World, number

LONG_AGO = datetime(2011, 3, 4, 5, 6, 7, 890123, tzinfo=UTC)
DUE = datetime(2026, 5, 1, 12, tzinfo=UTC)
DUE_TEXT = "2026-05-01T12:00:00Z"
TASK = number(1)
PROJECT, OTHER = number(901), number(902)

# Every event in an order in which each of them changes something, with the fields before and after as JSON.
STORY: tuple[tuple[TaskEvent, dict[str, tuple[Any, Any]]], ...] = (
    (
        TaskCreated("A", "text", "low", DUE, (BEN,), ("x",), estimate=0.0),
        {
            "title": (None, "A"),
            "description": (None, "text"),
            "status": (None, "open"),
            "priority": (None, "low"),
            "due_at": (None, DUE_TEXT),
            "assignees": (None, [str(BEN)]),
            "labels": (None, ["x"]),
            "estimate": (None, 0),
        },
    ),
    (TaskRenamed("B"), {"title": ("A", "B")}),
    (TaskDescribed(""), {"description": ("text", "")}),
    (TaskPrioritySet("urgent"), {"priority": ("low", "urgent")}),
    (TaskDueDateCleared(), {"due_at": (DUE_TEXT, None)}),
    (TaskDueDateSet(DUE), {"due_at": (None, DUE_TEXT)}),
    (TaskAssigned(ANA), {"assignees": ([str(BEN)], [str(BEN), str(ANA)])}),
    (TaskUnassigned(BEN), {"assignees": ([str(BEN), str(ANA)], [str(ANA)])}),
    (TaskLabelAdded("y"), {"labels": (["x"], ["x", "y"])}),
    (TaskLabelRemoved("x"), {"labels": (["x", "y"], ["y"])}),
    (TaskEstimateSet(2.5), {"estimate": (0, 2.5)}),
    (TaskEstimateCleared(), {"estimate": (2.5, None)}),
    (TaskStarted(), {"status": ("open", "in_progress")}),
    (TaskStopped(), {"status": ("in_progress", "open")}),
    (TaskStarted(), {"status": ("open", "in_progress")}),
    (TaskCompleted(), {"status": ("in_progress", "completed")}),
    (TaskReopened(), {"status": ("completed", "open")}),
    (TaskCancelled(), {"status": ("open", "cancelled")}),
    (TaskDeleted(), {"deleted": (False, True)}),
    (TaskRestored(), {"deleted": (True, False)}),
    (TaskMoved(None, PROJECT), {"project_id": (None, str(PROJECT))}),
    (TaskMoved(PROJECT, OTHER), {"project_id": (str(PROJECT), str(OTHER))}),
    (TaskActivityLogged("W_Nabellen offerte"), {}),
)


def entries(found: Entries) -> list[HistoryEntry]:
    return [msgspec.json.decode(item, type=HistoryEntry) for item in found.items]


def history(world: World, after: int = 0, limit: int = 100) -> list[HistoryEntry]:
    return entries(world.ask(lambda connection: history_of(connection, HOME, ("task", TASK), after, Room(limit))))


def test_every_event_type_tells_the_fields_it_changed(world: World) -> None:
    assert {type(event) for event, _ in STORY} == set(get_args(TaskEvent))
    world.record(TASK, *(event for event, _ in STORY))
    world.project()
    told = history(world)
    assert [entry.type for entry in told] == [event.__struct_config__.tag for event, _ in STORY]
    for entry, (event, expected) in zip(told, STORY, strict=True):
        assert {change.field: (change.before, change.after) for change in entry.changes} == expected, event


def test_a_zero_that_a_new_task_has_is_told() -> None:
    told = field_changes(None, Task(title="A", estimate=0.0))
    assert [(change.field, change.before, change.after) for change in told] == [
        ("title", None, "A"),
        ("status", None, "open"),
        ("priority", None, "none"),
        ("estimate", None, 0),
    ]


def test_an_entry_tells_who_when_why_and_by_which_command(world: World) -> None:
    world.record(TASK, TaskCreated("A", reason="because"), by=BEN, at=LONG_AGO)
    world.record(TASK, TaskStarted())
    world.project()
    imported, live = history(world)
    first, second = world.records()
    assert (imported.principal_id, imported.reason, imported.effective_at) == (BEN, "because", LONG_AGO)
    assert imported.recorded_at == first.recorded_at > LONG_AGO
    assert (live.principal_id, live.reason, live.effective_at) == (ANA, None, None)
    assert (live.position, live.version, live.hash) == (2, 2, second.hash.hex())
    assert (live.command_id, live.correlation_id, live.causation_id) == (second.command_id, second.correlation_id, None)


def test_an_entry_tells_what_else_was_known_of_the_step(world: World) -> None:
    world.record(TASK, TaskCreated("A", attributes={"team": "web", "channel": "phone"}), at=LONG_AGO)
    world.record(TASK, TaskStarted())
    world.project()
    assert [entry.attributes for entry in history(world)] == [{"team": "web", "channel": "phone"}, {}]


def test_a_timeline_is_read_in_pages_by_version(world: World) -> None:
    world.record(TASK, *(event for event, _ in STORY))
    world.project()
    seen: list[int] = []
    while True:
        found = world.ask(lambda connection: history_of(connection, HOME, ("task", TASK), seen[-1] if seen else 0, Room(4)))
        if not found.items:
            assert (found.more, found.position) == (False, len(STORY))
            break
        seen += [entry.version for entry in entries(found)]
        assert found.last == seen[-1]
    assert seen == list(range(1, len(STORY) + 1))


def test_a_workspaces_changes_are_its_own_in_the_order_of_positions(world: World) -> None:
    for n in range(1, 7):
        world.record(number(n), TaskCreated(f"{n}"), workspace=HOME if n % 2 else ELSEWHERE)
    world.project()
    own = world.ask(lambda connection: changes_after(connection, HOME, 1, Room(100)))
    assert [entry.position for entry in entries(own)] == [3, 5]
    assert (own.last, own.position, own.digits) == (5, 6, world.records()[-1].hash.hex()[:8])
    nothing = world.ask(lambda connection: changes_after(connection, HOME, 5, Room(100)))
    assert (nothing.items, nothing.more, nothing.position) == ([], False, 6)


def test_another_workspace_does_not_see_a_tasks_history(world: World) -> None:
    world.record(TASK, TaskCreated("A"))
    world.project()
    assert world.ask(lambda connection: history_of(connection, ELSEWHERE, ("task", TASK), 0, Room(10))).items == []
