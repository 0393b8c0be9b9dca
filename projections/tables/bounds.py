"""Answers that are bounded in bytes as well as in rows, before a row leaves the server: what does not fit is never sent."""

from collections.abc import Sequence
from typing import Final

import msgspec
from psycopg.sql import SQL, Composed

OCTETS_DEFAULT: Final = 1_048_576


class Room(msgspec.Struct, frozen=True):
    """How much an answer may hold: so many rows, and so many bytes of them. One row always fits."""

    rows: int
    octets: int = OCTETS_DEFAULT


def within_room(query: Composed | SQL, order: Composed | SQL) -> Composed:
    """The rows of `query` that fit into %(rows)s and %(octets)s, in `order`, each with `found`: how many rows there were.

    `query` gives a column `size` in bytes, and ends after %(rows)s + 1 rows: so `found` tells whether there are more. The
    server knows the octet_length of long values without fetching them.
    """
    return SQL(
        "SELECT * FROM (SELECT r.*, count(*) OVER () AS found, row_number() OVER w AS place, "
        "sum(r.size) OVER w AS octets FROM ({query}) r "
        "WINDOW w AS (ORDER BY {order} ROWS UNBOUNDED PRECEDING)) m "
        "WHERE place <= %(rows)s AND (octets <= %(octets)s OR place = 1) ORDER BY place"
    ).format(query=query, order=order)


def fitting(lines: Sequence[bytes], octets: int) -> int:
    """How many of the lines fit into so many bytes; one always does."""
    taken = 0
    for number, line in enumerate(lines):
        taken += len(line)
        if taken > octets and number:
            return number
    return len(lines)
