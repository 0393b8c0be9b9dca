"""The edge around the routes: the one place that decides who comes in and where a request leads.

It stands outside Litestar's own stack, because guards and hooks inside cost more per request than what is done here, and do
not see what leads to no route. In this order: the route that the path leads to, who asks (wherever the registration does not
say `public=True`), admission, its turn (a stranger's comes before admission), the handler. Whatever is refused on the way is
refused by `Exchange.refuse`.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from litestar import Litestar
from litestar.enums import ScopeType
from litestar.types import Receive, Scope, Send

from api.edge.answers import Bare
from api.edge.authentication import bearer_token, verified
from api.edge.cross_origin import CrossOrigin, preflight_headers
from api.edge.errors import BadRequest
from api.edge.exchange import Exchange
from api.edge.negotiation import accepts_json
from api.edge.requests import read_query
from api.edge.routing import Registered, RouteTable
from api.edge.turns import Turns
from domain.errors import NotAuthenticated
from infrastructure.bootstrap import Resources
from infrastructure.processes.draining import Draining
from infrastructure.unavailable import Unavailable

Admission = Callable[[Exchange], Awaitable[None] | None]
"""Decides about every request before it is served or refused. It raises to refuse, and gives an awaitable only where it has
to wait. `Exchange.refusal` is set where the request leads nowhere or its token is not good."""

NO_ROUTE: Final = "there is nothing at this path"
_NO_CODING: Final = frozenset({b"", b"identity"})


class Edge:
    """ASGI application around a Litestar one: refuses by default, and completes every answer."""

    def __init__(
        self,
        app: Litestar,
        turns: Turns,
        admission: Admission | None = None,
        *,
        origins: Iterable[str] = (),
        logs_all: bool = False,
    ) -> None:
        self._cross_origin = CrossOrigin(origins)
        self._logs_all = logs_all
        self._app = app
        self._turns = turns
        self.admission = admission
        self.draining = Draining()
        self.table = RouteTable(app.routes)

    def learn_routes(self) -> None:
        """Read the application's routes again."""
        self.table = RouteTable(self._app.routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. `scope["user"]` is the Principal wherever a token is needed."""
        if scope["type"] != ScopeType.HTTP:
            await _refuse_connection(receive, send)
            return
        exchange = Exchange(scope, send, logs_all=self._logs_all)
        exchange.is_preflight = self._cross_origin.mark(exchange)
        if self.draining.begun:
            # Whoever keeps the connection comes back on another one, to a process that stays.
            exchange.answer_headers.append((b"connection", b"close"))
        try:
            try:
                if self._needs_token(exchange):
                    await _authenticate(exchange, self._app.state.resources)
                _require_route(exchange)
            except (BadRequest, NotAuthenticated, Unavailable) as refusal:
                exchange.refusal = refusal
            asking = exchange.principal
            # Before anything is decided: refusing costs time as well, and strangers may come by the thousand.
            if asking is None and not self._turns.begins_now(stranger=True):
                await self._turns.wait(exchange.client, stranger=True)
            if self.admission is not None and (waiting := self.admission(exchange)) is not None:
                await waiting
            if exchange.refusal is not None:
                raise exchange.refusal
            if asking is not None and not self._turns.begins_now():
                await self._turns.wait(asking.workspace_id)
            await _serve(exchange, receive)
        except Exception as error:
            if exchange.is_answered:
                raise
            await exchange.refuse(error)

    def _needs_token(self, exchange: Exchange) -> bool:
        """Find the route. What leads nowhere is refused whoever asks; a method that a place has not, as the place is."""
        scope = exchange.scope
        place, parameters = self.table.find(scope.get("raw_path") or scope["path"].encode())
        if place is None:
            raise BadRequest(404, "not_found", NO_ROUTE)
        exchange.place = place
        exchange.route = route = place.methods.get(exchange.method)
        scope["path_params"] = parameters
        if exchange.repeated is not None:
            detail = f"the header {exchange.repeated} may be given once"
            raise BadRequest(400, "repeated_header", detail, exchange.repeated)
        return not (exchange.is_preflight or (place.is_public if route is None else route.is_public))


async def _authenticate(exchange: Exchange, resources: Resources) -> None:
    token = bearer_token(exchange.headers)
    if not resources.revocations.is_fresh:
        await resources.revocations.fresh()
    exchange.principal = exchange.scope["user"] = verified(token, resources)


def _require_route(exchange: Exchange) -> None:
    route, place, scope = exchange.route, exchange.place, exchange.scope
    if route is None:
        if place is not None and exchange.method != "OPTIONS":
            raise BadRequest(405, "method_not_allowed", "this path has no such method", headers={"Allow": place.allow})
        return
    headers = exchange.headers
    coding = headers.get(b"content-encoding")
    if coding is not None and coding.strip().lower() not in _NO_CODING:
        detail = "a body may not be compressed or otherwise encoded"
        raise BadRequest(415, "unsupported_content_encoding", detail, "Content-Encoding", {"Accept-Encoding": "identity"})
    accept = headers.get(b"accept", b"*/*")
    if accept != b"*/*" and route.is_json and not accepts_json(accept):
        raise BadRequest(406, "not_acceptable", "answers here are application/json, which Accept excludes", "Accept")
    if raw := scope["query_string"]:
        scope["state"]["query"] = read_query(raw, route.query_names)


async def _serve(exchange: Exchange, receive: Receive) -> None:
    route, scope = exchange.route, exchange.scope
    if route is None:
        await _options(exchange)(scope, receive, exchange.send)
        return
    _enter(route, scope)
    await route.serve(scope, receive, exchange.send)


def _options(exchange: Exchange) -> Bare:
    place = exchange.place
    if place is None:
        return Bare(204)
    return Bare(204, place.options + preflight_headers(place.allow) if exchange.is_preflight else place.options)


def _enter(route: Registered, scope: Any) -> None:
    scope["method"] = route.method
    scope["route_handler"] = route.handler
    scope["path_template"] = route.template


async def _refuse_connection(receive: Receive, send: Send) -> None:
    """Nothing but HTTP is served: a WebSocket is closed before it was opened (the server answers 403)."""
    message = await receive()
    if message["type"] == "websocket.connect":
        await send({"type": "websocket.close", "code": 1008, "reason": ""})
