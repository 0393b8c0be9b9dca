"""Whether a place that a client names is one of this log: a position it kept, with the digits of the event that stood there.

A position alone says nothing about the history it was read in. With the first eight hexadecimal digits of its event's hash,
which covers the log's id, epoch and everything before it in its stream, a log that was restored is noticed, and places in the
part of the history that survived stay good.
"""

from datetime import datetime
from typing import Any

import msgspec
import psycopg

from infrastructure.log.rows import HEAD

DIGITS = 8


class Place(msgspec.Struct, frozen=True):
    """A position, with the first digits of its event's hash where they are known. 0 is before the first event."""

    position: int
    digits: str | None = None

    def __str__(self) -> str:
        return f"{self.position}.{self.digits}" if self.digits else str(self.position)


class AheadOfLog(Exception):
    """The named position is one that the log has not reached: it cannot come from an answer of this log."""

    def __init__(self, head: int, wanted: int, parameter: str = "min_position") -> None:
        super().__init__(f"the log is at {head}, {wanted} lies in the future")
        self.head = head
        self.wanted = wanted
        self.parameter = parameter


class AnotherHistory(Exception):
    """The event at the named position is another one: the log was restored since, or the cursor is another log's."""

    def __init__(self, place: Place, parameter: str) -> None:
        super().__init__(
            f"the log does not hold the event that {place} was given out for: it was restored to an earlier state since, or "
            "this is another log. To go on, drop what was read, read the lists again or start `changes` from after=0, and "
            "follow from the cursor of that answer"
        )
        self.parameter = parameter


async def require_place(connection: psycopg.AsyncConnection[Any], place: Place, parameter: str) -> Place:
    """The place with its digits; raises AheadOfLog and AnotherHistory, naming the parameter that it came in."""
    if place.position == 0:
        return Place(0)
    cursor = connection.cursor(binary=True)
    await cursor.execute(
        f"SELECT newest.position, e.hash FROM ({HEAD}) newest(position) LEFT JOIN events e ON e.notification_id = %s",
        (place.position,),
        prepare=True,
    )
    row = await cursor.fetchone()
    head, found = row or (0, None)
    if found is None:
        raise AheadOfLog(head, place.position, parameter)
    digits = digits_of(found)
    if place.digits not in (None, digits):
        raise AnotherHistory(place, parameter)
    return Place(place.position, digits)


def digits_of(event_hash: bytes) -> str:
    """What of an event's hash stands in a cursor."""
    return event_hash[: DIGITS // 2].hex()


async def is_in_the_future(connection: psycopg.AsyncConnection[Any], instant: datetime) -> bool:
    """Whether the instant is after both the server's clock and the newest event."""
    cursor = await connection.execute(
        "SELECT %(instant)s > clock_timestamp() AND NOT EXISTS (SELECT FROM ("
        "SELECT recorded_at FROM events ORDER BY notification_id DESC LIMIT 1) newest WHERE recorded_at >= %(instant)s)",
        {"instant": instant},
    )
    row = await cursor.fetchone()
    return bool(row and row[0])
