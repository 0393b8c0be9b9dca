"""From refusals to RFC 9457 problem documents. The only place that knows which refusal has which status."""

from collections.abc import Mapping
from http import HTTPStatus

import msgspec
import psycopg
from litestar.exceptions import HTTPException
from psycopg_pool import PoolTimeout

from api.edge.problem import FieldError, Problem
from application.command_handler import Contention, NoSuchVersion, PreconditionFailed
from application.log import IdempotencyMismatch, LogUnavailable
from domain.errors import DomainError, InvalidValue, NotAuthenticated, NotFound, NotPermitted, RuleViolated
from infrastructure.limits.limit_accounts import Refused
from infrastructure.log.places import AheadOfLog, AnotherHistory
from infrastructure.read_models.task_reads import NotYetApplied
from infrastructure.servers.postgres import is_of_another_release
from infrastructure.unavailable import Overloaded, Unavailable


class BadRequest(Exception):
    """The request itself is malformed; `pointer` is a JSON pointer into the body, or names a parameter."""

    def __init__(
        self, status: int, code: str, detail: str, pointer: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.pointer = pointer
        self.headers = headers or {}


EDGE_CODES: Mapping[int, tuple[str, ...]] = {
    400: ("unknown_parameter", "invalid_query", "repeated_header"),
    404: ("not_found",),
    405: ("method_not_allowed",),
    406: ("not_acceptable",),
    408: ("body_too_slow",),
    415: ("unsupported_content_encoding",),
    429: ("rate_limited",),
    500: ("internal_error",),
}
"""By status, what any route at all can answer, because it is refused before the route's own code or instead of it."""

_DOMAIN: dict[type[DomainError], int] = {
    RuleViolated: 409,
    InvalidValue: 422,
    NotFound: 404,
    NotPermitted: 403,
    NotAuthenticated: 401,
}


def problem(status: int, code: str, detail: str, pointer: str | None = None) -> Problem:
    """A problem document; `pointer` names what is to blame."""
    errors = (FieldError(pointer, detail),) if pointer is not None else ()
    return Problem(
        type=f"urn:taskmaster:problem:{code}",
        title=HTTPStatus(status).phrase,
        status=status,
        code=code,
        detail=detail,
        errors=errors,
    )


def _challenge(code: str) -> str:
    """RFC 6750, 3: no error where no token was presented, and one word for all that can be wrong with one that was."""
    presented = code in {"invalid_token", "token_expired", "session_revoked"}
    return 'Bearer error="invalid_token"' if presented else "Bearer"


def problem_of(error: Exception) -> tuple[Problem, dict[str, str]]:
    """The problem document for an exception, with its headers; 500 without details for what nobody foresaw.

    An exception that was decided at a position of the log carries it as `position`, and the refusal says so (`X-Position`).
    """
    other_release = isinstance(error, psycopg.Error) and is_of_another_release(error)
    found, headers = _for_the_moment(error) if other_release else _problem_of(error)
    position = getattr(error, "position", None)
    if isinstance(position, int):
        headers.setdefault("X-Position", str(position))
    return found, headers


def _problem_of(error: Exception) -> tuple[Problem, dict[str, str]]:  # noqa: PLR0911 - one table, one line a refusal
    match error:
        case DomainError():
            status = _DOMAIN[type(error)]
            pointer = f"/{error.field}" if error.field else None
            headers = {"WWW-Authenticate": _challenge(error.code)} if status == 401 else {}
            return problem(status, error.code, error.message, pointer), headers
        case BadRequest():
            return problem(error.status, error.code, error.detail, error.pointer), dict(error.headers)
        case PreconditionFailed():
            return _precondition_failed(error), {"ETag": f'"v{error.version}"'}
        case IdempotencyMismatch():
            return problem(422, "idempotency_key_reused", "this Idempotency-Key was used for another request"), {}
        case Contention():
            return problem(409, "contention", "too many others were changing this task; try again"), {"Retry-After": "1"}
        case NotYetApplied():
            return problem(503, "not_yet_applied", str(error)), {"Retry-After": "1"}
        case AheadOfLog():
            return problem(422, "position_in_the_future", str(error), error.parameter), {"X-Position": str(error.head)}
        case AnotherHistory():
            return problem(409, "another_history", str(error), error.parameter), {}
        case LogUnavailable():
            detail = "the log cannot be reached; whether a command was stored is settled by its Idempotency-Key"
            return problem(503, "log_unavailable", detail), {"Retry-After": "1"}
        case Refused() | Unavailable() | PoolTimeout() | psycopg.OperationalError():
            return _for_the_moment(error)
        case HTTPException():
            return _of_litestar(error)
        case _:
            return problem(500, "internal_error", "something went wrong on our side"), {}


def _for_the_moment(error: Exception) -> tuple[Problem, dict[str, str]]:
    if isinstance(error, Refused):
        return _rate_limited(error)
    again = {"Retry-After": str(getattr(error, "retry_after", 1))}
    if isinstance(error, Overloaded):
        return problem(503, "overloaded", "more is asked for at once than the service takes on"), again
    return problem(503, "unavailable", "a part of the service is away"), again


def _rate_limited(error: Refused) -> tuple[Problem, dict[str, str]]:
    detail = f"{error}; ask again in {error.retry_after} s"
    return problem(429, "rate_limited", detail), {
        "Retry-After": str(error.retry_after),
        "RateLimit-Policy": error.budget.policy,
        "RateLimit": f'"{error.budget.name}";r=0;t={error.retry_after}',
    }


def _precondition_failed(error: PreconditionFailed) -> Problem:
    if isinstance(error, NoSuchVersion):
        return problem(412, "no_such_version", f"{error}; If-Match names no version that it ever had", "If-Match")
    fields = ", ".join(sorted(error.fields))
    return problem(412, "precondition_failed", f"{error}; changed since the version in If-Match: {fields or 'something'}")


def _of_litestar(error: HTTPException) -> tuple[Problem, dict[str, str]]:
    status = error.status_code
    code = {400: "invalid_request", 404: "not_found", 405: "method_not_allowed"}.get(status, "request_refused")
    headers = {str(name): str(value) for name, value in (error.headers or {}).items()}
    extra = error.extra if isinstance(error.extra, list) else []
    found = problem(status, code, error.detail or HTTPStatus(status).phrase)
    errors = tuple(
        FieldError(str(item.get("key", "")), str(item.get("message", ""))) for item in extra if isinstance(item, Mapping)
    )
    return msgspec.structs.replace(found, errors=errors), headers
