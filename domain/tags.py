"""Which boundaries an event belongs to: the one derivation of tags, for everything that writes or checks events."""

from functools import lru_cache
from hashlib import sha256
from typing import Final, assert_never
from uuid import UUID

from domain.project.boundaries import tags_of_project
from domain.project.events import ProjectEvent
from domain.task.events import TaskEvent

TAG_SCHEME: Final = 1
"""The version of `tags_of`. A change of what that returns for any event raises it, and all tags of the log are derived anew."""


@lru_cache(maxsize=10_000)
def tag_id(tag: str) -> UUID:
    """Under which the log keeps a tag: the first sixteen bytes of the SHA-256 of its text."""
    return UUID(bytes=sha256(tag.encode()).digest()[:16])


def tags_of(event: TaskEvent | ProjectEvent, stream_id: UUID, workspace_id: UUID) -> tuple[str, ...]:
    """The tags of an event, each once: made of structural fields only, never of text that may be erased."""
    if isinstance(event, TaskEvent):
        return ()
    if isinstance(event, ProjectEvent):
        return tags_of_project(event, stream_id, workspace_id)
    assert_never(event)
