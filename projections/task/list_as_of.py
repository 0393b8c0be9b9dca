"""Lists of tasks as they were: which tasks a page showed, at any position or by any instant.

What held then stands in `task_list`, if it still does, or in `task_list_past`. Both sides are read in the order that is asked
for, in one statement: where the page of the present side ends, the past side need not go on. As for the present, the order's
index is read first, but not far; where little fits, all of it is gathered and sorted.

What a position shows does not depend on when it is asked. An instant counts an event as having happened when it and all events
before it in its task had; for tasks that were never imported that is a position.
"""

from typing import Any, Final
from uuid import UUID

import msgspec
import psycopg
from psycopg.sql import SQL, Composed, Placeholder

from projections.tables.moments import HELD_AT_INSTANT, AsOf
from projections.tables.pages import ListCursor
from projections.task.list_past import KINDS
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

LOOK: Final = 200
"""So many rows that held then are looked at in order before whatever fits is gathered."""

DEEPER: Final = 800
"""So many are, if so many will most likely do."""

DEEPER_FOR_WORDS: Final = 600
"""The same where words are read of each."""

DEEPER_FOR_TERMS: Final = 1_500
"""The same where most are passed over by what they are labelled with."""

FEW_WITH_WORDS: Final = 2_000
"""So many tasks that had the words are looked up one by one before all that fits is gathered."""

FEW: Final = 1_000
"""So many tasks that had the terms and words are looked up one by one; more are met with what the columns fit."""


class Chosen(msgspec.Struct, frozen=True):
    """A task on a page: where it stands in the order, and its line where it is the one that is shown today."""

    task_id: UUID
    created_position: int
    shown: Any
    line: bytes | None


class ChosenPage(msgspec.Struct, frozen=True):
    """Which tasks a page shows, whether others follow, and the position that the read model had reached."""

    rows: list[Chosen]
    has_more: bool
    position: int


async def choose_tasks(
    connection: psycopg.AsyncConnection[Any],
    workspace_id: UUID,
    query: TaskQuery,
    after: ListCursor | None,
    rows: int,
    as_of: AsOf,
) -> ChosenPage:
    """The tasks that follow `after` as the list was, at most `rows`, from one snapshot. The read model must be that far."""
    order = ORDERS[query.sort]
    asked = asked_for(workspace_id, query)
    further, values = beyond(order, after)
    past = Past(asked, as_of)
    parameters = past.parameters | values | {"rows": rows, "look": LOOK}
    everywhere: Conditions = [SQL("workspace_id = %(workspace)s"), *further]
    is_indexed = len(past.filters) == len(asked.indexed)
    if is_indexed:
        parameters["look"] = rows + 1
    fitting = 0
    if as_of.instant is None or is_indexed:
        statement = _looked(order, [*everywhere, *asked.indexed, *near(order, query)], past)
        page, looked = await _page(connection, order, statement, parameters)
        if page.has_more or _is_all(looked, parameters) or is_indexed:
            return page
        fitting = len(page.rows)
    if fitting and (deeper := LOOK * (rows + 1) * 3 // (2 * fitting)) <= past.deeper:
        deeply = parameters | {"look": deeper}
        page, looked = await _page(connection, order, statement, deeply)
        if page.has_more or _is_all(looked, deeply):
            return page
    everything: Conditions = [*everywhere, *asked.columns]
    if asked.words:
        # How rare words are is not known before they are looked for; if they are, all that has them is found at once.
        page, found = await _page(connection, order, _few(order, [*everything, *past.sets], past), parameters)
        if found is not None and found <= FEW_WITH_WORDS:
            return page
    return (await _page(connection, order, _gathered(order, everything, past, asked), parameters))[0]


def _is_all(looked: int | None, parameters: dict[str, object]) -> bool:
    return looked is not None and looked < int(str(parameters["look"]))


class Past:
    """What a query's parts are at a moment, in SQL."""

    def __init__(self, asked: Asked, as_of: AsOf) -> None:
        self._asked = asked
        self.as_of = as_of
        self.is_instant = as_of.instant is not None
        self.parameters: dict[str, object] = {
            **asked.parameters,
            **as_of.parameters,
            "q": asked.words,
            **{f"term_{number}": term for number, term in enumerate(asked.term_ids)},
        }
        self.columns = asked.columns
        self.sets = self._sets()
        self.words = self._words()
        self.filters: Conditions = [*self.columns, *self.sets, *self.words]
        # Implied by whatever is asked of a position, but many an index begins with it: what came later is passed over.
        self.there = SQL("true") if self.is_instant else SQL("created_position <= %(as_of)s")
        self.present = SQL("{} AND {}").format(self.there, as_of.begun("since", "since_at"))

    def candidates(self) -> list[Composed]:
        """Who had each term and the words, by position of creation, whatever its workspace."""
        found = [
            SQL("SELECT created_position FROM task_term_spans WHERE term = {} AND {} AND {}").format(
                Placeholder(name), self.there, self.as_of.span_held
            )
            for name in self._terms
        ]
        return [*found, self.having_words] if self._asked.words else found

    @property
    def having_words(self) -> Composed:
        """Who had the words."""
        return SQL(
            "(SELECT created_position FROM task_list WHERE words @@ %(q)s::tsquery AND {} UNION ALL "
            "SELECT created_position FROM task_text_past WHERE words @@ %(q)s::tsquery AND {})"
        ).format(self.as_of.begun("text_since", "text_since_at"), self.as_of.span_held)

    @property
    def deeper(self) -> int:
        """How many rows are looked at, if so many will most likely do."""
        if self._asked.words:
            return DEEPER_FOR_WORDS
        return DEEPER_FOR_TERMS if self._asked.terms else DEEPER

    @property
    def _terms(self) -> list[str]:
        return [f"term_{number}" for number in range(len(self._asked.term_ids))]

    def _sets(self) -> Conditions:
        return [
            SQL(
                "EXISTS (SELECT FROM task_term_spans s WHERE s.term = {} AND s.created_position = t.created_position AND {})"
            ).format(Placeholder(name), self.as_of.span_held)
            for name in self._terms
        ]

    def _words(self) -> Conditions:
        if self._asked.words is None:
            return []
        if not self._asked.words:
            return [SQL("false")]
        # When comes first: words are long, and are read only of what held.
        return [
            SQL(
                "(EXISTS (SELECT FROM task_list w WHERE w.workspace_id = %(workspace)s "
                "AND w.created_position = t.created_position AND {} AND w.words @@ %(q)s::tsquery) OR EXISTS (SELECT "
                "FROM task_text_past w WHERE w.created_position = t.created_position AND {} AND w.words @@ %(q)s::tsquery))"
            ).format(self.as_of.begun("text_since", "text_since_at"), self.as_of.span_held)
        ]


def _sql(text: str) -> SQL:
    return SQL(text)


def _within_edge(order: Order) -> SQL:
    """Not behind the last row of the present side, if that is full."""
    creation = "(SELECT created_position FROM edge)"
    farthest = "0" if order.is_descending else str(2**63 - 1)
    comparison = ">" if order.is_descending else "<"
    if order.by is None:
        return _sql(f"created_position {comparison} coalesce({creation}, {farthest})")
    key, end = order.by.key(is_descending=order.is_descending), order.end
    return _sql(
        f"({key}, created_position) {comparison} (coalesce((SELECT key FROM edge), {end}), coalesce({creation}, {farthest}))"
    )


def _looked(order: Order, conditions: Conditions, past: Past) -> Composed:
    """Of the first %(look)s rows that held then, in order, those that fit. `looked` is how many were looked at."""
    return SQL(
        "WITH present AS MATERIALIZED (SELECT created_position, {key} AS key, NULL::bigint AS from_position FROM task_list "
        "WHERE {conditions} AND {since} ORDER BY {order} LIMIT %(look)s), "
        "edge AS MATERIALIZED (SELECT created_position, key FROM present ORDER BY {by_key} OFFSET %(look)s - 1 LIMIT 1), "
        "valid AS MATERIALIZED (SELECT * FROM present UNION ALL {past} ORDER BY {by_key} LIMIT %(look)s) "
        "SELECT r.*, v.created_position, v.key, (SELECT count(*) FROM valid) AS looked FROM (SELECT * FROM valid t "
        "WHERE CASE WHEN {sets} THEN true END OFFSET 0) v CROSS JOIN LATERAL ({shown}) r ORDER BY {by_key} LIMIT %(rows)s + 1"
    ).format(
        key=order.key or NOTHING,
        conditions=all_of(conditions),
        since=past.present,
        order=order.sql(),
        by_key=order.by_key,
        past=_past_in_order(order, conditions, past),
        # An index alone says who never had the label: the rows of the others are not read.
        sets=all_of([SQL("true"), *past.sets]),
        shown=_shown(order, past, all_of([SQL("true"), *past.columns, *past.words])),
    )


def _past_in_order(order: Order, conditions: Conditions, past: Past) -> Composed:
    """The past side: straight from the index by creation, or the nodes' rows in order, node by node."""
    shape = (
        "SELECT * FROM (SELECT created_position, {key} AS key, from_position FROM task_list_past WHERE {conditions} "
        "AND created_position <= %(as_of)s AND {held} AND {edge} ORDER BY {order} LIMIT %(look)s) p"
        if order.key is None
        else "SELECT p.* FROM unnest(%(nodes)s::bigint[]) AS n(number) CROSS JOIN LATERAL ("
        "SELECT created_position, {key} AS key, from_position FROM task_list_past WHERE node = n.number "
        "AND {conditions} AND {held} AND {edge} ORDER BY {order} LIMIT %(look)s) p"
    )
    if past.is_instant:
        shape += (
            " UNION ALL SELECT * FROM (SELECT created_position, {key} AS key, from_position FROM task_list_past "
            "WHERE {at_instant} AND {conditions} AND {edge} ORDER BY {order} LIMIT %(look)s) m"
        )
    return _sql(shape).format(
        key=order.key or NOTHING,
        conditions=all_of(conditions),
        held=past.as_of.held,
        edge=_within_edge(order),
        order=order.sql(),
        at_instant=HELD_AT_INSTANT,
    )


def _shown(order: Order, past: Past, filters: Composed | SQL) -> Composed:
    """The row that `v` stands for, if it meets the filters."""
    line = SQL("NULL::bytea") if past.is_instant else SQL("CASE WHEN position <= %(as_of)s THEN summary END")
    return SQL(
        "SELECT task_id, {shown} AS shown, {line} AS line FROM task_list t WHERE v.from_position IS NULL "
        "AND workspace_id = %(workspace)s AND created_position = v.created_position AND {filters} UNION ALL "
        "SELECT task_id, {shown} AS shown, NULL::bytea AS line FROM task_list_past t "
        "WHERE created_position = v.created_position AND from_position = v.from_position AND {filters}"
    ).format(shown=order.shown, line=line, filters=filters)


def every_side(past: Past, shown: Composed, past_shown: Composed, conditions: Composed, nodes: SQL) -> Composed:
    """Whatever held at the moment and meets the conditions, from every side. `nodes` bounds the past side by its tree."""
    sides = [
        SQL("SELECT * FROM (SELECT {} FROM task_list t WHERE {} AND {} OFFSET 0) present").format(
            shown, conditions, past.present
        ),
        SQL("SELECT * FROM (SELECT {} FROM task_list_past t WHERE {} AND {} AND {} OFFSET 0) past").format(
            past_shown, nodes, conditions, past.as_of.held
        ),
    ]
    if past.is_instant:
        sides.append(
            SQL("SELECT * FROM (SELECT {} FROM task_list_past t WHERE {} AND {} OFFSET 0) moments").format(
                past_shown, conditions, HELD_AT_INSTANT
            )
        )
    return SQL(" UNION ALL ").join(sides)


def _few(order: Order, conditions: Conditions, past: Past) -> Composed:
    """What fitted of those who had the words, sorted, unless they are more than a few. `looked` is how many they are."""
    return SQL(
        "WITH holders AS MATERIALIZED (SELECT * FROM {holders} h(number) LIMIT {few} + 1), "
        "counted(number) AS MATERIALIZED (SELECT count(*) FROM holders) "
        "SELECT r.*, v.created_position, v.key, k.number AS looked FROM counted k LEFT JOIN LATERAL (SELECT f.* "
        "FROM (SELECT DISTINCT number FROM holders WHERE k.number <= {few}) c CROSS JOIN LATERAL ({fitting}) f "
        "ORDER BY {by_key} LIMIT %(rows)s + 1) v ON true LEFT JOIN LATERAL ({shown}) r ON true ORDER BY {by_key}"
    ).format(
        holders=past.having_words,
        few=FEW_WITH_WORDS,
        fitting=_looked_up(order, conditions, past),
        by_key=order.by_key,
        shown=_shown(order, past, SQL("true")),
    )


def _places(order: Order) -> tuple[Composed, Composed]:
    """Only what indexes have, of the present and of the past side; of the few that are shown the rows are read in the end."""
    place = SQL("created_position, {key} AS key, {place} AS from_position")
    key = order.key or NOTHING
    return place.format(key=key, place=NOTHING), place.format(key=key, place=SQL("from_position"))


def _looked_up(order: Order, conditions: Conditions, past: Past) -> Composed:
    """Where the task with the creation `c.number` stood, if it fitted."""
    its_own = all_of([SQL("created_position = c.number"), *conditions])
    return every_side(past, *_places(order), its_own, SQL("true"))


def _gathered(order: Order, conditions: Conditions, past: Past, asked: Asked) -> Composed:
    """All that fitted, sorted: by who had the terms and words, else through whatever index of the columns serves best."""
    candidates = past.candidates()
    if asked.words == "":
        candidates.append(SQL("(SELECT NULL::bigint WHERE false)").format())
    fitting = every_side(past, *_places(order), all_of(conditions), SQL("node = ANY(%(nodes)s::bigint[])"))
    if candidates:
        # Of the two ways one is gone, by how many there are: the other one's condition is false before it begins.
        fitting = SQL(
            "WITH candidates(number) AS MATERIALIZED ({candidates}), counted(are_few) AS MATERIALIZED ("
            "SELECT {one_by_one} OR count(*) <= {few} FROM candidates) "
            "SELECT f.* FROM candidates c CROSS JOIN LATERAL ({looked_up}) f WHERE (SELECT are_few FROM counted) "
            "UNION ALL SELECT f.* FROM ({met}) f JOIN candidates c ON c.number = f.created_position "
            "WHERE NOT (SELECT are_few FROM counted)"
        ).format(
            candidates=SQL(" INTERSECT ").join(candidates)
            if len(candidates) > 1
            else SQL("SELECT DISTINCT * FROM ({}) c").format(*candidates),
            # What is not deleted is nearly everything.
            one_by_one=len(asked.columns) == 1,
            few=FEW,
            looked_up=_looked_up(order, conditions, past),
            met=fitting,
        )
    return SQL(
        "SELECT r.*, v.created_position, v.key, 0::bigint AS looked FROM (SELECT * FROM ({fitting}) f ORDER BY {by_key} "
        "LIMIT %(rows)s + 1) v CROSS JOIN LATERAL ({shown}) r ORDER BY {by_key}"
    ).format(fitting=fitting, by_key=order.by_key, shown=_shown(order, past, SQL("true")))


async def _page(
    connection: psycopg.AsyncConnection[Any], order: Order, rows: Composed, parameters: dict[str, object]
) -> tuple[ChosenPage, int | None]:
    """The page, and how many were looked at, where the statement says so."""
    statement = SQL(
        "SELECT c.position, t.task_id, t.created_position, t.shown, t.line, t.looked FROM checkpoints c "
        "LEFT JOIN LATERAL ({rows}) t ON true WHERE c.projection = 'task_list' ORDER BY {by_key}"
    ).format(rows=rows, by_key=order.by_key)
    cursor = connection.cursor(binary=True)
    await cursor.execute(statement, parameters, prepare=True)
    answered = await cursor.fetchall()
    found = [Chosen(row[1], row[2], row[3], row[4]) for row in answered if row[1] is not None]
    most = int(str(parameters["rows"]))
    return ChosenPage(found[:most], len(found) > most, answered[0][0]), answered[0][5]


NOW: Final = AsOf(2**62)


async def count_tasks(
    connection: psycopg.AsyncConnection[Any], workspace_id: UUID, as_of: AsOf = NOW, project: UUID | None = None
) -> tuple[dict[str, int], int]:
    """The tasks of the workspace, or of one of its projects, by status, with `deleted` apart, as they were or are, and the
    position that the read model had reached."""
    cursor = connection.cursor(binary=True)
    if as_of.instant is None:
        await cursor.execute(
            "SELECT c.position, t.counts FROM checkpoints c LEFT JOIN LATERAL (SELECT counts FROM task_counts "
            "WHERE workspace_id = %s AND scope = %s AND position <= %s ORDER BY position DESC LIMIT 1) t ON true "
            "WHERE c.projection = 'task_list'",
            (workspace_id, project or workspace_id, as_of.position),
            prepare=True,
        )
        position, counts = (await cursor.fetchall())[0]
        return {kind: number for kind, number in zip(KINDS, counts or [], strict=False) if number}, position
    past = Past(asked_for(workspace_id, TaskQuery()), as_of)
    counted = "SELECT CASE WHEN deleted THEN 'deleted' ELSE status END AS kind FROM"
    whose = "workspace_id = %(workspace)s" + ("" if project is None else " AND project_id = %(project)s")
    of_scope = SQL(
        f"{counted} task_list WHERE {whose} AND {{since}} UNION ALL "
        f"{counted} task_list_past WHERE {whose} AND node = ANY(%(nodes)s) AND {{held}} UNION ALL "
        f"{counted} task_list_past WHERE {whose} AND {{at_instant}}"
    ).format(at_instant=HELD_AT_INSTANT, since=as_of.begun("since", "since_at"), held=as_of.held)
    statement = SQL(
        "SELECT c.position, t.kind, t.number FROM checkpoints c LEFT JOIN LATERAL (SELECT kind, count(*) AS number FROM ({}) k "
        "GROUP BY kind) t ON true WHERE c.projection = 'task_list'"
    ).format(of_scope)
    await cursor.execute(statement, past.parameters | {"project": project}, prepare=True)
    rows = await cursor.fetchall()
    return {row[1]: row[2] for row in rows if row[1] is not None}, rows[0][0]
