"""What lists of tasks may be asked for: filters, orders and cursors, and what they are in SQL, for present and past alike."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

import msgspec
from psycopg.sql import SQL, Composed, Placeholder

from domain.task.values import GivenEstimate, Priority, Status
from projections.tables.pages import ListCursor
from projections.tables.words import scope_of, terms, tsquery
from projections.task.facets import FACETS, FIXED, PRIORITY_RANK, assignee_term, label_term, term_id

Sort = Literal["added", "-added", "created", "-created", "due", "-due", "priority", "-priority", "estimate", "-estimate"]
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
    estimate_from: GivenEstimate | None = None
    estimate_to: GivenEstimate | None = None
    created_from: datetime | None = None
    created_before: datetime | None = None
    q: str | None = None
    deleted: bool = False
    sort: Sort = "-added"


Conditions = list[SQL | Composed]


class Sorted(msgspec.Struct, frozen=True):
    """A column that lists are sorted by: the ends of its range in SQL, whether a row may be without it (such rows come last in
    either direction), and the filters that bound it from below and above, each a parameter with its comparison."""

    column: str
    lowest: str
    highest: str
    is_optional: bool = False
    bounds: tuple[tuple[str, str], ...] = ()

    def key(self, *, is_descending: bool) -> str:
        """As the index of this direction has it."""
        last = self.lowest if is_descending else self.highest
        return f"coalesce({self.column}, {last})" if self.is_optional else self.column


_MOMENTS: Final = ("'-infinity'::timestamptz", "'infinity'::timestamptz")
SORTED: Final = {
    "created": Sorted("created_at", *_MOMENTS, bounds=(("created_from", ">="), ("created_before", "<"))),
    "due": Sorted("due_at", *_MOMENTS, is_optional=True, bounds=(("due_from", ">="), ("due_before", "<"))),
    "priority": Sorted("priority", "-1", "32767"),
    "estimate": Sorted(
        "estimate",
        "'-1'::smallint",
        "32767::smallint",
        is_optional=True,
        bounds=(("estimate_from", ">="), ("estimate_to", "<=")),
    ),
}
"""By the name of the order. A further one is a line here, two words of Sort, and its indexes in list.sql; where a row may be
without a value, one for each direction."""


class Order(msgspec.Struct, frozen=True):
    """What rows are sorted by: a column (None for the position of creation alone), up or down."""

    by: Sorted | None
    is_descending: bool

    @property
    def key(self) -> SQL | None:
        """As an index has it."""
        return None if self.by is None else _sql(self.by.key(is_descending=self.is_descending))

    @property
    def shown(self) -> SQL:
        """As a cursor tells it."""
        return NOTHING if self.by is None else _sql(self.by.column)

    @property
    def end(self) -> str:
        """What comes after everything."""
        return "NULL" if self.by is None else self.by.lowest if self.is_descending else self.by.highest

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


def _sql(text: str) -> SQL:
    return SQL(text)


NOTHING: Final = SQL("NULL::bigint")
ORDERS: Final[dict[str, Order]] = {
    f"{sign}{name}": Order(by, bool(sign)) for name, by in {"added": None, **SORTED}.items() for sign in ("", "-")
}


class Filter(msgspec.Struct, frozen=True):
    """What a parameter of TaskQuery asks of a row's columns. `stored` makes the value that is compared of the given one.

    `is_indexed`: every order's index has the column, so that what does not fit is passed over without a look at its row.
    `beside`: another parameter, and what is asked where that is given as well.
    """

    parameter: str
    condition: str
    stored: Callable[[Any], Any] = lambda value: value
    is_indexed: bool = False
    beside: tuple[str, str] | None = None


_STORED: Final = {facet.field: facet.stored for facet in (*FIXED, *FACETS)}


def _bounds(by: Sorted) -> Iterator[Filter]:
    """The filters that bound what is sorted by, spelled as one index has it; what is without a value is in no range."""
    names = [name for name, _ in by.bounds]
    for number, (name, comparison) in enumerate(by.bounds):
        own, other = (f"{by.key(is_descending=number == place)} {comparison} %({name})s" for place in (0, 1))
        yield Filter(name, own, _STORED[by.column], beside=(names[1], other) if number == 0 else None)


FILTERS: Final = (
    Filter("deleted", "deleted = %(deleted)s", is_indexed=True),
    Filter("status", "status = ANY(%(status)s)", list, is_indexed=True),
    Filter("priority", "priority = ANY(%(priority)s)", lambda given: [PRIORITY_RANK[each] for each in given]),
    Filter("project", "project_id = %(project)s"),
    Filter("created_by", "created_by = %(created_by)s"),
    *(each for by in SORTED.values() for each in _bounds(by)),
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
        if each.beside and getattr(query, each.beside[0]) is not None:
            condition = each.beside[1]
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
    return [
        SQL("{key} {comparison} {value}").format(key=order.key, comparison=_sql(comparison), value=Placeholder(name))
        for name, comparison in (order.by.bounds if order.by else ())
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
    value = SQL("%(after_value)s") if after.value is not None else _sql(order.end)
    condition = SQL("({key}, created_position) {comparison} ({value}, %(after_position)s)").format(
        key=order.key, comparison=comparison, value=value
    )
    found: dict[str, object] = {"after_position": after.created_position}
    return [condition], found if after.value is None else {**found, "after_value": after.value}
