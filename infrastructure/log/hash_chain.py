"""The per-stream hash chain, computed a second time and independently of the SQL that wrote it.

Every event's hash covers its whole envelope, its place in the log, the hash before it in its stream, and its stored bytes by
way of a commitment: the SHA-256 of sixteen random bytes, the salt, and the stored bytes. Without the salt the bytes cannot be
guessed from it, so a payload can be erased together with its salt and every hash stays.

Layout: the SHA-256 of the fields below in this order, integers big-endian, an optional field preceded by one byte 00 (absent)
or 01, the topic preceded by its length in bytes, the numbers by how many they are. Times are microseconds since 1970 in UTC.
With the 00 before it that is the leaf hash of RFC 6962 (2.1), so that a tree over the log can be built from the hashes alone.

    00 "tm-leaf-v2" | log id (16) | epoch (4) | position (8) | stream (16) | version (8) | previous hash (32)
    | recorded at (8) | effective at (1 or 1+8) | workspace (16) | principal (16) | command (16) | correlation (16)
    | causation (1 or 1+16) | authority (8) | count of numbers (1), then scope (16) and number (8) of each
    | schema version (4) | length of topic (4) | topic | commitment (32)
"""

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from struct import Struct
from typing import Any, Final, LiteralString, NamedTuple
from uuid import UUID

GENESIS = bytes(32)
"""The previous hash of a stream's first event."""

SALT_BYTES: Final = 16

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_INT4 = Struct(">i").pack
_INT8 = Struct(">q").pack


class ChainedRow(NamedTuple):
    """A stored event with exactly the columns that its hash covers, as read from the table by COLUMNS."""

    position: int
    stream_id: UUID
    version: int
    recorded_at: datetime
    effective_at: datetime | None
    workspace_id: UUID
    principal_id: UUID
    command_id: UUID
    correlation_id: UUID
    causation_id: UUID | None
    epoch: int
    authority: int
    scope: UUID | None
    number: int | None
    schema_version: int
    topic: str
    state: bytes | None
    salt: bytes | None
    commitment: bytes
    hash: bytes


COLUMNS: Final[LiteralString] = (
    "notification_id, originator_id, originator_version, recorded_at, effective_at, workspace_id, principal_id, command_id, "
    "correlation_id, causation_id, epoch, authority, scope, number, schema_version, topic, state, salt, commitment, hash"
)


def microseconds(moment: datetime) -> int:
    """Whole microseconds since 1970 in UTC, exactly."""
    return (moment - _EPOCH) // _MICROSECOND


def commitment_to(salt: bytes, state: bytes) -> bytes:
    """What an event's hash holds of its payload (32 bytes)."""
    return sha256(salt + state).digest()


def chain_hash(log_id: UUID, row: ChainedRow, previous: bytes) -> bytes:
    """The hash (32 bytes) that `row` must carry after an event whose hash is `previous`."""
    topic = row.topic.encode()
    effective = b"\x00" if row.effective_at is None else b"\x01" + _INT8(microseconds(row.effective_at))
    causation = b"\x00" if row.causation_id is None else b"\x01" + row.causation_id.bytes
    return sha256(
        b"".join(
            (
                b"\x00tm-leaf-v2",
                log_id.bytes,
                _INT4(row.epoch),
                _INT8(row.position),
                row.stream_id.bytes,
                _INT8(row.version),
                previous,
                _INT8(microseconds(row.recorded_at)),
                effective,
                row.workspace_id.bytes,
                row.principal_id.bytes,
                row.command_id.bytes,
                row.correlation_id.bytes,
                causation,
                _INT8(row.authority),
                _numbers(row),
                _INT4(row.schema_version),
                _INT4(len(topic)),
                topic,
                row.commitment,
            )
        )
    ).digest()


def _numbers(row: ChainedRow) -> bytes:
    if row.scope is None and row.number is None:
        return b"\x00"
    # Half of a pair is nothing that an event can have; packing the other half fails.
    scope: Any = row.scope
    encoded: bytes = b"\x01" + scope.bytes + _INT8(row.number)
    return encoded
