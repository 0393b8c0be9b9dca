"""Which boundaries an event belongs to: the one derivation of tags, for everything that writes or checks events."""

from hashlib import sha256
from typing import Final, assert_never
from uuid import UUID

from domain.task.events import TaskEvent

TAG_SCHEME: Final = 1
"""The version of `tags_of`. A change of what that returns for any event raises it, and all tags of the log are derived anew."""


def tag_id(tag: str) -> UUID:
    """Under which the log keeps a tag: the first sixteen bytes of the SHA-256 of its text."""
    return UUID(bytes=sha256(tag.encode()).digest()[:16])


def tags_of(event: TaskEvent, stream_id: UUID, workspace_id: UUID) -> tuple[str, ...]:  # noqa: ARG001 - what tags are made of
    """The tags of an event, each once: made of structural fields only, never of text that may be erased."""
    if isinstance(event, TaskEvent):
        return ()
    assert_never(event)
