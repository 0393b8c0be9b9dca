"""Routes for operators and load balancers: alive, ready, how far behind."""

import hmac
from typing import Any

import msgspec
import psycopg
from litestar import get
from litestar.types import ASGIApp
from psycopg_pool import PoolTimeout

from api.answers import Answer
from api.documentation import documented
from api.requests import AnyRequest, header, resources
from application.ports import LogUnavailable
from infrastructure.bootstrap import LogResources
from infrastructure.hot_reader import HotUnavailable
from projections import HOT


class Alive(msgspec.Struct, frozen=True):
    """The process answers."""

    status: str = "alive"


class ReadModelState(msgspec.Struct, frozen=True):
    """One read model: the last position applied, how many events and seconds (age of the oldest unapplied) it is behind, what
    it waits for if it is held, and how many events it has set aside."""

    name: str
    position: int
    behind: int
    lag_seconds: float
    held: str | None
    parked: int


class ReadinessDetails(msgspec.Struct, frozen=True):
    """How the log and its read models stand. `degraded` says that reads come from Postgres because Redis is away or being
    rebuilt."""

    log: str
    head: int
    redis: str
    read_models: list[ReadModelState]


class Readiness(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whether this process can serve: `ready`, `unavailable`, or `draining` before it is stopped. The details are for whoever
    shows the operator's token."""

    status: str
    details: ReadinessDetails | None = None


@get(
    "/healthz",
    limited_as="free",
    **documented(operation_id="healthz", summary="Is the process alive", responses={200: Alive}, public=True),
)
async def healthz() -> ASGIApp:
    """GET /healthz."""
    return Answer(msgspec.json.encode(Alive()), None)


@get(
    "/readyz",
    limited_as="free",
    **documented(
        operation_id="readyz",
        summary="Can the process serve, and how far behind are the read models",
        description="Everybody is told whether it can. How far the read models are is told to whoever sends the operator's "
        "token (`TASKMASTER_OPERATOR_TOKEN`) as bearer token: it shows what all workspaces together write.",
        responses={200: Readiness, 503: Readiness},
        public=True,
    ),
)
async def readyz(request: AnyRequest) -> ASGIApp:
    """GET /readyz."""
    if resources(request).draining.begun:
        return Answer(msgspec.json.encode(Readiness("draining")), None, 503)
    log = next(iter(resources(request).logs.values()))
    try:
        if _is_operator(request):
            details = await _details(log)
        else:
            details = None
            await _require_answer(log)
    except (LogUnavailable, psycopg.Error, PoolTimeout):
        return Answer(msgspec.json.encode(Readiness("unavailable")), None, 503)
    return Answer(msgspec.json.encode(Readiness("ready", details)), None)


def _is_operator(request: AnyRequest) -> bool:
    token = resources(request).settings.operator_token
    given = header(request, b"authorization") or ""
    return bool(token) and hmac.compare_digest(given.encode("latin-1"), f"Bearer {token}".encode())


async def _require_answer(log: LogResources) -> None:
    async with log.reads.connection() as connection:
        await connection.execute("SELECT 1 FROM checkpoints LIMIT 1")


async def _details(log: LogResources) -> ReadinessDetails:
    async with log.reads.connection() as connection:
        cursor = await connection.execute(_STATES)
        rows = await cursor.fetchall()
        head = int(rows[0][5]) if rows else 0
        states = [_state(row, head) for row in rows if row[0] != HOT]
        try:
            hot_position = await log.reads.hot_position()
            redis = "ok"
        except HotUnavailable:
            hot_position, redis = 0, "degraded"
        cursor = await connection.execute(_AGE, (hot_position,))
        age = await cursor.fetchone()
    hot = next(row for row in rows if row[0] == HOT)
    lag = float(age[0]) if age else 0.0
    states.append(ReadModelState(HOT, hot_position, head - hot_position, lag, hot[3], hot[4]))
    return ReadinessDetails(log.name, head, redis, states)


_AGE = "SELECT extract(epoch FROM now() - recorded_at) FROM events WHERE notification_id > %s ORDER BY notification_id LIMIT 1"
_STATES = """
SELECT c.projection, c.position,
       coalesce((SELECT extract(epoch FROM now() - e.recorded_at) FROM events e WHERE e.notification_id > c.position
                 ORDER BY e.notification_id LIMIT 1), 0),
       c.held, (SELECT count(*) FROM parked p WHERE p.projection = c.projection),
       (SELECT coalesce(max(notification_id), 0) FROM events)
FROM checkpoints c ORDER BY c.projection
"""


def _state(row: Any, head: int) -> ReadModelState:
    return ReadModelState(row[0], row[1], head - row[1], float(row[2]), row[3], row[4])
