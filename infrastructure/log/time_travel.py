"""A task as of any moment, at the price of its present: first whose it is, then which version, then a short fold.

Every moment is turned into a version by SQL that looks at a bounded number of rows (a search by halves over positions; spans of
a hundred versions over instants), whatever came after it, and the fold starts from the newest snapshot before that version.
Lists ask for the documents of a page's tasks at once.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import reduce
from typing import Any, Final, LiteralString
from uuid import UUID

import msgspec
import psycopg

from domain.task.aggregate import TASK
from infrastructure.log.codec import owner
from infrastructure.log.loading import ANY_VERSION
from infrastructure.log.rows import COLUMNS, OF_STREAM, own_events
from projections.task.document import SPAN, TaskDocument, fold
from projections.task.snapshots import GOOD, latest_snapshot, read_snapshot


class Moment(msgspec.Struct, frozen=True):
    """Up to which event: by the task's own `version`, by a global `position`, or before the first that had not happened by
    `instant`: imported times may jump, and an event counts once all before it in its task do.

    Of several bounds the earliest counts; without any it is the present.
    """

    version: int = ANY_VERSION
    position: int | None = None
    instant: datetime | None = None


class Past(msgspec.Struct, frozen=True):
    """A task as it was (None where it did not exist yet), and how many versions it has by now."""

    document: TaskDocument | None
    versions: int


_OF_WORKSPACE: LiteralString = (
    "SELECT newest.originator_version, first.originator_version FROM "
    "(SELECT originator_version, workspace_id FROM events WHERE originator_id = %(task)s "
    "ORDER BY originator_version LIMIT 1) first, "
    "(SELECT originator_version FROM events WHERE originator_id = %(task)s ORDER BY originator_version DESC LIMIT 1) newest "
    "WHERE first.workspace_id = %(workspace)s"
)

# Versions follow each other without gaps and in the order of positions, so halving finds the place.
_BY_POSITION: LiteralString = (
    "WITH RECURSIVE search(low, high) AS ("
    "SELECT %(first)s::bigint - 1, %(newest)s::bigint UNION ALL "
    "SELECT CASE WHEN e.notification_id <= %(position)s THEN m.middle ELSE s.low END, "
    "CASE WHEN e.notification_id <= %(position)s THEN s.high ELSE m.middle - 1 END "
    "FROM search s CROSS JOIN LATERAL (SELECT (s.low + s.high + 1) / 2 AS middle) m "
    "JOIN events e ON e.originator_id = %(task)s AND e.originator_version = m.middle WHERE s.low < s.high) "
    "SELECT low FROM search WHERE low = high"
)

# Imported times may jump back: what had happened is what stands before the first event that had not. The latest time of all
# events up to a version never falls from one to the next, so the newest snapshot that had happened is where the search begins.
_BY_INSTANT: LiteralString = (
    "SELECT coalesce((SELECT originator_version - 1 FROM events WHERE originator_id = %(task)s "
    "AND originator_version > closed.version AND coalesce(effective_at, recorded_at) > %(instant)s "
    "ORDER BY originator_version LIMIT 1), %(newest)s) "
    "FROM (SELECT coalesce((SELECT version FROM task_snapshots WHERE task_id = %(task)s AND known_by <= %(instant)s "
    "ORDER BY version DESC LIMIT 1), 0) AS version) closed"
)


async def task_as_of(
    connection: psycopg.AsyncConnection[Any], workspace_id: UUID, task_id: UUID, moment: Moment
) -> Past | None:
    """The task at the moment; None where the workspace has no such task, which costs the same whoever's it is."""
    places: dict[str, object] = {"task": task_id, "workspace": workspace_id}
    row = await _row(connection, _OF_WORKSPACE, places)
    if row is None:
        return None
    newest, first = row
    version = min(moment.version, newest)
    if moment.position is not None:
        found = await _row(connection, _BY_POSITION, {**places, "first": first, "newest": newest, "position": moment.position})
        version = min(version, found[0] if found else 0)
    if moment.instant is not None:
        found = await _row(connection, _BY_INSTANT, {**places, "newest": newest, "instant": moment.instant})
        version = min(version, found[0] if found else 0)
    return Past(await task_at_version(connection, task_id, version), newest)


async def task_at_version(connection: psycopg.AsyncConnection[Any], task_id: UUID, version: int) -> TaskDocument | None:
    """The task folded up to a version from the newest snapshot before it; None where it had no event yet."""
    document = await latest_snapshot(connection, task_id, version)
    cursor = connection.cursor(binary=True)
    await cursor.execute(OF_STREAM, (task_id, document.version if document else 0, version), prepare=True)
    # The id may be that of a stream of another kind.
    events = [record for record in own_events(await cursor.fetchall()) if owner(record.event) is TASK]
    return reduce(fold, events, document)


_SNAPSHOTS: LiteralString = (
    "SELECT s.document FROM unnest(%(tasks)s::uuid[]) AS w(task_id) CROSS JOIN LATERAL (SELECT document FROM task_snapshots t "
    f"WHERE t.task_id = w.task_id AND t.position <= %(position)s AND t.known_by <= %(instant)s AND {GOOD} "
    "ORDER BY version DESC LIMIT 1) s"
)
_FOLLOWING: LiteralString = (
    f"SELECT {COLUMNS} FROM unnest(%(tasks)s::uuid[], %(after)s::bigint[]) AS w(task_id, after) CROSS JOIN LATERAL ("
    "SELECT * FROM events e WHERE e.originator_id = w.task_id AND e.originator_version > w.after "
    "AND e.originator_version <= w.after + %(span)s AND e.notification_id <= %(position)s) e "
    "ORDER BY originator_id, originator_version"
)
_ALWAYS: Final = datetime.max.replace(tzinfo=UTC)


async def tasks_as_of(
    connection: psycopg.AsyncConnection[Any],
    tasks: Sequence[UUID],
    position: int,
    instant: datetime | None = None,
    earlier: Mapping[UUID, TaskDocument] | None = None,
) -> dict[UUID, TaskDocument]:
    """The tasks as they were at a position, of that what had happened by the instant, if one is given; those that were.

    They are folded on from `earlier`, as they were a little before, else from snapshots.
    """
    until = instant or _ALWAYS
    cursor = connection.cursor(binary=True)
    places: dict[str, object] = {"position": position, "instant": until, "span": SPAN}
    found = dict(earlier or {})
    if earlier is None:
        await cursor.execute(_SNAPSHOTS, places | {"tasks": list(tasks)}, prepare=True)
        for (stored,) in await cursor.fetchall():
            document = read_snapshot(stored)
            found[document.id] = document
    going = dict.fromkeys(tasks)
    while going:
        after = {task: found[task].version if task in found else 0 for task in going}
        await cursor.execute(_FOLLOWING, places | {"tasks": list(after), "after": list(after.values())}, prepare=True)
        ended: set[UUID] = set()
        for record in own_events(await cursor.fetchall()):
            if record.stream_id not in ended and owner(record.event) is TASK:
                folded = fold(found.get(record.stream_id), record)
                if folded.known_by > until:
                    ended.add(record.stream_id)
                else:
                    found[record.stream_id] = folded
        # Snapshots may be behind: what filled a whole span may go on.
        going = {t: None for t in going if t not in ended and t in found and found[t].version == after[t] + SPAN}
    return found


async def _row(connection: psycopg.AsyncConnection[Any], query: LiteralString, parameters: dict[str, object]) -> Any:
    cursor = connection.cursor(binary=True)
    await cursor.execute(query, parameters, prepare=True)
    return await cursor.fetchone()
