"""Moments of the past, since when something holds, and what both are in SQL: for every read model that knows how it was.

A position shows the same whenever it is asked. An instant counts an event as having happened when it and all events before it
in its stream had; for streams that were never imported that is a position.
"""

from datetime import datetime
from typing import Final, LiteralString

import msgspec
from psycopg.sql import SQL

from projections.tables.binary_arrays import int8_array
from projections.tables.intervals import MOMENT_BITS, moment, node, path


class Since(msgspec.Struct, frozen=True, gc=False):
    """From when something holds: the position, and by when all that had happened to its stream until then had happened."""

    position: int
    at: datetime


class AsOf(msgspec.Struct, frozen=True):
    """A moment: a position; or an instant with the last position that was recorded by then."""

    position: int
    instant: datetime | None = None

    @property
    def parameters(self) -> dict[str, object]:
        """What the SQL of this moment refers to."""
        found: dict[str, object] = {"as_of": self.position, "nodes": int8_array(path(self.position))}
        if self.instant is not None:
            found |= {"instant": self.instant, "moments": int8_array(path(moment(self.instant), MOMENT_BITS))}
        return found

    def begun(self, position: LiteralString, at: LiteralString) -> SQL:
        """That something had begun."""
        if self.instant is not None:
            return SQL(f"CASE WHEN {at} IS NULL THEN {position} <= %(as_of)s ELSE {at} <= %(instant)s END")
        return SQL(f"{position} <= %(as_of)s")

    @property
    def held(self) -> SQL:
        """That a closed range of positions held."""
        return SQL(f"{_HELD} AND from_at IS NULL") if self.instant is not None else SQL(_HELD)

    @property
    def span_held(self) -> SQL:
        """That a range held each of whose ends may be that of an imported stream's event."""
        return SQL(_HELD) if self.instant is None else SQL(_HELD_BY_INSTANT)


HELD_AT_INSTANT: Final = SQL("moment_node = ANY(%(moments)s::bigint[]) AND from_at <= %(instant)s AND to_at > %(instant)s")
"""That a closed range of instants held."""

_HELD: Final = "from_position <= %(as_of)s AND to_position >= %(as_of)s"
_HELD_BY_INSTANT: Final = (
    "CASE WHEN from_at IS NULL THEN from_position <= %(as_of)s ELSE from_at <= %(instant)s END "
    "AND CASE WHEN to_at IS NULL THEN to_position >= %(as_of)s ELSE to_at > %(instant)s END"
)


RANGE_COLUMNS: Final = (
    ("from_position", "bigint"),
    ("to_position", "bigint"),
    ("node", "bigint"),
    ("from_at", "timestamptz"),
    ("to_at", "timestamptz"),
    ("moment_node", "bigint"),
)
"""In which a row of the past says when it held, with their types: `Ended.columns`."""


class Ended(msgspec.Struct, frozen=True):
    """What held before an event, in closed ranges: positions, and instants where those are not the ones of recording."""

    first: int
    last: int
    from_at: datetime | None
    to_at: datetime | None

    @property
    def node(self) -> int:
        """Where the range of positions stands in its tree."""
        return node(self.first, self.last)

    @property
    def moment_node(self) -> int | None:
        """Where the range of instants stands in its tree; None for an empty one and where there is none."""
        if self.from_at and self.to_at and self.from_at < self.to_at:
            return node(moment(self.from_at), moment(self.to_at) - 1)
        return None

    @property
    def columns(self) -> tuple[object, ...]:
        """The values of `RANGE_COLUMNS`."""
        return self.first, self.last, self.node, self.from_at, self.to_at, self.moment_node


def ended(since: Since, position: int, known_by: datetime, *, imported: bool) -> Ended:
    """What held from `since` on and ended with the event at `position`, by when all of its stream had happened `known_by`."""
    return Ended(since.position, position - 1, *((since.at, known_by) if imported else (None, None)))
