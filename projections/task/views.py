"""A task as it is served: in full (`TaskDetail`) and as a line of a list (`TaskSummary`). Both are serialised once, here."""

from datetime import datetime
from uuid import UUID

import msgspec

from domain.task.values import Estimate, Priority, Status
from projections.task.document import TaskDocument


class TaskSummary(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A task in a list: everything but its description."""

    id: UUID
    project_id: UUID | None
    number: int | None
    title: str
    status: Status
    priority: Priority
    due_at: datetime | None
    assignees: tuple[UUID, ...]
    labels: tuple[str, ...]
    estimate: Estimate | None
    deleted: bool
    version: int
    position: int
    created_at: datetime
    created_by: UUID
    updated_at: datetime
    started_at: datetime | None
    completed_at: datetime | None


class TaskDetail(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A task in full. `version` is its own count of events, `position` the place of its newest event in the log.

    `number` is the task's own in its project. Times are when things happened; `started_at` is the first start, `completed_at`
    and `deleted_at` hold while the task is completed or deleted. A title that was erased is the empty text, which nobody can
    write.
    """

    id: UUID
    workspace_id: UUID
    project_id: UUID | None
    number: int | None
    title: str
    description: str
    status: Status
    priority: Priority
    due_at: datetime | None
    assignees: tuple[UUID, ...]
    labels: tuple[str, ...]
    estimate: Estimate | None
    deleted: bool
    version: int
    position: int
    created_at: datetime
    created_by: UUID
    updated_at: datetime
    updated_by: UUID
    started_at: datetime | None
    completed_at: datetime | None
    deleted_at: datetime | None


_encode = msgspec.json.Encoder().encode


def summary(document: TaskDocument) -> TaskSummary:
    """The line of a list for a document."""
    task = document.task
    return TaskSummary(
        id=document.id,
        project_id=task.project_id,
        number=document.number,
        title=task.title,
        status=task.status,
        priority=task.priority,
        due_at=task.due_at,
        assignees=task.assignees,
        labels=task.labels,
        estimate=task.estimate,
        deleted=task.deleted,
        version=document.version,
        position=document.position,
        created_at=document.created_at,
        created_by=document.created_by,
        updated_at=document.happened_at,
        started_at=document.started_at,
        completed_at=document.completed_at,
    )


def detail(document: TaskDocument) -> TaskDetail:
    """The full view of a document."""
    task = document.task
    return TaskDetail(
        id=document.id,
        workspace_id=document.workspace_id,
        project_id=task.project_id,
        number=document.number,
        title=task.title,
        description=task.description,
        status=task.status,
        priority=task.priority,
        due_at=task.due_at,
        assignees=task.assignees,
        labels=task.labels,
        estimate=task.estimate,
        deleted=task.deleted,
        version=document.version,
        position=document.position,
        created_at=document.created_at,
        created_by=document.created_by,
        updated_at=document.happened_at,
        updated_by=document.updated_by,
        started_at=document.started_at,
        completed_at=document.completed_at,
        deleted_at=document.deleted_at,
    )


def summary_json(document: TaskDocument) -> bytes:
    """The line of a list as JSON."""
    return _encode(summary(document))


def detail_json(document: TaskDocument) -> bytes:
    """The full view as JSON."""
    return _encode(detail(document))
