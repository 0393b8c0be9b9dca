"""Routes that read tasks: one task (now or as of any moment), lists, counts."""

from functools import lru_cache
from typing import Annotated, Final
from uuid import UUID

import msgspec
from litestar import get
from litestar.types import ASGIApp

from api.edge.answers import Answer
from api.edge.compression import VARY
from api.edge.cursors import CursorSigner, place_of
from api.edge.pages import BOUNDED, LINK, Headers, freshness, next_page, page_body, room_of
from api.edge.preconditions import matching_tag
from api.edge.requests import (
    AnyRequest,
    header,
    integer,
    log_of,
    one,
    principal,
    query_of,
    resources,
    task_id_of,
)
from api.openapi.documentation import HeaderParameter, QueryParameter, documented
from api.openapi.moments import AS_OF, INSTANT_IS, as_of, bound_by, freshness_of, moment_of_task, reflected, refuse_future
from api.openapi.recurring import ID, MIN_POSITION, PREFER_WAIT, READ_ERRORS, X_POSITION
from api.openapi.task_queries import (
    FILTER_PARAMETERS,
    LIST_PARAMETERS,
    PROJECT_PARAMETER,
    SORT_PARAMETER,
    asked_project,
    task_query,
)
from domain.errors import NotFound
from domain.task.refusals import no_such_task
from infrastructure.log.loading import ANY_VERSION
from infrastructure.read_models.task_reads import Wait
from projections.tables.moments import AsOf
from projections.tables.pages import ListCursor
from projections.task.hot import PAGE_SIZE, HotPage
from projections.task.list_as_of import NOW
from projections.task.list_query import TaskQuery
from projections.task.snapshots import TASK_DOCUMENTS
from projections.task.views import TaskDetail, TaskSummary, detail_json

LIMIT_MAX: Final = 100


@get(
    "/tasks/{task_id:str}",
    **documented(
        operation_id="getTask",
        summary="Read a task",
        description="As it is now, or as it was: at its own `version`, or `as_of` an instant or a global position. Deleted "
        "tasks are answered with `deleted: true`.",
        responses={200: TaskDetail},
        errors=READ_ERRORS | {404: ["task_not_found", "version_not_found"], 422: [*READ_ERRORS[422], "instant_in_the_future"]},
        parameters=[
            ID,
            MIN_POSITION,
            PREFER_WAIT,
            QueryParameter(
                "version",
                Annotated[int, msgspec.Meta(ge=1)],
                "The task as its event of this version left it.",
            ),
            QueryParameter(
                "as_of",
                str,
                f"A position in the log, a cursor of `changes`, or an RFC 3339 instant; none may lie in the future, and "
                f"{INSTANT_IS}.",
            ),
            HeaderParameter("If-None-Match", str, "Answer 304 if the task is still at this ETag."),
        ],
        response_headers={200: X_POSITION | {"ETag": "The task's version."}},
    ),
)
async def get_task(request: AnyRequest) -> ASGIApp:
    """GET /tasks/{task_id}."""
    query = query_of(request, "min_position", "version", "as_of")
    task_id = await task_id_of(request)
    if "version" in query or "as_of" in query:
        return await _task_as_of(request, task_id, query)
    found, position = await log_of(request).reads.task(
        principal(request).workspace_id, task_id, await freshness(request, query)
    )
    if found is None:
        raise no_such_task(position)
    version, body = found
    etag = b'"v%d"' % version
    if known := matching_tag(header(request, b"if-none-match"), etag.decode()):
        return Answer(b"", position, 304, ((b"etag", known.encode()), VARY))
    return Answer(body, position, 200, ((b"etag", etag),))


async def _task_as_of(request: AnyRequest, task_id: UUID, query: dict[str, list[str]]) -> Answer:
    version = integer(query, "version", ANY_VERSION, 1)
    moment, place = moment_of_task(version, one(query, "as_of"))
    store = log_of(request).store
    past = await store.as_of(TASK_DOCUMENTS, principal(request).workspace_id, task_id, moment)
    # Whose the task is comes before all else: what is not the asker's is not there, whatever was asked about it.
    if past is None:
        raise no_such_task()
    if place is not None:
        await store.require_place(place, "as_of")
    if (minimum := one(query, "min_position")) is not None:
        # The log itself is read, so whatever it has reached is in the answer.
        await store.require_place(place_of(minimum, "min_position"), "min_position")
    if moment.instant is not None:
        await refuse_future(request, moment.instant)
    if past.versions < version != ANY_VERSION:
        raise NotFound("version_not_found", f"the task has only {past.versions} versions", "version")
    if past.document is None:
        raise no_such_task()
    document = past.document
    return Answer(detail_json(document), document.position, 200, ((b"etag", b'"v%d"' % document.version),))


class TaskPage(msgspec.Struct, frozen=True):
    """A page of tasks; `next_cursor` leads to the next one, null on the last."""

    items: list[TaskSummary]
    next_cursor: str | None
    has_more: bool


@get(
    "/tasks",
    **documented(
        operation_id="listTasks",
        summary="List tasks",
        description="By default in the order `-added`: what came into the log last comes first, imported tasks included; "
        "`-created` sorts by `created_at`. Filters are joined by AND; `status`, `priority` and `label` may be repeated "
        "(a task has one of the statuses and priorities, and all of the labels). " + BOUNDED,
        responses={200: TaskPage},
        errors=READ_ERRORS
        | {
            400: [*READ_ERRORS[400], "invalid_cursor"],
            404: ["project_not_found"],
            422: [*READ_ERRORS[422], "instant_in_the_future"],
        },
        parameters=[
            *FILTER_PARAMETERS,
            SORT_PARAMETER,
            QueryParameter(
                "limit", Annotated[int, msgspec.Meta(ge=1, le=LIMIT_MAX)], "Tasks on the page at the most, 20 by default."
            ),
            QueryParameter("cursor", str, "`next_cursor` of the page before; the other parameters must be the same."),
            AS_OF,
            MIN_POSITION,
            PREFER_WAIT,
        ],
        response_headers={200: X_POSITION | LINK},
    ),
)
async def list_tasks(request: AnyRequest) -> ASGIApp:
    """GET /tasks."""
    if not request.scope["query_string"]:
        return await _first_page(request, Wait())
    query = query_of(request, *LIST_PARAMETERS, "limit", "cursor", "as_of", "min_position")
    if "as_of" in query:
        moment = await as_of(request, query)
        return await _page(request, query, await freshness_of(request, query, moment), moment)
    wait = await freshness(request, query)
    if query.keys() <= _DEFAULT_LIST:
        return await _first_page(request, wait)
    return await _page(request, query, wait)


async def _page(request: AnyRequest, query: dict[str, list[str]], wait: Wait, moment: AsOf | None = None) -> Answer:
    room = room_of(request, query, PAGE_SIZE, LIMIT_MAX)
    wanted = await task_query(request, query)
    user, signer = principal(request), _signer(request)
    bound = msgspec.msgpack.encode(wanted) + (bound_by(moment) if moment else b"")
    cursor = one(query, "cursor")
    after = signer.read(user.workspace_id, bound, cursor) if cursor else None
    page = await log_of(request).reads.find(user.workspace_id, wanted, after, room, wait, moment)
    following = signer.sign(user.workspace_id, bound, page.after) if page.after else None
    body = page_body(b"[" + b",".join(page.items) + b"]", following, following is not None)
    return Answer(body, reflected(moment, page.position), 200, next_page(request.scope, following))


_LIST_SCOPE: Final = {"path": "/api/v1/tasks", "query_string": b""}
_DEFAULT_LIST: Final = {"min_position"}
_DEFAULT_BOUND: Final = msgspec.msgpack.encode(TaskQuery())


async def _first_page(request: AnyRequest, wait: Wait) -> Answer:
    workspace = principal(request).workspace_id
    page = await log_of(request).reads.first_page(workspace, wait)
    if len(page.items) > resources(request).settings.max_answer_bytes:
        return await _page(request, {}, wait)
    body, headers = _first_page_body(_signer(request), workspace, page)
    return Answer(body, page.position, 200, headers)


@lru_cache(maxsize=256)
def _first_page_body(signer: CursorSigner, workspace: UUID, page: HotPage) -> tuple[bytes, Headers]:
    """Kept, because who asks at the same time gets the same page."""
    if page.last_created_position is None:
        return page_body(page.items, None, False), ()
    cursor = signer.sign(workspace, _DEFAULT_BOUND, ListCursor(None, page.last_created_position))
    return page_body(page.items, cursor, True), next_page(_LIST_SCOPE, cursor)


def _signer(request: AnyRequest) -> CursorSigner:
    signer: CursorSigner = request.app.state.cursors
    return signer


class TaskCounts(msgspec.Struct, frozen=True):
    """The workspace's tasks by status; deleted ones are counted apart only."""

    open: int = 0
    in_progress: int = 0
    completed: int = 0
    cancelled: int = 0
    deleted: int = 0


@get(
    "/tasks/counts",
    **documented(
        operation_id="countTasks",
        summary="Count tasks by status",
        description="Of the whole workspace, or of one project.",
        responses={200: TaskCounts},
        errors=READ_ERRORS | {404: ["project_not_found"], 422: [*READ_ERRORS[422], "instant_in_the_future"]},
        parameters=[PROJECT_PARAMETER, AS_OF, MIN_POSITION, PREFER_WAIT],
        response_headers={200: X_POSITION},
    ),
)
async def count_tasks(request: AnyRequest) -> ASGIApp:
    """GET /tasks/counts."""
    query = query_of(request, "project", "as_of", "min_position")
    project = await asked_project(request, query)
    moment = await as_of(request, query)
    wait = await freshness_of(request, query, moment)
    counts, position = await log_of(request).reads.counts(principal(request).workspace_id, wait, moment or NOW, project)
    return Answer(msgspec.json.encode(msgspec.convert(counts, TaskCounts)), reflected(moment, position))
