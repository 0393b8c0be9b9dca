"""Whom a task may be given to: members of its workspace, which is known outside the log."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Final
from uuid import UUID

import msgspec

from application.principal import Principal
from domain.errors import InvalidValue
from domain.task.commands import AssignTask, ChangeTask, CreateTask, ReassignTask, TaskCommand
from domain.task.rules import Task

MembersOf = Callable[[UUID], Awaitable[frozenset[UUID]]]
"""The principals that a workspace's tasks can be assigned to."""

_NOBODY: Final[frozenset[UUID]] = frozenset()
# Made once: every command is asked.
_ONE: Final = (AssignTask, ReassignTask)


class AssigneesAreMembers:
    """The check that whoever a command puts on a task is a member of the workspace."""

    def __init__(self, members_of: MembersOf) -> None:
        self._members_of = members_of

    async def __call__(self, state: Task | None, command: TaskCommand, principal: Principal) -> None:  # noqa: ARG002
        """Raise InvalidValue `unknown_assignee` where one is not."""
        if named := named_assignees(command):
            _require_members(named, command, await self._members_of(principal.workspace_id))

    async def ahead(self, commands: Iterable[TaskCommand], principal: Principal) -> "AssigneesAreMembers":
        """The same for many commands: the members are asked for once, and only if somebody is named."""
        named = any(named_assignees(command) for command in commands)
        members = await self._members_of(principal.workspace_id) if named else _NOBODY

        async def known(_: UUID) -> frozenset[UUID]:
            return members

        return AssigneesAreMembers(known)


def _require_members(named: frozenset[UUID], command: TaskCommand, members: frozenset[UUID]) -> None:
    if not named <= members:
        field = "assignee" if isinstance(command, _ONE) else "assignees"
        raise InvalidValue("unknown_assignee", "an assignee is not a member of this workspace", field)


def named_assignees(command: TaskCommand) -> frozenset[UUID]:
    """Whom the command puts on the task."""
    if isinstance(command, CreateTask):
        return frozenset(command.assignees) if command.assignees else _NOBODY
    if isinstance(command, ChangeTask):
        return _NOBODY if command.assignees is msgspec.UNSET else frozenset(command.assignees)
    if isinstance(command, _ONE):
        return frozenset({command.assignee})
    return _NOBODY
