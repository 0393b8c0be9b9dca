"""Moments that a query names: a position, a position with the digits of its event's hash, or an instant."""

import re
from datetime import UTC, datetime
from typing import Final

import msgspec

from api.edge.command_bodies import FINER_THAN_A_MICROSECOND
from api.edge.cursors import place_of
from api.edge.errors import BadRequest
from api.edge.pages import Query, freshness
from api.edge.requests import AnyRequest, log_of, one, wait_of
from api.openapi.documentation import QueryParameter
from domain.errors import InvalidValue
from infrastructure.log.places import Place
from infrastructure.log.time_travel import Moment
from infrastructure.read_models.task_reads import Wait
from projections.tables.moments import AsOf

INSTANT_IS: Final = (
    "an instant counts an event as having happened when it and all events before it in its task had (imported ones by "
    "when they really happened)"
)
AS_OF: Final = QueryParameter(
    "as_of",
    str,
    "Answer as it was: at a position in the log, a position with the digits of its event (a cursor of `changes`), or by an "
    f"RFC 3339 instant; {INSTANT_IS}. None may lie in the future. A position is also waited for, as by `min_position`.",
)


_PLACE_LIKE: Final = re.compile(r"[0-9]+(\.\w*)?", re.ASCII)


def moment_of_task(version: int, as_of: str | None) -> tuple[Moment, Place | None]:
    """The moment of one task that `version` and `as_of` name, and the place in the log that must be one of this log."""
    if as_of is None:
        return Moment(version), None
    if _PLACE_LIKE.fullmatch(as_of):
        place = place_of(as_of, "as_of", " or an RFC 3339 instant with offset")
        return Moment(version, place.position), place
    return Moment(version, None, instant_of("as_of", as_of, " or a position")), None


def instant_of(name: str, text: str, otherwise: str = "") -> datetime:
    """The instant that a parameter names, in UTC; raises BadRequest."""
    if FINER_THAN_A_MICROSECOND(text):
        raise BadRequest(400, "invalid_parameter", f"{name} has at most six digits after the second's point", name)
    try:
        # A plus sign that was not percent-encoded arrives as a space.
        moment = msgspec.convert(text.replace(" ", "+"), datetime)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (msgspec.ValidationError, OverflowError):
        pass
    detail = f"{name} takes an RFC 3339 instant with offset, such as 2027-01-31T17:00:00Z{otherwise}"
    raise BadRequest(400, "invalid_parameter", detail, name)


async def as_of(request: AnyRequest, query: Query, name: str = "as_of") -> AsOf | None:
    """The moment that the parameter names, None without it. Raises for one that lies in the future or in another history."""
    text = one(query, name)
    if text is None:
        return None
    log = log_of(request)
    if _PLACE_LIKE.fullmatch(text):
        place = await log.store.require_place(place_of(text, name, " or an RFC 3339 instant with offset"), name)
        return AsOf(place.position)
    instant = instant_of(name, text, " or a position")
    await refuse_future(request, instant, name)
    return await log.reads.by_instant(instant)


async def refuse_future(request: AnyRequest, instant: datetime, name: str = "as_of") -> None:
    """Raises InvalidValue for an instant that has not come yet."""
    if await log_of(request).store.is_in_the_future(instant):
        detail = f"{name} lies in the future: what will have happened by then is not known"
        raise InvalidValue("instant_in_the_future", detail, name)


async def freshness_of(request: AnyRequest, query: Query, *moments: AsOf | None) -> Wait:
    """How fresh an answer must be: `min_position`, and every moment that it is about."""
    wait = await freshness(request, query)
    latest = max((moment.position for moment in moments if moment), default=0)
    return wait_of(request, {"min_position": [str(latest)]}) if latest > wait.minimum else wait


def bound_by(*moments: AsOf | None) -> bytes:
    """What binds a cursor to the moments that its list is about."""
    return msgspec.msgpack.encode([(m.position if m.instant is None else None, m.instant) for m in moments if m])


def reflected(moment: AsOf | None, position: int) -> int:
    """The position that an answer cites: the one that it is about; else, and for an instant, where the read model stood."""
    return moment.position if moment and moment.instant is None else position
