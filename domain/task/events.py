"""What can happen to a task: the recorded facts, and nothing about when they are allowed.

This is the storage format. A tag, a field name or a meaning never changes once it is written: a new field
needs a default, a new meaning needs a new event.
"""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final, get_args
from uuid import UUID

from msgspec import Struct

from domain.task.values import Priority


class _Event(Struct, frozen=True, gc=False, omit_defaults=True, tag_field="type", kw_only=True):
    # The why, in the words of whoever did it.
    reason: str | None = None
    # What else was known of this step and is no field of the task, by name: an imported history's team, channel, cause.
    attributes: dict[str, str] = {}


class _Begun(_Event, frozen=True, kw_only=True):
    # What a creation tells by name alone: it holds more than can be told by their places.
    project_id: UUID | None = None
    estimate: float | None = None


class TaskCreated(_Begun, frozen=True, tag="task.created"):
    """A task came into being, with every field it was given."""

    title: str
    description: str = ""
    priority: Priority = "none"
    due_at: datetime | None = None
    assignees: tuple[UUID, ...] = ()
    labels: tuple[str, ...] = ()


class TaskRenamed(_Event, frozen=True, tag="task.renamed"):
    """The title became another."""

    title: str


class TaskDescribed(_Event, frozen=True, tag="task.described"):
    """The description became another."""

    description: str


class TaskPrioritySet(_Event, frozen=True, tag="task.priority_set"):
    """The priority became another."""

    priority: Priority


class TaskDueDateSet(_Event, frozen=True, tag="task.due_date_set"):
    """The due date was set or moved; aware UTC."""

    due_at: datetime


class TaskDueDateCleared(_Event, frozen=True, tag="task.due_date_cleared"):
    """The due date was taken away."""


class TaskAssigned(_Event, frozen=True, tag="task.assigned"):
    """A principal became an assignee."""

    assignee: UUID


class TaskUnassigned(_Event, frozen=True, tag="task.unassigned"):
    """A principal is no longer an assignee."""

    assignee: UUID


class TaskLabelAdded(_Event, frozen=True, tag="task.label_added"):
    """A label was added."""

    label: str


class TaskLabelRemoved(_Event, frozen=True, tag="task.label_removed"):
    """A label was removed."""

    label: str


class TaskEstimateSet(_Event, frozen=True, tag="task.estimate_set"):
    """The estimate was set or became another; in points, as `accepted_estimate` makes it."""

    estimate: float


class TaskEstimateCleared(_Event, frozen=True, tag="task.estimate_cleared"):
    """The estimate was taken away."""


class TaskStarted(_Event, frozen=True, tag="task.started"):
    """Work began."""


class TaskStopped(_Event, frozen=True, tag="task.stopped"):
    """Work on a task in progress ended before it was done: it is open again."""


class TaskCompleted(_Event, frozen=True, tag="task.completed"):
    """The work was done."""


class TaskReopened(_Event, frozen=True, tag="task.reopened"):
    """A completed or cancelled task was opened again."""


class TaskCancelled(_Event, frozen=True, tag="task.cancelled"):
    """The work was given up."""


class TaskDeleted(_Event, frozen=True, tag="task.deleted"):
    """The task was taken out of the lists; its history stays."""


class TaskRestored(_Event, frozen=True, tag="task.restored"):
    """A deleted task came back as it was."""


class TaskMoved(_Event, frozen=True, tag="task.moved"):
    """The task went to another project, where it got a number of its own."""

    from_project: UUID | None
    to_project: UUID


class TaskActivityLogged(_Event, frozen=True, tag="task.activity_logged"):
    """A step that changed no field. Imported histories have them; without them the history would be false."""

    activity: str


TaskEvent = (
    TaskCreated
    | TaskRenamed
    | TaskDescribed
    | TaskPrioritySet
    | TaskDueDateSet
    | TaskDueDateCleared
    | TaskAssigned
    | TaskUnassigned
    | TaskLabelAdded
    | TaskLabelRemoved
    | TaskEstimateSet
    | TaskEstimateCleared
    | TaskStarted
    | TaskStopped
    | TaskCompleted
    | TaskReopened
    | TaskCancelled
    | TaskDeleted
    | TaskRestored
    | TaskMoved
    | TaskActivityLogged
)

_PERSONAL_TEXT = ("title", "description", "labels", "label", "activity", "reason", "attributes")

PERSONAL_FIELDS: Final[Mapping[type[TaskEvent], tuple[str, ...]]] = MappingProxyType(
    {event: tuple(field for field in _PERSONAL_TEXT if field in event.__struct_fields__) for event in get_args(TaskEvent)}
)
"""For each event, the payload fields that are free text about persons: stored so that they can be erased."""

STRUCTURAL_TEXT: Final[frozenset[str]] = frozenset()
"""The other fields of free text: what boundaries, tags or ids may be made of, and what no erasure takes. None so far."""

TASK_FIELDS: Final = frozenset(
    ("title", "description", "status", "priority", "due_at", "assignees", "labels", "estimate", "deleted", "project_id")
)
"""Every field of a task, by the names `touched_fields` uses."""

_TITLE = frozenset(("title",))
_DESCRIPTION = frozenset(("description",))
_PRIORITY = frozenset(("priority",))
_DUE_AT = frozenset(("due_at",))
_ASSIGNEES = frozenset(("assignees",))
_LABELS = frozenset(("labels",))
_ESTIMATE = frozenset(("estimate",))
_STATUS = frozenset(("status",))
_DELETED = frozenset(("deleted",))
_PROJECT = frozenset(("project_id",))
_NOTHING: frozenset[str] = frozenset()


TOUCHED: Final[Mapping[type[TaskEvent], frozenset[str]]] = MappingProxyType(
    {
        TaskCreated: TASK_FIELDS,
        TaskRenamed: _TITLE,
        TaskDescribed: _DESCRIPTION,
        TaskPrioritySet: _PRIORITY,
        TaskDueDateSet: _DUE_AT,
        TaskDueDateCleared: _DUE_AT,
        TaskAssigned: _ASSIGNEES,
        TaskUnassigned: _ASSIGNEES,
        TaskLabelAdded: _LABELS,
        TaskLabelRemoved: _LABELS,
        TaskEstimateSet: _ESTIMATE,
        TaskEstimateCleared: _ESTIMATE,
        TaskStarted: _STATUS,
        TaskStopped: _STATUS,
        TaskCompleted: _STATUS,
        TaskReopened: _STATUS,
        TaskCancelled: _STATUS,
        TaskDeleted: _DELETED,
        TaskRestored: _DELETED,
        TaskMoved: _PROJECT,
        TaskActivityLogged: _NOTHING,
    }
)
"""By kind of event the fields that it changes: what the log can tell without reading any payload."""


def touched_fields(event: TaskEvent) -> frozenset[str]:
    """The fields of the task the event changes: two changes only conflict where these meet."""
    return TOUCHED[type(event)]
