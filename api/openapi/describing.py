"""The OpenAPI description: built from the registered routes and what each says of itself, and served."""

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from http import HTTPStatus
from typing import Any, Final

import msgspec
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.routes import BaseRoute, HTTPRoute
from litestar.types import ASGIApp

from api.edge.answers import Asset
from api.edge.problem import PROBLEM_JSON
from api.openapi.documentation import DOCUMENTATION, HEADERS, Documentation, Header, Parameter
from api.openapi.schemas import Components, Schema

PATH: Final = "/schema/openapi.json"
MEDIA_TYPE: Final = "application/vnd.oai.openapi+json;version=3.0"

_INFO: Final = {
    "title": "TaskMaster",
    "version": "1",
    "description": """Task management in which every change is a fact: appended once, ordered, replayable.

Every write returns a position (`X-Position`), and every read says which position it reflects. The same number makes a read
see a write (`min_position`), continues a synchronisation (`changes?after=`) and looks into the past (`as_of`).

Every refusal is a problem document (RFC 9457); its `code` is stable, and each operation names those it can answer.""",
    "contact": {"name": "Whoever operates this installation"},
    # Linters want an address; nothing is published, so it is one that is kept for examples (RFC 2606).
    "license": {"name": "All rights reserved", "url": "https://taskmaster.example/licence"},
}
_TAGS: Final = {
    "Accounts": "Registering, signing in and out, and the sessions of a user.",
    "Tasks": "Reading tasks: one, as it is or was, and lists.",
    "Projects": "Reading projects: one, as it is or was, and their list.",
    "Commands": "Changing tasks and projects. Each command is accepted or refused whole and answers with a receipt.",
    "History": "What happened: a task's history, the workspace's changes, and its members.",
    "Analytics": "Flow metrics over any part of the past.",
    "Operation": "For load balancers and operators.",
}
_UNLISTED: Final = frozenset({"HEAD", "OPTIONS"})


def openapi_document(routes: Iterable[BaseRoute]) -> dict[str, Any]:
    """The OpenAPI 3.0 document of the routes that are documented.

    Raises `ValueError` for a route that says of itself what cannot be: a tag without description, a parameter of the path that
    it does not name, a header without type.
    """
    components = Components()
    paths: dict[str, dict[str, Any]] = {}
    codes: set[str] = set()
    for route in routes:
        if not isinstance(route, HTTPRoute):
            continue
        for handler in route.route_handlers:
            said: Documentation | None = handler.opt.get(DOCUMENTATION)
            if said is None:
                continue
            for method in sorted(handler.http_methods - _UNLISTED):
                operation = _Operation(said, components).described(route, sorted(handler.resolve_tags() or ()))
                paths.setdefault(route.path_format, {})[method.lower()] = operation
                codes.update(code for names in said.all_errors().values() for code in names)
    components.problem("Problem", codes, "A refusal (RFC 9457), of whatever route.")
    used = {name for name in HEADERS if f"#/components/headers/{name}" in str(paths)}
    document = {
        "openapi": "3.0.3",
        "info": _INFO,
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "security": [{"bearer": []}],
        # Sorted, so that every process describes alike.
        "paths": {path: dict(sorted(item.items())) for path, item in sorted(paths.items())},
        "components": {
            "schemas": dict(sorted(components.schemas.items())),
            "headers": {name: _header(components, header) for name, header in HEADERS.items() if name in used},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }
    # As whoever fetches it sees it: JSON has neither tuples nor ids.
    described: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(document))
    return described


def _header(components: Components, header: Header) -> Schema:
    return {"description": header.description, "schema": components.schema(header.type, "answer")}


class _Operation:
    """One operation, described from what its route says."""

    def __init__(self, said: Documentation, components: Components) -> None:
        self._said = said
        self._components = components
        self._name = said.operation_id[0].upper() + said.operation_id[1:]

    def described(self, route: HTTPRoute, tags: list[str]) -> Schema:
        said = self._said
        named = {parameter.name for parameter in said.parameters if parameter.location == "path"}
        if named != set(route.path_parameters) or not set(tags) <= set(_TAGS):
            raise ValueError(f"{route.path_format}: a parameter of the path or a tag of {tags} is not described")
        operation: Schema = {
            "operationId": said.operation_id,
            "summary": said.summary,
            "description": said.description,
            "tags": tags,
            "parameters": [self._parameter(parameter) for parameter in said.parameters],
            "responses": self._responses(),
            "security": [] if said.public else [{"bearer": []}],
        }
        if said.body is not None:
            operation["requestBody"] = self._body()
        return operation

    def _parameter(self, parameter: Parameter) -> Schema:
        schema = self._components.schema(parameter.type, "request")
        described: Schema = {
            "name": parameter.name,
            "in": parameter.location,
            "description": parameter.description,
            "required": parameter.required or parameter.location == "path",
            "schema": schema if parameter.default is None else schema | {"default": parameter.default},
        }
        return described | ({} if parameter.example is None else {"example": parameter.example})

    def _body(self) -> Schema:
        media: Schema = {"schema": self._components.schema(self._said.body, "request")}
        if self._said.examples:
            media["examples"] = {name: {"value": value} for name, value in self._said.examples.items()}
        return {
            "required": self._said.body_required,
            "content": dict.fromkeys(self._said.body_media_types, media),
        }

    def _responses(self) -> Schema:
        said = self._said
        responses: Schema = {}
        for status, type_ in said.responses.items() or {204: None}.items():
            responses[str(status)] = self._response(status, _phrase(status))
            if type_ is not None:
                schema = self._components.schema(type_, "answer")
                responses[str(status)]["content"] = {"application/json": {"schema": schema}}
        if any(parameter.name == "If-None-Match" for parameter in said.parameters):
            responses["304"] = self._response(304, "It is still the same.", said.headers(200))
        errors = said.all_errors()
        problem = f"{self._name}Problem"
        every = {code for names in errors.values() for code in names}
        schema = self._components.problem(problem, every, f"A refusal of `{said.operation_id}`.")
        for status, codes in errors.items():
            text = f"{_phrase(status)}: {', '.join(f'`{code}`' for code in codes)}"
            content = {PROBLEM_JSON: {"schema": schema, "examples": {code: _example(status, code) for code in codes}}}
            responses[str(status)] = self._response(status, text) | {"content": content}
        return dict(sorted(responses.items()))

    def _response(self, status: int, description: str, headers: Mapping[str, str] | None = None) -> Schema:
        found = self._said.headers(status) if headers is None else headers
        return {"description": description, "headers": {name: self._header(name, text) for name, text in found.items()}}

    def _header(self, name: str, text: str) -> Schema:
        if name not in HEADERS:
            raise ValueError(f"{self._said.operation_id}: the header {name} has no type in api/openapi/documentation.py")
        if text == HEADERS[name].description:
            return {"$ref": f"#/components/headers/{name}"}
        return _header(self._components, Header(HEADERS[name].type, text))


def _example(status: int, code: str) -> Schema:
    value = {
        "type": f"urn:taskmaster:problem:{code}",
        "title": _phrase(status),
        "status": status,
        "code": code,
        "detail": "…",
    }
    return {"value": value}


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase


def openapi_route(describe: Callable[[], dict[str, Any]]) -> HTTPRouteHandler:
    """GET /schema/openapi.json, described once, when it is first asked for."""

    @cache
    def described() -> bytes:
        return msgspec.json.encode(describe())

    @get(PATH, public=True, not_json=True, sync_to_thread=False)
    def get_openapi() -> ASGIApp:
        return Asset(described(), MEDIA_TYPE.encode())

    return get_openapi
