"""A task as of any moment, at the price of its present: first whose it is, then which version, then a short fold.

Every moment is turned into a version by SQL that looks at a bounded number of rows (a search by halves over positions; spans of
a hundred versions over instants), whatever came after it, and the fold starts from the newest snapshot before that version.
"""

from datetime import datetime
from functools import reduce
from typing import Any, LiteralString
from uuid import UUID

import msgspec
import psycopg

from domain.task.aggregate import TASK
from infrastructure.log.loading import ANY_VERSION
from infrastructure.log.rows import OF_STREAM, own_events
from projections.task.document import SPAN, TaskDocument, fold
from projections.task.snapshots import latest_snapshot


class Moment(msgspec.Struct, frozen=True):
    """Up to which event: by the task's own `version`, by a global `position`, or the last that had happened by `instant`.

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

# Imported times may jump back, so the last event that had happened is looked for from the end: in what no snapshot closes yet,
# then in the last span whose earliest event had happened. Snapshots with a hole among them close nothing.
_BY_INSTANT: LiteralString = (
    "SELECT coalesce("
    "(SELECT originator_version FROM events WHERE originator_id = %(task)s AND originator_version > closed.version "
    "AND coalesce(effective_at, recorded_at) <= %(instant)s ORDER BY originator_version DESC LIMIT 1), "
    "(SELECT e.originator_version FROM (SELECT version FROM task_snapshots WHERE task_id = %(task)s "
    "AND version <= closed.version AND earliest <= %(instant)s ORDER BY version DESC LIMIT 1) span "
    "CROSS JOIN LATERAL (SELECT originator_version FROM events WHERE originator_id = %(task)s "
    "AND originator_version > span.version - %(span)s AND originator_version <= span.version "
    "AND coalesce(effective_at, recorded_at) <= %(instant)s ORDER BY originator_version DESC LIMIT 1) e), 0) "
    "FROM (SELECT CASE WHEN count(*) * %(span)s = max(version) THEN max(version) ELSE 0 END AS version "
    "FROM task_snapshots WHERE task_id = %(task)s) closed"
)


async def task_as_of(
    connection: psycopg.AsyncConnection[Any], workspace_id: UUID, task_id: UUID, moment: Moment
) -> Past | None:
    """The task at the moment; None where the workspace has no such task, which costs the same whoever's it is."""
    places: dict[str, object] = {"task": task_id, "workspace": workspace_id, "span": SPAN}
    row = await _row(connection, _OF_WORKSPACE, places)
    if row is None:
        return None
    newest, first = row
    version = min(moment.version, newest)
    if moment.position is not None:
        found = await _row(connection, _BY_POSITION, {**places, "first": first, "newest": newest, "position": moment.position})
        version = min(version, found[0] if found else 0)
    if moment.instant is not None:
        found = await _row(connection, _BY_INSTANT, {**places, "instant": moment.instant})
        version = min(version, found[0] if found else 0)
    return Past(await task_at_version(connection, task_id, version), newest)


async def task_at_version(connection: psycopg.AsyncConnection[Any], task_id: UUID, version: int) -> TaskDocument | None:
    """The task folded up to a version from the newest snapshot before it; None where it had no event yet."""
    document = await latest_snapshot(connection, task_id, version)
    cursor = connection.cursor(binary=True)
    await cursor.execute(OF_STREAM, (task_id, document.version if document else 0, version), prepare=True)
    # The id may be that of a stream of another kind.
    events = [record for record in own_events(await cursor.fetchall()) if type(record.event) in TASK.events]
    return reduce(fold, events, document)


async def _row(connection: psycopg.AsyncConnection[Any], query: LiteralString, parameters: dict[str, object]) -> Any:
    cursor = connection.cursor(binary=True)
    await cursor.execute(query, parameters, prepare=True)
    return await cursor.fetchone()
