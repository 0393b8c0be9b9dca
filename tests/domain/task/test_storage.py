"""The stored form of every event, literally: whatever fails here would make recorded histories unreadable."""

from typing import Literal, get_args, get_origin, get_type_hints
from uuid import UUID

import msgspec
import pytest

from domain.task.commands import ChangeTask, LogActivity, StartTask, command_fields
from domain.task.events import (
    PERSONAL_FIELDS,
    STRUCTURAL_TEXT,
    TASK_FIELDS,
    TOUCHED,
    TaskActivityLogged,
    TaskAssigned,
    TaskCancelled,
    TaskCompleted,
    TaskCreated,
    TaskDeleted,
    TaskDescribed,
    TaskDueDateCleared,
    TaskDueDateSet,
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
from domain.task.rules import Task
from tests.domain.samples import ANA, NOON

PERSON = "0195a000-0000-7000-8000-0000000000aa"

STORED: list[tuple[TaskEvent, str]] = [
    (TaskCreated("a"), '{"type":"task.created","title":"a"}'),
    (
        TaskCreated("a", "b", "low", NOON, (ANA,), ("c",), project_id=ANA, reason="d"),
        '{"type":"task.created","title":"a","description":"b","priority":"low","due_at":"2026-04-01T12:00:00Z",'
        f'"assignees":["{PERSON}"],"labels":["c"],"reason":"d","project_id":"{PERSON}"}}',
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


def holds_free_text(kind: object) -> bool:
    """Whether a `str` stands anywhere in a type; a choice of given words is none."""
    return kind is str or (get_origin(kind) is not Literal and any(map(holds_free_text, get_args(kind))))


@pytest.mark.parametrize("event", get_args(TaskEvent), ids=lambda event: event.__name__)
def test_every_free_text_is_declared_personal_or_structural_and_nothing_else_is(event: type[TaskEvent]) -> None:
    texts = {field for field, kind in get_type_hints(event).items() if holds_free_text(kind)}
    personal = set(PERSONAL_FIELDS[event])
    assert personal | (STRUCTURAL_TEXT & set(event.__struct_fields__)) == texts
    assert not personal & STRUCTURAL_TEXT


def test_free_text_is_found_inside_other_types_and_a_choice_of_words_is_none() -> None:
    assert all(map(holds_free_text, (str, str | None, dict[str, int], tuple[UUID | str, ...])))
    assert not any(map(holds_free_text, (int, tuple[UUID, ...], Literal["low", "high"], Literal["low"] | None)))


def test_the_task_fields_are_those_of_the_state() -> None:
    assert set(Task.__struct_fields__) == TASK_FIELDS


def test_every_event_says_which_fields_it_touches() -> None:
    assert set(TOUCHED) == set(get_args(TaskEvent))


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
