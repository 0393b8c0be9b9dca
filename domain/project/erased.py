"""What an event of a project still says after its payload was erased. See `domain/task/erased.py`."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from domain.envelope import Erased
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

LEFT: Final[Mapping[type[ProjectEvent], ProjectEvent]] = MappingProxyType(
    {
        ProjectCreated: ProjectCreated("", ""),
        ProjectRenamed: ProjectRenamed(""),
        ProjectDescribed: ProjectDescribed(""),
        ProjectKeyChanged: ProjectKeyChanged("", ""),
        ProjectArchived: ProjectArchived(),
        ProjectUnarchived: ProjectUnarchived(),
        ProjectDeleted: ProjectDeleted(),
        ProjectRestored: ProjectRestored(),
    }
)
"""Of each kind of event what its type alone says, as an event. A key that is not known any more is the empty text."""

_BY_TOPIC: Final = {str(kind.__struct_config__.tag): left for kind, left in LEFT.items()}


def known(event: ProjectEvent | Erased) -> ProjectEvent | Erased:
    """The event; of an erased one what is left of it, and it as it is where its type says nothing. Never raises."""
    return _BY_TOPIC.get(event.topic, event) if isinstance(event, Erased) else event
