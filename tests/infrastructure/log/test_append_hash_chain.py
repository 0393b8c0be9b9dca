"""The hash chain that the SQL function writes is the one that `hash_chain` computes, for any envelope."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from domain.tags import TAG_SCHEME
from infrastructure.log.append_function import append_statement, salted
from infrastructure.log.hash_chain import GENESIS, ChainedRow, chain_hash
from tests.infrastructure.log_under_test import (
    SCHEMA,
    an_append,
    append,
    created,
    log_connection,
    renamed,
    stored,
    streams,
)

Connection = psycopg.Connection[Any]

BEFORE_1970 = datetime(1969, 12, 31, 23, 59, 59, 999999, UTC)
UUIDS = st.uuids()
TIMES = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.sampled_from([UTC, timezone(timedelta(hours=-7))]))
TOPICS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
EVENT = st.tuples(st.none() | TIMES, st.integers(-(2**31), 2**31 - 1), TOPICS, st.binary(max_size=60), st.none() | UUIDS)
ENVELOPE = st.tuples(UUIDS, UUIDS, UUIDS, UUIDS, st.none() | UUIDS, st.integers(0, 2**63 - 1))
APPENDS = st.lists(st.tuples(ENVELOPE, st.lists(EVENT, min_size=1, max_size=3)), min_size=1, max_size=4)

Envelope = tuple[UUID, UUID, UUID, UUID, UUID | None, int]
Payload = tuple[datetime | None, int, str, bytes, UUID | None]


@pytest.fixture
def log(database_url: str) -> Iterator[Connection]:
    with log_connection(database_url) as connection:
        yield connection


def expected_hashes(log: Connection, rows: list[ChainedRow]) -> list[bytes]:
    """The chain of every stream, computed in Python from the stored columns."""
    (log_id,) = log.execute("SELECT log_id FROM log").fetchone() or ()
    heads: dict[UUID, bytes] = {}
    hashes = []
    for row in rows:
        heads[row.stream_id] = chain_hash(log_id, row, heads.get(row.stream_id, GENESIS))
        hashes.append(heads[row.stream_id])
    return hashes


def append_raw(log: Connection, appends: list[tuple[Envelope, list[Payload]]], streams: list[UUID], first: int) -> None:
    """One call with envelopes and payloads that no command would make, each append in a stream of its own."""
    envelopes = [envelope for envelope, _ in appends]
    events = [
        (number, streams[number - 1], first + place, *payload)
        for number, (_, payloads) in enumerate(appends, 1)
        for place, payload in enumerate(payloads)
    ]
    count = len(appends)
    log.cursor(binary=True).execute(
        append_statement(SCHEMA),
        (
            [len(payloads) for _, payloads in appends],
            *([envelope[column] for envelope in envelopes] for column in range(6)),
            [None] * count,
            [None] * count,
            ["{"] * count,
            *([event[column] for event in events] for column in range(6)),
            salted([event[6] for event in events]),
            [event[7] for event in events],
            [],
            [],
            [],
            [],
            [],
            TAG_SCHEME,
        ),
    )


class TestHashChain:
    def test_it_links_every_stream_across_calls(self, log: Connection) -> None:
        first, second = streams(2)
        append(log, an_append(created(first), renamed(first, 2)), an_append(created(second)))
        append(log, an_append(renamed(second, 2)), an_append(renamed(first, 3), renamed(first, 4)))
        append(log, an_append(renamed(first, 5)))
        rows = stored(log)
        assert [row.hash for row in rows] == expected_hashes(log, rows)

    def test_it_links_streams_that_come_again_in_a_call(self, log: Connection) -> None:
        first, second = streams(2)
        append(log, an_append(created(first)))
        append(
            log,
            an_append(renamed(first, 2), renamed(first, 3)),
            an_append(created(second)),
            an_append(renamed(first, 4), renamed(second, 2), renamed(second, 3)),
            an_append(renamed(second, 4), renamed(first, 5)),
            again=True,
        )
        rows = stored(log)
        assert len(rows) == 9
        assert [row.hash for row in rows] == expected_hashes(log, rows)

    def test_it_links_one_append_over_several_streams(self, log: Connection) -> None:
        first, second = streams(2)
        append(log, an_append(created(first), renamed(first, 2), created(second), renamed(second, 2)))
        append(log, an_append(renamed(second, 3), renamed(first, 3)))
        rows = stored(log)
        assert [row.hash for row in rows] == expected_hashes(log, rows)

    def test_conflicts_before_and_behind_leave_it_whole(self, log: Connection) -> None:
        first, second, third = streams(3)
        append(log, an_append(created(first)))
        append(
            log,
            an_append(created(second), renamed(second, 3)),
            an_append(renamed(first, 2)),
            an_append(renamed(first, 9)),
            an_append(created(third)),
        )
        rows = stored(log)
        assert [row.stream_id for row in rows] == [first, first, third]
        assert [row.hash for row in rows] == expected_hashes(log, rows)

    @settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(APPENDS, APPENDS)
    @example([((*(UUID(int=0),) * 5, 7), [(BEFORE_1970, 1, "Ä✓😀", b"\x00", UUID(int=1))])], [])
    def test_it_equals_the_second_implementation_for_any_envelope(
        self,
        log: Connection,
        appends: list[tuple[Envelope, list[Payload]]],
        more: list[tuple[Envelope, list[Payload]]],
    ) -> None:
        before = len(stored(log))
        ids = [uuid4() for _ in appends]
        append_raw(log, appends, ids, 1)
        continued = [number for number, (_, payloads) in enumerate(appends) if len(payloads) == 1][: len(more)]
        if continued:
            append_raw(log, more[: len(continued)], [ids[number] for number in continued], 2)
        rows = stored(log)
        assert len(rows) > before
        assert [row.hash for row in rows] == expected_hashes(log, rows)

    @settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(EVENT, ENVELOPE)
    def test_every_column_is_stored_as_it_was_sent(self, log: Connection, payload: Payload, envelope: Envelope) -> None:
        stream = uuid4()
        append_raw(log, [(envelope, [payload])], [stream], 1)
        row = stored(log)[-1]
        assert (row.stream_id, row.version) == (stream, 1)
        assert (
            row.workspace_id,
            row.principal_id,
            row.command_id,
            row.correlation_id,
            row.causation_id,
            row.authority,
        ) == envelope
        assert (row.effective_at, row.schema_version, row.topic, row.state, row.scope) == payload
