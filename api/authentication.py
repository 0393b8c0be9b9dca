"""The edge around the routes: who asks, and what every answer carries.

It stands outside Litestar's own stack, because guards and hooks inside cost more per request than what they do here, and do
not see unknown paths. Everything below `/api/v1` needs a valid access token, known route or not, except `PUBLIC`.
"""

import time
from collections.abc import Awaitable
from typing import Final

import msgspec
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from api.answers import SECURITY_HEADERS, CompleteHeaders
from api.errors import problem_of
from api.problem import PROBLEM_JSON
from application.principal import Principal
from domain.errors import NotAuthenticated
from infrastructure.bootstrap import Resources
from infrastructure.security import InvalidToken
from infrastructure.unavailable import Unavailable

PROTECTED: Final = "/api/v1"
PUBLIC: Final = frozenset({"/api/v1/auth/register", "/api/v1/auth/login", "/api/v1/auth/refresh"})

_SENTENCES: Final = {
    "missing_token": "an access token is required: Authorization: Bearer …",
    "token_expired": "the access token has expired; refresh it",
    "session_revoked": "the session was revoked; log in again",
}


class Edge:
    """ASGI application around another one: authenticates, and completes the headers of every answer."""

    def __init__(self, inner: ASGIApp) -> None:
        self._inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection. `scope["user"]` is the Principal wherever a token is needed."""
        if scope["type"] != ScopeType.HTTP:
            await self._inner(scope, receive, send)
            return
        resources: Resources = scope["litestar_app"].state.resources

        def complete(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start" and type(message["headers"]) is not CompleteHeaders:
                _complete_headers(message, scope, resources)
            return send(message)

        path = scope["path"]
        # Asking for a route's methods needs no token: browsers ask before they send one.
        if path.startswith(PROTECTED) and path.rstrip("/") not in PUBLIC and scope["method"] != "OPTIONS":
            try:
                token = _bearer_token(scope)
                if not resources.revocations.is_fresh:
                    await resources.revocations.fresh()
                scope["user"] = _verified(token, resources)
            except (NotAuthenticated, Unavailable) as refusal:
                await _refuse(refusal, complete)
                return
        await self._inner(scope, receive, complete)


def _bearer_token(scope: Scope) -> str:
    authorization = b""
    for name, value in scope["headers"]:
        if name == b"authorization":
            authorization = value
    scheme, _, token = authorization.partition(b" ")
    if scheme.lower() != b"bearer" or not token:
        raise _refused("missing_token")
    return token.decode("latin-1")


def _verified(token: str, resources: Resources) -> Principal:
    """Who holds it. A token that was verified before costs a look-up."""
    try:
        return resources.verifier.verify(token, time.time())
    except InvalidToken as error:
        raise _refused(error.code) from None


def _refused(code: str) -> NotAuthenticated:
    return NotAuthenticated(code, _SENTENCES.get(code, "the access token is not valid"))


async def _refuse(refusal: Exception, send: Send) -> None:
    problem, headers = problem_of(refusal)
    body = msgspec.json.encode(problem)
    encoded = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    encoded += [(b"content-type", PROBLEM_JSON.encode()), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": problem.status, "headers": encoded})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _complete_headers(message: Message, scope: Scope, resources: Resources) -> None:
    """Every answer, refusals and unknown paths included, says where the log stood and may not be cached or sniffed."""
    headers: list[tuple[bytes, bytes]] = list(message.get("headers", ()))  # type: ignore[call-overload]  # a start has headers
    if scope["method"] == "OPTIONS" and message["status"] == 204:  # type: ignore[typeddict-item]  # HTTP has both
        # Litestar's own answer names only the methods of the handler that was registered first.
        headers = [pair for pair in headers if pair[0] != b"allow"]
        headers.append((b"allow", ", ".join(_methods(scope)).encode()))
    present = {name for name, _ in headers}
    if b"x-position" not in present:
        newest = max((log.positions.newest for log in resources.logs.values()), default=0)
        headers.append((b"x-position", b"%d" % newest))
    headers.extend(pair for pair in SECURITY_HEADERS if pair[0] not in present)
    message["headers"] = headers  # type: ignore[typeddict-unknown-key]  # only starts get here


def _methods(scope: Scope) -> list[str]:
    routes = [route for route in scope["litestar_app"].routes if route.path_format == scope["path_template"]]
    return sorted({str(method) for route in routes for method in route.methods})
