"""The stored form of every event, literally: whatever fails here would make recorded histories unreadable."""

from typing import get_args
from uuid import UUID

import msgspec
import pytest

from domain.task.commands import ChangeTask, LogActivity, StartTask, command_fields
from domain.task.events import (
    TASK_FIELDS,
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
    touched_fields,
)
from tests.domain.samples import ANA, NOON

PERSON = "0195a000-0000-7000-8000-0000000000aa"

STORED: list[tuple[TaskEvent, str]] = [
    (TaskCreated("a"), '{"type":"task.created","title":"a"}'),
    (
        TaskCreated("a", "b", "low", NOON, (ANA,), ("c",), project_id=ANA, estimate=2.5, reason="d"),
        '{"type":"task.created","title":"a","description":"b","priority":"low","due_at":"2026-04-01T12:00:00Z",'
        f'"assignees":["{PERSON}"],"labels":["c"],"reason":"d","project_id":"{PERSON}","estimate":2.5}}',
    ),
    (TaskRenamed("a"), '{"type":"task.renamed","title":"a"}'),
    (TaskDescribed("a"), '{"type":"task.described","description":"a"}'),
    (TaskPrioritySet("none"), '{"type":"task.priority_set","priority":"none"}'),
    (TaskDueDateSet(NOON), '{"type":"task.due_date_set","due_at":"2026-04-01T12:00:00Z"}'),
    (TaskDueDateCleared(), '{"type":"task.due_date_cleared"}'),
    (TaskAssigned(ANA), f'{{"type":"task.assigned","assignee":"{PERSON}"}}'),
    (TaskUnassigned(ANA), f'{{"type":"task.unassigned","assignee":"{PERSON}"}}'),
    (TaskLabelAdded("a"), '{"type":"task.label_added","label":"a"}'),
    (TaskLabelRemoved("a"), '{"type":"task.label_removed","label":"a"}'),
    (TaskEstimateSet(3.0), '{"type":"task.estimate_set","estimate":3.0}'),
    (TaskEstimateCleared(), '{"type":"task.estimate_cleared"}'),
    (TaskStarted(), '{"type":"task.started"}'),
    (TaskStopped(), '{"type":"task.stopped"}'),
    (
        TaskStopped(reason="why", attributes={"team": "web"}),
        '{"type":"task.stopped","reason":"why","attributes":{"team":"web"}}',
    ),
    (TaskCompleted(reason="why"), '{"type":"task.completed","reason":"why"}'),
    (TaskReopened(), '{"type":"task.reopened"}'),
    (TaskCancelled(), '{"type":"task.cancelled"}'),
    (TaskDeleted(), '{"type":"task.deleted"}'),
    (TaskRestored(), '{"type":"task.restored"}'),
    (
        TaskMoved(UUID(int=1), UUID(int=2)),
        '{"type":"task.moved","from_project":"00000000-0000-0000-0000-000000000001",'
        '"to_project":"00000000-0000-0000-0000-000000000002"}',
    ),
    (TaskActivityLogged("a"), '{"type":"task.activity_logged","activity":"a"}'),
]


@pytest.mark.parametrize(("event", "stored"), STORED, ids=[type(event).__name__ for event, _ in STORED])
def test_the_stored_form_is_fixed(event: TaskEvent, stored: str) -> None:
    assert msgspec.json.encode(event).decode() == stored


@pytest.mark.parametrize(("event", "stored"), STORED, ids=[type(event).__name__ for event, _ in STORED])
def test_what_was_stored_is_read_back(event: TaskEvent, stored: str) -> None:
    assert msgspec.json.decode(stored, type=TaskEvent) == event


def test_every_event_has_a_stored_form_here() -> None:
    assert {type(event) for event, _ in STORED} == set(get_args(TaskEvent))


def test_creating_touches_every_field() -> None:
    assert touched_fields(TaskCreated("a")) == TASK_FIELDS


def test_completing_touches_the_status_alone() -> None:
    assert touched_fields(TaskCompleted()) == {"status"}


def test_logging_touches_nothing() -> None:
    assert touched_fields(TaskActivityLogged("a")) == command_fields(LogActivity("a")) == frozenset()


def test_a_change_means_the_fields_it_gives() -> None:
    assert command_fields(ChangeTask(title="a", due_at=None, reason="why")) == {"title", "due_at"}


def test_starting_means_the_status() -> None:
    assert command_fields(StartTask()) == {"status"}
