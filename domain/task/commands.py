"""What may be asked of a task.

Commands are also decoded from requests, one by one or as a tagged union in a batch.
The bounds on the fields are the ones msgspec can check while decoding; it counts characters as sent, before
surrounding whitespace is dropped. `decide` checks every bound again.
"""

from typing import assert_never
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType

from domain.task.events import TASK_FIELDS
from domain.task.values import (
    Activity,
    Assignees,
    DueAt,
    GivenEstimate,
    Label,
    Labels,
    Priority,
    Title,
)
from domain.text import Description, Reason


class _Command(Struct, frozen=True, gc=False, forbid_unknown_fields=True, tag_field="command", kw_only=True):
    reason: Reason | None = None


class _Begin(_Command, frozen=True, kw_only=True):
    task_id: UUID | None = None
    project_id: UUID | None = None
    estimate: GivenEstimate | None = None


class CreateTask(_Begin, frozen=True, tag="create"):
    """A new task; its title is all it needs. `task_id` is for clients that name it themselves, offline for example.

    Without `project_id` it belongs to the workspace's first project.
    """

    title: Title
    description: Description = ""
    priority: Priority = "none"
    due_at: DueAt | None = None
    assignees: Assignees = ()
    labels: Labels = ()


class ChangeTask(_Command, frozen=True, tag="change", kw_only=True):
    """Several fields at once; a field left out stays, `due_at` or `estimate` null clears it.

    `assignees` and `labels` are whole sets: what is missing is removed, their order alone is no change.
    """

    title: Title | UnsetType = UNSET
    description: Description | UnsetType = UNSET
    priority: Priority | UnsetType = UNSET
    due_at: DueAt | UnsetType | None = UNSET
    assignees: Assignees | UnsetType = UNSET
    labels: Labels | UnsetType = UNSET
    estimate: GivenEstimate | UnsetType | None = UNSET


class RenameTask(_Command, frozen=True, tag="rename"):
    """Another title."""

    title: Title


class DescribeTask(_Command, frozen=True, tag="describe"):
    """Another description; an empty one removes it."""

    description: Description


class SetPriority(_Command, frozen=True, tag="set_priority"):
    """Another priority; `none` removes it."""

    priority: Priority


class SetDueDate(_Command, frozen=True, tag="set_due_date"):
    """Another due date, between 1970 and 100 years from now."""

    due_at: DueAt


class ClearDueDate(_Command, frozen=True, tag="clear_due_date"):
    """No due date any more."""


class AssignTask(_Command, frozen=True, tag="assign"):
    """One more assignee, a member of the workspace."""

    assignee: UUID


class ReassignTask(_Command, frozen=True, tag="reassign"):
    """The only assignee from now on, a member of the workspace: whoever else was assigned no longer is."""

    assignee: UUID


class UnassignTask(_Command, frozen=True, tag="unassign"):
    """One assignee less."""

    assignee: UUID


class AddLabel(_Command, frozen=True, tag="add_label"):
    """One more label; upper and lower case differ."""

    label: Label


class RemoveLabel(_Command, frozen=True, tag="remove_label"):
    """One label less."""

    label: Label


class SetEstimate(_Command, frozen=True, tag="set_estimate"):
    """Another estimate, 0 to 1,000 points with at most one decimal."""

    estimate: GivenEstimate


class ClearEstimate(_Command, frozen=True, tag="clear_estimate"):
    """No estimate any more."""


class StartTask(_Command, frozen=True, tag="start"):
    """Work begins: an open task is in progress."""


class StopTask(_Command, frozen=True, tag="stop"):
    """Work ends before it is done: a task in progress is open again."""


class CompleteTask(_Command, frozen=True, tag="complete"):
    """The work is done."""


class ReopenTask(_Command, frozen=True, tag="reopen"):
    """A completed or cancelled task is open again."""


class CancelTask(_Command, frozen=True, tag="cancel"):
    """The work will not be done."""


class DeleteTask(_Command, frozen=True, tag="delete"):
    """Out of the lists; the history stays."""


class RestoreTask(_Command, frozen=True, tag="restore"):
    """A deleted task is back as it was."""


class MoveTask(_Command, frozen=True, tag="move"):
    """To another project of the workspace, where it gets a number of its own; the old one goes on leading to it."""

    project_id: UUID


class LogActivity(_Command, frozen=True, tag="log_activity"):
    """A step that changes no field."""

    activity: Activity


TaskCommand = (
    CreateTask
    | ChangeTask
    | RenameTask
    | DescribeTask
    | SetPriority
    | SetDueDate
    | ClearDueDate
    | AssignTask
    | ReassignTask
    | UnassignTask
    | AddLabel
    | RemoveLabel
    | SetEstimate
    | ClearEstimate
    | StartTask
    | StopTask
    | CompleteTask
    | ReopenTask
    | CancelTask
    | DeleteTask
    | RestoreTask
    | MoveTask
    | LogActivity
)


def command_fields(command: TaskCommand) -> frozenset[str]:  # noqa: C901, PLR0911, PLR0912 - one table, one line an entry
    """The fields of the task the command means to change, whether or not it will."""
    match command:
        case CreateTask():
            return TASK_FIELDS
        case ChangeTask():
            return frozenset(
                field for field in command.__struct_fields__ if field in TASK_FIELDS and getattr(command, field) is not UNSET
            )
        case RenameTask():
            return frozenset(("title",))
        case DescribeTask():
            return frozenset(("description",))
        case SetPriority():
            return frozenset(("priority",))
        case SetDueDate() | ClearDueDate():
            return frozenset(("due_at",))
        case AssignTask() | ReassignTask() | UnassignTask():
            return frozenset(("assignees",))
        case AddLabel() | RemoveLabel():
            return frozenset(("labels",))
        case SetEstimate() | ClearEstimate():
            return frozenset(("estimate",))
        case StartTask() | StopTask() | CompleteTask() | ReopenTask() | CancelTask():
            return frozenset(("status",))
        case DeleteTask() | RestoreTask():
            return frozenset(("deleted",))
        case MoveTask():
            return frozenset(("project_id",))
        case LogActivity():
            return frozenset()
        case _:
            assert_never(command)
