"""Erasing payloads: what the events of some streams said is gone from the log, and the log says so.

The rows stay, with their hashes: those cover a commitment and not the payload. `log.payloads_erased` stands in the log behind
the last event that was erased, so whoever derives something from events comes by it, whenever and in whatever build: at that
position every read model redacts these streams. Payloads that were set to NULL by hand are redacted once this is called for
their streams.

What this does not reach: dead rows until PostgreSQL's VACUUM, its write-ahead log until it is recycled, and backups. API
processes forget what they remember of streams at their next look at the log.
"""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import msgspec
import psycopg

from infrastructure.log.codec import is_foreign
from infrastructure.log.system_stream import PayloadsErased, append_own

STREAMS_MAX: Final = 100
"""Of one erasure; read models redact them in one transaction."""


class NotErasable(Exception):
    """One of the streams is not there, or is not ours to erase."""


class Erasure(msgspec.Struct, frozen=True):
    """How many payloads were erased, not counting those that were gone before, and the position from which on nothing of them
    is left in any read model."""

    events: int
    position: int


def erase_payloads(connection: psycopg.Connection[Any], schema: str, streams: Sequence[UUID]) -> Erasure:
    """Erase the payloads of all events so far of 1 to STREAMS_MAX streams in the log in `schema`, for ever, all or nothing.

    Raises NotErasable.
    """
    wanted = tuple(dict.fromkeys(streams))
    if not 1 <= len(wanted) <= STREAMS_MAX:
        raise NotErasable(f"1 to {STREAMS_MAX} streams can be erased at once, not {len(wanted)}")
    with connection.transaction():
        # The lock of `append_events`: nothing is appended to these streams between the last payload and the log's word.
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('taskmaster ' || %s, 0))", (schema,))
        _require_ours(connection, wanted)
        erased = connection.execute(
            "UPDATE events SET state = NULL, salt = NULL "
            "WHERE originator_id = ANY(%s) AND (state IS NOT NULL OR salt IS NOT NULL)",
            (list(wanted),),
        ).rowcount
        position = append_own(connection, schema, PayloadsErased(wanted))
        assert position is not None  # noqa: S101 - nobody else appends under the lock
    return Erasure(erased, position)


def _require_ours(connection: psycopg.Connection[Any], streams: Sequence[UUID]) -> None:
    found = dict(
        connection.execute(
            "SELECT DISTINCT ON (originator_id) originator_id, topic FROM events WHERE originator_id = ANY(%s) "
            "ORDER BY originator_id, originator_version",
            (list(streams),),
        ).fetchall()
    )
    for stream in streams:
        if stream not in found:
            raise NotErasable(f"there is no stream {stream}")
        if is_foreign(found[stream]):
            raise NotErasable(f"stream {stream} is not one of ours: its first event is {found[stream]!r}")
