"""The call of the SQL function `append_events`, shared by everything that appends."""

import os
from collections.abc import Sequence
from enum import IntEnum
from typing import Any, Final, LiteralString
from uuid import UUID

import psycopg
from psycopg.sql import SQL, Composed, Identifier

from application.log import Append, Appended, ConditionViolated, IdempotencyMismatch, NewEvent, VersionConflict
from application.receipts import completed, completion_of
from domain import tags
from domain.tags import tag_id
from infrastructure.log.codec import encode
from infrastructure.log.hash_chain import SALT_BYTES
from infrastructure.log.tags import OtherTagScheme, derived_tags
from projections.tables.binary_arrays import (
    Array,
    bytea_array,
    int4_array,
    int8_array,
    text_array,
    timestamptz_array,
    uuid_array,
)

RESULTS: LiteralString = "outcomes, first_positions, receipts, recorded, start, leaves, numbers"
_CALL: LiteralString = (
    f"SELECT {RESULTS} FROM {{schema}}.append_events("
    "%b::int[], %b::uuid[], %b::uuid[], %b::uuid[], %b::uuid[], %b::uuid[], %b::bigint[], %b::text[], %b::bytea[], %b::text[], "
    "%b::int[], %b::uuid[], %b::bigint[], %b::timestamptz[], %b::int[], %b::text[], %b::bytea[], %b::uuid[], "
    "%b::int[], %b::uuid[], %b::int[], %b::uuid[], %b::bigint[], %b::int{more})"
)
OTHER_SCHEME: Final = "TM001"
"""The SQLSTATE with which the log refuses tags that were derived by another scheme than its own."""


class Outcome(IntEnum):
    """What the function did with one append."""

    APPENDED = 0
    CONFLICT = 1
    REPLAYED = 2
    KEY_MISMATCH = 3
    CONDITION_VIOLATED = 4


# As numbers: a member of an enumeration is looked up each time that it is named.
_APPENDED: Final = int(Outcome.APPENDED)
_REPLAYED: Final = int(Outcome.REPLAYED)
_REFUSALS: Final[dict[int, type[Exception]]] = {
    Outcome.CONFLICT: VersionConflict,
    Outcome.KEY_MISMATCH: IdempotencyMismatch,
    Outcome.CONDITION_VIOLATED: ConditionViolated,
}


def append_statement(schema: str, *, chains: bool = False, again: bool = False) -> Composed:
    """The call for the log in `schema`; parameters come from `append_parameters`; with `chains` behind them
    an array of the numbers, from 1, of those appends that follow the one before them; with `again` that of `streams_again`."""
    more = SQL(", ").join([SQL(""), *[SQL("%b::int[]")] * chains, *[SQL("again => %b::int[]")] * again])
    return SQL(_CALL).format(schema=Identifier(schema), more=more)


def streams_again(appends: Sequence[Append]) -> Array:
    """For each event the number, from 1, of its stream's last one in the appends before its own, 0 for none: for a call in
    which streams come again."""
    newest: dict[UUID, int] = {}
    again: list[int] = []
    for append in appends:
        first = len(again)
        again += [newest.get(event.stream_id, 0) for event in append.events]
        newest |= {event.stream_id: number for number, event in enumerate(append.events, first + 1)}
    return int4_array(again)


def append_parameters(appends: Sequence[Append]) -> tuple[Array | int, ...]:
    """One array a column: ten for the appends, eight for their events, in order, two for the tags, three for the conditions."""
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
        int8_array([append.authority for append in appends]),
        text_array([key.key if key else None for key in keys]),
        bytea_array([key.request_hash if key else None for key in keys]),
        text_array([append.receipt_start for append in appends]),
        int4_array([number for number, append in enumerate(appends, 1) for _ in append.events]),
        uuid_array([event.stream_id for event in new]),
        int8_array([event.version for event in new]),
        timestamptz_array([event.effective_at for event in new]),
        int4_array([payload.schema_version for payload in stored]),
        text_array([payload.topic for payload in stored]),
        bytea_array(salted([payload.state for payload in stored])),
        _scopes(new),
        *_tags(appends),
        *_conditions(appends),
        tags.TAG_SCHEME,
    )


def salted(states: Sequence[bytes]) -> list[bytes]:
    """Each state behind sixteen random bytes of its own, from one call of the system's source."""
    salts = os.urandom(SALT_BYTES * len(states))
    return [salts[SALT_BYTES * n : SALT_BYTES * (n + 1)] + state for n, state in enumerate(states)]


def _scopes(new: Sequence[NewEvent]) -> Array:
    scopes = [event.scope for event in new]
    return uuid_array(scopes if any(scopes) else ())


def _tags(appends: Sequence[Append]) -> tuple[Array, Array]:
    events: list[int] = []
    ids: list[UUID] = []
    number = 0
    for append in appends:
        for new in append.events:
            number += 1
            for tag in derived_tags(new.event, new.stream_id, append.workspace_id):
                events.append(number)
                ids.append(tag)
    return int4_array(events), uuid_array(ids)


def _conditions(appends: Sequence[Append]) -> tuple[Array, Array, Array]:
    conditions = [(number, each) for number, append in enumerate(appends, 1) for each in append.conditions]
    return (
        int4_array([number for number, _ in conditions]),
        uuid_array([tag_id(each.tag) for _, each in conditions]),
        int8_array([each.at for _, each in conditions]),
    )


def read_outcomes(appends: Sequence[Append], row: Sequence[Any]) -> list[Appended | Exception]:
    """The function's row as one answer an append: Appended, or the exception that its caller is to get."""
    outcomes, first_positions, receipts, recorded, start, leaves, numbers = row
    answers: list[Appended | Exception] = []
    event = 0
    for append, outcome, first in zip(appends, outcomes, first_positions, strict=True):
        count = len(append.events)
        if outcome == _APPENDED:
            position = first + count - 1
            leaf = leaves[position - start - 1] if count else b""
            number = _last_number(numbers[event : event + count]) if numbers else None
            # The text that the log keeps with a key is made of the same parts.
            body = completed(append.receipt_start, position, leaf, number)
            answers.append(Appended(position, recorded, body, False, leaf, number))
        elif outcome == _REPLAYED:
            answers.append(appended_as(receipts[len(answers)], recorded, replayed=True))
        else:
            answers.append(_REFUSALS[outcome]())
        event += count
    return answers


def appended_as(receipt: str, recorded: Any, *, replayed: bool) -> Appended:
    """The answer that a completed receipt stands for."""
    end = completion_of(receipt)
    return Appended(end.position, recorded, receipt.encode(), replayed, end.hash, end.number)


def _last_number(numbers: Sequence[int | None]) -> int | None:
    return next((number for number in reversed(numbers) if number is not None), None)


def other_scheme(error: psycopg.Error) -> OtherTagScheme | None:
    """What an error says where it is about schemes of tags."""
    return OtherTagScheme() if error.sqlstate == OTHER_SCHEME else None
