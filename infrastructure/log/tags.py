"""The one way from an event to the tags under which the log keeps it: of what is appended, imported, recorded by the library
and compared by `taskmaster verify`."""

from typing import Any
from uuid import UUID

from domain.tags import tag_id, tags_of
from infrastructure.log.codec import decode, is_foreign
from infrastructure.log.dcb_form import dcb_tags
from infrastructure.unavailable import Unavailable


class OtherTagScheme(Unavailable):
    """The log has the tags of another release than this process, which neither appends to it nor decides on its boundaries."""

    def __init__(self) -> None:
        super().__init__("Another release of the service has taken the log over: this process only reads from now on.", 5)


def derived_tags(event: Any, stream_id: UUID, workspace_id: UUID) -> list[UUID]:
    """The ids of an event's tags."""
    return [tag_id(tag) for tag in tags_of(event, stream_id, workspace_id)]


def tags_of_stored(topic: str, schema_version: int, state: bytes, stream_id: UUID, workspace_id: UUID) -> list[UUID]:
    """The same from the stored form. Raises UnknownEventType."""
    return [tag_id(tag) for tag in texts_of_stored(topic, schema_version, state, stream_id, workspace_id)]


def texts_of_stored(topic: str, schema_version: int, state: bytes, stream_id: UUID, workspace_id: UUID) -> tuple[str, ...]:
    """The tags themselves; events that are not ours have those that they were given. Raises UnknownEventType."""
    if is_foreign(topic):
        return dcb_tags(topic, state)
    return tags_of(decode(topic, schema_version, state), stream_id, workspace_id)
