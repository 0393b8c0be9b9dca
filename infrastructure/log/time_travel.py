"""A stream as of any moment, at the price of its present: first whose it is, then which version, then a short fold.

Every moment is turned into a version by SQL that looks at a bounded number of rows (a search by halves over positions; spans of
a hundred versions over instants), whatever came after it, and the fold starts from the newest snapshot before that version.
Lists ask for the documents of a page at once.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import reduce
from typing import Any, Final, Generic, LiteralString
from uuid import UUID

import msgspec
import psycopg

from infrastructure.log.codec import owner
from infrastructure.log.loading import ANY_VERSION
from infrastructure.log.rows import COLUMNS, OF_STREAM, own_events
from projections.engine.documents import SPAN, D, Documents
from projections.tables.binary_arrays import int8_array, uuid_array


class Moment(msgspec.Struct, frozen=True):
    """Up to which event: by the stream's own `version`, by a global `position`, or before the first that had not happened by
    `instant`: imported times may jump, and an event counts once all before it in its stream do.

    Of several bounds the earliest counts; without any it is the present.
    """

    version: int = ANY_VERSION
    position: int | None = None
    instant: datetime | None = None


class Past(msgspec.Struct, Generic[D], frozen=True):
    """A document as it was (None where there was none yet), and how many versions its stream has by now."""

    document: D | None
    versions: int


_OF_WORKSPACE: LiteralString = (
    "SELECT newest.originator_version, first.originator_version FROM "
    "(SELECT originator_version, workspace_id FROM events WHERE originator_id = %(stream)s "
    "ORDER BY originator_version LIMIT 1) first, "
    "(SELECT originator_version FROM events WHERE originator_id = %(stream)s ORDER BY originator_version DESC LIMIT 1) newest "
    "WHERE first.workspace_id = %(workspace)s"
)

# Versions follow each other without gaps and in the order of positions, so halving finds the place.
_BY_POSITION: LiteralString = (
    "WITH RECURSIVE search(low, high) AS ("
    "SELECT %(first)s::bigint - 1, %(newest)s::bigint UNION ALL "
    "SELECT CASE WHEN e.notification_id <= %(position)s THEN m.middle ELSE s.low END, "
    "CASE WHEN e.notification_id <= %(position)s THEN s.high ELSE m.middle - 1 END "
    "FROM search s CROSS JOIN LATERAL (SELECT (s.low + s.high + 1) / 2 AS middle) m "
    "JOIN events e ON e.originator_id = %(stream)s AND e.originator_version = m.middle WHERE s.low < s.high) "
    "SELECT low FROM search WHERE low = high"
)

# Imported times may jump back: what had happened is what stands before the first event that had not. The latest time of all
# events up to a version never falls from one to the next, so the newest snapshot that had happened is where the search begins.
_BY_INSTANT: LiteralString = (
    "SELECT coalesce((SELECT originator_version - 1 FROM events WHERE originator_id = %(stream)s "
    "AND originator_version > %(closed)s AND coalesce(effective_at, recorded_at) > %(instant)s "
    "ORDER BY originator_version LIMIT 1), %(newest)s)"
)


async def document_as_of(
    connection: psycopg.AsyncConnection[Any], documents: Documents[D], workspace_id: UUID, stream_id: UUID, moment: Moment
) -> Past[D] | None:
    """The stream's document at the moment; None where the workspace has no such stream, which costs the same whose ever it
    is."""
    places: dict[str, object] = {"stream": stream_id, "workspace": workspace_id}
    row = await _row(connection, _OF_WORKSPACE, places)
    if row is None:
        return None
    newest, first = row
    version = min(moment.version, newest)
    if moment.position is not None:
        found = await _row(connection, _BY_POSITION, {**places, "first": first, "newest": newest, "position": moment.position})
        version = min(version, found[0] if found else 0)
    if moment.instant is not None:
        closed = await documents.snapshots.known_by(connection, stream_id, moment.instant) if documents.snapshots else 0
        bounds = {"newest": newest, "instant": moment.instant, "closed": closed}
        found = await _row(connection, _BY_INSTANT, {**places, **bounds})
        version = min(version, found[0] if found else 0)
    return Past(await document_at_version(connection, documents, stream_id, version), newest)


async def document_at_version(
    connection: psycopg.AsyncConnection[Any], documents: Documents[D], stream_id: UUID, version: int
) -> D | None:
    """The stream folded up to a version from the newest snapshot before it; None where it had no event yet, or is of another
    kind."""
    document = await documents.snapshots.latest(connection, stream_id, version) if documents.snapshots else None
    cursor = connection.cursor(binary=True)
    await cursor.execute(OF_STREAM, (stream_id, document.version if document else 0, version), prepare=True)
    events = [record for record in own_events(await cursor.fetchall()) if owner(record.event) is documents.aggregate]
    return reduce(documents.fold, events, document)


_FOLLOWING: LiteralString = (
    f"SELECT {COLUMNS} FROM unnest(%(streams)s::uuid[], %(after)s::bigint[]) AS w(stream_id, after) CROSS JOIN LATERAL ("
    "SELECT * FROM events e WHERE e.originator_id = w.stream_id AND e.originator_version > w.after "
    "AND e.originator_version <= w.after + %(span)s AND e.notification_id <= %(position)s) e "
    "ORDER BY originator_id, originator_version"
)
_ALWAYS: Final = datetime.max.replace(tzinfo=UTC)


async def documents_as_of(
    connection: psycopg.AsyncConnection[Any],
    documents: Documents[D],
    streams: Sequence[UUID],
    position: int,
    instant: datetime | None = None,
    earlier: Mapping[UUID, D] | None = None,
) -> dict[UUID, D]:
    """The streams' documents as they were at a position, of that what had happened by the instant, if one is given; those that
    were.

    They are folded on from `earlier`, as they were a little before, else from snapshots.
    """
    until = instant or _ALWAYS
    found = dict(earlier or {})
    if earlier is None and documents.snapshots:
        found = await documents.snapshots.until(connection, streams, position, until)
    cursor = connection.cursor(binary=True)
    going = dict.fromkeys(streams)
    while going:
        after = {stream: found[stream].version if stream in found else 0 for stream in going}
        places = {
            "position": position,
            "span": SPAN,
            "streams": uuid_array(list(after)),
            "after": int8_array(list(after.values())),
        }
        await cursor.execute(_FOLLOWING, places, prepare=True)
        ended: set[UUID] = set()
        for record in own_events(await cursor.fetchall()):
            if record.stream_id not in ended and owner(record.event) is documents.aggregate:
                folded = documents.fold(found.get(record.stream_id), record)
                if folded.known_by > until:
                    ended.add(record.stream_id)
                else:
                    found[record.stream_id] = folded
        # Snapshots may be behind: what filled a whole span may go on.
        going = {s: None for s in going if s not in ended and s in found and found[s].version == after[s] + SPAN}
    return found


async def _row(connection: psycopg.AsyncConnection[Any], query: LiteralString, parameters: dict[str, object]) -> Any:
    cursor = connection.cursor(binary=True)
    await cursor.execute(query, parameters, prepare=True)
    return await cursor.fetchone()
