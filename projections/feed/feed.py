"""Read model `feed` (Postgres): every event as a timeline entry, as it is sent: who, when, why, each field before and after.

Whoever follows it remembers how far he has read. So nothing may ever be filled in behind anybody: the feed has a projector of
its own, takes in plain form what it cannot render, and holds where even that fails. It takes the streams of every aggregate.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import msgspec
import psycopg
from psycopg.sql import SQL, Composed

from projections.engine.changes import Change, History
from projections.engine.documents import Documents
from projections.feed.entries import HistoryEntry, history_entry, plain_entry
from projections.tables.bounds import Room, within_room
from projections.tables.columns import Columns
from projections.tables.portions import PORTION_OCTETS, portions

_encode = msgspec.json.Encoder().encode
ANY_VERSION: Final = 2**62


_COLUMNS: Final = Columns(
    ("position", "bigint"),
    ("workspace_id", "uuid"),
    ("ordinal", "bigint"),
    ("aggregate", "text"),
    ("stream_id", "uuid"),
    ("version", "bigint"),
    ("scope_before", "uuid"),
    ("scope_after", "uuid"),
    ("entry", "bytea"),
    ("leaving", "bytea"),
)
_INSERT: Final = f"INSERT INTO feed ({_COLUMNS.listed}) SELECT * FROM {_COLUMNS.unnested}".encode()
_NEWEST: Final = (
    "SELECT w.workspace_id, f.ordinal FROM unnest(%b::uuid[]) AS w(workspace_id) CROSS JOIN LATERAL "
    "(SELECT ordinal FROM feed WHERE feed.workspace_id = w.workspace_id ORDER BY position DESC LIMIT 1) f"
)
_ORDINALS: Final = "SELECT position, ordinal FROM feed WHERE position = ANY(%b::bigint[])"
_REWRITE: Final = (
    "UPDATE feed f SET scope_before = u.scope_before, scope_after = u.scope_after, entry = u.entry, leaving = u.leaving "
    f"FROM {_COLUMNS.unnested} AS u({_COLUMNS.listed}) WHERE f.position = u.position"
).encode()
Row = tuple[Any, ...]


class Feed:
    """The projection, of the streams of all aggregates that have documents."""

    name: Final = "feed"
    tables: Final = ("feed",)
    layout: Final = 2
    ddl: Final = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")

    def __init__(self, documents: Mapping[str, Documents[Any]]) -> None:
        self._documents = documents

    @property
    def follows(self) -> frozenset[str]:
        """See `TableProjection.follows`."""
        return frozenset(self._documents)

    def apply(self, connection: psycopg.Connection[Any], changes: Sequence[Change[Any]]) -> None:
        """Add one row an event."""
        for portion in portions(self._rows(connection, changes), _octets, PORTION_OCTETS):
            connection.execute(_INSERT, _COLUMNS.arrays(portion))

    def apply_plainly(self, connection: psycopg.Connection[Any], change: Change[Any]) -> None:
        """Add the row of an event that `apply` fails at: what its envelope says, without reason and changes."""
        ordinal = next(_ordinals(connection, [change]))
        connection.execute(_INSERT, _COLUMNS.arrays([self._row(change, ordinal, plain_entry(change.record, ordinal))]))

    def redact(self, connection: psycopg.Connection[Any], histories: Sequence[History]) -> None:
        """Write the streams' entries again, in their places and with their ordinals."""
        changes = [change for history in histories for change in history]
        found = connection.execute(_ORDINALS, ([change.record.position for change in changes],))
        ordinals = dict(found.fetchall())
        rows = (self._told(change, ordinals[change.record.position]) for change in changes)
        for portion in portions(rows, _octets, PORTION_OCTETS):
            connection.execute(_REWRITE, _COLUMNS.arrays(portion))

    def _rows(self, connection: psycopg.Connection[Any], changes: Sequence[Change[Any]]) -> Iterator[Row]:
        for change, ordinal in zip(changes, _ordinals(connection, changes), strict=True):
            yield self._told(change, ordinal)

    def _told(self, change: Change[Any], ordinal: int) -> Row:
        return self._row(change, ordinal, history_entry(change, self._documents[change.aggregate], ordinal))

    def _row(self, change: Change[Any], ordinal: int, entry: HistoryEntry) -> Row:
        record, scope_of = change.record, self._documents[change.aggregate].scope
        before, after = scope_of(change.before) if change.before else None, scope_of(change.after)
        return (
            record.position,
            record.workspace_id,
            ordinal,
            change.aggregate,
            record.stream_id,
            record.version,
            before,
            after,
            _encode(entry),
            _encode(plain_entry(record, ordinal)) if before not in (None, after) else None,
        )


def _octets(row: Row) -> int:
    entry: bytes = row[-2]
    return len(entry)


def _ordinals(connection: psycopg.Connection[Any], changes: Sequence[Change[Any]]) -> Iterator[int]:
    """Those of the changes, in order: each continues its workspace's."""
    workspaces = list({change.record.workspace_id: None for change in changes})
    newest = dict(connection.execute(_NEWEST, (workspaces,), prepare=True).fetchall())
    counters = {workspace: count(newest.get(workspace, 0) + 1) for workspace in workspaces}
    return (next(counters[change.record.workspace_id]) for change in changes)


class Entries(msgspec.Struct, frozen=True):
    """Timeline entries as JSON, ready to be sent, and the position that they reflect.

    `last` is the key of the last one (0 without any), `more` whether others follow it. `digits` are those of the event at which
    a follower stands who has read them all: at `position`, or where he began if that is further.
    """

    items: list[bytes]
    last: int
    position: int
    more: bool
    digits: str | None


async def history_of(
    connection: psycopg.AsyncConnection[Any],
    workspace_id: UUID,
    stream: tuple[str, UUID],
    after_version: int,
    room: Room,
    until_version: int = ANY_VERSION,
) -> Entries:
    """The entries of a stream, named by its aggregate and its id, after a version, oldest first, none after `until_version`;
    `last` is a version."""
    places = {
        "aggregate": stream[0],
        "stream": stream[1],
        "workspace": workspace_id,
        "after": after_version,
        "until": until_version,
    }
    return await _entries(connection, _HISTORY, {**places, "began": 0}, room)


async def changes_after(
    connection: psycopg.AsyncConnection[Any], workspace_id: UUID, after: int, room: Room, scope: UUID | None = None
) -> Entries:
    """The workspace's entries after a global position, in order; `last` is a position. With `scope` those of what belongs to it
    or left it with the event: of these no more than that they left."""
    places = {"workspace": workspace_id, "after": after, "began": after, "scope": scope}
    return await _entries(connection, _CHANGES if scope is None else _CHANGES_OF_SCOPE, places, room)


async def changes_with_tasks(
    connection: psycopg.AsyncConnection[Any], workspace_id: UUID, after: int, room: Room, scope: UUID | None = None
) -> Entries:
    """As `changes_after`, each entry with its `task` as the list of tasks has it: never older than the entry.

    The entries end where the list does, if that is behind; a task that it does not have, or that is not in the
    scope any more, is left out.
    """
    places = {"workspace": workspace_id, "after": after, "began": after, "scope": scope}
    return await _entries(connection, _CHANGES_WITH_TASKS if scope is None else _CHANGES_OF_SCOPE_WITH_TASKS, places, room)


def _query(projections: str, rows: str) -> Composed:
    return SQL(
        "SELECT c.position, e.hash, h.key, h.body, h.found, h.task, h.with_task "
        "FROM (SELECT min(position) AS position FROM checkpoints WHERE projection IN ({projections})) c "
        "LEFT JOIN events e ON e.notification_id = greatest(c.position, %(began)s) LEFT JOIN LATERAL ({rows}) h ON true"
    ).format(projections=SQL(projections), rows=within_room(SQL(rows), SQL("key")))


def _plain(body: str = "entry") -> str:
    return f"{body} AS body, octet_length({body}) AS size, NULL::bytea AS task, false AS with_task FROM feed"


_ONWARDS: Final = "workspace_id = %(workspace)s AND position > %(after)s ORDER BY position LIMIT %(rows)s + 1"
_HISTORY: Final = _query(
    "'feed'",
    f"SELECT version AS key, {_plain()} WHERE stream_id = %(stream)s AND workspace_id = %(workspace)s "
    "AND aggregate = %(aggregate)s AND version > %(after)s AND version <= %(until)s ORDER BY version LIMIT %(rows)s + 1",
)
_CHANGES: Final = _query("'feed'", f"SELECT position AS key, {_plain()} WHERE {_ONWARDS}")
_OF_SCOPE: Final = (
    f"SELECT * FROM ((SELECT *, entry AS body, true AS is_inside FROM feed WHERE scope_after = %(scope)s AND {_ONWARDS}) "
    "UNION ALL (SELECT *, leaving AS body, false AS is_inside FROM feed WHERE scope_before = %(scope)s AND leaving IS NOT NULL "
    f"AND {_ONWARDS})) f ORDER BY position LIMIT %(rows)s + 1"
)
_CHANGES_OF_SCOPE: Final = _query(
    "'feed'",
    f"SELECT position AS key, body, octet_length(body) AS size, NULL::bytea AS task, false AS with_task FROM ({_OF_SCOPE}) h",
)
_WITH_TASK: Final = (
    "SELECT h.position AS key, h.body, octet_length(h.body) + coalesce(octet_length(t.detail), 0) AS size, "
    "t.detail AS task, true AS with_task FROM ({rows}) h "
    "LEFT JOIN task_list t ON t.task_id = h.stream_id AND t.workspace_id = h.workspace_id AND h.is_inside {still}"
    "ORDER BY h.position"
)
_UP_TO_LIST: Final = "position <= c.position AND "
_CHANGES_WITH_TASKS: Final = _query(
    "'feed', 'task_list'",
    _WITH_TASK.format(rows=f"SELECT *, entry AS body, true AS is_inside FROM feed WHERE {_UP_TO_LIST}{_ONWARDS}", still=""),
)
_CHANGES_OF_SCOPE_WITH_TASKS: Final = _query(
    "'feed', 'task_list'",
    _WITH_TASK.format(rows=_OF_SCOPE.replace("WHERE ", f"WHERE {_UP_TO_LIST}"), still="AND t.project_id = %(scope)s "),
)


async def _entries(connection: psycopg.AsyncConnection[Any], query: Composed, places: dict[str, Any], room: Room) -> Entries:
    cursor = connection.cursor(binary=True)
    await cursor.execute(query, {**places, "rows": room.rows, "octets": room.octets}, prepare=True)
    answered = await cursor.fetchall()
    position, event_hash = answered[0][:2]
    found = [row for row in answered if row[2] is not None]
    return Entries(
        [_with_task(row[3], row[5]) if row[6] else row[3] for row in found],
        found[-1][2] if found else 0,
        position,
        bool(found) and found[0][4] > len(found),
        event_hash[:4].hex() if event_hash else None,
    )


def _with_task(entry: bytes, task: bytes | None) -> bytes:
    return entry if task is None else b'%s,"task":%s}' % (entry[:-1], task)
