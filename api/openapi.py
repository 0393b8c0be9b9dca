"""The OpenAPI description as it is served: what the routes declare, with msgspec's own schemas of their types."""

from collections.abc import Callable, Sequence
from functools import cache
from inspect import cleandoc
from typing import Any, Final, get_args

import msgspec
from litestar import Litestar, get
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.datastructures import ResponseSpec
from litestar.types import ASGIApp, ControllerRouterHandler

from api.answers import Asset
from domain.task_commands import TaskCommand

PATH: Final = "/schema/openapi.json"
_REFERENCE: Final = "#/components/schemas/{name}"
_TAG: Final = "command"


def openapi_document(config: OpenAPIConfig, routes: Sequence[ControllerRouterHandler]) -> dict[str, Any]:
    """The OpenAPI 3.1 document of `routes`.

    It is taken from an application that is never served, so that the served one has none of Litestar's pages, which load from
    other sites. Litestar's schemas of msgspec types lose bounds inside of lists, descriptions and that unknown members are
    refused; msgspec writes them out in full.
    """
    app = Litestar(routes, openapi_config=config)
    document = app.openapi_schema.to_schema()
    _, schemas = msgspec.json.schema_components(_documented_types(app), ref_template=_REFERENCE)
    for schema in schemas.values():
        _complete(schema)
    _allow_commands_without_tag(schemas)
    document["components"]["schemas"] = dict(sorted(schemas.items()))
    # Defaults may be tuples, which JSON does not know.
    described: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(document))
    return described


def _documented_types(app: Litestar) -> list[Any]:
    handlers = {handler for route in app.routes for handler in getattr(route, "route_handlers", ())}
    specs: list[ResponseSpec] = []
    for handler in handlers:
        if isinstance(handler, HTTPRouteHandler):
            specs += (handler.responses or {}).values()
    return list({spec.data_container for spec in specs if spec.data_container is not None})


def _complete(schema: dict[str, Any]) -> None:
    if "description" in schema:
        schema["description"] = cleandoc(schema["description"])
    for name, member in schema.get("properties", {}).items():
        for part in (member, *member.get("anyOf", ())):
            if name.endswith("_at") and part == {"type": "string"}:
                part["format"] = "date-time"


def _allow_commands_without_tag(schemas: dict[str, Any]) -> None:
    """A command's own route says which command it is; only a batch needs the tag."""
    for command in get_args(TaskCommand):
        schemas[command.__name__]["required"] = [n for n in schemas[command.__name__]["required"] if n != _TAG]
        if not schemas[command.__name__]["required"]:
            del schemas[command.__name__]["required"]
    schemas["BatchItem"]["properties"][_TAG] |= {"type": "object", "required": [_TAG]}


def openapi_route(describe: Callable[[], dict[str, Any]]) -> HTTPRouteHandler:
    """GET /schema/openapi.json, described once, when it is first asked for."""

    @cache
    def described() -> bytes:
        return msgspec.json.encode(describe())

    @get(PATH, public=True, not_json=True, sync_to_thread=False)
    def get_openapi() -> ASGIApp:
        return Asset(described(), b"application/vnd.oai.openapi+json;version=3.1")

    return get_openapi
