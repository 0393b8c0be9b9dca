"""The workspace's members: who tasks can be assigned to and whom histories name."""

from typing import Annotated, Final

import msgspec
from litestar import get
from litestar.types import ASGIApp

from api.edge.answers import Answer
from api.edge.errors import BadRequest
from api.edge.pages import next_page
from api.edge.requests import AnyRequest, integer, one, principal, query_of, resources, uuid_of
from api.openapi.documentation import QueryParameter, documented
from infrastructure.identity.members import Member, page_of_members

LIMIT_MAX: Final = 1000


class Members(msgspec.Struct, frozen=True):
    """A page of members by name; `next_cursor` leads to the next one, null on the last."""

    items: list[Member]
    next_cursor: str | None
    has_more: bool


@get(
    "/members",
    **documented(
        operation_id="listMembers",
        summary="List the workspace's members",
        description="The principals that tasks can be assigned to and that histories name, by name.",
        responses={200: Members},
        errors={400: ["invalid_parameter", "repeated_parameter", "invalid_cursor"]},
        parameters=[
            QueryParameter("limit", Annotated[int, msgspec.Meta(ge=1, le=LIMIT_MAX)], "Members on the page, 1000 by default."),
            QueryParameter("cursor", str, "`next_cursor` of the page before."),
        ],
        response_headers={200: {"Link": 'The next page, `rel="next"` (RFC 8288); absent on the last.'}},
    ),
)
async def list_members(request: AnyRequest) -> ASGIApp:
    """GET /members."""
    query = query_of(request, "limit", "cursor")
    limit, cursor = integer(query, "limit", LIMIT_MAX, 1, LIMIT_MAX), one(query, "cursor")
    after = None if cursor is None else uuid_of(cursor)
    if cursor is not None and after is None:
        raise _not_of_this_list()
    async with resources(request).accounts_pool.connection() as connection:
        found = await page_of_members(connection, principal(request).workspace_id, after, limit)
    if found is None:
        raise _not_of_this_list()
    members, more = found
    following = str(members[-1].principal_id) if more else None
    page = Members(members, following, more)
    return Answer(msgspec.json.encode(page), None, 200, next_page(request.scope, following))


def _not_of_this_list() -> BadRequest:
    return BadRequest(400, "invalid_cursor", "the cursor does not belong to this list; start from the first page", "cursor")
