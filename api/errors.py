"""From refusals to RFC 9457 problem documents. The only place that knows which refusal has which status."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from uuid import uuid4

import msgspec
import psycopg
from litestar import Request, Response
from litestar.exceptions import HTTPException
from psycopg_pool import PoolTimeout

from api.problem import PROBLEM_JSON, FieldError, Problem
from application.command_handler import Contention, NoSuchVersion, PreconditionFailed
from application.ports import IdempotencyMismatch, LogUnavailable
from domain.errors import DomainError, InvalidValue, NotAuthenticated, NotFound, NotPermitted, RuleViolated
from infrastructure.task_reads import AheadOfLog, NotYetApplied
from infrastructure.unavailable import Overloaded, Unavailable

logger = logging.getLogger("taskmaster.api")


class BadRequest(Exception):
    """The request itself is malformed; `pointer` is a JSON pointer into the body, or names a parameter."""

    def __init__(self, status: int, code: str, detail: str, pointer: str | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.pointer = pointer


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
    return Problem(f"urn:taskmaster:problem:{code}", HTTPStatus(status).phrase, status, code, detail, errors)


def _challenge(code: str) -> str:
    """RFC 6750, 3: no error where no token was presented, and one word for all that can be wrong with one that was."""
    presented = code in {"invalid_token", "token_expired", "session_revoked"}
    return 'Bearer error="invalid_token"' if presented else "Bearer"


def problem_of(error: Exception) -> tuple[Problem, dict[str, str]]:  # noqa: PLR0911 - one table, one line a refusal
    """The problem document for an exception, with its headers; 500 without details for what nobody foresaw."""
    match error:
        case DomainError():
            status = _DOMAIN[type(error)]
            pointer = f"/{error.field}" if error.field else None
            headers = {"WWW-Authenticate": _challenge(error.code)} if status == 401 else {}
            return problem(status, error.code, error.message, pointer), headers
        case BadRequest():
            return problem(error.status, error.code, error.detail, error.pointer), {}
        case NoSuchVersion():
            detail = f"{error}; If-Match names no version that it ever had"
            return problem(412, "no_such_version", detail, "If-Match"), {"ETag": f'"v{error.version}"'}
        case PreconditionFailed():
            fields = ", ".join(sorted(error.fields))
            detail = f"{error}; changed since the version in If-Match: {fields or 'something'}"
            return problem(412, "precondition_failed", detail), {"ETag": f'"v{error.version}"'}
        case IdempotencyMismatch():
            return problem(422, "idempotency_key_reused", "this Idempotency-Key was used for another request"), {}
        case Contention():
            return problem(409, "contention", "too many others were changing this task; try again"), {"Retry-After": "1"}
        case NotYetApplied():
            return problem(503, "not_yet_applied", str(error)), {
                "Retry-After": "1",
                "X-Position": str(error.position),
            }
        case AheadOfLog():
            return problem(422, "position_in_the_future", str(error), "min_position"), {"X-Position": str(error.head)}
        case LogUnavailable():
            detail = "the log cannot be reached; whether a command was stored is settled by its Idempotency-Key"
            return problem(503, "log_unavailable", detail), {"Retry-After": "1"}
        case Overloaded() | Unavailable() | PoolTimeout() | psycopg.OperationalError():
            return problem(503, "unavailable", "a part of the service is away or overloaded"), {"Retry-After": "1"}
        case HTTPException():
            return _of_litestar(error)
        case _:
            return problem(500, "internal_error", "something went wrong on our side"), {}


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


def handle_exception(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    """Litestar's exception handler for everything."""
    found, headers = problem_of(error)
    if found.status >= 500 and found.code == "internal_error":
        found = msgspec.structs.replace(found, trace_id=uuid4().hex)
        logger.error("trace %s: %s %s", found.trace_id, request.method, request.url.path, exc_info=error)
    return Response(found, status_code=found.status, media_type=PROBLEM_JSON, headers=headers)
