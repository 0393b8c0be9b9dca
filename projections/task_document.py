"""A task as readers see it: the domain's state with the times, people and places from the envelopes.

`fold` is the one step from one event to the next document; every read model and every time travel goes through it.
"""

from datetime import datetime
from uuid import UUID

import msgspec

from domain.envelope import RecordedEvent
from domain.task import Task, evolve
from domain.task_events import (
    TaskCancelled,
    TaskCompleted,
    TaskDeleted,
    TaskEvent,
    TaskReopened,
    TaskRestored,
    TaskStarted,
)

TaskRecord = RecordedEvent[TaskEvent]


class TaskDocument(msgspec.Struct, frozen=True, gc=False):
    """A task after its event `version`, which is the log's event `position`.

    Times are when things happened (imported history keeps its own). `started_at` is the first start, `completed_at` and
    `deleted_at` are of the present state only: reopening clears one, restoring the other.
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
    started_at: datetime | None = None
    completed_at: datetime | None = None
    deleted_at: datetime | None = None


def fold(document: TaskDocument | None, record: TaskRecord) -> TaskDocument:
    """The document after `record`. Never raises."""
    at = record.happened_at
    event = record.event
    if document is None:
        return TaskDocument(
            record.stream_id,
            record.workspace_id,
            evolve(None, event),
            record.version,
            record.position,
            at,
            record.principal_id,
            record.position,
            at,
            record.principal_id,
        )
    started, completed, deleted = document.started_at, document.completed_at, document.deleted_at
    kind = type(event)
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
    return TaskDocument(
        document.id,
        document.workspace_id,
        evolve(document.task, event),
        record.version,
        record.position,
        document.created_at,
        document.created_by,
        document.created_position,
        at,
        record.principal_id,
        started,
        completed,
        deleted,
    )
