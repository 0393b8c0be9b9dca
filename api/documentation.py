"""OpenAPI for handlers that take the raw `Request`: what they expect is declared beside the route.

Handlers decode their bodies themselves, which Litestar cannot read off the signature; `documented` says it::

    @post("/tasks", **documented(
        operation_id="createTask", summary="Create a task",
        body=CreateTask, example={"title": "Write the report"},
        responses={201: Receipt}, errors={409: ["stream_conflict"], 422: ["title_empty"]},
        parameters=[HeaderParameter("Idempotency-Key", str, "Makes a retry safe.")],
    ))
    async def create_task(request: Request) -> Response[Receipt]: …
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, ClassVar, Literal

import msgspec
from litestar.enums import ParamType
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import (
    Example,
    OpenAPIHeader,
    OpenAPIResponse,
    OpenAPIType,
    Operation,
    RequestBody,
    Schema,
)
from litestar.openapi.spec import Parameter as SpecParameter

from api.problem import PROBLEM_JSON, Problem

# Only for responses can a route name types that become components; so the body travels as the response of a
# status that cannot be.
_BODY_STATUS = 0

_WAITING = "Seconds after which asking again makes sense."
_HEADERS_OF_STATUS: dict[int, dict[str, str]] = {
    401: {"WWW-Authenticate": "`Bearer`, with an `error` once a token was presented (RFC 6750)."},
    429: {"Retry-After": _WAITING},
    503: {"Retry-After": _WAITING},
}


@dataclass(frozen=True)
class Parameter:
    """A query, header, path or cookie parameter. `type` may be Annotated with msgspec.Meta bounds."""

    location: ClassVar[Literal["query", "header", "path", "cookie"]]

    name: str
    type: Any
    description: str
    required: bool = False
    default: Any = None
    example: Any = None
    deprecated: bool = False

    def to_spec(self) -> SpecParameter:
        """The parameter as OpenAPI 3.1 has it, its schema written in place."""
        schema = inline_schema(self.type)
        schema.default = self.default
        return SpecParameter(
            name=self.name,
            param_in=self.location,
            schema=schema,
            description=self.description,
            required=self.required or self.location == "path",
            deprecated=self.deprecated,
            example=self.example,
        )


class QueryParameter(Parameter):
    """A parameter in the query string."""

    location = "query"


class HeaderParameter(Parameter):
    """A parameter in a request header."""

    location = "header"


class PathParameter(Parameter):
    """A parameter in the path; takes the place of what Litestar found out about it."""

    location = "path"


class CookieParameter(Parameter):
    """A parameter in a cookie."""

    location = "cookie"


def inline_schema(type_: Any) -> Schema:
    """The schema of a type that has no component of its own (scalars, literals, lists and unions of them).

    Raises `ValueError` for structs, which belong into a body.
    """
    (described,), components = msgspec.json.schema_components([type_])
    if components:
        raise ValueError(f"{type_!r} is too deep for a parameter")
    return _schema(described)


def _schema(described: Mapping[str, Any]) -> Schema:
    schema = Schema()
    aliases = Schema.field_aliases()
    for key, value in described.items():
        name = aliases.get(key, key)
        if name == "type":
            schema.type = OpenAPIType(value)
        elif name == "items":
            schema.items = _schema(value)
        elif name in {"any_of", "one_of", "all_of"}:
            setattr(schema, name, [_schema(part) for part in value])
        elif hasattr(schema, name):
            setattr(schema, name, value)
        else:
            raise ValueError(f"{key!r} is no part of a parameter's schema")
    return schema


@dataclass(frozen=True)
class _Additions:
    """What an operation says beyond what Litestar finds out by itself; the outer keys are statuses."""

    body_required: bool
    parameters: tuple[Parameter, ...]
    statuses: frozenset[int]
    headers: dict[int, dict[str, str]]
    examples: dict[int, dict[str, Example]]
    public: bool


@dataclass
class DocumentedOperation(Operation):
    """An operation completed with its `additions` at the moment when Litestar makes it."""

    additions: ClassVar[_Additions]

    def __post_init__(self) -> None:
        responses = self.responses or {}
        # Litestar adds a 400 of its own shape to whatever has parameters.
        for status in {"400"} - {str(status) for status in self.additions.statuses}:
            responses.pop(status, None)
        for status, response in responses.items():
            if isinstance(response, OpenAPIResponse):
                self._complete(int(status), response)
        body = responses.pop(str(_BODY_STATUS), None)
        if isinstance(body, OpenAPIResponse) and body.content:
            self.request_body = RequestBody(content=body.content, required=self.additions.body_required)
        self._replace_parameters()
        if self.additions.public:
            self.security = []

    def _complete(self, status: int, response: OpenAPIResponse) -> None:
        headers = self.additions.headers.get(status)
        if headers:
            response.headers = {**(response.headers or {}), **_headers(headers)}
        examples = self.additions.examples.get(status)
        if status == HTTPStatus.NO_CONTENT:
            response.content = None
        for media in (response.content or {}).values() if examples else ():
            media.examples = {**(examples or {})}

    def _replace_parameters(self) -> None:
        ours = [parameter.to_spec() for parameter in self.additions.parameters]
        taken = {(parameter.name, parameter.param_in) for parameter in ours}
        found = [
            parameter
            for parameter in self.parameters or []
            if not isinstance(parameter, SpecParameter) or (parameter.name, ParamType(parameter.param_in).value) not in taken
        ]
        self.parameters = [*found, *ours] or None


def documented(  # noqa: PLR0913 (all by name, most left out)
    *,
    operation_id: str,
    summary: str,
    description: str | None = None,
    body: Any = None,
    example: Any = None,
    body_required: bool = True,
    body_media_type: str = "application/json",
    responses: Mapping[int, Any] | None = None,
    errors: Mapping[int, Sequence[str]] | Iterable[int] = (),
    parameters: Iterable[Parameter] = (),
    response_headers: Mapping[int, Mapping[str, str]] | None = None,
    public: bool = False,
) -> dict[str, Any]:
    """Keyword arguments for a Litestar route decorator.

    `body` and the values of `responses` (by status, None for no content) become components. `example` is one
    JSON value, or `{name: Example}` for several. `errors` is a list of statuses, or better a mapping from
    status to the codes that come with it. `response_headers` is a mapping from status to names to
    descriptions. `public` marks a route that needs no access token, for OpenAPI and for the authentication
    (`opt["public"]`).
    """
    specs = {status: _spec(status, type_) for status, type_ in (responses or {}).items()}
    codes = dict(errors) if isinstance(errors, Mapping) else dict.fromkeys(errors, ())
    if 503 not in specs:
        codes[503] = tuple(dict.fromkeys((*codes.get(503, ()), "overloaded")))
    specs |= {status: _problem_spec(status, names) for status, names in codes.items()}
    examples = {status: _problem_examples(status, names) for status, names in codes.items()}
    if body is not None:
        specs[_BODY_STATUS] = ResponseSpec(body, generate_examples=False, media_type=body_media_type)
        examples[_BODY_STATUS] = _body_examples(example)
    headers = {status: dict(_HEADERS_OF_STATUS[status]) for status in codes if status in _HEADERS_OF_STATUS}
    for status, described in (response_headers or {}).items():
        headers[status] = headers.get(status, {}) | dict(described)
    additions = _Additions(body_required, tuple(parameters), frozenset(specs), headers, examples, public)
    operation = type("DocumentedOperation", (DocumentedOperation,), {"additions": additions})
    described_route: dict[str, Any] = {
        "operation_id": operation_id,
        "summary": summary,
        "description": description,
        "operation_class": operation,
        "responses": specs,
    }
    names = frozenset(parameter.name for parameter in additions.parameters if parameter.location == "query")
    return described_route | {"query_names": names} | ({"public": True} if public else {})


def _spec(status: int, type_: Any) -> ResponseSpec:
    return ResponseSpec(type_, generate_examples=False, description=HTTPStatus(status).description or _phrase(status))


def _problem_spec(status: int, codes: Sequence[str]) -> ResponseSpec:
    said = ", ".join(f"`{code}`" for code in codes)
    return ResponseSpec(
        Problem,
        generate_examples=False,
        description=f"{_phrase(status)}: {said}" if said else _phrase(status),
        media_type=PROBLEM_JSON,
    )


def _problem_examples(status: int, codes: Sequence[str]) -> dict[str, Example]:
    return {
        code: Example(
            value={
                "type": f"urn:taskmaster:problem:{code}",
                "title": _phrase(status),
                "status": status,
                "code": code,
                "detail": "…",
            }
        )
        for code in codes
    }


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase


def _body_examples(example: Any) -> dict[str, Example]:
    if example is None:
        return {}
    if isinstance(example, dict) and example and all(isinstance(value, Example) for value in example.values()):
        return example
    return {"example": Example(value=example)}


def _headers(described: Mapping[str, str]) -> dict[str, OpenAPIHeader]:
    return {name: OpenAPIHeader(schema=Schema(type=OpenAPIType.STRING), description=text) for name, text in described.items()}
