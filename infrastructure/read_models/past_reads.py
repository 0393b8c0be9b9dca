"""Lists and counts as they were: the read model's past chooses the tasks, the log's fold gives them as they were then."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

import psycopg

from infrastructure.log.rows import HEAD
from infrastructure.log.time_travel import documents_as_of
from projections.tables.bounds import Room, fitting
from projections.tables.moments import AsOf
from projections.tables.pages import ListCursor, Page
from projections.task.list_as_of import Chosen, choose_tasks
from projections.task.list_query import TaskQuery
from projections.task.snapshots import TASK_DOCUMENTS
from projections.task.views import summary_json

Connection = psycopg.AsyncConnection[Any]

# Positions have no gaps, and what is recorded later is never recorded at an earlier time: halving finds the place.
_RECORDED_BY: LiteralString = (
    "WITH RECURSIVE search(low, high) AS ("
    f"SELECT 0::bigint, ({HEAD}) UNION ALL "
    "SELECT CASE WHEN e.recorded_at <= %(instant)s THEN m.middle ELSE s.low END, "
    "CASE WHEN e.recorded_at <= %(instant)s THEN s.high ELSE m.middle - 1 END "
    "FROM search s CROSS JOIN LATERAL (SELECT (s.low + s.high + 1) / 2 AS middle) m "
    "JOIN events e ON e.notification_id = m.middle WHERE s.low < s.high) "
    "SELECT low FROM search WHERE low = high"
)


async def by_instant(connection: Connection, instant: datetime) -> AsOf:
    """The moment of an instant: with the last position that was recorded by then, 0 before the first."""
    cursor = await connection.execute(_RECORDED_BY, {"instant": instant}, prepare=True)
    row = await cursor.fetchone()
    return AsOf(row[0] if row else 0, instant)


async def find_as_of(
    connection: Connection, workspace_id: UUID, query: TaskQuery, after: ListCursor | None, room: Room, as_of: AsOf
) -> Page:
    """The page that follows `after` as the list was; its position is the one that the read model had reached.

    As of a position it is byte for byte the page that the list would show if the log had ended there.
    """
    page = await choose_tasks(connection, workspace_id, query, after, room.rows, as_of)
    lines = await lines_as_of(connection, page.rows, as_of, page.position)
    shown = fitting(lines, room.octets)
    more = page.has_more or shown < len(lines)
    last = page.rows[shown - 1] if more and shown else None
    return Page(lines[:shown], ListCursor(last.shown, last.created_position) if last else None, page.position)


async def lines_as_of(connection: Connection, rows: Sequence[Chosen], as_of: AsOf, reached: int) -> list[bytes]:
    """The lines of the tasks as they were. What an instant shows goes as far as the read model has come."""
    wanted = [row.task_id for row in rows if row.line is None]
    position = as_of.position if as_of.instant is None else reached
    documents = await documents_as_of(connection, TASK_DOCUMENTS, wanted, position, as_of.instant) if wanted else {}
    return [summary_json(documents[row.task_id]) if row.line is None else row.line for row in rows]
