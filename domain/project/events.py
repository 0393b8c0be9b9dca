"""What can happen to a project: the recorded facts.

This is the storage format. A tag, a field name or a meaning never changes once it is written.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, get_args

from msgspec import Struct


class _Event(Struct, frozen=True, gc=False, omit_defaults=True, tag_field="type", kw_only=True):
    # The why, in the words of whoever did it.
    reason: str | None = None


class ProjectCreated(_Event, frozen=True, tag="project.created"):
    """A project came into being, and its key was taken."""

    key: str
    name: str
    description: str = ""


class ProjectRenamed(_Event, frozen=True, tag="project.renamed"):
    """The name became another."""

    name: str


class ProjectDescribed(_Event, frozen=True, tag="project.described"):
    """The description became another."""

    description: str


class ProjectKeyChanged(_Event, frozen=True, tag="project.key_changed"):
    """The key became another; the old one goes on leading to this project."""

    old: str
    new: str


class ProjectArchived(_Event, frozen=True, tag="project.archived"):
    """The project was put away: its tasks stay as they are."""


class ProjectUnarchived(_Event, frozen=True, tag="project.unarchived"):
    """The project was taken up again."""


class ProjectDeleted(_Event, frozen=True, tag="project.deleted"):
    """The project was deleted; its key stays taken, and it can be restored."""


class ProjectRestored(_Event, frozen=True, tag="project.restored"):
    """The project is no longer deleted; archived it still is, if it was."""


ProjectEvent = (
    ProjectCreated
    | ProjectRenamed
    | ProjectDescribed
    | ProjectKeyChanged
    | ProjectArchived
    | ProjectUnarchived
    | ProjectDeleted
    | ProjectRestored
)

_PERSONAL_TEXT = ("name", "description", "reason")

PERSONAL_FIELDS: Final[Mapping[type[ProjectEvent], tuple[str, ...]]] = MappingProxyType(
    {event: tuple(field for field in _PERSONAL_TEXT if field in event.__struct_fields__) for event in get_args(ProjectEvent)}
)
"""For each event, the payload fields that are free text about persons: stored so that they can be erased."""

STRUCTURAL_TEXT: Final[frozenset[str]] = frozenset(("key", "old", "new"))
"""The other fields of free text: what boundaries, tags or ids may be made of, and what no erasure takes. Two to ten capitals
and digits name a project, and stand in every address of its tasks."""

PROJECT_FIELDS: Final = frozenset(("key", "name", "description", "archived", "deleted"))
"""Every field of a project that a command changes."""

TOUCHED: Final[Mapping[type[ProjectEvent], frozenset[str]]] = MappingProxyType(
    {
        ProjectCreated: PROJECT_FIELDS,
        ProjectRenamed: frozenset(("name",)),
        ProjectDescribed: frozenset(("description",)),
        ProjectKeyChanged: frozenset(("key",)),
        ProjectArchived: frozenset(("archived",)),
        ProjectUnarchived: frozenset(("archived",)),
        ProjectDeleted: frozenset(("deleted",)),
        ProjectRestored: frozenset(("deleted",)),
    }
)
"""By kind of event the fields that it changes."""
