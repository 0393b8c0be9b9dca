"""Routes for operators and load balancers: alive, ready, how far behind."""

import hmac

import msgspec
import psycopg
from litestar import get
from litestar.types import ASGIApp
from psycopg_pool import PoolTimeout

from api.edge.answers import Answer
from api.edge.requests import AnyRequest, header, resources
from api.openapi.documentation import documented
from application.log import LogUnavailable
from infrastructure.bootstrap import LogResources
from infrastructure.read_models.hot_reader import HotUnavailable
from infrastructure.read_models.status import ReadModelState, find_states, require_read_models
from projections import HOT


class Alive(msgspec.Struct, frozen=True):
    """The process answers."""

    status: str = "alive"


class ReadinessDetails(msgspec.Struct, frozen=True):
    """How the log and its read models stand. `degraded` says that reads come from Postgres because Redis is away or being
    rebuilt, `evicts` that its server may drop what is needed."""

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
    redis, details = await _redis(log), None
    try:
        if _is_operator(request):
            details = await _details(log, redis)
        else:
            await _require_answer(log)
    except (LogUnavailable, psycopg.Error, PoolTimeout):
        return Answer(msgspec.json.encode(Readiness("unavailable")), None, 503)
    if redis == "evicts":
        return Answer(msgspec.json.encode(Readiness("unavailable", details)), None, 503)
    return Answer(msgspec.json.encode(Readiness("ready", details)), None)


def _is_operator(request: AnyRequest) -> bool:
    token = resources(request).settings.operator_token
    scheme, _, given = (header(request, b"authorization") or "").partition(" ")
    # The scheme's case does not matter (RFC 9110, 11.1), here as on every other route.
    return bool(token) and scheme.lower() == "bearer" and hmac.compare_digest(given.encode("latin-1"), token.encode())


async def _require_answer(log: LogResources) -> None:
    async with log.reads.connection() as connection:
        await require_read_models(connection)


async def _details(log: LogResources, redis: str) -> ReadinessDetails:
    place = await _hot_place(log)
    if place is None and redis == "ok":
        redis = "degraded"
    async with log.reads.connection() as connection:
        head, states = await find_states(connection, place, {HOT: redis})
    return ReadinessDetails(log.name, head, redis, states)


async def _hot_place(log: LogResources) -> int | None:
    try:
        return await log.reads.hot_position()
    except HotUnavailable:
        return None


async def _redis(log: LogResources) -> str:
    try:
        return "evicts" if await log.reads.evicts() else "ok"
    except HotUnavailable:
        return "degraded"
