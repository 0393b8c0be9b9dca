"""Routes for auditors and synchronisers: a task's timeline, the workspace's changes."""

import re
from collections.abc import Callable
from time import monotonic
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import msgspec
from litestar import get
from litestar.types import ASGIApp

from api.edge.answers import Answer
from api.edge.authentication import may_wait
from api.edge.cursors import PLACE_PATTERN, place_of
from api.edge.errors import BadRequest
from api.edge.pages import BOUNDED, LINK, Query, freshness, next_page, page_body, preferred_wait, room_of
from api.edge.requests import AnyRequest, integer, log_of, one, principal, project_id_of, query_of, resources, task_id_of
from api.openapi.documentation import HeaderParameter, QueryParameter, documented
from api.openapi.moments import AS_OF, as_of, freshness_of, reflected
from api.openapi.recurring import ID, MIN_POSITION, PREFER_WAIT, PROJECT, READ_ERRORS, X_POSITION
from api.openapi.task_queries import PROJECT_PARAMETER, asked_project
from domain.errors import DomainError
from domain.project.refusals import no_such_project
from domain.task.refusals import no_such_task
from infrastructure.log.places import DIGITS, Place
from infrastructure.log.time_travel import Moment
from infrastructure.read_models.task_reads import Wait
from projections.engine.documents import Documents
from projections.feed.entries import HistoryEntry
from projections.feed.feed import ANY_VERSION, Entries
from projections.project.document import PROJECT_DOCUMENTS
from projections.tables.bounds import Room
from projections.tables.moments import AsOf
from projections.task.snapshots import TASK_DOCUMENTS
from projections.task.views import TaskDetail

LIMIT_MAX: Final = 1000
LIMIT: Final = QueryParameter(
    "limit", Annotated[int, msgspec.Meta(ge=1, le=LIMIT_MAX)], "Entries in the answer at the most, 100 by default."
)


class History(msgspec.Struct, frozen=True):
    """The events of a task or a project, oldest first. `next_cursor` is the `cursor` of the next answer, null when this was
    the last."""

    items: list[HistoryEntry]
    next_cursor: str | None
    has_more: bool


_STREAM_PARAMETERS: Final = (
    QueryParameter("after_version", Annotated[int, msgspec.Meta(ge=0)], "Only events after this version."),
    QueryParameter("cursor", str, "`next_cursor` of the answer before; takes the place of `after_version`."),
    LIMIT,
    AS_OF,
    MIN_POSITION,
    PREFER_WAIT,
)
_STREAM_ERRORS: Final = READ_ERRORS | {
    400: [*READ_ERRORS[400], "invalid_cursor"],
    422: [*READ_ERRORS[422], "instant_in_the_future"],
}
_TOLD: Final = (
    "Every event with who, when, why (`reason`), and each changed field before and after; with the event's hash in the "
    "stream's chain. "
)


@get(
    "/tasks/{task_id:str}/history",
    **documented(
        operation_id="getTaskHistory",
        summary="Read a task's history",
        description=_TOLD + BOUNDED,
        responses={200: History},
        errors=_STREAM_ERRORS | {404: ["task_not_found"]},
        parameters=[ID, *_STREAM_PARAMETERS],
        response_headers={200: X_POSITION | LINK},
    ),
)
async def get_history(request: AnyRequest) -> ASGIApp:
    """GET /tasks/{task_id}/history."""
    query = query_of(request, "after_version", "cursor", "limit", "as_of", "min_position")
    return await _history(request, query, (TASK_DOCUMENTS, await task_id_of(request)), no_such_task)


@get(
    "/projects/{project:str}/history",
    **documented(
        operation_id="getProjectHistory",
        summary="Read a project's history",
        description=f"{_TOLD}What happens to its tasks is in `changes`. {BOUNDED}",
        responses={200: History},
        errors=_STREAM_ERRORS | {404: ["project_not_found"]},
        parameters=[PROJECT, *_STREAM_PARAMETERS],
        response_headers={200: X_POSITION | LINK},
    ),
)
async def get_project_history(request: AnyRequest) -> ASGIApp:
    """GET /projects/{project}/history."""
    query = query_of(request, "after_version", "cursor", "limit", "as_of", "min_position")
    return await _history(request, query, (PROJECT_DOCUMENTS, await project_id_of(request)), no_such_project)


async def _history(
    request: AnyRequest, query: Query, named: tuple[Documents[Any], UUID], missing: Callable[[], DomainError]
) -> Answer:
    documents, stream_id = named
    room = room_of(request, query, 100, LIMIT_MAX)
    after = integer(query, "after_version", 0, 0)
    cursor = one(query, "cursor")
    if cursor is not None:
        after = _version_of(cursor)
    workspace, stream = principal(request).workspace_id, (documents.aggregate.name, stream_id)
    reads = log_of(request).reads
    moment = await as_of(request, query)
    wait = await freshness_of(request, query, moment)
    until = ANY_VERSION if moment is None else await _versions_by(request, documents, stream_id, moment)
    entries = await reads.history(workspace, stream, after, room, wait, until)
    if not entries.items and not (after and (await reads.history(workspace, stream, 0, Room(1), Wait(), until)).items):
        refusal = missing()
        refusal.position = entries.position
        raise refusal
    following = f"v{entries.last}" if entries.more else None
    body = page_body(b"[" + b",".join(entries.items) + b"]", following, entries.more)
    return Answer(body, reflected(moment, entries.position), 200, next_page(request.scope, following))


async def _versions_by(request: AnyRequest, documents: Documents[Any], stream_id: UUID, moment: AsOf) -> int:
    """How many events the stream had at the moment."""
    then = Moment(instant=moment.instant) if moment.instant else Moment(position=moment.position)
    past = await log_of(request).store.as_of(documents, principal(request).workspace_id, stream_id, then)
    return past.document.version if past and past.document else 0


def _version_of(cursor: str) -> int:
    if not _VERSION_CURSOR.fullmatch(cursor):
        detail = "the cursor does not come from a history; start without one"
        raise BadRequest(400, "invalid_cursor", detail, "cursor")
    return int(cursor[1:])


_VERSION_CURSOR: Final = re.compile(r"v[0-9]{1,18}", re.ASCII)


class ChangesEntry(HistoryEntry, frozen=True, kw_only=True):
    """An event of the workspace; with `include=task` also the task that it is about, never as it was before the event."""

    task: TaskDetail | msgspec.UnsetType = msgspec.UNSET


class Changes(msgspec.Struct, frozen=True):
    """What happened in the workspace, in order. `next_cursor` is the `after` of the next request, also when there is no
    more."""

    items: list[ChangesEntry]
    next_cursor: str
    has_more: bool


@get(
    "/changes",
    **documented(
        operation_id="getChanges",
        summary="Follow the workspace's changes",
        description="Every event of the workspace after a position: begin at 0, go on with `next_cursor`. Nothing is ever "
        "skipped, repeated or filled in later: each entry's `ordinal` is one more than that of the entry before it, from 1 on. "
        "Cursors never expire. A cursor knows the event it was given for: after "
        "the log "
        "was restored to an earlier state it is refused (409 `another_history`, 422 `position_in_the_future`) unless its event "
        "survived. Then drop what was read, read the lists again or start from 0, and follow from that answer's cursor. With "
        "`Prefer: wait=seconds` an answer without entries waits for some to come. With `project` it tells what happens to "
        "the project and in it; of a task that left it, only that. " + BOUNDED,
        responses={200: Changes},
        errors=READ_ERRORS | {404: ["project_not_found"]},
        parameters=[
            QueryParameter(
                "after",
                Annotated[str, msgspec.Meta(pattern=PLACE_PATTERN)],
                "Where to begin: a cursor of an answer before, or a position; 0 is the beginning.",
            ),
            QueryParameter(
                "include",
                Literal["task"],
                "`task`: each entry of a task carries it whole, as it is by then or later, never as it was before the entry; "
                "not the entries of tasks that left the `project` asked for.",
            ),
            PROJECT_PARAMETER,
            LIMIT,
            MIN_POSITION,
            HeaderParameter("Prefer", str, "`wait=seconds`: wait so long for entries where there are none yet (RFC 7240)."),
        ],
        response_headers={200: X_POSITION | LINK | {"Preference-Applied": "`wait=seconds`, where it was asked for."}},
    ),
)
async def get_changes(request: AnyRequest) -> ASGIApp:
    """GET /changes."""
    query = query_of(request, "after", "include", "project", "limit", "min_position")
    room = room_of(request, query, 100, LIMIT_MAX)
    started = one(query, "after")
    after = Place(0) if started is None else place_of(started, "after")
    with_tasks = one(query, "include")
    if with_tasks not in (None, "task"):
        raise BadRequest(400, "invalid_parameter", "include takes task", "include")
    project = await asked_project(request, query)
    seconds = preferred_wait(request, resources(request).settings.long_poll_seconds)
    entries = await _entries_or_news(request, query, (after, room, with_tasks is not None, project), seconds)
    # Without more, nothing else of this workspace lies up to where the read model stands.
    if entries.more:
        last = msgspec.json.decode(entries.items[-1], type=_Placed)
        following = Place(last.position, last.hash[:DIGITS])
    else:
        following = Place(max(after.position, entries.position), entries.digits)
    body = page_body(b"[" + b",".join(entries.items) + b"]", str(following), entries.more)
    headers = next_page(request.scope, str(following) if entries.more else None, "after")
    if seconds:
        headers += ((b"preference-applied", b"wait=%d" % seconds),)
    return Answer(body, entries.position, 200, headers)


async def _entries_or_news(
    request: AnyRequest, query: Query, wanted: tuple[Place, Room, bool, UUID | None], seconds: float
) -> Entries:
    after, room, with_tasks, project = wanted
    log, workspace = log_of(request), principal(request).workspace_id
    wait = await freshness(request, query)
    until = monotonic() + seconds
    if seconds:
        may_wait(request.scope, 0)
    while True:
        entries = await log.reads.changes(workspace, after, room, wait, with_tasks, project)
        left = until - monotonic()
        if entries.items or left <= 0 or resources(request).draining.begun:
            return entries
        if not await log.news.news(workspace, max(entries.position, after.position), left):
            return entries
        wait = Wait()


class _Placed(msgspec.Struct):
    position: int
    hash: str
