"""Whether the tags and the numbers that the log keeps beside its events are those that follow from the events.

Both are derived and not hashed: what rests on them are decisions to come and not what was decided. They are compared in both
directions in one pass over each table in the order of positions, so that memory stays bounded: what an event has and the table
has not, what the table has and no event, and whether the numbers of each scope are 1, 2, 3, … in the order of positions.
"""

from collections.abc import Sequence
from typing import Any, Final, Literal, LiteralString

import msgspec
import psycopg

from domain import tags
from infrastructure.log.codec import UnknownEventType, is_strange
from infrastructure.log.hash_chain import ChainedRow
from infrastructure.log.tags import tags_of_stored

_TAGS: Final[LiteralString] = "SELECT position, tag FROM event_tags ORDER BY position, tag"
_NUMBERS: Final[LiteralString] = "SELECT position, scope, number FROM event_numbers ORDER BY position, scope, number"
# Of the events' own numbers, which their hashes cover.
_OUT_OF_LINE: Final[LiteralString] = (
    "SELECT position, scope, number, before FROM (SELECT notification_id AS position, scope, number, "
    "coalesce(lag(number) OVER (PARTITION BY scope ORDER BY notification_id), 0) AS before "
    "FROM events WHERE number IS NOT NULL) n WHERE number <> before + 1 ORDER BY position LIMIT 1"
)
_ROWS_A_FETCH: Final = 5_000

DerivedTable = Literal["event_tags", "event_numbers"]
Row = tuple[Any, ...]


class BadDerivation(msgspec.Struct, frozen=True):
    """The lowest position at which a derived table is not what the events say, 0 where that is at no position at all."""

    table: DerivedTable
    position: int
    reason: str


class DerivedTables:
    """Both tables, compared beside a pass over the events on the same snapshot. `bad` is the lowest thing amiss in either.

    `not_compared` says why tags were not compared, where this process cannot derive them.
    """

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self.bad: BadDerivation | None = None
        (scheme,) = connection.execute("SELECT tag_scheme FROM log").fetchone() or (tags.TAG_SCHEME,)
        self.not_compared = (
            "" if scheme == tags.TAG_SCHEME else f"the log derives them by scheme {scheme}, this release by {tags.TAG_SCHEME}"
        )
        self._tags = _Stored(connection, "tags", _TAGS)
        self._numbers = _Stored(connection, "numbers", _NUMBERS)

    def check(self, row: ChainedRow) -> None:
        """Compare what is kept at the next event's position; events come in the order of positions, without gaps."""
        numbered = [] if row.number is None else [(row.scope, row.number)]
        self._compare("event_numbers", row.position, self._numbers.up_to(row.position), numbered)
        tagged = self._tags.up_to(row.position)
        derived = self._derived(row)
        if derived == [] and is_strange(row.topic) and any(kept[0] == row.position for kept in tagged):
            self.not_compared = f"event type {row.topic!r} is unknown to this release"
            derived = None
        if derived is None:
            # Whatever is kept at this position may be right; what is kept below it is not.
            derived = [kept[1:] for kept in tagged if kept[0] == row.position]
        self._compare("event_tags", row.position, tagged, derived)

    def finish(self) -> None:
        """Compare what is left once every event was checked."""
        self._compare("event_numbers", 0, self._numbers.up_to(None), [])
        self._compare("event_tags", 0, self._tags.up_to(None), [])
        out_of_line = self._connection.execute(_OUT_OF_LINE).fetchone()
        if out_of_line:
            position, scope, number, before = out_of_line
            self._note(
                "event_numbers", position, f"the event has number {number} of scope {scope}, where {before + 1} was the next"
            )

    def _derived(self, row: ChainedRow) -> list[Row] | None:
        """The tags of an event; None where nobody can tell them any more, or this process cannot."""
        if row.state is None or self.not_compared:
            return None
        try:
            derived = tags_of_stored(row.topic, row.schema_version, row.state, row.stream_id, row.workspace_id)
        except UnknownEventType as unknown:
            self.not_compared = str(unknown)
            return None
        return [(tag,) for tag in derived]

    def _compare(self, table: DerivedTable, position: int, kept: Sequence[Row], derived: Sequence[Row]) -> None:
        expected = {(position, *values) for values in derived}
        for row in kept:
            if row in expected:
                expected.remove(row)
            else:
                self._note(table, row[0] or 0, f"it holds {_shown(row)}, which follows from no event")
        for row in expected:
            self._note(table, position, f"it lacks {_shown(row)}, which follows from the event there")

    def _note(self, table: DerivedTable, position: int, reason: str) -> None:
        if self.bad is None or position < self.bad.position:
            self.bad = BadDerivation(table, position, reason)


class _Stored:
    """A table in the order of positions, read as far as it was asked for."""

    def __init__(self, connection: psycopg.Connection[Any], name: str, query: LiteralString) -> None:
        self._cursor = connection.cursor(name, binary=True)
        self._cursor.itersize = _ROWS_A_FETCH
        self._cursor.execute(query)
        self._rows = iter(self._cursor)
        self._next: Row | None = next(self._rows, None)

    def up_to(self, position: int | None) -> list[Row]:
        """The rows that were not read yet, up to a position or all that are left."""
        found: list[Row] = []
        while self._next is not None and (position is None or (self._next[0] is not None and self._next[0] <= position)):
            found.append(self._next)
            self._next = next(self._rows, None)
        return found


def _shown(row: Row) -> str:
    return " ".join(map(str, row[1:]))
