"""What each route says of itself for the OpenAPI description, declared beside it.

Handlers take the raw `Request` and decode what they need themselves, so nothing can be read off their signatures; `documented`
says it::

    @post("/tasks", **documented(
        operation_id="createTask", summary="Create a task", description="In the principal's workspace.",
        body=CreateTask, example={"title": "Write the report"},
        responses={201: Receipt}, errors={409: ["stream_conflict"], 422: ["title_empty"]},
        parameters=[HeaderParameter("Idempotency-Key", str, "Makes a retry safe.")],
    ))
    async def create_task(request: Request) -> Response[Receipt]: …

What every route answers (`shared_errors`, `HEADERS`) stands here once and is added by itself.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Final, Literal, Self

import msgspec

from api.edge.errors import EDGE_CODES

DOCUMENTATION: Final = "documentation"
"""The name under which a route's options hold its `Documentation`."""

Count = Annotated[int, msgspec.Meta(ge=0)]


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


class QueryParameter(Parameter):
    """A parameter in the query string."""

    location = "query"


class HeaderParameter(Parameter):
    """A parameter in a request header."""

    location = "header"


class PathParameter(Parameter):
    """A parameter in the path."""

    location = "path"


class CookieParameter(Parameter):
    """A parameter in a cookie."""

    location = "cookie"


@dataclass(frozen=True)
class Header:
    """A response header: its type and what it says, unless a route says more."""

    type: Any
    description: str


HEADERS: Final[Mapping[str, Header]] = {
    "X-Request-Id": Header(str, "Names this request in the logs; the client's own, if it sent one that can be used."),
    "X-Position": Header(Count, "The position that this answer reflects."),
    "ETag": Header(
        Annotated[str, msgspec.Meta(pattern='^"v[0-9]+(-gzip|-br)?"$')],
        "The task's version, and its compressed form.",
    ),
    "Location": Header(str, "Where the new resource is."),
    "Link": Header(str, 'The next page, as `<…>; rel="next"`; absent on the last.'),
    "Set-Cookie": Header(str, "A cookie."),
    "Idempotency-Replayed": Header(bool, "`true` where the key brought back an earlier receipt."),
    "Retry-After": Header(Count, "Seconds after which asking again makes sense."),
    "RateLimit": Header(
        str, "What is left of the tightest limit, and when all of it is back; absent where nothing is counted."
    ),
    "RateLimit-Policy": Header(str, "The limit that this is, as draft-ietf-httpapi-ratelimit-headers-11 writes it."),
    "WWW-Authenticate": Header(str, "`Bearer`, with an `error` once a token was presented (RFC 6750)."),
    "Preference-Applied": Header(str, "Which preference of `Prefer` was followed (RFC 7240)."),
    "Accept-Patch": Header(str, "The media types that a PATCH may have."),
}
_EVERYWHERE: Final = ("X-Request-Id", "RateLimit", "RateLimit-Policy")
_OF_STATUS: Final[Mapping[int, tuple[str, ...]]] = {
    401: ("WWW-Authenticate",),
    429: ("Retry-After",),
    503: ("Retry-After",),
}

Codes = Mapping[int, Sequence[str]]

_ANY: Final[Codes] = {**EDGE_CODES, 503: ("unavailable", "overloaded")}
_WITH_TOKEN: Final[Codes] = {401: ("missing_token", "invalid_token", "token_expired", "session_revoked")}
_WITH_BODY: Final[Codes] = {
    400: ("malformed_json", "invalid_body", "repeated_member", "too_deep", "text_not_storable", "number_out_of_range"),
    413: ("body_too_large",),
    415: ("unsupported_media_type",),
}


@dataclass(frozen=True, kw_only=True)
class Documentation:
    """What a route says of itself; see `documented`."""

    operation_id: str
    summary: str
    description: str
    body: Any = None
    examples: Mapping[str, Any] = field(default_factory=dict)
    body_required: bool = True
    body_media_types: Sequence[str] = ("application/json",)
    responses: Mapping[int, Any] = field(default_factory=dict)
    errors: Codes = field(default_factory=dict)
    parameters: Sequence[Parameter] = ()
    response_headers: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    public: bool = False

    def __deepcopy__(self, _: object) -> Self:
        """Itself: Litestar copies routers whole, msgspec's bounds cannot be copied, and a value need not be."""
        return self

    def all_errors(self) -> dict[int, list[str]]:
        """The codes that come with each status, its own first, then those of all routes."""
        # A method that a path has not is no operation of it, and a path without a parameter is always found.
        never = {405} if any(parameter.location == "path" for parameter in self.parameters) else {404, 405}
        found: dict[int, list[str]] = {}
        shared = [_ANY, {} if self.public else _WITH_TOKEN, {} if self.body is None else _WITH_BODY]
        for codes in (self.errors, *shared):
            for status, names in codes.items():
                if status not in self.responses and (codes is not _ANY or status not in never):
                    known = found.setdefault(status, [])
                    known += [name for name in names if name not in known]
        return dict(sorted(found.items()))

    def headers(self, status: int) -> dict[str, str]:
        """The names of the headers that come with a status, and what they say."""
        names = (*_EVERYWHERE, *_OF_STATUS.get(status, ()))
        return {name: HEADERS[name].description for name in names} | dict(self.response_headers.get(status, {}))


def documented(  # noqa: PLR0913 (all by name, most left out)
    *,
    operation_id: str,
    summary: str,
    description: str | None = None,
    body: Any = None,
    example: Any = None,
    examples: Mapping[str, Any] | None = None,
    body_required: bool = True,
    body_media_type: str | Sequence[str] = "application/json",
    responses: Mapping[int, Any] | None = None,
    errors: Codes | None = None,
    parameters: Iterable[Parameter] = (),
    response_headers: Mapping[int, Mapping[str, str]] | None = None,
    public: bool = False,
) -> dict[str, Any]:
    """Keyword arguments for a Litestar route decorator.

    `body` and the values of `responses` (by status, None for no content) become components. `example` is one
    JSON value for the body, `examples` are several by name. `errors` is a mapping from
    status to the codes that come with it, beyond those of every route. `response_headers` is a mapping from status to names
    (of `HEADERS`) to descriptions. `public` marks a route that needs no access token, for OpenAPI and for the authentication
    (`opt["public"]`).
    """
    said = Documentation(
        operation_id=operation_id,
        summary=summary,
        description=description or f"{summary}.",
        body=body,
        examples=examples or ({} if example is None else {"example": example}),
        body_required=body_required,
        body_media_types=(body_media_type,) if isinstance(body_media_type, str) else body_media_type,
        responses=responses or {},
        errors=errors or {},
        parameters=tuple(parameters),
        response_headers=response_headers or {},
        public=public,
    )
    names = frozenset(parameter.name for parameter in said.parameters if parameter.location == "query")
    return {DOCUMENTATION: said, "query_names": names} | ({"public": True} if public else {})
