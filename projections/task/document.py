"""A task as readers see it: the domain's state with the times, people and places from the envelopes.

`fold` is the one step from one event to the next document; every read model and every time travel goes through it.
"""

from datetime import datetime
from sys import getsizeof
from typing import Final
from uuid import UUID

import msgspec

from domain.envelope import RecordedEvent
from domain.task.erased import known
from domain.task.events import (
    TaskCancelled,
    TaskCompleted,
    TaskDeleted,
    TaskEvent,
    TaskReopened,
    TaskRestored,
    TaskStarted,
    TaskStopped,
)
from domain.task.rules import Task, evolve
from projections.engine.changes import Change
from projections.tables.moments import Since
from projections.task.facets import facets_of, texts_of

TaskRecord = RecordedEvent[TaskEvent]


class Clock(msgspec.Struct, frozen=True, gc=False):
    """When a task's events count in measures of flow: when they happened, but never after they were recorded and never before
    what happened to the task earlier. So no duration is negative, and nothing ends before it began, whatever was imported.

    `started` is the first start, `completed` holds while the task is completed, `underway` from a start until a stop: reopening
    leaves work that had begun under way.
    """

    created: datetime
    latest: datetime
    started: datetime | None = None
    completed: datetime | None = None
    underway: bool = False


class TaskDocument(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A task after its event `version`, which is the log's event `position`.

    Times are when things happened (imported history keeps its own). `started_at` is the first start, `completed_at` and
    `deleted_at` are of the present state only: reopening clears one, restoring the other.

    `known_by` is the latest time of all its events so far: an event counts as having happened when all before it had as well.
    `imported` says whether that ever was another time than the one at which the log took the event. `facets_since` and
    `text_since` say from when on the present values of its facets and texts hold.
    """

    id: UUID
    workspace_id: UUID
    task: Task
    version: int
    position: int
    created_at: datetime
    created_by: UUID
    created_position: int
    happened_at: datetime
    updated_by: UUID
    clock: Clock
    known_by: datetime
    imported: bool
    facets_since: Since
    text_since: Since
    started_at: datetime | None = None
    completed_at: datetime | None = None
    deleted_at: datetime | None = None
    # In its project; None where the log gave it none.
    number: int | None = None


TaskChange = Change[TaskDocument]


def document_size(document: TaskDocument) -> int:
    """What it takes in memory, in bytes, about."""
    task = document.task
    return 1800 + getsizeof(task.title) + getsizeof(task.description) + sum(map(getsizeof, task.labels))


def fold(document: TaskDocument | None, record: TaskRecord) -> TaskDocument:
    """The document after `record`. Never raises."""
    at = record.happened_at
    event = known(record.event)
    kind = type(event)
    before = document or _nothing_yet(record)
    started, completed, deleted = before.started_at, before.completed_at, before.deleted_at
    if kind is TaskStarted:
        started = started or at
    elif kind is TaskCompleted:
        completed = at
    elif kind is TaskReopened or kind is TaskCancelled:
        completed = None
    elif kind is TaskDeleted:
        deleted = at
    elif kind is TaskRestored:
        deleted = None
    task = evolve(document.task if document else None, event)
    known_by = max(before.known_by, at)
    since = Since(record.position, known_by)
    return TaskDocument(
        id=before.id,
        workspace_id=before.workspace_id,
        task=task,
        version=record.version,
        position=record.position,
        created_at=before.created_at,
        created_by=before.created_by,
        created_position=before.created_position,
        happened_at=at,
        updated_by=record.principal_id,
        clock=_clock(before.clock, record, kind),
        known_by=known_by,
        imported=before.imported or known_by != record.recorded_at,
        facets_since=before.facets_since if document and facets_of(task) == facets_of(document.task) else since,
        text_since=before.text_since if document and texts_of(task) == texts_of(document.task) else since,
        started_at=started,
        completed_at=completed,
        deleted_at=deleted,
        number=before.number if record.number is None else record.number,
    )


def _nothing_yet(record: TaskRecord) -> TaskDocument:
    at = record.happened_at
    counted = min(at, record.recorded_at)
    return TaskDocument(
        id=record.stream_id,
        workspace_id=record.workspace_id,
        task=_NO_TASK,
        version=0,
        position=0,
        created_at=at,
        created_by=record.principal_id,
        created_position=record.position,
        happened_at=at,
        updated_by=record.principal_id,
        clock=Clock(counted, counted),
        known_by=at,
        imported=False,
        facets_since=Since(record.position, at),
        text_since=Since(record.position, at),
    )


_NO_TASK: Final = Task()


def _clock(before: Clock, record: TaskRecord, kind: type[TaskEvent]) -> Clock:
    counted = record.recorded_at
    if record.effective_at is not None and record.effective_at < counted:
        counted = record.effective_at
    counted = max(counted, before.latest)
    started, completed, underway = before.started, before.completed, before.underway
    if kind is TaskStarted:
        started, underway = started or counted, True
    elif kind is TaskStopped:
        underway = False
    elif kind is TaskCompleted:
        completed = counted
    elif kind is TaskReopened or kind is TaskCancelled:
        completed = None
    return Clock(before.created, counted, started, completed, underway)
