"""What of projects is known beyond their own streams: who had a key first, and whether a project takes commands."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from domain.boundaries import Boundary, Rule
from domain.envelope import Erased
from domain.errors import RuleViolated
from domain.project.erased import known
from domain.project.events import (
    ProjectArchived,
    ProjectCreated,
    ProjectDeleted,
    ProjectEvent,
    ProjectKeyChanged,
    ProjectRestored,
    ProjectUnarchived,
)
from domain.project.refusals import no_such_project


class Openness(Struct, frozen=True, gc=False):
    """Whether a project takes commands for its tasks; `exists` is False where its workspace has no such project."""

    exists: bool = False
    archived: bool = False
    deleted: bool = False


def key_tag(workspace_id: UUID, key: str) -> str:
    """On the events by which a project of the workspace took the key."""
    return f"project-key:{workspace_id}:{key}"


def open_tag(workspace_id: UUID, project_id: UUID) -> str:
    """On the events that begin, put away, take up, delete and restore the project."""
    return f"project-open:{workspace_id}:{project_id}"


def tags_of_project(event: ProjectEvent, project_id: UUID, workspace_id: UUID) -> tuple[str, ...]:
    """The boundaries that an event of a project belongs to."""
    match event:
        case ProjectCreated():
            return (key_tag(workspace_id, event.key), open_tag(workspace_id, project_id))
        case ProjectKeyChanged():
            return (key_tag(workspace_id, event.new),)
        case ProjectArchived() | ProjectUnarchived() | ProjectDeleted() | ProjectRestored():
            return (open_tag(workspace_id, project_id),)
    return ()


def key_boundary(workspace_id: UUID, key: str) -> Boundary[bool]:
    """Whether the key was ever taken in the workspace."""

    def evolve(taken: bool, event: object) -> bool:
        match event:
            case ProjectCreated(new) | ProjectKeyChanged(_, new):
                return taken or new == key
            case Erased():
                # Its tag is all that is left to say so.
                return True
        return taken

    return Boundary(key_tag(workspace_id, key), False, evolve)


@lru_cache(maxsize=10_000)
def open_boundary(workspace_id: UUID, project_id: UUID) -> Boundary[Openness]:
    """Whether the workspace's project takes commands for its tasks."""
    return Boundary(open_tag(workspace_id, project_id), _UNKNOWN, _evolve_openness)


_UNKNOWN: Final = Openness()


def _evolve_openness(openness: Openness, event: Any) -> Openness:
    match known(event):
        case ProjectCreated():
            return Openness(True)
        case ProjectArchived():
            return replace(openness, archived=True)
        case ProjectUnarchived():
            return replace(openness, archived=False)
        case ProjectDeleted():
            return replace(openness, deleted=True)
        case ProjectRestored():
            return replace(openness, deleted=False)
    return openness


def require_free(taken: bool) -> None:
    """Raises RuleViolated `key_taken`."""
    if taken:
        raise RuleViolated("key_taken", "Another project of this workspace has or had this key.", "key")


def require_open(openness: Openness) -> None:
    """Raises NotFound `project_not_found`, RuleViolated `project_deleted` or `project_archived`."""
    if not openness.exists:
        raise no_such_project("project_id")
    if openness.deleted:
        raise RuleViolated("project_deleted", "The task's project is deleted; restore it first.")
    if openness.archived:
        raise RuleViolated("project_archived", "The task's project is archived; unarchive it first.")


@lru_cache(maxsize=10_000)
def open_rule(workspace_id: UUID, project_id: UUID) -> Rule[Openness]:
    """That the project takes commands for its tasks."""
    required: Callable[[Openness], None] = require_open
    return Rule(open_boundary(workspace_id, project_id), required)
