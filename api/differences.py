"""The route that says what became of a list between two moments."""

from typing import Annotated, Final

import msgspec
from litestar import get
from litestar.types import ASGIApp

from api.edge.answers import Answer
from api.edge.cursors import CursorSigner
from api.edge.errors import BadRequest
from api.edge.pages import BOUNDED, LINK, Query, next_page, page_body, room_of
from api.edge.requests import AnyRequest, log_of, one, principal, query_of
from api.openapi.documentation import QueryParameter, documented
from api.openapi.moments import INSTANT_IS, as_of, bound_by, freshness_of, reflected
from api.openapi.recurring import PREFER_WAIT, READ_ERRORS, X_POSITION
from api.openapi.task_queries import FILTER_NAMES, FILTER_PARAMETERS, task_query
from infrastructure.read_models.diff_reads import TaskDifference
from projections.tables.moments import AsOf
from projections.tables.pages import ListCursor
from projections.task.list_diff import Side
from projections.task.list_query import TaskQuery

LIMIT_MAX: Final = 100
LIMIT_DEFAULT: Final = 20
_TO: Final = "to_"


class TaskDifferences(msgspec.Struct, frozen=True):
    """What became of a list, in the order in which the tasks came into the log."""

    items: list[TaskDifference]
    next_cursor: str | None
    has_more: bool


def _end(name: str, text: str) -> QueryParameter:
    return QueryParameter(name, str, f"{text}: a position in the log, a cursor of `changes`, or an RFC 3339 instant.", True)


@get(
    "/tasks/diff",
    **documented(
        operation_id="diffTasks",
        summary="Compare a list at two moments",
        description="Which tasks entered a list, left it, or are on both and changed, between `from` and `to`, with each field "
        "before and after. Filters choose the list as in `listTasks`; each of them with `to_` before its name replaces it at "
        "`to` (empty: it is not asked for there), so that two lists can be compared: `status=open&to_status=completed`. "
        f"Neither moment may lie in the future, nor `from` after `to`; {INSTANT_IS}. " + BOUNDED,
        responses={200: TaskDifferences},
        errors=READ_ERRORS
        | {
            400: [*READ_ERRORS[400], "invalid_cursor"],
            404: ["project_not_found"],
            422: [*READ_ERRORS[422], "instant_in_the_future"],
        },
        parameters=[
            _end("from", "The earlier moment"),
            _end("to", "The later moment"),
            *FILTER_PARAMETERS,
            *(
                QueryParameter(_TO + each.name, each.type, f"In the place of `{each.name}` at `to`; empty for none.")
                for each in FILTER_PARAMETERS
            ),
            QueryParameter(
                "limit", Annotated[int, msgspec.Meta(ge=1, le=LIMIT_MAX)], f"Tasks at the most, {LIMIT_DEFAULT} by default."
            ),
            QueryParameter("cursor", str, "`next_cursor` of the page before; the other parameters must be the same."),
            PREFER_WAIT,
        ],
        response_headers={200: X_POSITION | LINK},
    ),
)
async def diff_tasks(request: AnyRequest) -> ASGIApp:
    """GET /tasks/diff."""
    query = query_of(request, "from", "to", *FILTER_NAMES, *(_TO + name for name in FILTER_NAMES), "limit", "cursor")
    room = room_of(request, query, LIMIT_DEFAULT, LIMIT_MAX)
    sides = await _sides(request, query)
    first, last = sides
    user = principal(request)
    signer: CursorSigner = request.app.state.cursors
    bound = msgspec.msgpack.encode([first.query, last.query]) + bound_by(first.as_of, last.as_of)
    cursor = one(query, "cursor")
    after = signer.read(user.workspace_id, bound, cursor).created_position if cursor else 0
    wait = await freshness_of(request, {}, first.as_of, last.as_of)
    found = await log_of(request).reads.differences(user.workspace_id, sides, after, room, wait)
    following = None if found.after is None else signer.sign(user.workspace_id, bound, ListCursor(None, found.after))
    body = page_body(b"[" + b",".join(found.items) + b"]", following, following is not None)
    return Answer(body, reflected(last.as_of, found.position), 200, next_page(request.scope, following))


async def _sides(request: AnyRequest, query: Query) -> tuple[Side, Side]:
    first, last = await _moment(request, query, "from"), await _moment(request, query, "to")
    if _is_after(first, last):
        raise BadRequest(400, "invalid_parameter", "from may not lie after to", "from")
    plain = {name: values for name, values in query.items() if name in FILTER_NAMES}
    other = dict(plain)
    for name in FILTER_NAMES:
        values = query.get(_TO + name)
        if values == [""]:
            other.pop(name, None)
        elif values is not None:
            other[name] = values
    return Side(await task_query(request, plain), first), Side(await _at_the_end(request, other, query), last)


async def _at_the_end(request: AnyRequest, wanted: Query, query: Query) -> TaskQuery:
    """The other list. What is wrong with it is named as it was given."""
    try:
        return await task_query(request, wanted)
    except BadRequest as error:
        name = error.pointer or ""
        if _TO + name not in query:
            raise
        raise BadRequest(error.status, error.code, f"{_TO}{error.detail}", _TO + name) from None


async def _moment(request: AnyRequest, query: Query, name: str) -> AsOf:
    found = await as_of(request, query, name)
    if found is None:
        raise BadRequest(400, "invalid_parameter", f"{name} is needed: a position in the log or an RFC 3339 instant", name)
    return found


def _is_after(first: AsOf, last: AsOf) -> bool:
    if first.instant and last.instant:
        return first.instant > last.instant
    return first.position > last.position
