"""The past of `task_list`: what each change of a facet, a set or a text ended, as closed ranges, and running counts."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Final, get_args
from uuid import UUID

import psycopg

from domain.task.values import Status
from projections.tables.columns import Columns
from projections.tables.moments import RANGE_COLUMNS, Ended, Since, ended
from projections.tables.portions import portions
from projections.task.document import TaskChange, TaskDocument
from projections.task.facets import FACETS, FIXED, changed_terms, fixed_of, sets_of, stored_facets, term_id
from projections.task.renderings import words_of

STILL: Final = 2**63 - 1
"""The last position of what holds."""

KINDS: Final = (*get_args(Status), "deleted")
"""What counts stand for, in order."""

_NUMBERS: Final = {kind: number for number, kind in enumerate(KINDS)}

_COLUMNS: Final = Columns(
    ("workspace_id", "uuid"),
    ("task_id", "uuid"),
    ("created_position", "bigint"),
    *RANGE_COLUMNS,
    *((facet.field, facet.type) for facet in (*FIXED, *FACETS)),
)


# A task whose payloads were erased meanwhile is folded from what is left: until it is redacted, and all of this is written
# again, a range may begin where one stands that was written before.
_PAST: Final = (
    f"INSERT INTO task_list_past ({_COLUMNS.listed}) SELECT * FROM {_COLUMNS.unnested} ON CONFLICT DO NOTHING".encode()
)
_OF_SPAN: Final = (
    ("created_position", "bigint"),
    ("from_position", "bigint"),
    ("to_position", "bigint"),
    ("from_at", "timestamptz"),
    ("to_at", "timestamptz"),
)
_OF_SPANS: Final = Columns(*_OF_SPAN, ("term", "uuid"))
_SPANS: Final = f"INSERT INTO task_term_spans ({_OF_SPANS.listed}) SELECT * FROM {_OF_SPANS.unnested}".encode()
_OF_ENDS: Final = Columns(("term", "uuid"), ("created_position", "bigint"), ("to_position", "bigint"), ("to_at", "timestamptz"))
_CLOSE: Final = (
    "UPDATE task_term_spans s SET to_position = u.to_position, to_at = u.to_at "
    f"FROM {_OF_ENDS.unnested} AS u({_OF_ENDS.listed}) "
    f"WHERE s.term = u.term AND s.created_position = u.created_position AND s.to_position = {STILL}"
).encode()
_OF_TEXTS: Final = Columns(*_OF_SPAN, ("words", "text"))
_TEXTS: Final = (
    f"INSERT INTO task_text_past ({_OF_TEXTS.listed}) "
    "SELECT t.created_position, t.from_position, t.to_position, t.from_at, t.to_at, "
    "array_to_tsvector(string_to_array(t.words, E'\\n')) "
    f"FROM {_OF_TEXTS.unnested} AS t({_OF_TEXTS.listed})"
).encode()
_OF_SCOPES: Final = Columns(("workspace_id", "uuid"), ("scope", "uuid"))
_NEWEST_COUNTS: Final = (
    f"SELECT w.workspace_id, w.scope, t.position, t.counts FROM {_OF_SCOPES.unnested} AS w({_OF_SCOPES.listed}) "
    "CROSS JOIN LATERAL (SELECT position, counts FROM task_counts c WHERE c.workspace_id = w.workspace_id "
    "AND c.scope = w.scope ORDER BY position DESC LIMIT 1) t"
).encode()
_OF_COUNTS: Final = Columns(("workspace_id", "uuid"), ("scope", "uuid"), ("position", "bigint"), ("counts", "text"))
_COUNTS: Final = (
    f"INSERT INTO task_counts ({_OF_COUNTS.listed}) SELECT t.workspace_id, t.scope, t.position, t.counts::integer[] "
    f"FROM {_OF_COUNTS.unnested} AS t({_OF_COUNTS.listed})"
).encode()


def write_past(connection: psycopg.Connection[Any], changes: Sequence[TaskChange]) -> None:
    """Write what each of the changes ended."""
    moved = _moved(changes)
    standing = _ask_counts(connection, moved) if moved else None
    _write_ranges(connection, changes)
    if standing is not None:
        _write_counts(connection, moved, standing)


def rewrite_past(connection: psycopg.Connection[Any], histories: Sequence[Sequence[TaskChange]]) -> None:
    """Write again what all changes of some tasks ended. What was counted stays: payloads had no part in it."""
    created = [history[0].after.created_position for history in histories]
    for table in ("task_list_past", "task_term_spans", "task_text_past"):
        # Spans have no index for this, and need none: it reads them all, but seldom.
        connection.execute(f"DELETE FROM {table} WHERE created_position = ANY(%b::bigint[])".encode(), (created,))
    _write_ranges(connection, [change for history in histories for change in history])


def _write_ranges(connection: psycopg.Connection[Any], changes: Sequence[TaskChange]) -> None:
    ended = [
        _past_row(change.before, change)
        for change in changes
        if change.before and change.before.facets_since != change.after.facets_since
    ]
    if ended:
        connection.execute(_PAST, _COLUMNS.arrays(ended))
    _write_spans(connection, changes)
    _write_texts(connection, changes)


def _ended(since: Since, change: TaskChange) -> Ended:
    after = change.after
    return ended(since, after.position, after.known_by, imported=after.imported)


def _past_row(before: TaskDocument, change: TaskChange) -> tuple[object, ...]:
    past = _ended(before.facets_since, change)
    return (
        before.workspace_id,
        before.id,
        before.created_position,
        *past.columns,
        *fixed_of(before),
        *stored_facets(before.task),
    )


def _write_spans(connection: psycopg.Connection[Any], changes: Sequence[TaskChange]) -> None:
    rows: list[list[Any]] = []
    begun: dict[tuple[UUID, int], list[Any]] = {}
    closed: list[tuple[object, ...]] = []
    for change in changes:
        before, after = change.before, change.after
        if before and sets_of(before.task) == sets_of(after.task):
            continue
        gone, come = changed_terms(after.workspace_id, before.task if before else None, after.task)
        at = after.known_by if after.imported else None
        created = after.created_position
        for term in map(term_id, gone):
            row = begun.pop((term, created), None)
            if row is None:
                closed.append((term, created, after.position - 1, at))
            else:
                row[2], row[4] = after.position - 1, at
        for term in map(term_id, come):
            row = [created, after.position, STILL, at, None, term]
            begun[term, created] = row
            rows.append(row)
    if closed:
        connection.execute(_CLOSE, _OF_ENDS.arrays(closed), prepare=True)
    if rows:
        connection.execute(_SPANS, _OF_SPANS.arrays(rows))


def _write_texts(connection: psycopg.Connection[Any], changes: Sequence[TaskChange]) -> None:
    ended = [change for change in changes if change.before and change.before.text_since != change.after.text_since]
    for portion in portions(ended, lambda change: 150 + len(change.before.task.description) if change.before else 0):
        rows = [
            (before.created_position, past.first, past.last, past.from_at, past.to_at, words_of(before))
            for change in portion
            if (before := change.before) and (past := _ended(before.text_since, change))
        ]
        connection.execute(_TEXTS, _OF_TEXTS.arrays(rows))


Scope = tuple[UUID, UUID]
"""A workspace, and it once more or one of its projects: whose tasks are counted."""


Moved = dict[Scope, list[tuple[int, list[int]]]]
"""By how much the counts of each were moved, position by position."""


def _ask_counts(connection: psycopg.Connection[Any], moved: Moved) -> psycopg.Cursor[Any]:
    return connection.execute(_NEWEST_COUNTS, _OF_SCOPES.arrays(moved), prepare=True)


def _write_counts(connection: psycopg.Connection[Any], moved: Moved, newest: psycopg.Cursor[Any]) -> None:
    standing = {(workspace, scope): (position, counts) for workspace, scope, position, counts in newest.fetchall()}
    rows: list[tuple[UUID, UUID, int, str]] = []
    for scope, differences in moved.items():
        position, counts = standing.get(scope, (0, [0] * len(KINDS)))
        if position > differences[0][0]:
            _count_later(connection, scope, differences)
            continue
        running = accumulate((difference for _, difference in differences), _sum, initial=counts)
        next(running)
        rows += [(*scope, at, _text(now)) for (at, _), now in zip(differences, running, strict=True)]
    if rows:
        connection.execute(_COUNTS, _OF_COUNTS.arrays(rows))


def _moved(changes: Sequence[TaskChange]) -> Moved:
    """By how much each of the changes moved the counts of the workspace, of the project that it left, and of its own."""
    moved: Moved = defaultdict(list)
    for change in changes:
        after, before = change.after, change.before
        now, was = _kind(after), _kind(before) if before else -1
        project, left = after.task.project_id, before.task.project_id if before else None
        if now == was and (project is left or project == left):
            continue
        workspace, position = after.workspace_id, after.position
        if now != was:
            moved[workspace, workspace].append((position, _difference(was, now)))
        if project == left and project is not None:
            moved[workspace, project].append((position, _difference(was, now)))
            continue
        if left is not None:
            moved[workspace, left].append((position, _difference(was, -1)))
        if project is not None:
            moved[workspace, project].append((position, _difference(-1, now)))
    return moved


def _difference(was: int, now: int) -> list[int]:
    return [(number == now) - (number == was) for number in range(len(KINDS))]


def _count_later(connection: psycopg.Connection[Any], scope: Scope, moved: Sequence[tuple[int, list[int]]]) -> None:
    """What had been set aside comes in behind others: all counts after it change as well."""
    for position, difference in moved:
        places = {"w": scope[0], "s": scope[1], "p": position, "kinds": len(KINDS), "d": difference}
        connection.execute(
            "INSERT INTO task_counts SELECT %(w)s, %(s)s, %(p)s, coalesce((SELECT counts FROM task_counts "
            "WHERE workspace_id = %(w)s AND scope = %(s)s AND position < %(p)s ORDER BY position DESC LIMIT 1), "
            "array_fill(0, ARRAY[%(kinds)s]))",
            places,
        )
        connection.execute(
            "UPDATE task_counts SET counts = ARRAY(SELECT a + b FROM unnest(counts, %(d)s::integer[]) WITH ORDINALITY "
            "AS u(a, b, n) ORDER BY n) WHERE workspace_id = %(w)s AND scope = %(s)s AND position >= %(p)s",
            places,
        )


def _kind(document: TaskDocument) -> int:
    return _NUMBERS["deleted" if document.task.deleted else document.task.status]


def _sum(counts: Sequence[int], difference: Sequence[int]) -> list[int]:
    return [one + other for one, other in zip(counts, difference, strict=True)]


def _text(counts: Sequence[int]) -> str:
    return "{" + ",".join(map(str, counts)) + "}"
