"""The call of the SQL function `append_events`, shared by everything that appends."""

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, LiteralString
from uuid import UUID

import msgspec
from psycopg.sql import SQL, Composed, Identifier

from application.ports import Append, Appended, IdempotencyMismatch, VersionConflict
from infrastructure.event_codec import encode

_CALL: LiteralString = (
    "SELECT outcomes, first_positions, receipts, recorded FROM {schema}.append_events("
    "%b::int[], %b::uuid[], %b::uuid[], %b::uuid[], %b::uuid[], %b::uuid[], %b::text[], %b::bytea[], %b::text[], "
    "%b::int[], %b::uuid[], %b::bigint[], %b::timestamptz[], %b::int[], %b::text[], %b::bytea[])"
)


class Outcome(IntEnum):
    """What the function did with one append."""

    APPENDED = 0
    CONFLICT = 1
    REPLAYED = 2
    KEY_MISMATCH = 3


class StoredEvent(msgspec.Struct, frozen=True, gc=False):
    """An event ready for the table: payload already encoded."""

    stream_id: UUID
    version: int
    effective_at: Any
    schema_version: int
    topic: str
    state: bytes


def append_statement(schema: str) -> Composed:
    """The call for the log in `schema`; parameters come from `append_parameters`."""
    return SQL(_CALL).format(schema=Identifier(schema))


def append_parameters(appends: Sequence[Append]) -> tuple[list[Any], ...]:
    """One array a column: nine for the appends, seven for their events, in order."""
    rows = [
        (
            len(a.events),
            a.workspace_id,
            a.principal_id,
            a.command_id,
            a.correlation_id,
            a.causation_id,
            a.idempotency.key if a.idempotency else None,
            a.idempotency.request_hash if a.idempotency else None,
            a.receipt_start,
        )
        for a in appends
    ]
    events = []
    for number, a in enumerate(appends, 1):
        for new in a.events:
            stored = encode(new.event, a.principal_id)
            events.append(
                (
                    number,
                    new.stream_id,
                    new.version,
                    new.effective_at,
                    stored.schema_version,
                    stored.topic,
                    stored.state,
                )
            )
    return (*_columns(rows, 9), *_columns(events, 7))


def _columns(rows: list[tuple[Any, ...]], width: int) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]


def read_outcomes(appends: Sequence[Append], row: Sequence[Any]) -> list[Appended | Exception]:
    """The function's row as one answer an append: Appended, or the exception that its caller is to get."""
    outcomes, first_positions, receipts, recorded = row
    if receipts is None:
        receipts = [None] * len(appends)
    answers: list[Appended | Exception] = []
    for append, outcome, first, receipt in zip(appends, outcomes, first_positions, receipts, strict=True):
        if outcome == Outcome.CONFLICT:
            answers.append(VersionConflict())
        elif outcome == Outcome.KEY_MISMATCH:
            answers.append(IdempotencyMismatch())
        elif receipt is not None:
            # The receipt is the JSON text that the log itself completed with the position.
            answers.append(Appended(_position_of(receipt), recorded, receipt.encode(), outcome == Outcome.REPLAYED))
        else:
            position = first + len(append.events) - 1
            body = f"{append.receipt_start}{position}}}".encode()
            answers.append(Appended(position, recorded, body, outcome == Outcome.REPLAYED))
    return answers


def _position_of(receipt: str) -> int:
    return int(receipt[receipt.rindex(":") + 1 : -1])
