"""The first project of a workspace, to which tasks belong that name none: made when the workspace is, or by whoever needs it
first. Its id is known beforehand, so that it comes to be exactly once."""

from collections.abc import Iterator
from typing import Final
from uuid import UUID

from uuid_utils.compat import uuid7

from application.command_handler import CommandContext
from application.log import Append, Condition, ConditionViolated, EventStore, NewEvent, VersionConflict
from domain.errors import DomainError
from domain.project.boundaries import key_tag
from domain.project.events import ProjectCreated
from domain.project.values import FIRST_KEY, FIRST_NAME, first_project_of
from domain.task.commands import CreateTask, MoveTask, TaskCommand

MOST_KEYS: Final = 1_000


class FirstProjects:
    """Makes them in one log. As a remedy for tasks' commands it makes the one that a command did not find."""

    def __init__(self, store: EventStore) -> None:
        self._store = store

    async def __call__(self, command: TaskCommand, refusal: DomainError, context: CommandContext) -> bool:
        """Whether the command was refused because the first project was not there, and now is."""
        workspace_id = context.principal.workspace_id
        if refusal.code != "project_not_found" or not isinstance(command, CreateTask | MoveTask):
            return False
        if command.project_id != first_project_of(workspace_id):
            return False
        await self.make(workspace_id, context.principal.principal_id)
        return True

    async def make(self, workspace_id: UUID, principal_id: UUID) -> None:
        """Make the workspace's first project unless it is there. Raises what appending raises."""
        for append in first_project_appends(workspace_id, principal_id):
            try:
                await self._store.append(append)
            except ConditionViolated:
                continue
            except VersionConflict:
                pass
            return


def first_project_appends(workspace_id: UUID, principal_id: UUID) -> Iterator[Append]:
    """What makes the first project: to be tried one after the other while the condition is violated, which is that the key was
    never another's. A conflict of versions says that it is there."""
    for number in range(1, MOST_KEYS):
        key = FIRST_KEY if number == 1 else f"{FIRST_KEY}{number}"
        command_id = uuid7()
        yield Append(
            workspace_id=workspace_id,
            principal_id=principal_id,
            command_id=command_id,
            correlation_id=command_id,
            causation_id=None,
            events=(NewEvent(first_project_of(workspace_id), 1, ProjectCreated(key, FIRST_NAME)),),
            receipt_start="{",
            conditions=(Condition(key_tag(workspace_id, key), 0),),
        )
