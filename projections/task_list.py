"""Read model `task_list` (Postgres): one row a task, indexed for every filter and order that lists offer."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

import msgspec
import psycopg
from psycopg.sql import SQL, Composed

from domain.task_values import Priority, Status
from projections.bounds import Room, within_room
from projections.changes import Change
from projections.task_document import TaskDocument
from projections.task_views import detail_json, summary_json
from projections.words import lexemes, terms, tsquery

PRIORITY_RANK: Final[dict[str, int]] = {"none": 0, "low": 1, "medium": 2, "high": 3, "urgent": 4}

_COLUMNS = (
    "task_id, workspace_id, created_position, created_at, created_by, status, priority, due_at, deleted, terms, words, "
    "version, position, summary, detail"
)
# Terms and words travel as one text a row each: arrays of arrays must be rectangular.
_UPSERT: Final = f"""
INSERT INTO task_list ({_COLUMNS})
SELECT t.task_id, t.workspace_id, t.created_position, t.created_at, t.created_by, t.status, t.priority, t.due_at, t.deleted,
       string_to_array(t.terms, E'\\n'), array_to_tsvector(string_to_array(t.words, E'\\n')), t.version, t.position,
       t.summary, t.detail
FROM unnest(%b::uuid[], %b::uuid[], %b::bigint[], %b::timestamptz[], %b::uuid[], %b::text[], %b::smallint[],
            %b::timestamptz[], %b::boolean[], %b::text[], %b::text[], %b::bigint[], %b::bigint[], %b::bytea[], %b::bytea[])
    AS t({_COLUMNS})
ON CONFLICT (task_id) DO UPDATE SET status = excluded.status, priority = excluded.priority, due_at = excluded.due_at,
    deleted = excluded.deleted, terms = excluded.terms, words = excluded.words, version = excluded.version,
    position = excluded.position, summary = excluded.summary, detail = excluded.detail
""".encode()


def label_term(workspace_id: UUID, label: str) -> str:
    """How a label stands in a row's terms; the workspace is part of it, so that the index finds only its own tasks."""
    return f"{workspace_id.hex}#{label}"


def assignee_term(workspace_id: UUID, assignee: UUID) -> str:
    """How an assignee stands in a row's terms."""
    return f"{workspace_id.hex}@{assignee.hex}"


class TaskList:
    """The projection."""

    name: Final = "task_list"
    tables: Final = ("task_list",)

    def apply(self, connection: psycopg.Connection[Any], changes: Sequence[Change]) -> None:
        """Write each changed task's newest document."""
        newest = {change.record.stream_id: change.after for change in changes}
        columns = zip(*map(_row, newest.values()), strict=True)
        connection.execute(_UPSERT, tuple(list(column) for column in columns))


def _row(document: TaskDocument) -> tuple[object, ...]:
    task = document.task
    workspace = document.workspace_id
    terms = [label_term(workspace, label) for label in task.labels]
    terms += [assignee_term(workspace, assignee) for assignee in task.assignees]
    return (
        document.id,
        workspace,
        document.created_position,
        document.created_at,
        document.created_by,
        task.status,
        PRIORITY_RANK[task.priority],
        task.due_at,
        task.deleted,
        "\n".join(terms),
        "\n".join(lexemes(task.title, task.labels, task.description)),
        document.version,
        document.position,
        summary_json(document),
        detail_json(document),
    )


Sort = Literal["added", "-added", "created", "-created", "due", "-due", "priority", "-priority"]
"""`added`: as tasks came into the log, which is what Redis keeps; `created`: by when they were, imported ones long ago."""


class TaskQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which tasks of a workspace, in which order. Filters are joined by AND; `q`: see `words.terms`."""

    status: tuple[Status, ...] = ()
    priority: tuple[Priority, ...] = ()
    label: tuple[str, ...] = ()
    assignee: UUID | None = None
    created_by: UUID | None = None
    due_from: datetime | None = None
    due_before: datetime | None = None
    created_from: datetime | None = None
    created_before: datetime | None = None
    q: str | None = None
    deleted: bool = False
    sort: Sort = "-added"


class ListCursor(msgspec.Struct, frozen=True, array_like=True):
    """Where a page ended: the last row's sort value (None in the default order or without one) and its creation's position."""

    value: Any
    created_position: int


class Page(msgspec.Struct, frozen=True):
    """One page: the rows' JSON, where it ended (None on the last page), and the position that it reflects."""

    items: list[bytes]
    after: ListCursor | None
    position: int


async def find_tasks(
    connection: psycopg.AsyncConnection[Any],
    workspace_id: UUID,
    query: TaskQuery,
    after: ListCursor | None,
    room: Room,
) -> Page:
    """The page that follows `after` and fits into the room. Rows and position come from one snapshot."""
    column, descending = _order(query.sort)
    conditions, parameters = _conditions(workspace_id, query)
    if after is not None:
        condition, values = _beyond(column, descending, after)
        conditions.append(condition)
        parameters.update(values)
    direction = SQL("DESC") if descending else SQL("ASC")
    rows_of_page = SQL(
        "SELECT summary AS body, octet_length(summary) AS size, created_position, {column} AS sort_value "
        "FROM task_list WHERE {conditions} "
        "ORDER BY {order} LIMIT %(rows)s + 1"
    ).format(
        column=column or SQL("NULL::bigint"),
        conditions=SQL(" AND ").join(conditions),
        order=_ORDERS[query.sort.removeprefix("-")].format(direction=direction),
    )
    order = SQL("sort_value {d} NULLS LAST, created_position {d}").format(d=direction)
    statement = SQL(
        "SELECT c.position, t.body, t.created_position, t.sort_value, t.found FROM checkpoints c "
        "LEFT JOIN LATERAL ({rows}) t ON true WHERE c.projection = 'task_list'"
    ).format(rows=within_room(rows_of_page, order))
    cursor = connection.cursor(binary=True)
    await cursor.execute(statement, {**parameters, "rows": room.rows, "octets": room.octets}, prepare=True)
    rows = await cursor.fetchall()
    found = [row for row in rows if row[1] is not None]
    more = bool(found) and found[0][4] > len(found)
    last = ListCursor(found[-1][3], found[-1][2]) if more else None
    return Page([row[1] for row in found], last, rows[0][0])


# As the indexes have it: only due dates can be missing.
_ORDERS: Final = {
    "added": SQL("created_position {direction}"),
    "created": SQL("created_at {direction}, created_position {direction}"),
    "due": SQL("due_at {direction} NULLS LAST, created_position {direction}"),
    "priority": SQL("priority {direction}, created_position {direction}"),
}


def _order(sort: Sort) -> tuple[SQL | None, bool]:
    columns = {"added": None, "created": SQL("created_at"), "due": SQL("due_at"), "priority": SQL("priority")}
    return columns[sort.removeprefix("-")], sort.startswith("-")


def _conditions(workspace_id: UUID, query: TaskQuery) -> tuple[list[SQL | Composed], dict[str, object]]:
    named = [label_term(workspace_id, label) for label in query.label]
    if query.assignee:
        named.append(assignee_term(workspace_id, query.assignee))
    asked = terms(query.q or "")
    wanted: list[tuple[SQL, str, object]] = [
        (SQL("status = ANY(%(status)s)"), "status", list(query.status)),
        (SQL("priority = ANY(%(priority)s)"), "priority", [PRIORITY_RANK[p] for p in query.priority]),
        (SQL("terms @> %(terms)s"), "terms", named),
        (SQL("created_by = %(created_by)s"), "created_by", query.created_by),
        (SQL("due_at >= %(due_from)s"), "due_from", query.due_from),
        (SQL("due_at < %(due_before)s"), "due_before", query.due_before),
        (SQL("created_at >= %(created_from)s"), "created_from", query.created_from),
        (SQL("created_at < %(created_before)s"), "created_before", query.created_before),
        (SQL("words @@ %(q)s::tsquery"), "q", tsquery(asked)),
    ]
    conditions: list[SQL | Composed] = [SQL("workspace_id = %(workspace)s"), SQL("deleted = %(deleted)s")]
    parameters: dict[str, object] = {"workspace": workspace_id, "deleted": query.deleted}
    for condition, name, value in wanted:
        if value not in (None, [], ""):
            conditions.append(condition)
            parameters[name] = value
    if query.q is not None and not asked:
        # No word at all is in no task.
        conditions.append(SQL("false"))
    return conditions, parameters


def _beyond(column: SQL | None, descending: bool, after: ListCursor) -> tuple[SQL | Composed, dict[str, object]]:
    """Rows after the cursor. Tasks without the sort value come last in either direction."""
    comparison = SQL("<") if descending else SQL(">")
    values: dict[str, object] = {"after_position": after.created_position}
    tie = SQL("created_position {} %(after_position)s").format(comparison)
    if column is None:
        return tie, values
    if after.value is None:
        return SQL("({} IS NULL AND {})").format(column, tie), values
    values["after_value"] = after.value
    return (
        SQL("({c} IS NULL OR {c} {op} %(after_value)s OR ({c} = %(after_value)s AND {tie}))").format(
            c=column, op=comparison, tie=tie
        ),
        values,
    )


async def get_tasks(
    connection: psycopg.AsyncConnection[Any], wanted: Sequence[tuple[UUID, UUID]]
) -> list[tuple[tuple[int, bytes] | None, int]]:
    """For each workspace and task the task's version and full JSON (None where there is no such task), and the position that
    this reflects, the same for all."""
    cursor = connection.cursor(binary=True)
    await cursor.execute(
        "SELECT c.position, t.version, t.detail FROM checkpoints c "
        "CROSS JOIN unnest(%b::uuid[], %b::uuid[]) WITH ORDINALITY AS w(workspace_id, task_id, number) "
        "LEFT JOIN task_list t ON t.task_id = w.task_id AND t.workspace_id = w.workspace_id "
        "WHERE c.projection = 'task_list' ORDER BY w.number",
        ([workspace for workspace, _ in wanted], [task for _, task in wanted]),
        prepare=True,
    )
    return [((row[1], row[2]) if row[2] is not None else None, row[0]) for row in await cursor.fetchall()]


async def get_task(
    connection: psycopg.AsyncConnection[Any], workspace_id: UUID, task_id: UUID
) -> tuple[tuple[int, bytes] | None, int]:
    """One of `get_tasks`."""
    return (await get_tasks(connection, [(workspace_id, task_id)]))[0]


async def count_tasks(connection: psycopg.AsyncConnection[Any], workspace_id: UUID) -> tuple[dict[str, int], int]:
    """The workspace's tasks by status, with `deleted` apart, and the position that this reflects."""
    cursor = connection.cursor(binary=True)
    await cursor.execute(
        "SELECT c.position, t.status, t.number FROM checkpoints c LEFT JOIN LATERAL ("
        "SELECT CASE WHEN deleted THEN 'deleted' ELSE status END AS status, count(*) AS number FROM task_list "
        "WHERE workspace_id = %s GROUP BY 1) t ON true WHERE c.projection = 'task_list'",
        (workspace_id,),
        prepare=True,
    )
    rows = await cursor.fetchall()
    return {row[1]: row[2] for row in rows if row[1] is not None}, rows[0][0]
