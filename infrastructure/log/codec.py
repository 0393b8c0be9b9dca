"""Payloads to stored bytes and back.

This is the one place where payloads meet storage: what `encode` returns is hashed and stored as it is, and nothing else
writes payloads. Encrypting `PERSONAL_FIELDS` per subject belongs here, before the bytes exist, so that destroying a
subject's key erases the text while every hash stays valid.
"""

from collections.abc import Mapping
from typing import get_args
from uuid import UUID

import msgspec

from domain.task.events import TOUCHED, TaskEvent
from infrastructure.unavailable import Unavailable

SCHEMA_VERSION = 1
"""Of the payloads written now; older ones are brought up to it when they are read."""


class UnknownEventType(Unavailable):
    """The log holds a type of ours that this release does not know: most likely a newer release wrote it."""


class StoredPayload(msgspec.Struct, frozen=True, gc=False):
    """A payload as the log keeps it: the wire tag, the schema version and JSON in UTF-8."""

    topic: str
    schema_version: int
    state: bytes


_encode = msgspec.json.Encoder(order=None).encode
_decode = msgspec.json.Decoder(TaskEvent).decode
_TOPICS: dict[type, str] = {kind: str(kind.__struct_config__.tag) for kind in get_args(TaskEvent)}
TOPICS = frozenset(_TOPICS.values())
TOUCHED_BY_TOPIC: Mapping[str, frozenset[str]] = {_TOPICS[kind]: fields for kind, fields in TOUCHED.items()}
"""The task's fields that an event changes, by its topic."""
PREFIXES = frozenset(topic.partition(".")[0] for topic in TOPICS)
"""Whose streams are ours: the first words of our wire tags."""


def encode(event: TaskEvent, subject: UUID) -> StoredPayload:  # noqa: ARG001 - the seam for keys per subject
    """The stored form of `event`; `subject` is the principal whose words it holds."""
    return StoredPayload(_TOPICS[type(event)], SCHEMA_VERSION, _encode(event))


def decode(topic: str, schema_version: int, state: bytes) -> TaskEvent:
    """The payload of stored bytes; raises UnknownEventType for a type, schema version or form from the future."""
    if topic not in TOPICS or schema_version > SCHEMA_VERSION:
        raise UnknownEventType(f"event type {topic!r} (schema version {schema_version}) is unknown to this release")
    try:
        event: TaskEvent = _decode(state)
    except msgspec.DecodeError as error:
        raise UnknownEventType(f"an event {topic!r} has a form that this release does not know: {error}") from error
    return event


def is_foreign(topic: str) -> bool:
    """Whether a type is of somebody else's application, whose events may stand in this log as well.

    Ours are named `task.…`; those of the `eventsourcing` library are import paths with a colon.
    """
    return topic not in TOPICS and (topic.partition(".")[0] not in PREFIXES or ":" in topic)
