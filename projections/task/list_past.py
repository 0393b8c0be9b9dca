"""The past of `task_list`: what each change of a facet, a set or a text ended, as closed ranges, and running counts."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import accumulate
from typing import Any, Final, get_args
from uuid import UUID

import psycopg

from domain.task.values import Status
from projections.tables.intervals import moment, node
from projections.tables.portions import portions
from projections.tables.words import lexemes, scope_of
from projections.task.document import Since, TaskChange, TaskDocument
from projections.task.facets import FACETS, FIXED, sets_of, stored_facets, term_id, terms_of

STILL: Final = 2**63 - 1
"""The last position of what holds."""

KINDS: Final = (*get_args(Status), "deleted")
"""What counts stand for, in order."""

_COLUMNS: Final = (
    ("workspace_id", "uuid"),
    ("task_id", "uuid"),
    ("created_position", "bigint"),
    ("from_position", "bigint"),
    ("to_position", "bigint"),
    ("node", "bigint"),
    ("from_at", "timestamptz"),
    ("to_at", "timestamptz"),
    ("moment_node", "bigint"),
    *((facet.field, facet.type) for facet in (*FIXED, *FACETS)),
)


def _insert(table: str, columns: Sequence[tuple[str, str]]) -> bytes:
    names = ", ".join(name for name, _ in columns)
    arrays = ", ".join(f"%b::{type_}[]" for _, type_ in columns)
    return f"INSERT INTO {table} ({names}) SELECT * FROM unnest({arrays})".encode()


_PAST: Final = _insert("task_list_past", _COLUMNS)
_OF_SPAN: Final = (
    ("created_position", "bigint"),
    ("from_position", "bigint"),
    ("to_position", "bigint"),
    ("from_at", "timestamptz"),
    ("to_at", "timestamptz"),
)
_SPANS: Final = _insert("task_term_spans", (*_OF_SPAN, ("term", "uuid")))
_CLOSE: Final = (
    "UPDATE task_term_spans s SET to_position = u.to_position, to_at = u.to_at "
    "FROM unnest(%b::uuid[], %b::bigint[], %b::bigint[], %b::timestamptz[]) AS u(term, created_position, to_position, to_at) "
    f"WHERE s.term = u.term AND s.created_position = u.created_position AND s.to_position = {STILL}"
)
_TEXTS: Final = (
    "INSERT INTO task_text_past (created_position, from_position, to_position, from_at, to_at, words) "
    "SELECT t.created_position, t.from_position, t.to_position, t.from_at, t.to_at, "
    "array_to_tsvector(string_to_array(t.words, E'\\n')) "
    "FROM unnest(%b::bigint[], %b::bigint[], %b::bigint[], %b::timestamptz[], %b::timestamptz[], %b::text[]) "
    "AS t(created_position, from_position, to_position, from_at, to_at, words)"
)

Span = tuple[int, int, datetime | None, datetime | None]


def write_past(connection: psycopg.Connection[Any], changes: Sequence[TaskChange]) -> None:
    """Write what each of the changes ended."""
    _write_ranges(connection, changes)
    _write_counts(connection, changes)


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
        connection.execute(_PAST, _columns(ended))
    _write_spans(connection, changes)
    _write_texts(connection, changes)


def words_of(document: TaskDocument) -> str:
    """What the task is found by, a line a lexeme."""
    task, scope = document.task, scope_of(document.workspace_id)
    return "\n".join(scope + lexeme for lexeme in lexemes(task.title, task.labels, task.description))


def _columns(rows: Iterable[Sequence[object]]) -> tuple[list[object], ...]:
    return tuple(list(column) for column in zip(*rows, strict=True))


def _span(since: Since, change: TaskChange) -> Span:
    """From `since` until before the change: positions, and instants where those are not the ones of recording."""
    after = change.after
    if after.imported:
        return since.position, after.position - 1, since.at, after.known_by
    return since.position, after.position - 1, None, None


def _past_row(before: TaskDocument, change: TaskChange) -> tuple[object, ...]:
    first, last, from_at, to_at = _span(before.facets_since, change)
    moments = node(moment(from_at), moment(to_at) - 1) if from_at and to_at and from_at < to_at else None
    return (
        before.workspace_id,
        before.id,
        before.created_position,
        first,
        last,
        node(first, last),
        from_at,
        to_at,
        moments,
        *(fixed.stored(getattr(before, fixed.field)) for fixed in FIXED),
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
        old = set(terms_of(before.workspace_id, before.task)) if before else set()
        new = set(terms_of(after.workspace_id, after.task))
        at = after.known_by if after.imported else None
        created = after.created_position
        for term in map(term_id, sorted(old - new)):
            row = begun.pop((term, created), None)
            if row is None:
                closed.append((term, created, after.position - 1, at))
            else:
                row[2], row[4] = after.position - 1, at
        for term in map(term_id, sorted(new - old)):
            row = [created, after.position, STILL, at, None, term]
            begun[term, created] = row
            rows.append(row)
    if closed:
        connection.execute(_CLOSE, _columns(closed), prepare=True)
    if rows:
        connection.execute(_SPANS, _columns(rows))


def _write_texts(connection: psycopg.Connection[Any], changes: Sequence[TaskChange]) -> None:
    ended = [change for change in changes if change.before and change.before.text_since != change.after.text_since]
    for portion in portions(ended, lambda change: 150 + len(change.before.task.description) if change.before else 0):
        rows = [
            (before.created_position, *_span(before.text_since, change), words_of(before))
            for change in portion
            if (before := change.before)
        ]
        connection.execute(_TEXTS, _columns(rows))


def _write_counts(connection: psycopg.Connection[Any], changes: Sequence[TaskChange]) -> None:
    moved: dict[UUID, list[tuple[int, list[int]]]] = defaultdict(list)
    for change in changes:
        after = _kind(change.after)
        before = _kind(change.before) if change.before else -1
        if before != after:
            difference = [(number == after) - (number == before) for number in range(len(KINDS))]
            moved[change.after.workspace_id].append((change.after.position, difference))
    if not moved:
        return
    newest = connection.execute(
        "SELECT w.workspace_id, t.position, t.counts FROM unnest(%b::uuid[]) AS w(workspace_id) CROSS JOIN LATERAL "
        "(SELECT position, counts FROM task_counts c WHERE c.workspace_id = w.workspace_id ORDER BY position DESC LIMIT 1) t",
        (list(moved),),
        prepare=True,
    )
    standing = {workspace: (position, counts) for workspace, position, counts in newest}
    rows: list[tuple[UUID, int, str]] = []
    for workspace, differences in moved.items():
        position, counts = standing.get(workspace, (0, [0] * len(KINDS)))
        if position > differences[0][0]:
            _count_later(connection, workspace, differences)
            continue
        running = accumulate((difference for _, difference in differences), _sum, initial=counts)
        next(running)
        rows += [(workspace, at, _text(now)) for (at, _), now in zip(differences, running, strict=True)]
    if rows:
        connection.execute(
            "INSERT INTO task_counts (workspace_id, position, counts) SELECT w, p, c::integer[] "
            "FROM unnest(%b::uuid[], %b::bigint[], %b::text[]) AS t(w, p, c)",
            _columns(rows),
        )


def _count_later(connection: psycopg.Connection[Any], workspace: UUID, moved: Sequence[tuple[int, list[int]]]) -> None:
    """What had been set aside comes in behind others: all counts after it change as well."""
    for position, difference in moved:
        connection.execute(
            "INSERT INTO task_counts SELECT %(w)s, %(p)s, coalesce((SELECT counts FROM task_counts WHERE workspace_id = %(w)s "
            "AND position < %(p)s ORDER BY position DESC LIMIT 1), array_fill(0, ARRAY[%(kinds)s]))",
            {"w": workspace, "p": position, "kinds": len(KINDS)},
        )
        connection.execute(
            "UPDATE task_counts SET counts = ARRAY(SELECT a + b FROM unnest(counts, %(d)s::integer[]) WITH ORDINALITY "
            "AS u(a, b, n) ORDER BY n) WHERE workspace_id = %(w)s AND position >= %(p)s",
            {"w": workspace, "p": position, "d": difference},
        )


def _kind(document: TaskDocument) -> int:
    return KINDS.index("deleted" if document.task.deleted else document.task.status)


def _sum(counts: Sequence[int], difference: Sequence[int]) -> list[int]:
    return [one + other for one, other in zip(counts, difference, strict=True)]


def _text(counts: Sequence[int]) -> str:
    return "{" + ",".join(map(str, counts)) + "}"
