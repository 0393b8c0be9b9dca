"""A project: what it is and every rule about it. See `domain.task.rules` for how the parts play together."""

from datetime import datetime
from typing import Any, Final, assert_never
from uuid import UUID

from msgspec import UNSET, Struct
from msgspec.structs import replace

from domain.boundaries import Rule
from domain.envelope import Erased
from domain.errors import RuleViolated
from domain.project.boundaries import key_boundary, require_free
from domain.project.commands import (
    ArchiveProject,
    ChangeProject,
    CreateProject,
    DeleteProject,
    ProjectCommand,
    RestoreProject,
    UnarchiveProject,
)
from domain.project.erased import known
from domain.project.events import (
    ProjectArchived,
    ProjectCreated,
    ProjectDeleted,
    ProjectDescribed,
    ProjectEvent,
    ProjectKeyChanged,
    ProjectRenamed,
    ProjectRestored,
    ProjectUnarchived,
)
from domain.project.refusals import no_such_project, project_exists
from domain.project.values import accepted_key, accepted_name, accepted_project_id
from domain.text import accepted_description, accepted_reason


class Project(Struct, frozen=True, gc=False):
    """A project as its events left it. `keys` are all it ever had, the present one last."""

    key: str = ""
    name: str = ""
    description: str = ""
    archived: bool = False
    deleted: bool = False
    keys: tuple[str, ...] = ()


_BLANK: Final = Project()


def decide(state: Project | None, command: ProjectCommand, now: datetime) -> tuple[ProjectEvent, ...]:  # noqa: ARG001 - as every aggregate's
    """The events that follow from the command, none where it changes nothing.

    Raises NotFound `project_not_found`, RuleViolated (`project_exists`, `project_deleted`) or InvalidValue with the field to
    blame. Whether a key is free, its boundary knows.
    """
    why = accepted_reason(command.reason)
    if isinstance(command, CreateProject):
        return _create(state, command, why)
    if state is None:
        raise no_such_project()
    if state.deleted and not isinstance(command, RestoreProject | DeleteProject):
        raise RuleViolated("project_deleted", "The project is deleted; restore it first.")
    match command:
        case ChangeProject():
            return _change(state, command, why)
        case ArchiveProject():
            return () if state.archived else (ProjectArchived(reason=why),)
        case UnarchiveProject():
            return (ProjectUnarchived(reason=why),) if state.archived else ()
        case DeleteProject():
            return () if state.deleted else (ProjectDeleted(reason=why),)
        case RestoreProject():
            return (ProjectRestored(reason=why),) if state.deleted else ()
        case _:
            assert_never(command)


def _create(state: Project | None, command: CreateProject, why: str | None) -> tuple[ProjectEvent, ...]:
    if state is not None:
        raise project_exists()
    if command.project_id is not None:
        accepted_project_id(command.project_id)
    name, description = accepted_name(command.name), accepted_description(command.description)
    return (ProjectCreated(accepted_key(command.key), name, description, reason=why),)


def _change(project: Project, command: ChangeProject, why: str | None) -> tuple[ProjectEvent, ...]:
    events: tuple[ProjectEvent, ...] = ()
    if command.key is not UNSET and (key := accepted_key(command.key)) != project.key:
        events += (ProjectKeyChanged(project.key, key, reason=why),)
    if command.name is not UNSET and (name := accepted_name(command.name)) != project.name:
        events += (ProjectRenamed(name, reason=why),)
    if command.description is not UNSET:
        description = accepted_description(command.description)
        if description != project.description:
            events += (ProjectDescribed(description, reason=why),)
    return events


def rules(
    state: Project | None,
    command: ProjectCommand,
    stream_id: UUID,  # noqa: ARG001 - as every aggregate's
    workspace_id: UUID,
) -> tuple[Rule[Any], ...]:
    """What else has to hold: a key that the project never had is free."""
    had = () if state is None else state.keys
    if isinstance(command, CreateProject | ChangeProject) and command.key is not UNSET and command.key not in had:
        return (Rule(key_boundary(workspace_id, command.key), require_free),)
    return ()


def evolve(state: Project | None, event: ProjectEvent | Erased) -> Project:  # noqa: PLR0911 - one table, one line an entry
    """The project after the event. Total: any event is folded into any state, whatever rules once allowed it.

    Of an erased one what is left of it, see `known`.
    """
    project = _BLANK if state is None else state
    match known(event):
        case ProjectCreated(key, name, description):
            return Project(key, name, description, keys=_keys((), key))
        case ProjectRenamed(name):
            return replace(project, name=name)
        case ProjectDescribed(description):
            return replace(project, description=description)
        case ProjectKeyChanged(_, new):
            return replace(project, key=new, keys=_keys(project.keys, new))
        case ProjectArchived():
            return replace(project, archived=True)
        case ProjectUnarchived():
            return replace(project, archived=False)
        case ProjectDeleted():
            return replace(project, deleted=True)
        case ProjectRestored():
            return replace(project, deleted=False)
        case Erased():
            return project
        case _:
            assert_never(event)


def _keys(keys: tuple[str, ...], new: str) -> tuple[str, ...]:
    return (*(key for key in keys if key != new), new) if new else keys
