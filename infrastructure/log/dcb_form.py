"""How events of the library's interface for dynamic consistency boundaries (`eventsourcing.dcb`) stand in the log.

Each is a stream of its own. Its topic is its type behind `dcb:`, so that it is nobody's of ours whatever the type is, and its
state is JSON that holds data and tags: so the tags under which the log keeps it follow from the event, as all do.
"""

from typing import Final

import msgspec

PREFIX: Final = "dcb:"
_TYPE: Final = "dcb-type:"


class DCBState(msgspec.Struct, frozen=True):
    """The stored state. `data` is in base64; `tags` are as they were given."""

    data: bytes
    tags: list[str]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(DCBState).decode


def dcb_topic(kind: str) -> str:
    """The topic of an event of this type."""
    return PREFIX + kind


def dcb_state(data: bytes, tags: list[str]) -> bytes:
    """The stored state."""
    return _encode(DCBState(data, tags))


def read_state(topic: str, state: bytes) -> DCBState | None:
    """What `dcb_state` stored; None for everything else."""
    if not topic.startswith(PREFIX):
        return None
    try:
        return _decode(state)
    except msgspec.DecodeError:
        return None


def type_tag(kind: str) -> str:
    """The tag that all events of a type have besides their own: a condition on types alone is looked up by it."""
    return _TYPE + kind


def dcb_tags(topic: str, state: bytes) -> tuple[str, ...]:
    """The tags of a stored event, each once."""
    found = read_state(topic, state)
    return () if found is None else tuple(dict.fromkeys((*found.tags, type_tag(topic.removeprefix(PREFIX)))))
