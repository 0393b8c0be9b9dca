"""How the read models of a log fare, for operators: asked for by `taskmaster status` and by `/readyz`."""

from collections.abc import Sequence
from typing import Any, LiteralString

import msgspec

from infrastructure.log.rows import HEAD


class ReadModelState(msgspec.Struct, frozen=True, kw_only=True):
    """One read model: the last position applied, how many events and seconds (the age of the oldest one not applied) it is
    behind, what it waits for if it is held, how many events are parked, and for Redis `ok`, `rebuilding` or `away`. What is not
    known while Redis does not hold it is null."""

    name: str
    position: int | None
    behind: int | None
    lag_seconds: float | None
    held: str | None
    parked: int
    redis: str | None = None


# The place of the read model in Redis is the parameter, null if it is not known; what is noted in its row counts for the place
# where it was noted. A clock that was set back makes nobody younger than nothing.
STATES: LiteralString = f"""
SELECT c.projection, p.position, h.head - p.position,
       CASE WHEN p.position IS NOT NULL THEN greatest(0, coalesce((
           SELECT extract(epoch FROM clock_timestamp() - e.recorded_at) FROM events e WHERE e.notification_id > p.position
           ORDER BY e.notification_id LIMIT 1), 0))::float8 END,
       CASE WHEN p.position = c.position THEN c.held END,
       (SELECT count(*) FROM parked WHERE parked.projection = c.projection), h.head
FROM checkpoints c CROSS JOIN ({HEAD}) AS h(head)
CROSS JOIN LATERAL (SELECT CASE WHEN c.projection = 'hot_tasks' THEN %s::bigint ELSE c.position END AS position) p
ORDER BY c.projection
"""


def read_states(rows: Sequence[Sequence[Any]], redis: dict[str, str]) -> tuple[int, list[ReadModelState]]:
    """The log's head and its read models from the rows of STATES; `redis` says how those that live there fare, by name."""
    states = [
        ReadModelState(
            name=row[0], position=row[1], behind=row[2], lag_seconds=row[3], held=row[4], parked=row[5], redis=redis.get(row[0])
        )
        for row in rows
    ]
    return int(rows[0][6]) if rows else 0, states
