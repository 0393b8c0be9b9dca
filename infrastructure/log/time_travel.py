"""A stream as of any moment, at the price of its present: first whose it is, then which version, then a short fold.

Every moment is turned into a version by SQL that looks at a bounded number of rows (a search by halves over positions; spans of
a hundred versions over instants), whatever came after it, and the fold starts from the newest snapshot before that version.
Lists ask for the documents of a page at once.
"""

from collections.abc import Callable, Sequence
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
SHORT: Final = 20
"""So many events of a stream are read before snapshots are looked for: most streams have no more."""

_ALWAYS: Final = datetime.max.replace(tzinfo=UTC)


async def documents_as_of(
    connection: psycopg.AsyncConnection[Any],
    documents: Documents[D],
    streams: Sequence[UUID],
    position: int,
    instant: datetime | None = None,
) -> dict[UUID, D]:
    """The streams' documents as they were at a position, of that what had happened by the instant, if one is given; those that
    were."""
    until = instant or _ALWAYS
    found: dict[UUID, D] = {}

    def take(stream: UUID, folded: D) -> bool:
        if folded.known_by > until:
            return False
        found[stream] = folded
        return True

    await _fold_on(connection, documents, streams, (position, position, until), take)
    return found


async def documents_between(
    connection: psycopg.AsyncConnection[Any], documents: Documents[D], streams: Sequence[UUID], first: int, last: int
) -> tuple[dict[UUID, D], dict[UUID, D]]:
    """The streams' documents as they were at a position, and at another one not long after it; those that were."""
    olds: dict[UUID, D] = {}
    news: dict[UUID, D] = {}

    def take(stream: UUID, folded: D) -> bool:
        news[stream] = folded
        if folded.position <= first:
            olds[stream] = folded
        return True

    await _fold_on(connection, documents, streams, (first, last, _ALWAYS), take)
    return olds, news


async def _fold_on(
    connection: psycopg.AsyncConnection[Any],
    documents: Documents[D],
    streams: Sequence[UUID],
    bounds: tuple[int, int, datetime],
    take: Callable[[UUID, D], bool],
) -> None:
    """Give `take` each stream's documents in order until it says no, up to the last position of the bounds. Those of a long
    stream are left out before its newest snapshot by their first position and their instant."""
    first, last, instant = bounds
    newest: dict[UUID, D] = {}
    going, span = list(dict.fromkeys(streams)), SHORT
    while going:
        after = [newest[stream].version if stream in newest else 0 for stream in going]
        places = {"position": last, "span": span, "streams": uuid_array(going), "after": int8_array(after)}
        cursor = connection.cursor(binary=True)
        await cursor.execute(_FOLLOWING, places, prepare=True)
        ended: set[UUID] = set()
        for record in own_events(await cursor.fetchall()):
            stream = record.stream_id
            if stream not in ended and owner(record.event) is documents.aggregate:
                folded = documents.fold(newest.get(stream), record)
                if take(stream, folded):
                    newest[stream] = folded
                else:
                    ended.add(stream)
        # What filled the whole span may go on.
        ends = {stream: version + span for stream, version in zip(going, after, strict=True)}
        going = [s for s in going if s not in ended and s in newest and newest[s].version == ends[s]]
        if span == SHORT and going and documents.snapshots:
            known = await documents.snapshots.until(connection, going, first, instant)
            newest |= {stream: document for stream, document in known.items() if take(stream, document)}
        span = SPAN


async def _row(connection: psycopg.AsyncConnection[Any], query: LiteralString, parameters: dict[str, object]) -> Any:
    cursor = connection.cursor(binary=True)
    await cursor.execute(query, parameters, prepare=True)
    return await cursor.fetchone()
