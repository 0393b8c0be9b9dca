"""The route table: made from what was registered, and no way around what was registered with it."""

import asyncio
from typing import Any

import pytest
from litestar import Litestar, Request, get, post, websocket
from litestar.connection import ASGIConnection, WebSocket
from litestar.exceptions import NotAuthorizedException
from litestar.handlers.base import BaseRouteHandler
from litestar.types import ASGIApp

from api.edge.answers import Answer
from api.edge.front import Edge
from api.edge.routing import RouteTable
from api.edge.turns import Turns

AnyRequest = Request[Any, Any, Any]


def closed(_connection: ASGIConnection[Any, Any, Any, Any], _handler: BaseRouteHandler) -> None:
    raise NotAuthorizedException


def hook(request: AnyRequest) -> None:
    """Something that was registered around a handler."""


def change(response: Any) -> Any:
    return response


@get("/plain/{name:str}")
async def plain(request: AnyRequest) -> ASGIApp:
    return Answer(b"{}", None)


@get("/guarded", guards=[closed])
async def guarded(request: AnyRequest) -> ASGIApp:
    return Answer(b"{}", None)


@get("/hooked", before_request=hook)
async def hooked(request: AnyRequest) -> ASGIApp:
    return Answer(b"{}", None)


@get("/changed", after_request=change)
async def changed(request: AnyRequest) -> ASGIApp:
    return Answer(b"{}", None)


@get("/typed")
async def typed(request: AnyRequest) -> dict[str, str]:
    return {}


@post("/open", public=True)
async def opened(request: AnyRequest) -> ASGIApp:
    return Answer(b"{}", None)


@get("/open")
async def half_open(request: AnyRequest) -> ASGIApp:
    return Answer(b"{}", None)


@websocket("/socket")
async def socket(socket: WebSocket[Any, Any, Any]) -> None: ...


HANDLERS: list[Any] = [plain, guarded, hooked, changed, typed, opened, half_open, socket]


@pytest.fixture
def app() -> Litestar:
    return Litestar(HANDLERS, openapi_config=None, logging_config=None)


def test_only_a_handler_with_nothing_around_it_is_called_past_litestar(app: Litestar) -> None:
    table = RouteTable(app.routes)
    own_way = {
        template: route.serve.__qualname__.startswith("_short_way")  # type: ignore[attr-defined]  # functions, all of them
        for template, place in table.places.items()
        for route in place.methods.values()
    }
    assert {template for template, is_direct in own_way.items() if is_direct} == {"/plain/{name}", "/open"}


def test_what_is_not_registered_as_public_is_not(app: Litestar) -> None:
    table = RouteTable(app.routes)
    public = {
        (method, template): route.is_public
        for template, place in table.places.items()
        for method, route in place.methods.items()
    }
    assert [key for key, is_public in public.items() if is_public] == [("POST", "/open")]
    # One protected method is enough to protect the methods that a place has not.
    assert table.places["/open"].is_public is False


def test_a_websocket_route_is_not_in_the_table(app: Litestar) -> None:
    assert RouteTable(app.routes).find(b"/socket") == (None, {})


def test_parameters_are_taken_as_they_were_sent(app: Litestar) -> None:
    place, parameters = RouteTable(app.routes).find(b"/plain/a-B_9")
    assert place is not None
    assert (place.template, place.allow, parameters) == ("/plain/{name}", "GET, HEAD, OPTIONS", {"name": "a-B_9"})


@pytest.mark.parametrize(
    "raw", [b"", b"/", b"plain/a", b"/plain", b"/plain/", b"/plain/a/", b"/plain/a/b", b"/plain/.", b"/plain/a%2fb", b"*"]
)
def test_nothing_else_is_found(app: Litestar, raw: bytes) -> None:
    assert RouteTable(app.routes).find(raw)[0] is None


def test_a_parameter_that_litestar_would_convert_is_refused_at_the_start() -> None:
    @get("/number/{number:int}")
    async def number(request: AnyRequest) -> ASGIApp:
        return Answer(b"{}", None)

    with pytest.raises(TypeError, match="must be a str"):
        RouteTable(Litestar([number], openapi_config=None, logging_config=None).routes)


def test_a_position_that_a_public_route_gives_away_does_not_go_out() -> None:
    @get("/careless", public=True)
    async def careless(request: AnyRequest) -> ASGIApp:
        return Answer(b"{}", 42)

    app = Litestar([careless], openapi_config=None, logging_config=None)
    edge = Edge(app, Turns(10))
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope: Any = {"type": "http", "method": "GET", "path": "/careless", "raw_path": b"/careless", "query_string": b""}
    scope |= {"headers": [], "client": None, "state": {}, "app": app, "litestar_app": app}
    asyncio.run(_serve(edge, scope, receive, send))
    assert sent[0]["status"] == 200
    assert b"x-position" not in dict(sent[0]["headers"])
    assert b"x-request-id" in dict(sent[0]["headers"])


async def _serve(edge: Edge, scope: Any, receive: Any, send: Any) -> None:
    await edge(scope, receive, send)
