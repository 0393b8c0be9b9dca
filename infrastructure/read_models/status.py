"""How the read models of a log fare, for operators: asked for by `taskmaster status` and by `/readyz`."""

from collections.abc import Sequence
from typing import Any, LiteralString

import msgspec
import psycopg

from infrastructure.log.rows import HEAD

AsyncConnection = psycopg.AsyncConnection[Any]


class ReadModelState(msgspec.Struct, frozen=True, kw_only=True):
    """One read model: its layout, the last position applied, how many events and seconds (the age of the oldest one not
    applied) it is behind, what it waits for if it is held, how many events are parked, and for Redis `ok`, `rebuilding` or
    `away`. What is not known while Redis does not hold it is null."""

    name: str
    layout: str
    position: int | None
    behind: int | None
    lag_seconds: float | None
    held: str | None
    parked: int
    redis: str | None = None


States = tuple[int, list[ReadModelState]]

# The place of the read model in Redis is the parameter, null if it is not known. A clock that was set back makes nobody younger
# than nothing.
_STATES: LiteralString = f"""
SELECT c.projection, p.position, h.head - p.position,
       CASE WHEN p.position IS NOT NULL THEN greatest(0, coalesce((
           SELECT extract(epoch FROM clock_timestamp() - e.recorded_at) FROM events e WHERE e.notification_id > p.position
           ORDER BY e.notification_id LIMIT 1), 0))::float8 END,
       CASE WHEN p.position = c.noted_at THEN c.held END,
       (SELECT count(*) FROM parked WHERE parked.projection = c.projection), c.layout, h.head
FROM checkpoints c CROSS JOIN ({HEAD}) AS h(head)
CROSS JOIN LATERAL (SELECT coalesce(c.position, %s::bigint) AS position) p
ORDER BY c.projection
"""


async def require_read_models(connection: AsyncConnection) -> None:
    """Raises psycopg.Error where the log's read models cannot be asked."""
    await connection.execute("SELECT 1 FROM checkpoints LIMIT 1")


async def find_states(connection: AsyncConnection, hot: int | None, redis: dict[str, str]) -> States:
    """The log's head and its read models. `hot` is the place of the one in Redis, None if it is not known; `redis` says how
    those that live there fare, by name."""
    return _read(await (await connection.execute(_STATES, (hot,))).fetchall(), redis)


def find_states_now(connection: psycopg.Connection[Any], hot: int | None, redis: dict[str, str]) -> States:
    """The same for a program that has nothing else to do meanwhile."""
    return _read(connection.execute(_STATES, (hot,)).fetchall(), redis)


def _read(rows: Sequence[Sequence[Any]], redis: dict[str, str]) -> States:
    states = [
        ReadModelState(
            name=row[0],
            layout=row[6],
            position=row[1],
            behind=row[2],
            lag_seconds=row[3],
            held=row[4],
            parked=row[5],
            redis=redis.get(row[0]),
        )
        for row in rows
    ]
    return int(rows[0][7]) if rows else 0, states
