"""Read model `task_list` (Postgres): one row a task, indexed for every filter and order that lists offer."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import psycopg
from psycopg.sql import SQL, Composed

from domain.task.aggregate import TASK
from projections.tables.bounds import Room, within_room
from projections.tables.columns import Columns
from projections.tables.moments import Since
from projections.tables.pages import ListCursor, Page
from projections.tables.portions import portions
from projections.task.document import TaskChange, TaskDocument
from projections.task.facets import FACETS, FIXED, fixed_of, stored_facets, terms_of
from projections.task.list_past import rewrite_past, write_past
from projections.task.list_query import (
    NOTHING,
    ORDERS,
    Asked,
    Conditions,
    Order,
    TaskQuery,
    all_of,
    asked_for,
    beyond,
    near,
)
from projections.task.renderings import rendering, words_of

_COLUMNS: Final = Columns(
    ("task_id", "uuid"),
    ("workspace_id", "uuid"),
    ("created_position", "bigint"),
    *((facet.field, facet.type) for facet in (*FIXED, *FACETS)),
    ("terms", "text"),
    ("words", "text"),
    ("version", "bigint"),
    ("position", "bigint"),
    ("since", "bigint"),
    ("since_at", "timestamptz"),
    ("text_since", "bigint"),
    ("text_since_at", "timestamptz"),
    ("summary", "bytea"),
    ("detail", "bytea"),
)
_NEVER_CHANGE: Final = {"task_id", "workspace_id", "created_position", *(fixed.field for fixed in FIXED)}
# Terms and words travel as one text a row each: arrays of arrays must be rectangular.
_READ: Final = {"terms": "string_to_array(t.terms, E'\\n')", "words": "array_to_tsvector(string_to_array(t.words, E'\\n'))"}
_UPSERT: Final = (
    f"INSERT INTO task_list ({_COLUMNS.listed}) SELECT {', '.join(_READ.get(name, 't.' + name) for name in _COLUMNS.names)} "
    f"FROM {_COLUMNS.unnested} AS t({_COLUMNS.listed}) "
    "ON CONFLICT (task_id) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS.names if name not in _NEVER_CHANGE)
).encode()


class TaskList:
    """The projection."""

    name: Final = "task_list"
    tables: Final = ("task_list", "task_list_past", "task_term_spans", "task_text_past", "task_counts")
    layout: Final = 3
    ddl: Final = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
    follows: Final = frozenset({TASK.name})

    def apply(self, connection: psycopg.Connection[Any], changes: Sequence[TaskChange]) -> None:
        """Write each changed task's newest document, and what every change ended."""
        newest = {change.record.stream_id: change.after for change in changes}
        # What is asked in there is answered before the server is given most of its work.
        write_past(connection, changes)
        _write(connection, newest.values())

    def redact(self, connection: psycopg.Connection[Any], histories: Sequence[Sequence[TaskChange]]) -> None:
        """Write the tasks' rows and their past again."""
        _write(connection, [history[-1].after for history in histories])
        rewrite_past(connection, histories)


def _write(connection: psycopg.Connection[Any], newest: Iterable[TaskDocument]) -> None:
    for documents in portions(newest, _characters):
        connection.execute(_UPSERT, _COLUMNS.arrays(map(_row, documents)))


def _characters(document: TaskDocument) -> int:
    return 150 + len(document.task.description)


def _row(document: TaskDocument) -> tuple[object, ...]:
    return (
        document.id,
        document.workspace_id,
        document.created_position,
        *fixed_of(document),
        *stored_facets(document.task),
        "\n".join(terms_of(document.workspace_id, document.task)),
        words_of(document),
        document.version,
        document.position,
        *_since(document, document.facets_since),
        *_since(document, document.text_since),
        *rendering(document),
    )


def _since(document: TaskDocument, since: Since) -> tuple[int, datetime | None]:
    return since.position, since.at if document.imported else None


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
    order = ORDERS[query.sort]
    asked = asked_for(workspace_id, query)
    filters = _filters(asked)
    further, values = beyond(order, after)
    parameters = asked.parameters | {**values, "rows": room.rows, "octets": room.octets, "look": LOOK}
    own: Conditions = [SQL("workspace_id = %(workspace)s"), *further]
    if len(filters) == 1 and not query.deleted:
        return await _page(connection, order, _in_order(order, [*own, *filters]), parameters)
    page = await _page(connection, order, _first_rows(order, [*own, *near(order, query)], filters), parameters)
    if page.after is not None:
        return page
    return await _page(connection, order, _gathered(order, [*own, *filters]), parameters)


_BODY: Final = "summary AS body, octet_length(summary) AS size, created_position"


def _in_order(order: Order, conditions: Conditions) -> Composed:
    """Straight from the order's index."""
    return SQL(
        f"SELECT {_BODY}, {{shown}} AS shown, {{key}} AS key FROM task_list WHERE {{conditions}} ORDER BY {{order}} "
        "LIMIT %(rows)s + 1"
    ).format(shown=order.shown, key=order.key or NOTHING, conditions=all_of(conditions), order=order.sql())


def _first_rows(order: Order, near: Conditions, filters: Conditions) -> Composed:
    """Those that fit among the next LOOK rows in order; the key has a name, so that the order is known outside as well."""
    return SQL(
        f"SELECT {_BODY}, {{shown}} AS shown, key "
        "FROM (SELECT *, {key} AS key FROM task_list WHERE {near} ORDER BY {order} LIMIT %(look)s) task_list "
        "WHERE {filters} ORDER BY {by_key} LIMIT %(rows)s + 1"
    ).format(
        shown=order.shown,
        key=order.key or NOTHING,
        near=all_of(near),
        filters=all_of(filters),
        order=order.sql(),
        by_key=order.by_key,
    )


def _gathered(order: Order, conditions: Conditions) -> Composed:
    """All that fit, sorted. OFFSET 0 keeps the server from walking the order's index after all."""
    return SQL(
        f"SELECT {_BODY.replace('created_position', 'task_list.created_position')}, first.shown, first.key FROM ("
        "SELECT * FROM (SELECT ctid AS place, {shown} AS shown, {key} AS key, created_position FROM task_list "
        "WHERE {conditions} OFFSET 0) fitting ORDER BY key {direction}, created_position {direction} LIMIT %(rows)s + 1) first "
        "JOIN task_list ON task_list.ctid = first.place"
    ).format(shown=order.shown, key=order.key or NOTHING, conditions=all_of(conditions), direction=order.direction)


async def _page(connection: psycopg.AsyncConnection[Any], order: Order, rows: Composed, parameters: dict[str, object]) -> Page:
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


def _filters(asked: Asked) -> Conditions:
    filters = list(asked.columns)
    if asked.terms:
        filters.append(SQL("terms @> %(terms)s"))
        asked.parameters["terms"] = asked.terms
    if asked.words:
        filters.append(SQL("words @@ %(q)s::tsquery"))
        asked.parameters["q"] = asked.words
    elif asked.words is not None:
        # No word at all is in no task.
        filters.append(SQL("false"))
    return filters


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
