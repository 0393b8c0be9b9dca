"""What the routes read off a request: who asks, conditions, keys, positions."""

import hmac
import re
from collections.abc import Container
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qsl
from uuid import UUID

from litestar import Request
from uuid_utils.compat import uuid7

from api.edge.authentication import may_wait
from api.edge.errors import BadRequest
from api.edge.preconditions import matched_versions
from application.command_handler import CommandContext, IfMatch
from application.log import IdempotencyKey
from application.principal import Principal
from domain.project.refusals import no_such_project
from domain.project.values import address_of, is_key
from domain.task.refusals import no_such_task
from infrastructure.bootstrap import LogResources, Resources
from infrastructure.read_models.task_reads import Wait

AnyRequest = Request[Any, Any, Any]

KEY_MAX: Final = 255
_INT64: Final = 2**63


def resources(request: AnyRequest) -> Resources:
    """The process's resources."""
    opened: Resources = request.app.state.resources
    return opened


def principal(request: AnyRequest) -> Principal:
    """Who asks."""
    user: Principal = request.scope["user"]
    return user


def log_of(request: AnyRequest) -> LogResources:
    """The log in which the principal's workspace lives."""
    user: Principal = request.scope["user"]
    opened: Resources = request.app.state.resources
    log = opened.logs.get(user.log)
    if log is None:
        raise BadRequest(421, "misdirected_request", f"the log {user.log!r} is not served here")
    return log


def header(request: AnyRequest, name: bytes) -> str | None:
    """The header's value (the last one where it is repeated); `name` in lower case."""
    found = None
    for key, value in request.scope["headers"]:
        if key == name:
            found = value.decode("latin-1")
    return found


def command_context(request: AnyRequest, body: bytes = b"") -> CommandContext:
    """The context of a command: principal, time, ids, Idempotency-Key and If-Match."""
    key = if_match = prefer = reference = None
    scope = request.scope
    for name, value in scope["headers"]:
        if name == b"idempotency-key":
            key = value.decode("latin-1")
        elif name == b"if-match":
            if_match = value.decode("latin-1")
        elif name == b"prefer":
            prefer = value.decode("latin-1")
        elif name == b"x-correlation-id":
            reference = value.decode("latin-1")
    command_id = uuid7()
    return CommandContext(
        principal=scope["user"],
        now=datetime.now(UTC),
        command_id=command_id,
        correlation_id=command_id if reference is None else required_uuid(reference, "X-Correlation-Id", "invalid_uuid"),
        idempotency=_idempotency(key, request, body) if key is not None else None,
        if_match=_if_match(if_match, prefer) if if_match is not None else None,
    )


def _idempotency(key: str, request: AnyRequest, body: bytes) -> IdempotencyKey:
    if not 1 <= len(key) <= KEY_MAX or not key.isascii() or not key.isprintable():
        raise BadRequest(
            400,
            "invalid_idempotency_key",
            f"an Idempotency-Key is 1 to {KEY_MAX} printable ASCII characters",
            "Idempotency-Key",
        )
    start = f"{request.scope['method']} {request.scope['path']}\n".encode()
    return IdempotencyKey(key, hmac.digest(log_of(request).request_secret, start + body, "sha256"))


def _if_match(value: str, prefer: str | None) -> IfMatch | None:
    versions = matched_versions(value)
    if versions is None:
        return None
    return IfMatch(versions, "handling=strict" in (prefer or "").replace(" ", "").lower().split(","))


_UUID: Final = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}").fullmatch


def uuid_of(text: str) -> UUID | None:
    """The UUID in its one textual form, 8-4-4-4-12 hexadecimal digits (RFC 9562, 4); None for anything else.

    `uuid.UUID` itself also takes braces, `urn:`, `0x`, digits of other scripts and hyphens wherever they stand.
    """
    return UUID(text) if _UUID(text) else None


def required_uuid(text: str, name: str, code: str = "invalid_parameter") -> UUID:
    """The UUID that the parameter or header `name` must be."""
    found = uuid_of(text)
    if found is None:
        raise BadRequest(400, code, f"{name} must be a UUID such as 01890a5d-ac96-774b-bcce-b302099a8057", name)
    return found


async def task_id_of(request: AnyRequest) -> UUID:
    """The task in the path, by its id or by its project's key and its number. What can be neither names no task."""
    text = request.scope["path_params"]["task_id"]
    found = uuid_of(text)
    if found is None:
        address = address_of(text)
        if address is None:
            raise no_such_task()
        found = await log_of(request).store.addressed(principal(request).workspace_id, *address)
    return found


async def project_id_of(request: AnyRequest) -> UUID:
    """The project in the path, by its id or by a key that it has or had. What can be neither names no project."""
    found = await named_project(request, request.scope["path_params"]["project"])
    if found is None:
        raise no_such_project()
    return found


async def named_project(request: AnyRequest, text: str) -> UUID | None:
    """The project that an id or a key names; None for what can be neither, an id of nobody for a key that nobody has."""
    found = uuid_of(text)
    if found is None and is_key(text):
        return await log_of(request).store.addressed(principal(request).workspace_id, text)
    return found


def query_of(request: AnyRequest, *known: str) -> dict[str, list[str]]:
    """The query's parameters as lists; raises for any that is not known, or that cannot be text."""
    raw: bytes = request.scope["query_string"]
    if not raw:
        return {}
    read: dict[str, list[str]] | None = request.scope["state"].get("query")
    return read if read is not None and read.keys() <= set(known) else read_query(raw, known)


def read_query(raw: bytes, known: Container[str]) -> dict[str, list[str]]:
    """The same from the raw query string. The edge reads it for every route, with what the registration says is known."""
    found: dict[str, list[str]] = {}
    if b"%00" in raw or len(raw) > 8192:
        raise BadRequest(400, "invalid_query", "the query is too long or contains U+0000")
    for name, value in _pairs(raw):
        if name not in known:
            raise BadRequest(400, "unknown_parameter", f"there is no query parameter {name!r}", name)
        found.setdefault(name, []).append(value)
    return found


def _pairs(raw: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=100)
    except (ValueError, UnicodeDecodeError):
        raise BadRequest(400, "invalid_query", "the query is not percent-encoded UTF-8") from None


def one(query: dict[str, list[str]], name: str) -> str | None:
    """The parameter's only value, or None; raises where it is repeated."""
    values = query.get(name)
    if values is None:
        return None
    if len(values) > 1:
        raise BadRequest(400, "repeated_parameter", f"{name} may be given once", name)
    return values[0]


def integer(query: dict[str, list[str]], name: str, default: int, least: int, most: int = _INT64 - 1) -> int:
    """An integer parameter within its bounds."""
    text = one(query, name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 19 or not least <= int(text) <= most:
        raise BadRequest(400, "invalid_parameter", f"{name} must be a whole number from {least} to {most}", name)
    return int(text)


def wait_of(request: AnyRequest, query: dict[str, list[str]]) -> Wait:
    """How fresh the answer must be: `min_position`, and `Prefer: wait=seconds` up to the configured most."""
    minimum = integer(query, "min_position", 0, 0)
    if not minimum:
        return _NO_WAIT
    most = resources(request).settings.wait_seconds
    prefer = header(request, b"prefer") or ""
    for preference in prefer.replace(" ", "").lower().split(","):
        name, _, value = preference.partition("=")
        if name == "wait" and value.isascii() and value.isdigit() and len(value) < 6:
            most = min(most, float(value))
    may_wait(request.scope)
    return Wait(minimum, most)


_NO_WAIT: Final = Wait()
