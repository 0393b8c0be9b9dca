"""The workspace's members: who tasks can be assigned to and whom histories name."""

from typing import Annotated, Final
from uuid import UUID

import msgspec
from litestar import get
from litestar.types import ASGIApp

from api.edge.answers import Answer
from api.edge.errors import BadRequest
from api.edge.pages import next_page
from api.edge.requests import AnyRequest, integer, one, principal, query_of, resources, uuid_of
from api.openapi.documentation import QueryParameter, documented

LIMIT_MAX: Final = 1000


class Member(msgspec.Struct, frozen=True):
    """Somebody in the workspace. Imported members stand for people named in imported histories; they cannot log in."""

    principal_id: UUID
    display_name: str
    role: str


class Members(msgspec.Struct, frozen=True):
    """A page of members by name; `next_cursor` leads to the next one, null on the last."""

    items: list[Member]
    next_cursor: str | None
    has_more: bool


# A name that is changed while somebody turns pages moves its member, as in any list that is ordered by it.
_PAGE: Final = """
SELECT principal_id, display_name, role FROM members
WHERE workspace_id = %(workspace)s
  AND (%(after)s::uuid IS NULL OR (display_name, principal_id) >
       (SELECT display_name, principal_id FROM members WHERE workspace_id = %(workspace)s AND principal_id = %(after)s))
ORDER BY display_name, principal_id LIMIT %(limit)s
"""

_IS_MEMBER: Final = "SELECT 1 FROM members WHERE workspace_id = %(workspace)s AND principal_id = %(after)s"


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
    named = {"workspace": principal(request).workspace_id, "after": after, "limit": limit + 1}
    async with resources(request).accounts_pool.connection() as connection:
        members = [Member(*row) for row in await (await connection.execute(_PAGE, named)).fetchall()]
        # Behind somebody who is not here nothing would ever come: that must not pass for the end of the list.
        if after and not members and not await (await connection.execute(_IS_MEMBER, named)).fetchone():
            raise _not_of_this_list()
    more = len(members) > limit
    following = str(members[limit - 1].principal_id) if more else None
    page = Members(members[:limit], following, more)
    return Answer(msgspec.json.encode(page), None, 200, next_page(request.scope, following))


def _not_of_this_list() -> BadRequest:
    return BadRequest(400, "invalid_cursor", "the cursor does not belong to this list; start from the first page", "cursor")
