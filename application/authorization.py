"""Who may issue which command: one table, one row a command."""

from typing import Final

import msgspec

from application.principal import Principal
from domain.errors import NotPermitted
from domain.project.commands import (
    ArchiveProject,
    ChangeProject,
    CreateProject,
    DeleteProject,
    RestoreProject,
    UnarchiveProject,
)
from domain.task.commands import (
    AddLabel,
    AssignTask,
    CancelTask,
    ChangeTask,
    ClearDueDate,
    ClearEstimate,
    CompleteTask,
    CreateTask,
    DeleteTask,
    DescribeTask,
    LogActivity,
    MoveTask,
    ReassignTask,
    RemoveLabel,
    RenameTask,
    ReopenTask,
    RestoreTask,
    SetDueDate,
    SetEstimate,
    SetPriority,
    StartTask,
    StopTask,
    UnassignTask,
)

OWNER: Final = "owner"
MEMBER: Final = "member"

_OWNERS: Final = frozenset({OWNER})
_ANYONE_INSIDE: Final = frozenset({OWNER, MEMBER})

MAY_ISSUE: Final[dict[type[msgspec.Struct], frozenset[str]]] = {
    CreateTask: _ANYONE_INSIDE,
    ChangeTask: _ANYONE_INSIDE,
    RenameTask: _ANYONE_INSIDE,
    DescribeTask: _ANYONE_INSIDE,
    SetPriority: _ANYONE_INSIDE,
    SetDueDate: _ANYONE_INSIDE,
    ClearDueDate: _ANYONE_INSIDE,
    AssignTask: _ANYONE_INSIDE,
    ReassignTask: _ANYONE_INSIDE,
    UnassignTask: _ANYONE_INSIDE,
    AddLabel: _ANYONE_INSIDE,
    RemoveLabel: _ANYONE_INSIDE,
    SetEstimate: _ANYONE_INSIDE,
    ClearEstimate: _ANYONE_INSIDE,
    StartTask: _ANYONE_INSIDE,
    StopTask: _ANYONE_INSIDE,
    CompleteTask: _ANYONE_INSIDE,
    ReopenTask: _ANYONE_INSIDE,
    CancelTask: _ANYONE_INSIDE,
    DeleteTask: _ANYONE_INSIDE,
    RestoreTask: _ANYONE_INSIDE,
    MoveTask: _ANYONE_INSIDE,
    LogActivity: _ANYONE_INSIDE,
    CreateProject: _OWNERS,
    ChangeProject: _OWNERS,
    ArchiveProject: _OWNERS,
    UnarchiveProject: _OWNERS,
    DeleteProject: _OWNERS,
    RestoreProject: _OWNERS,
}


def authorize(principal: Principal, command: msgspec.Struct) -> None:
    """Raise NotPermitted unless the principal's role may issue this command in its own workspace."""
    if principal.role not in MAY_ISSUE[type(command)]:
        raise NotPermitted("not_permitted", f"the role {principal.role!r} may not do this")
