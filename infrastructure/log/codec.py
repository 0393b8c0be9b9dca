"""Payloads to stored bytes and back.

This is the one place where payloads meet storage: what `encode` returns is hashed and stored as it is, and nothing else
writes payloads. Encrypting what an aggregate calls `personal` per subject belongs here, before the bytes exist, so that
destroying a subject's key erases the text while every hash stays valid.
"""

from collections.abc import Sequence
from typing import Any, Final, Union
from uuid import UUID

import msgspec

from domain.aggregate import Aggregate
from domain.aggregates import ALL
from domain.envelope import Erased
from infrastructure.unavailable import Unavailable

FIRST_VERSION = 1
"""The schema version of every payload whose form was never changed, and of those of other applications."""


SYSTEM: Final = "log"
"""How the types of the log's own events begin."""


class UnknownEventType(Unavailable):
    """The log holds a type of ours that this release does not know: most likely a newer release wrote it."""


class StoredPayload(msgspec.Struct, frozen=True, gc=False):
    """A payload as the log keeps it: the wire tag, the schema version and JSON in UTF-8."""

    topic: str
    schema_version: int
    state: bytes


class Codec:
    """The payloads of these aggregates. Each wire tag has a schema version of its own: that of what is written now; older
    payloads are brought up to it when they are read."""

    def __init__(self, aggregates: Sequence[Aggregate[Any, Any, Any]]) -> None:
        owners = {kind: aggregate for aggregate in aggregates for kind in aggregate.events}
        self._owners = owners
        self._stored = {
            kind: (str(kind.__struct_config__.tag), owner.schema_versions.get(kind, FIRST_VERSION))
            for kind, owner in owners.items()
        }
        self._versions = dict(self._stored.values())
        self._by_topic = {self._stored[kind][0]: owner for kind, owner in owners.items()}
        self._prefixes = frozenset(aggregate.name for aggregate in aggregates)
        self._touched = {self._stored[kind][0]: owner.touched[kind] for kind, owner in owners.items()}
        self._encode = msgspec.json.Encoder(order=None).encode
        self._decode = msgspec.json.Decoder(Union[tuple(owners)]).decode  # noqa: UP007 - known only here

    def encode(self, event: msgspec.Struct, subject: UUID) -> StoredPayload:  # noqa: ARG002 - the seam for keys per subject
        """The stored form of `event`; `subject` is the principal whose words it holds."""
        topic, version = self._stored[type(event)]
        return StoredPayload(topic, version, self._encode(event))

    def decode(self, topic: str, schema_version: int, state: bytes) -> Any:
        """The payload of stored bytes; raises UnknownEventType for a type, schema version or form from the future."""
        if schema_version > self._versions.get(topic, -1):
            raise UnknownEventType(f"event type {topic!r} (schema version {schema_version}) is unknown to this release")
        try:
            return self._decode(state)
        except msgspec.DecodeError as error:
            raise UnknownEventType(f"an event {topic!r} has a form that this release does not know: {error}") from error

    def erased(self, topic: str, scope: UUID | None = None) -> Erased:
        """What stands for a payload that was erased; raises UnknownEventType for a type from the future."""
        if topic not in self._versions:
            raise UnknownEventType(f"event type {topic!r} is unknown to this release")
        return Erased(topic, scope)

    def is_foreign(self, topic: str) -> bool:
        """Whether a type is of somebody else's application, whose events may stand in this log as well.

        Ours begin with the name of an aggregate (`task.…`); those of the `eventsourcing` library are import paths with a colon.
        """
        return topic not in self._versions and (topic.partition(".")[0] not in self._prefixes or ":" in topic)

    def is_strange(self, topic: str) -> bool:
        """Whether a foreign type has the form of ours: a newer release may have an aggregate of this name."""
        return self.is_foreign(topic) and ":" not in topic and topic.partition(".")[0] != SYSTEM

    def owner(self, event: msgspec.Struct) -> Aggregate[Any, Any, Any]:
        """The aggregate whose event it is, erased or not."""
        return self._by_topic[event.topic] if isinstance(event, Erased) else self._owners[type(event)]

    def touched(self, topic: str) -> frozenset[str] | None:
        """The fields that an event of this type changes; None where the type is not known here."""
        return self._touched.get(topic)


KNOWN = Codec(ALL)
"""What this release knows."""


def encode(event: msgspec.Struct, subject: UUID) -> StoredPayload:
    """See `Codec.encode`."""
    return KNOWN.encode(event, subject)


def decode(topic: str, schema_version: int, state: bytes) -> Any:
    """See `Codec.decode`."""
    return KNOWN.decode(topic, schema_version, state)


def erased(topic: str, scope: UUID | None = None) -> Erased:
    """See `Codec.erased`."""
    return KNOWN.erased(topic, scope)


def is_foreign(topic: str) -> bool:
    """See `Codec.is_foreign`."""
    return KNOWN.is_foreign(topic)


def is_strange(topic: str) -> bool:
    """See `Codec.is_strange`."""
    return KNOWN.is_strange(topic)


def owner(event: msgspec.Struct) -> Aggregate[Any, Any, Any]:
    """See `Codec.owner`."""
    return KNOWN.owner(event)


def touched(topic: str) -> frozenset[str] | None:
    """See `Codec.touched`."""
    return KNOWN.touched(topic)
