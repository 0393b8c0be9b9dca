"""Routes that read tasks: one task (now or as of any moment), lists, counts."""

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Final, get_args
from uuid import UUID

import msgspec
from litestar import get
from litestar.types import ASGIApp

from api.edge.answers import Answer
from api.edge.command_bodies import FINER_THAN_A_MICROSECOND
from api.edge.compression import VARY
from api.edge.cursors import CursorSigner, place_of
from api.edge.errors import BadRequest
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
    required_uuid,
    resources,
    task_id_of,
)
from api.openapi.documentation import HeaderParameter, QueryParameter, documented
from api.openapi.recurring import ID, MIN_POSITION, PREFER_WAIT, READ_ERRORS, X_POSITION
from domain.errors import InvalidValue, NotFound
from domain.task.refusals import no_such_task
from domain.task.values import Priority, Status
from infrastructure.log.loading import ANY_VERSION
from infrastructure.log.places import Place
from infrastructure.log.time_travel import Moment
from infrastructure.read_models.task_reads import Wait
from projections.tables.words import TERMS_MAX, terms
from projections.task.hot import PAGE_SIZE, HotPage
from projections.task.list import ListCursor, Sort, TaskQuery
from projections.task.views import TaskDetail, TaskSummary, detail_json

LIMIT_MAX: Final = 100
Instant = Annotated[datetime, msgspec.Meta(tz=True)]
LIST_PARAMETERS: Final = TaskQuery.__struct_fields__


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
                "An RFC 3339 instant (by when things happened), a position in the log, or a cursor of `changes`; none may "
                "lie in the future.",
            ),
            HeaderParameter("If-None-Match", str, "Answer 304 if the task is still at this ETag."),
        ],
        response_headers={200: X_POSITION | {"ETag": "The task's version."}},
    ),
)
async def get_task(request: AnyRequest) -> ASGIApp:
    """GET /tasks/{task_id}."""
    query = query_of(request, "min_position", "version", "as_of")
    task_id = task_id_of(request)
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
    moment, place = _moment(version, one(query, "as_of"))
    store = log_of(request).store
    past = await store.as_of(principal(request).workspace_id, task_id, moment)
    # Whose the task is comes before all else: what is not the asker's is not there, whatever was asked about it.
    if past is None:
        raise no_such_task()
    if place is not None:
        await store.require_place(place, "as_of")
    if (minimum := one(query, "min_position")) is not None:
        # The log itself is read, so whatever it has reached is in the answer.
        await store.require_place(place_of(minimum, "min_position"), "min_position")
    if moment.instant is not None and await store.is_in_the_future(moment.instant):
        detail = "as_of lies in the future: what will have happened by then is not known"
        raise InvalidValue("instant_in_the_future", detail, "as_of")
    if past.versions < version != ANY_VERSION:
        raise NotFound("version_not_found", f"the task has only {past.versions} versions", "version")
    if past.document is None:
        raise no_such_task()
    document = past.document
    return Answer(detail_json(document), document.position, 200, ((b"etag", b'"v%d"' % document.version),))


_PLACE_LIKE: Final = re.compile(r"[0-9]+(\.\w*)?", re.ASCII)


def _moment(version: int, as_of: str | None) -> tuple[Moment, Place | None]:
    if as_of is None:
        return Moment(version), None
    if _PLACE_LIKE.fullmatch(as_of):
        place = place_of(as_of, "as_of", " or an RFC 3339 instant with offset")
        return Moment(version, place.position), place
    return Moment(version, None, _instant("as_of", as_of, " or a position")), None


def _instant(name: str, text: str, otherwise: str = "") -> datetime:
    if FINER_THAN_A_MICROSECOND(text):
        raise BadRequest(400, "invalid_parameter", f"{name} has at most six digits after the second's point", name)
    try:
        # A plus sign that was not percent-encoded arrives as a space.
        moment = msgspec.convert(text.replace(" ", "+"), datetime)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (msgspec.ValidationError, OverflowError):
        pass
    detail = f"{name} takes an RFC 3339 instant with offset, such as 2027-01-31T17:00:00Z{otherwise}"
    raise BadRequest(400, "invalid_parameter", detail, name)


class TaskPage(msgspec.Struct, frozen=True):
    """A page of tasks; `next_cursor` leads to the next one, null on the last."""

    items: list[TaskSummary]
    next_cursor: str | None
    has_more: bool


def _filter(name: str, type_: object, text: str) -> QueryParameter:
    return QueryParameter(name, type_, text)


@get(
    "/tasks",
    **documented(
        operation_id="listTasks",
        summary="List tasks",
        description="By default in the order `-added`: what came into the log last comes first, imported tasks included; "
        "`-created` sorts by `created_at`. Filters are joined by AND; `status`, `priority` and `label` may be repeated "
        "(a task has one of the statuses and priorities, and all of the labels). " + BOUNDED,
        responses={200: TaskPage},
        errors=READ_ERRORS | {400: [*READ_ERRORS[400], "invalid_cursor"]},
        parameters=[
            _filter("status", list[Status], "Any of these statuses."),
            _filter("priority", list[Priority], "Any of these priorities."),
            _filter("label", list[str], "All of these labels."),
            _filter("assignee", UUID, "Assigned to this principal."),
            _filter("created_by", UUID, "Created by this principal: its owner."),
            _filter("due_from", Instant, "Due at or after."),
            _filter("due_before", Instant, "Due before."),
            _filter("created_from", Instant, "Created at or after."),
            _filter("created_before", Instant, "Created before."),
            _filter(
                "q",
                str,
                "Words in title, description or labels; all must occur. Parts of words count as words (of names with hyphens, "
                "dots or slashes, of paths, addresses and codes), the last one may be the beginning of one. Case and "
                "accents do not "
                "matter, and no sign has a meaning. "
                f"At most {TERMS_MAX} words.",
            ),
            _filter("deleted", bool, "true lists the deleted tasks."),
            _filter(
                "sort",
                Sort,
                "The order; `-` is descending, `-added` the default. `added`: the order in which tasks came into the log; "
                "`created`, `due`: by `created_at` and `due_at`; ties are in the order added. Tasks without the value come "
                "last.",
            ),
            _filter("limit", Annotated[int, msgspec.Meta(ge=1, le=LIMIT_MAX)], "Tasks on the page at the most, 20 by default."),
            _filter("cursor", str, "`next_cursor` of the page before; the other parameters must be the same."),
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
    query = query_of(request, *LIST_PARAMETERS, "limit", "cursor", "min_position")
    wait = await freshness(request, query)
    if query.keys() <= _DEFAULT_LIST:
        return await _first_page(request, wait)
    return await _page(request, query, wait)


async def _page(request: AnyRequest, query: dict[str, list[str]], wait: Wait) -> Answer:
    room = room_of(request, query, PAGE_SIZE, LIMIT_MAX)
    wanted = _task_query(query)
    user, signer = principal(request), _signer(request)
    bound = msgspec.msgpack.encode(wanted)
    cursor = one(query, "cursor")
    after = signer.read(user.workspace_id, bound, cursor) if cursor else None
    page = await log_of(request).reads.find(user.workspace_id, wanted, after, room, wait)
    following = signer.sign(user.workspace_id, bound, page.after) if page.after else None
    body = page_body(b"[" + b",".join(page.items) + b"]", following, following is not None)
    return Answer(body, page.position, 200, next_page(request.scope, following))


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


_REPEATABLE: Final = frozenset({"status", "priority", "label"})


def _task_query(query: dict[str, list[str]]) -> TaskQuery:
    found: dict[str, object] = {}
    for name in LIST_PARAMETERS:
        if name in _REPEATABLE:
            found[name] = query.get(name, [])
        elif (text := one(query, name)) is not None:
            found[name] = text
    if len(terms(str(found.get("q", "")))) > TERMS_MAX:
        raise BadRequest(400, "invalid_parameter", f"q takes up to {TERMS_MAX} words or parts of words", "q")
    for name in ("assignee", "created_by"):
        if isinstance(identifier := found.get(name), str):
            found[name] = required_uuid(identifier, name)
    for name in ("due_from", "due_before", "created_from", "created_before"):
        if isinstance(moment := found.get(name), str):
            found[name] = _instant(name, moment)
    try:
        return msgspec.convert(found, TaskQuery, strict=False)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$.")
        name = path.rstrip("`").split("[")[0]
        allowed = {"sort": get_args(Sort), "status": get_args(Status), "priority": get_args(Priority)}.get(name, ())
        hint = f"; one of {', '.join(allowed)}" if allowed else ""
        raise BadRequest(400, "invalid_parameter", f"{name}: {reason}{hint}", name) from None


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
        responses={200: TaskCounts},
        errors=READ_ERRORS,
        parameters=[MIN_POSITION, PREFER_WAIT],
        response_headers={200: X_POSITION},
    ),
)
async def count_tasks(request: AnyRequest) -> ASGIApp:
    """GET /tasks/counts."""
    query = query_of(request, "min_position")
    counts, position = await log_of(request).reads.counts(principal(request).workspace_id, await freshness(request, query))
    return Answer(msgspec.json.encode(msgspec.convert(counts, TaskCounts)), position)
