"""The per-stream hash chain, computed a second time and independently of the SQL that wrote it.

Every event's hash covers its stored bytes, its whole envelope, its place in the log and the hash before it in its stream.
Layout: the SHA-256 of the fields below in this order, integers big-endian, an optional field preceded by one byte 00 (absent)
or 01, the topic preceded by its length in bytes. Times are microseconds since 1970 in UTC.

    00 "tm-leaf-v1" | log id (16) | epoch (4) | position (8) | stream (16) | version (8) | previous hash (32)
    | recorded at (8) | effective at (1 or 1+8) | workspace (16) | principal (16) | command (16) | correlation (16)
    | causation (1 or 1+16) | schema version (4) | length of topic (4) | topic | SHA-256 of the stored bytes (32)
"""

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from struct import Struct
from uuid import UUID

import msgspec

GENESIS = bytes(32)
"""The previous hash of a stream's first event."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_INT4 = Struct(">i").pack
_INT8 = Struct(">q").pack


class ChainedRow(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A stored event with exactly the columns that its hash covers, as read from the table."""

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
    schema_version: int
    topic: str
    state: bytes
    hash: bytes


def microseconds(moment: datetime) -> int:
    """Whole microseconds since 1970 in UTC, exactly."""
    return (moment - _EPOCH) // _MICROSECOND


def chain_hash(log_id: UUID, epoch: int, row: ChainedRow, previous: bytes) -> bytes:
    """The hash (32 bytes) that `row` must carry after an event whose hash is `previous`."""
    topic = row.topic.encode()
    effective = b"\x00" if row.effective_at is None else b"\x01" + _INT8(microseconds(row.effective_at))
    causation = b"\x00" if row.causation_id is None else b"\x01" + row.causation_id.bytes
    return sha256(
        b"".join(
            (
                b"\x00tm-leaf-v1",
                log_id.bytes,
                _INT4(epoch),
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
                _INT4(row.schema_version),
                _INT4(len(topic)),
                topic,
                sha256(row.state).digest(),
            )
        )
    ).digest()
