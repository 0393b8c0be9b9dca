"""Removes what is kept for idempotency keys once it has expired: a little at a time, by whichever worker gets to it."""

import time
from typing import Any, Final

import psycopg

KEY_SECONDS: Final = 604_800
ROWS_A_STEP = 500
SECONDS_A_TURN: Final = 0.25
SECONDS_BETWEEN_TURNS: Final = 60.0

# The oldest first. Rows that another worker is removing are passed over, so that none waits for another; an append that
# looks its key up is not held up by a removal, and finds either the record or none.
_REMOVE: Final = (
    "WITH expired AS ("
    "SELECT principal_id, key, workspace_id FROM idempotency WHERE recorded_at < now() - make_interval(secs => %s) "
    "ORDER BY recorded_at LIMIT %s FOR UPDATE SKIP LOCKED) "
    "DELETE FROM idempotency i USING expired e "
    "WHERE (i.principal_id, i.key, i.workspace_id) = (e.principal_id, e.key, e.workspace_id)"
)


class KeyExpiry:
    """Removes records older than `seconds` in steps of a transaction each, for a quarter of a second at most.

    Once there is nothing left it looks again after a minute.
    """

    def __init__(self, seconds: int) -> None:
        self._seconds = seconds
        self._next = 0.0

    def run(self, connection: psycopg.Connection[Any]) -> int:
        """Take a turn if it is time for one; how many records were removed."""
        started = time.monotonic()
        removed = 0
        while self._next <= started > time.monotonic() - SECONDS_A_TURN:
            step = connection.execute(_REMOVE, (self._seconds, ROWS_A_STEP), prepare=True).rowcount
            removed += step
            if step < ROWS_A_STEP:
                self._next = started + SECONDS_BETWEEN_TURNS
        return removed
