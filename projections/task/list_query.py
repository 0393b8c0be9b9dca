"""What lists of tasks may be asked for: filters, orders and cursors, and what they are in SQL, for present and past alike."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

import msgspec
from psycopg.sql import SQL, Composed, Placeholder

from domain.task.values import Priority, Status
from projections.tables.pages import ListCursor
from projections.tables.words import scope_of, terms, tsquery
from projections.task.facets import PRIORITY_RANK, assignee_term, label_term, term_id

Sort = Literal["added", "-added", "created", "-created", "due", "-due", "priority", "-priority"]
"""`added`: as tasks came into the log, which is what Redis keeps; `created`: by when they were, imported ones long ago."""


class TaskQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which tasks of a workspace, in which order. Filters are joined by AND; `q`: see `words.terms`."""

    status: tuple[Status, ...] = ()
    priority: tuple[Priority, ...] = ()
    label: tuple[str, ...] = ()
    project: UUID | None = None
    assignee: UUID | None = None
    created_by: UUID | None = None
    due_from: datetime | None = None
    due_before: datetime | None = None
    created_from: datetime | None = None
    created_before: datetime | None = None
    q: str | None = None
    deleted: bool = False
    sort: Sort = "-added"


Conditions = list[SQL | Composed]


class Order(msgspec.Struct, frozen=True):
    """What rows are sorted by: `key` as an index has it (None for the position of creation alone), `shown` as it is told."""

    key: SQL | None
    shown: SQL
    is_descending: bool

    @property
    def direction(self) -> SQL:
        """The direction in SQL."""
        return SQL("DESC") if self.is_descending else SQL("ASC")

    @property
    def by_key(self) -> Composed:
        """The order of rows that have their key under that name."""
        keys = SQL("created_position {d}") if self.key is None else SQL("key {d}, created_position {d}")
        return keys.format(d=self.direction)

    def sql(self) -> Composed:
        """The order as an index has it."""
        keys = SQL("created_position {d}") if self.key is None else SQL("{key} {d}, created_position {d}")
        return keys.format(key=self.key or SQL(""), d=self.direction)


# Tasks without a due date come last in either direction.
_DUE_UP: Final = SQL("coalesce(due_at, 'infinity')")
_DUE_DOWN: Final = SQL("coalesce(due_at, '-infinity')")
NOTHING: Final = SQL("NULL::bigint")
ORDERS: Final[dict[Sort, Order]] = {
    "added": Order(None, NOTHING, False),
    "-added": Order(None, NOTHING, True),
    "created": Order(SQL("created_at"), SQL("created_at"), False),
    "-created": Order(SQL("created_at"), SQL("created_at"), True),
    "due": Order(_DUE_UP, SQL("due_at"), False),
    "-due": Order(_DUE_DOWN, SQL("due_at"), True),
    "priority": Order(SQL("priority"), SQL("priority"), False),
    "-priority": Order(SQL("priority"), SQL("priority"), True),
}


class Filter(msgspec.Struct, frozen=True):
    """What a parameter of TaskQuery asks of a row's columns. `stored` makes the value that is compared of the given one.

    `is_indexed`: every order's index has the column, so that what does not fit is passed over without a look at its row.
    """

    parameter: str
    condition: str
    stored: Callable[[Any], Any] = lambda value: value
    is_indexed: bool = False


FILTERS: Final = (
    Filter("deleted", "deleted = %(deleted)s", is_indexed=True),
    Filter("status", "status = ANY(%(status)s)", list, is_indexed=True),
    Filter("priority", "priority = ANY(%(priority)s)", lambda given: [PRIORITY_RANK[each] for each in given]),
    Filter("project", "project_id = %(project)s"),
    Filter("created_by", "created_by = %(created_by)s"),
    # Spelled as one index has it; what has no due date is in no range.
    Filter("due_from", "coalesce(due_at, '-infinity') >= %(due_from)s"),
    Filter("due_before", "coalesce(due_at, 'infinity') < %(due_before)s"),
    Filter("created_from", "created_at >= %(created_from)s"),
    Filter("created_before", "created_at < %(created_before)s"),
)
"""Filters by columns. A further one is a line here and a field of TaskQuery."""

TERM_FILTERS: Final[tuple[tuple[str, Callable[[UUID, Any], str]], ...]] = (("label", label_term), ("assignee", assignee_term))
"""Filters by one of a set's values: the parameter, and what is looked for among the terms."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A query taken apart: conditions on columns (those that every order's index has, and all), terms, words (None where they
    are not asked for, empty where they hold none), and the parameters."""

    indexed: Conditions
    columns: Conditions
    terms: list[str]
    words: str | None
    parameters: dict[str, object]

    @property
    def term_ids(self) -> list[UUID]:
        """The terms as the table of spans has them."""
        return [term_id(term) for term in self.terms]


def asked_for(workspace_id: UUID, query: TaskQuery) -> Asked:
    """The query taken apart."""
    indexed: Conditions = []
    others: Conditions = []
    parameters: dict[str, object] = {"workspace": workspace_id}
    for each in FILTERS:
        value = getattr(query, each.parameter)
        if value is None or value == ():
            continue
        condition = each.condition
        if each.parameter == "due_from" and query.due_before:
            condition = condition.replace("'-infinity'", "'infinity'")
        (indexed if each.is_indexed else others).append(SQL(condition))
        parameters[each.parameter] = each.stored(value)
    found: list[str] = []
    for parameter, term in TERM_FILTERS:
        value = getattr(query, parameter)
        values = value if isinstance(value, tuple) else () if value is None else (value,)
        found += [term(workspace_id, each) for each in values]
    words = None if query.q is None else tsquery(terms(query.q), scope_of(workspace_id))
    return Asked(indexed=indexed, columns=[*indexed, *others], terms=found, words=words, parameters=parameters)


def all_of(conditions: Conditions) -> Composed:
    """Joined by AND."""
    return SQL(" AND ").join(conditions)


def near(order: Order, query: TaskQuery) -> Conditions:
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


def beyond(order: Order, after: ListCursor | None) -> tuple[Conditions, dict[str, object]]:
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
