"""The log as the projections read it: synchronous, one connection, reopened when it was lost."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

import psycopg

from infrastructure.log.codec import UnknownEventType
from infrastructure.log.known_uuids import load_known_uuids
from infrastructure.log.rows import COLUMNS, HEAD, Record, any_event, own_events
from infrastructure.log.system_stream import LAST_ERASURE
from infrastructure.servers.postgres import connect_sync, log_schema
from projections.engine.changes import ForeignEvent, LogIdentity
from projections.engine.documents import D, Documents
from projections.engine.port import Hold

MOST_BYTES = 8_388_608
"""Of payloads in one reading; the first event counts whatever its size."""

# Of all columns only two go through the window, by which the last position is found.
_LAST = (
    "SELECT max(notification_id) FROM (SELECT notification_id, sum(octets) OVER (ORDER BY notification_id "
    "ROWS UNBOUNDED PRECEDING) - octets AS before FROM (SELECT notification_id, coalesce(octet_length(state), 0) AS octets "
    "FROM events WHERE notification_id > %(position)s ORDER BY notification_id LIMIT %(limit)s) n) e "
    f"WHERE before < {MOST_BYTES}"
)
_AFTER = (
    f"SELECT {COLUMNS}, ({LAST_ERASURE}) FROM events "
    f"WHERE notification_id > %(position)s AND notification_id <= ({_LAST}) ORDER BY notification_id"
).encode()

_UNTIL = (
    f"SELECT {COLUMNS} FROM events WHERE originator_id = %s AND notification_id < %s ORDER BY originator_version"
).encode()

_TAILS = (
    f"SELECT {', '.join('e.' + name.strip() for name in COLUMNS.split(','))} "
    "FROM unnest(%b::uuid[], %b::bigint[], %b::bigint[]) AS w(id, after, until) JOIN events e "
    "ON e.originator_id = w.id AND e.originator_version > w.after AND e.originator_version <= w.until "
    "ORDER BY e.originator_id, e.originator_version"
).encode()


class Reconnecting:
    """One synchronous connection to a log's schema that is opened when it is first needed and after it was lost.

    `prepare` is done to each that is opened.
    """

    def __init__(
        self,
        database_url: str,
        schema: str,
        application: str,
        prepare: Callable[[psycopg.Connection[Any]], None] = lambda _: None,
    ) -> None:
        self._database_url = database_url
        self._schema = schema
        self._application = application
        self._prepare = prepare
        self._connection: psycopg.Connection[Any] | None = None

    def get(self) -> psycopg.Connection[Any]:
        """The open connection; raises psycopg.OperationalError where the server is away."""
        connection = self._connection
        if connection is None or connection.closed or connection.broken:
            connection = connect_sync(self._database_url, self._schema, self._application)
            self._prepare(connection)
            self._connection = connection
        return connection

    def close(self) -> None:
        """Close it, if it is open."""
        if self._connection:
            self._connection.close()
            self._connection = None


class PostgresLogSource:
    """LogSource over PostgreSQL. Without `snapshots`, earlier states are folded from the events alone.

    Everything here raises Hold where this release cannot read what it was asked for.
    """

    def __init__(self, database_url: str, log_name: str, snapshots: bool = True) -> None:
        self._connection = Reconnecting(database_url, log_schema(log_name), "taskmaster log reader", load_known_uuids)
        self._snapshots = snapshots
        self._last_erasure = 0

    @property
    def last_erasure(self) -> int:
        """See `LogSource.last_erasure`."""
        return self._last_erasure

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def events_after(self, position: int, limit: int) -> list[Record | ForeignEvent]:
        """Up to `limit` events after `position`, in order, and not beyond one that this release cannot read."""
        records: list[Record | ForeignEvent] = []
        try:
            for row in self._rows(_AFTER, {"position": position, "limit": limit}):
                self._last_erasure = row[-1]
                records.append(any_event(row))
        except UnknownEventType as unreadable:
            if not records:
                raise Hold(f"the event after {position} cannot be read: {unreadable}") from unreadable
        return records

    def find_last_erasure(self) -> int:
        """The newest position at which payloads were erased; 0 for none."""
        return int(self._rows(LAST_ERASURE.encode(), ())[0][0])

    def stream_until(self, stream_id: UUID, position: int) -> list[Record]:
        """Our events of a stream before `position`, in order."""
        return self._own(_UNTIL, (stream_id, position))

    def documents_at(self, kind: Documents[D], versions: Mapping[UUID, int]) -> dict[UUID, D]:
        """The named streams of one aggregate right after the given versions."""
        documents: dict[UUID, D] = {}
        if self._snapshots and kind.snapshots:
            documents = kind.snapshots.before(self._connection.get(), dict(versions))
        after = [documents[stream].version if stream in documents else 0 for stream in versions]
        for record in self._own(_TAILS, (list(versions), after, list(versions.values()))):
            documents[record.stream_id] = kind.fold(documents.get(record.stream_id), record)
        return documents

    def identity(self) -> LogIdentity:
        """Which log this is."""
        row = self._rows(b"SELECT log_id, epoch FROM log", ())[0]
        return LogIdentity(row[0], row[1])

    def hash_at(self, position: int) -> bytes | None:
        """The stored hash of the event at `position`."""
        rows = self._rows(b"SELECT hash FROM events WHERE notification_id = %s", (position,))
        return rows[0][0] if rows else None

    def head(self) -> int:
        """The newest position."""
        return int(self._rows(HEAD.encode(), ())[0][0])

    def _own(self, query: bytes, parameters: Sequence[object]) -> list[Record]:
        try:
            return own_events(self._rows(query, parameters))
        except UnknownEventType as unreadable:
            # A release that knew the event has gone past it, in tables that this one shares with it or has copied.
            raise Hold(f"the earlier events of a stream cannot be read: {unreadable}") from unreadable

    def _rows(self, query: bytes, parameters: Sequence[object] | Mapping[str, object]) -> list[Any]:
        cursor = self._connection.get().cursor(binary=True)
        cursor.execute(query, parameters, prepare=True)
        return cursor.fetchall()
