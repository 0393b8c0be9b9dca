"""What may be asked of a project."""

from typing import assert_never
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType

from domain.project.events import PROJECT_FIELDS
from domain.project.values import Key, Name
from domain.text import Description, Reason


class _Command(Struct, frozen=True, gc=False, forbid_unknown_fields=True, tag_field="command", kw_only=True):
    reason: Reason | None = None


class CreateProject(_Command, frozen=True, tag="create_project"):
    """A new project. Its key is 2 to 10 capitals and digits, a letter first. `project_id` is for clients that name it
    themselves."""

    key: Key
    name: Name
    description: Description = ""
    project_id: UUID | None = None


class ChangeProject(_Command, frozen=True, tag="change_project"):
    """Several fields at once; a field left out stays."""

    key: Key | UnsetType = UNSET
    name: Name | UnsetType = UNSET
    description: Description | UnsetType = UNSET


class ArchiveProject(_Command, frozen=True, tag="archive_project"):
    """Put it away: its tasks take no commands any more."""


class UnarchiveProject(_Command, frozen=True, tag="unarchive_project"):
    """Take it up again."""


class DeleteProject(_Command, frozen=True, tag="delete_project"):
    """Delete it; it can be restored. Its tasks take no commands as long as it is deleted."""


class RestoreProject(_Command, frozen=True, tag="restore_project"):
    """Undo its deletion."""


ProjectCommand = CreateProject | ChangeProject | ArchiveProject | UnarchiveProject | DeleteProject | RestoreProject


def command_fields(command: ProjectCommand) -> frozenset[str]:
    """The fields of the project the command means to change, whether or not it will."""
    match command:
        case CreateProject():
            return PROJECT_FIELDS
        case ChangeProject():
            return frozenset(
                field for field in command.__struct_fields__ if field in PROJECT_FIELDS and getattr(command, field) is not UNSET
            )
        case ArchiveProject() | UnarchiveProject():
            return frozenset(("archived",))
        case DeleteProject() | RestoreProject():
            return frozenset(("deleted",))
        case _:
            assert_never(command)
