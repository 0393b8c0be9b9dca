"""Read model `task_list` (Postgres): one row a task, indexed for every filter and order that lists offer."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal
from uuid import UUID

import msgspec
import psycopg
from psycopg.sql import SQL, Composed, Placeholder

from domain.task.aggregate import TASK
from domain.task.values import Priority, Status
from projections.tables.bounds import Room, within_room
from projections.tables.portions import portions
from projections.tables.words import lexemes, scope_of, terms, tsquery
from projections.task.document import TaskChange, TaskDocument
from projections.task.views import detail_json, summary_json

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
    layout: Final = 1
    ddl: Final = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
    follows: Final = frozenset({TASK.name})

    def apply(self, connection: psycopg.Connection[Any], changes: Sequence[TaskChange]) -> None:
        """Write each changed task's newest document."""
        newest = {change.record.stream_id: change.after for change in changes}
        for documents in portions(newest.values(), _characters):
            columns = zip(*map(_row, documents), strict=True)
            connection.execute(_UPSERT, tuple(list(column) for column in columns))


def _characters(document: TaskDocument) -> int:
    return 150 + len(document.task.description)


def _row(document: TaskDocument) -> tuple[object, ...]:
    task = document.task
    workspace = document.workspace_id
    scope = scope_of(workspace)
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
        "\n".join(scope + lexeme for lexeme in lexemes(task.title, task.labels, task.description)),
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


LOOK: Final = 1_000
"""So many rows are looked at in the order that is asked for before whatever fits is gathered in any order and sorted."""


async def find_tasks(
    connection: psycopg.AsyncConnection[Any],
    workspace_id: UUID,
    query: TaskQuery,
    after: ListCursor | None,
    room: Room,
) -> Page:
    """The page that follows `after` and fits into the room. Rows and position come from one snapshot.

    Neither way of finding rows is good for every filter, and the server's estimates of rare words and labels are not to be
    relied on. So the order's index is read first, but not far: where much fits, a page is full soon. Else little fits, and
    all of it is gathered through the filters' indexes and sorted.
    """
    order = _ORDERS[query.sort]
    filters, parameters = _conditions(workspace_id, query)
    beyond, values = _beyond(order, after)
    parameters |= {**values, "workspace": workspace_id, "rows": room.rows, "octets": room.octets, "look": LOOK}
    own: Conditions = [SQL("workspace_id = %(workspace)s"), *beyond]
    if len(filters) == 1 and not query.deleted:
        return await _page(connection, order, _in_order(order, [*own, *filters]), parameters)
    page = await _page(connection, order, _first_rows(order, [*own, *_near(order, query)], filters), parameters)
    if page.after is not None:
        return page
    return await _page(connection, order, _gathered(order, [*own, *filters]), parameters)


Conditions = list[SQL | Composed]


class _Order(msgspec.Struct, frozen=True):
    """What rows are sorted by: `key` as an index has it (None for the position of creation alone), `shown` as it is told."""

    key: SQL | None
    shown: SQL
    is_descending: bool

    @property
    def direction(self) -> SQL:
        return SQL("DESC") if self.is_descending else SQL("ASC")

    def sql(self) -> Composed:
        keys = SQL("created_position {d}") if self.key is None else SQL("{key} {d}, created_position {d}")
        return keys.format(key=self.key or SQL(""), d=self.direction)


# Tasks without a due date come last in either direction.
_DUE_UP: Final = SQL("coalesce(due_at, 'infinity')")
_DUE_DOWN: Final = SQL("coalesce(due_at, '-infinity')")
_NOTHING: Final = SQL("NULL::bigint")
_ORDERS: Final[dict[Sort, _Order]] = {
    "added": _Order(None, _NOTHING, False),
    "-added": _Order(None, _NOTHING, True),
    "created": _Order(SQL("created_at"), SQL("created_at"), False),
    "-created": _Order(SQL("created_at"), SQL("created_at"), True),
    "due": _Order(_DUE_UP, SQL("due_at"), False),
    "-due": _Order(_DUE_DOWN, SQL("due_at"), True),
    "priority": _Order(SQL("priority"), SQL("priority"), False),
    "-priority": _Order(SQL("priority"), SQL("priority"), True),
}
_BODY: Final = "summary AS body, octet_length(summary) AS size, created_position"


def _in_order(order: _Order, conditions: Conditions) -> Composed:
    """Straight from the order's index."""
    return SQL(
        f"SELECT {_BODY}, {{shown}} AS shown, {{key}} AS key FROM task_list WHERE {{conditions}} ORDER BY {{order}} "
        "LIMIT %(rows)s + 1"
    ).format(shown=order.shown, key=order.key or _NOTHING, conditions=_all(conditions), order=order.sql())


def _first_rows(order: _Order, near: Conditions, filters: Conditions) -> Composed:
    """Those that fit among the next LOOK rows in order; the key has a name, so that the order is known outside as well."""
    return SQL(
        f"SELECT {_BODY}, {{shown}} AS shown, key "
        "FROM (SELECT *, {key} AS key FROM task_list WHERE {near} ORDER BY {order} LIMIT %(look)s) task_list "
        "WHERE {filters} ORDER BY {by_key} LIMIT %(rows)s + 1"
    ).format(
        shown=order.shown,
        key=order.key or _NOTHING,
        near=_all(near),
        filters=_all(filters),
        order=order.sql(),
        by_key=SQL("created_position {d}" if order.key is None else "key {d}, created_position {d}").format(d=order.direction),
    )


def _gathered(order: _Order, conditions: Conditions) -> Composed:
    """All that fit, sorted. OFFSET 0 keeps the server from walking the order's index after all."""
    return SQL(
        f"SELECT {_BODY.replace('created_position', 'task_list.created_position')}, first.shown, first.key FROM ("
        "SELECT * FROM (SELECT ctid AS place, {shown} AS shown, {key} AS key, created_position FROM task_list "
        "WHERE {conditions} OFFSET 0) fitting ORDER BY key {direction}, created_position {direction} LIMIT %(rows)s + 1) first "
        "JOIN task_list ON task_list.ctid = first.place"
    ).format(shown=order.shown, key=order.key or _NOTHING, conditions=_all(conditions), direction=order.direction)


def _all(conditions: Conditions) -> Composed:
    return SQL(" AND ").join(conditions)


async def _page(connection: psycopg.AsyncConnection[Any], order: _Order, rows: Composed, parameters: dict[str, object]) -> Page:
    by_key = SQL("key {d}, created_position {d}").format(d=order.direction)
    statement = SQL(
        "SELECT c.position, t.body, t.created_position, t.shown, t.found FROM checkpoints c "
        "LEFT JOIN LATERAL ({rows}) t ON true WHERE c.projection = 'task_list'"
    ).format(rows=within_room(rows, by_key))
    cursor = connection.cursor(binary=True)
    await cursor.execute(statement, parameters, prepare=True)
    answered = await cursor.fetchall()
    found = [row for row in answered if row[1] is not None]
    more = bool(found) and found[0][4] > len(found)
    last = ListCursor(found[-1][3], found[-1][2]) if more else None
    return Page([row[1] for row in found], last, answered[0][0])


def _conditions(workspace_id: UUID, query: TaskQuery) -> tuple[Conditions, dict[str, object]]:
    """What is asked for beside the workspace; the first is whether deleted tasks are, which is always asked."""
    named = [label_term(workspace_id, label) for label in query.label]
    if query.assignee:
        named.append(assignee_term(workspace_id, query.assignee))
    asked = terms(query.q or "")
    due = "coalesce(due_at, 'infinity')" if query.due_before else "coalesce(due_at, '-infinity')"
    wanted: list[tuple[str, str, object]] = [
        ("status = ANY(%(status)s)", "status", list(query.status)),
        ("priority = ANY(%(priority)s)", "priority", [PRIORITY_RANK[p] for p in query.priority]),
        ("terms @> %(terms)s", "terms", named),
        ("created_by = %(created_by)s", "created_by", query.created_by),
        # Spelled as one index has it; what has no due date is in no range.
        (f"{due} >= %(due_from)s", "due_from", query.due_from),
        ("coalesce(due_at, 'infinity') < %(due_before)s", "due_before", query.due_before),
        ("created_at >= %(created_from)s", "created_from", query.created_from),
        ("created_at < %(created_before)s", "created_before", query.created_before),
        ("words @@ %(q)s::tsquery", "q", tsquery(asked, scope_of(workspace_id))),
    ]
    conditions: Conditions = [SQL("deleted = %(deleted)s")]
    parameters: dict[str, object] = {"deleted": query.deleted}
    for condition, name, value in wanted:
        if value not in (None, [], ""):
            conditions.append(SQL(condition))
            parameters[name] = value
    if query.q is not None and not asked:
        # No word at all is in no task.
        conditions.append(SQL("false"))
    return conditions, parameters


def _near(order: _Order, query: TaskQuery) -> Conditions:
    """Of a range of what is sorted by, what the order's index can begin and end with. The filters are the last word."""
    shown = order.shown.as_string()
    if shown == "priority" and query.priority:
        ranks = [PRIORITY_RANK[each] for each in query.priority]
        return [SQL("priority BETWEEN {} AND {}").format(min(ranks), max(ranks))]
    bounds = {"created_at": ("created_from", "created_before"), "due_at": ("due_from", "due_before")}.get(shown, ())
    return [
        SQL("{key} {comparison} {value}").format(key=order.key, comparison=comparison, value=Placeholder(name))
        for comparison, name in zip((SQL(">="), SQL("<")), bounds, strict=False)
        if getattr(query, name) is not None
    ]


def _beyond(order: _Order, after: ListCursor | None) -> tuple[Conditions, dict[str, object]]:
    """Rows after the cursor, as one comparison of the index's columns."""
    if after is None:
        return [], {}
    comparison = SQL("<") if order.is_descending else SQL(">")
    if order.key is None:
        condition = SQL("created_position {} %(after_position)s").format(comparison)
        return [condition], {"after_position": after.created_position}
    value = SQL("%(after_value)s") if after.value is not None else SQL("'-infinity'" if order.is_descending else "'infinity'")
    condition = SQL("({key}, created_position) {comparison} ({value}, %(after_position)s)").format(
        key=order.key, comparison=comparison, value=value
    )
    found: dict[str, object] = {"after_position": after.created_position}
    return [condition], found if after.value is None else {**found, "after_value": after.value}


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
