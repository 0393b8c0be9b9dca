"""Which registered route a request leads to: the one decision that protection, methods and parameters hang on.

The table is made from the application's own routes. A path is looked up by the bytes that the client sent, and has one
spelling: doubled and trailing slashes, dot segments, another case and percent-encoding lead to no route at all. So nothing
behind the table ever sees a path that was not decided on here.
"""

import re
from collections.abc import Iterable
from inspect import iscoroutinefunction, signature
from typing import Any, Final, get_type_hints

from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute
from litestar.routes.base import BaseRoute
from litestar.types import ASGIApp, Receive, Send

from api.edge.body import ACCEPT_PATCH

OPEN_TO_ALL: Final = "public"
QUERY_NAMES: Final = "query_names"
NOT_JSON: Final = "not_json"
LIMITED_AS: Final = "limited_as"

# Whatever a parameter names, an id is made of these: so no dot segment, encoding or matrix parameter passes for one.
_PARAMETER: Final = re.compile(rb"[A-Za-z0-9_-]+").fullmatch


class Registered:
    """One method of one path, as it was registered. Protected unless the registration says `public=True`."""

    __slots__ = ("handler", "is_json", "is_public", "limited_as", "method", "query_names", "serve", "template")

    def __init__(self, method: str, route: HTTPRoute) -> None:
        self.method = method
        self.template = route.path_format
        self.handler: Any = route.route_handler_map[method][0]  # type: ignore[index]  # a method of its own map
        self.is_public: bool = self.handler.opt.get(OPEN_TO_ALL) is True
        self.is_json: bool = self.handler.opt.get(NOT_JSON) is not True
        self.limited_as: str = self.handler.opt.get(LIMITED_AS, "")
        self.query_names: frozenset[str] = self.handler.opt.get(QUERY_NAMES, frozenset())
        self.serve: ASGIApp = _short_way(self.handler) or route.handle  # type: ignore[assignment]  # serves HTTP only


def _short_way(handler: HTTPRouteHandler) -> ASGIApp | None:
    """How to serve a route whose handler takes the request alone and gives a ready ASGI response; None for any other.

    There Litestar would find nothing to do, which costs a quarter of what a hot read spends here. Whatever was registered
    around a handler (guards, hooks, dependencies, middleware, a cache) makes it go Litestar's way.
    """
    function = handler.fn
    hints = get_type_hints(function)
    around = (
        handler.resolve_guards(),
        handler.resolve_before_request(),
        [layer for layer in handler.ownership_layers if getattr(layer, "after_request", None)],
        handler.resolve_after_response(),
        handler.resolve_middleware(),
        handler.resolve_dependencies(),
        handler.cache,
    )
    if any(around) or [*signature(function).parameters] != ["request"] or hints.get("return") != ASGIApp:
        return None
    if not iscoroutinefunction(function):
        return None
    request_class = handler.resolve_request_class()

    async def serve(scope: Any, receive: Receive, send: Send) -> None:
        answer = await function(request_class(scope, receive, send))
        await answer(scope, receive, send)

    return serve


class Place:
    """One registered path with all of its methods. HEAD stands wherever GET does, OPTIONS everywhere."""

    __slots__ = ("allow", "is_public", "methods", "options", "template")

    def __init__(self, template: str) -> None:
        self.template = template
        self.methods: dict[str, Registered] = {}
        self.is_public = True
        self.allow = ""
        self.options: tuple[tuple[bytes, bytes], ...] = ()

    def add(self, registered: Registered) -> None:
        """Take in a method. One protected method makes the whole place protected for methods that it has not."""
        self.methods[registered.method] = registered
        self.is_public = self.is_public and registered.is_public
        if registered.method == "GET":
            self.methods["HEAD"] = registered
        self.allow = ", ".join(sorted({*self.methods, "OPTIONS"}))
        self.options = ((b"allow", self.allow.encode()),)
        if "PATCH" in self.methods:
            self.options += ((b"accept-patch", ACCEPT_PATCH.encode()),)


class _Node:
    __slots__ = ("children", "parameter", "place")

    def __init__(self) -> None:
        self.children: dict[bytes, _Node] = {}
        self.parameter: tuple[str, _Node] | None = None
        self.place: Place | None = None


class RouteTable:
    """Every HTTP route of an application. Routes of other kinds are not in it, and so are served to nobody."""

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        self._fixed: dict[bytes, Place] = {}
        self._root = _Node()
        self.places: dict[str, Place] = {}
        for route in routes:
            if isinstance(route, HTTPRoute):
                self._add(route)

    def _add(self, route: HTTPRoute) -> None:
        place = self.places.setdefault(route.path_format, Place(route.path_format))
        for method in sorted(route.methods):
            # Litestar adds an OPTIONS of its own to each route; that is answered before any of them.
            if method != "OPTIONS":
                place.add(Registered(str(method), route))
        if not route.path_parameters:
            self._fixed[route.path_format.encode()] = place
            return
        node = self._root
        for component in route.path_components:
            if isinstance(component, str):
                node = node.children.setdefault(component.encode(), _Node())
                continue
            if component.type is not str:
                raise TypeError(f"{route.path}: a path parameter is read by its handler, so it must be a str here")
            if node.parameter is None:
                node.parameter = (component.name, _Node())
            if node.parameter[0] != component.name:
                raise TypeError(f"{route.path}: {component.name} has another name in another route")
            node = node.parameter[1]
        node.place = place

    def find(self, raw_path: bytes) -> tuple[Place | None, dict[str, str]]:
        """The place of a path as it was sent, and the values of its parameters."""
        place = self._fixed.get(raw_path)
        return (place, {}) if place is not None else self._find_with_parameters(raw_path)

    def _find_with_parameters(self, raw_path: bytes) -> tuple[Place | None, dict[str, str]]:
        first, *segments = raw_path.split(b"/")
        node, found = self._root, dict[str, str]()
        for segment in segments:
            child = node.children.get(segment)
            if child is not None:
                node = child
            elif node.parameter is not None and _PARAMETER(segment):
                name, node = node.parameter
                found[name] = segment.decode("latin-1")
            else:
                return None, {}
        return (None, {}) if first else (node.place, found)
