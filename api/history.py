"""Routes for auditors and synchronisers: a task's timeline, the workspace's changes."""

from typing import Annotated, Final

import msgspec
from litestar import get
from litestar.types import ASGIApp

from api.answers import Answer
from api.documentation import QueryParameter, documented
from api.requests import AnyRequest, integer, log_of, principal, query_of, task_id_of, wait_of
from api.task_commands import ID
from api.tasks import MIN_POSITION, PREFER_WAIT, READ_ERRORS, X_POSITION
from domain.errors import no_such_task
from projections.task_history import Entries, HistoryEntry

LIMIT_MAX: Final = 1000
LIMIT: Final = QueryParameter(
    "limit", Annotated[int, msgspec.Meta(ge=1, le=LIMIT_MAX)], "Entries in the answer, 100 by default."
)


class History(msgspec.Struct, frozen=True):
    """A task's events, oldest first. `next_after` is the `after_version` of the next answer, null when this was the last."""

    items: list[HistoryEntry]
    next_after: int | None


@get(
    "/tasks/{task_id:str}/history",
    **documented(
        operation_id="getTaskHistory",
        summary="Read a task's history",
        description="Every event with who, when, why (`reason`), and each changed field before and after; with the event's "
        "hash in the task's chain.",
        responses={200: History},
        errors=READ_ERRORS | {404: ["task_not_found"]},
        parameters=[
            ID,
            QueryParameter("after_version", Annotated[int, msgspec.Meta(ge=0)], "Only events after this version."),
            LIMIT,
            MIN_POSITION,
            PREFER_WAIT,
        ],
        response_headers={200: X_POSITION},
    ),
)
async def get_history(request: AnyRequest) -> ASGIApp:
    """GET /tasks/{task_id}/history."""
    query = query_of(request, "after_version", "limit", "min_position")
    limit = integer(query, "limit", 100, 1, LIMIT_MAX)
    after = integer(query, "after_version", 0, 0)
    workspace, task_id = principal(request).workspace_id, task_id_of(request)
    reads = log_of(request).reads
    entries = await reads.history(workspace, task_id, after, limit + 1, wait_of(request, query))
    if not entries.items and not (after and (await reads.history(workspace, task_id, 0, 1, wait_of(request, {}))).items):
        raise no_such_task()
    if len(entries.items) > limit:
        return _entries_answer(entries, limit, after + limit)
    return _entries_answer(entries, limit, None)


class Changes(msgspec.Struct, frozen=True):
    """What happened in the workspace, in order. `next_after` is the `after` of the next request, also when there is no more."""

    items: list[HistoryEntry]
    next_after: int
    has_more: bool


@get(
    "/changes",
    **documented(
        operation_id="getChanges",
        summary="Follow the workspace's changes",
        description="Every event of the workspace after a position: begin at 0, go on with `next_after`. Nothing is ever "
        "skipped, repeated or filled in later, and positions never expire.",
        responses={200: Changes},
        errors=READ_ERRORS,
        parameters=[
            QueryParameter("after", Annotated[int, msgspec.Meta(ge=0)], "The position after which to begin."),
            LIMIT,
            MIN_POSITION,
            PREFER_WAIT,
        ],
        response_headers={200: X_POSITION},
    ),
)
async def get_changes(request: AnyRequest) -> ASGIApp:
    """GET /changes."""
    query = query_of(request, "after", "limit", "min_position")
    limit = integer(query, "limit", 100, 1, LIMIT_MAX)
    after = integer(query, "after", 0, 0)
    entries = await log_of(request).reads.changes(principal(request).workspace_id, after, limit + 1, wait_of(request, query))
    more = len(entries.items) > limit
    if more:
        following = msgspec.json.decode(entries.items[limit - 1], type=_Positioned).position
    else:
        # Nothing else of this workspace lies up to where the read model stands.
        following = max(after, entries.position)
    body = b'{"items":[%s],"next_after":%d,"has_more":%s}' % (
        b",".join(entries.items[:limit]),
        following,
        b"true" if more else b"false",
    )
    return Answer(body, entries.position)


class _Positioned(msgspec.Struct):
    position: int


def _entries_answer(entries: Entries, limit: int, following: int | None) -> Answer:
    after = b"null" if following is None else b"%d" % following
    return Answer(b'{"items":[%s],"next_after":%s}' % (b",".join(entries.items[:limit]), after), entries.position)
