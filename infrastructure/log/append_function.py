"""The call of the SQL function `append_events`, shared by everything that appends."""

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, LiteralString

from psycopg.sql import SQL, Composed, Identifier

from application.log import Append, Appended, IdempotencyMismatch, VersionConflict
from application.receipts import completed, position_in
from infrastructure.log.binary_arrays import (
    Array,
    bytea_array,
    int4_array,
    int8_array,
    text_array,
    timestamptz_array,
    uuid_array,
)
from infrastructure.log.codec import encode

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


def append_statement(schema: str) -> Composed:
    """The call for the log in `schema`; parameters come from `append_parameters`."""
    return SQL(_CALL).format(schema=Identifier(schema))


def append_parameters(appends: Sequence[Append]) -> tuple[Array, ...]:
    """One array a column: nine for the appends, seven for their events, in order."""
    new = [new for append in appends for new in append.events]
    stored = [encode(event.event, append.principal_id) for append in appends for event in append.events]
    keys = [append.idempotency for append in appends]
    return (
        int4_array([len(append.events) for append in appends]),
        uuid_array([append.workspace_id for append in appends]),
        uuid_array([append.principal_id for append in appends]),
        uuid_array([append.command_id for append in appends]),
        uuid_array([append.correlation_id for append in appends]),
        uuid_array([append.causation_id for append in appends]),
        text_array([key.key if key else None for key in keys]),
        bytea_array([key.request_hash if key else None for key in keys]),
        text_array([append.receipt_start for append in appends]),
        int4_array([number for number, append in enumerate(appends, 1) for _ in append.events]),
        uuid_array([event.stream_id for event in new]),
        int8_array([event.version for event in new]),
        timestamptz_array([event.effective_at for event in new]),
        int4_array([payload.schema_version for payload in stored]),
        text_array([payload.topic for payload in stored]),
        bytea_array([payload.state for payload in stored]),
    )


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
            answers.append(Appended(position_in(receipt), recorded, receipt.encode(), outcome == Outcome.REPLAYED))
        else:
            position = first + len(append.events) - 1
            body = completed(append.receipt_start, position)
            answers.append(Appended(position, recorded, body, outcome == Outcome.REPLAYED))
    return answers
