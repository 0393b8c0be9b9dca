"""Routes that read projects: one project and the list, now or as of any moment."""

from typing import Annotated, Final

import msgspec
from litestar import get
from litestar.types import ASGIApp

from api.edge.answers import Answer
from api.edge.compression import VARY
from api.edge.cursors import CursorSigner
from api.edge.errors import BadRequest
from api.edge.pages import BOUNDED, LINK, Query, freshness, next_page, page_body, room_of
from api.edge.preconditions import matching_tag
from api.edge.requests import AnyRequest, header, log_of, one, principal, project_id_of, query_of
from api.openapi.documentation import HeaderParameter, QueryParameter, documented
from api.openapi.moments import AS_OF, as_of, bound_by, freshness_of, reflected
from api.openapi.recurring import MIN_POSITION, PREFER_WAIT, PROJECT, READ_ERRORS, X_POSITION
from domain.project.refusals import no_such_project
from infrastructure.log.time_travel import Moment
from infrastructure.read_models.project_reads import find_projects_as_of
from infrastructure.read_models.task_reads import Connection
from projections.project.document import PROJECT_DOCUMENTS
from projections.project.list import ProjectQuery, ProjectSort, find_projects, get_project
from projections.project.views import ProjectDetail, ProjectSummary, detail_json
from projections.tables.moments import AsOf
from projections.tables.pages import Page

LIMIT_DEFAULT: Final = 20
LIMIT_MAX: Final = 100
_READ_MODEL: Final = "project_list"


@get(
    "/projects/{project:str}",
    **documented(
        operation_id="getProject",
        summary="Read a project",
        description="As it is now, or `as_of` a position or an instant. Deleted projects are answered with `deleted: true`.",
        responses={200: ProjectDetail},
        errors=READ_ERRORS | {404: ["project_not_found"], 422: [*READ_ERRORS[422], "instant_in_the_future"]},
        parameters=[
            PROJECT,
            AS_OF,
            MIN_POSITION,
            PREFER_WAIT,
            HeaderParameter("If-None-Match", str, "Answer 304 if the project is still at this ETag."),
        ],
        response_headers={200: X_POSITION | {"ETag": "The project's version."}},
    ),
)
async def get_one_project(request: AnyRequest) -> ASGIApp:
    """GET /projects/{project}."""
    query = query_of(request, "as_of", "min_position")
    project_id = await project_id_of(request)
    workspace_id = principal(request).workspace_id
    moment = await as_of(request, query)
    if moment is not None:
        return await _project_as_of(request, query, moment)
    wait = await freshness(request, query)
    found = await log_of(request).reads.read(_READ_MODEL, lambda c: get_project(c, workspace_id, project_id), wait)
    if found.body is None:
        refusal = no_such_project()
        refusal.position = found.position
        raise refusal
    etag = b'"v%d"' % found.version
    if known := matching_tag(header(request, b"if-none-match"), etag.decode()):
        return Answer(b"", found.position, 304, ((b"etag", known.encode()), VARY))
    return Answer(found.body, found.position, 200, ((b"etag", etag),))


async def _project_as_of(request: AnyRequest, query: Query, moment: AsOf) -> Answer:
    await freshness(request, query)
    then = Moment(instant=moment.instant) if moment.instant else Moment(position=moment.position)
    workspace_id = principal(request).workspace_id
    past = await log_of(request).store.as_of(PROJECT_DOCUMENTS, workspace_id, await project_id_of(request), then)
    if past is None or past.document is None:
        raise no_such_project()
    document = past.document
    position = reflected(moment, document.position)
    return Answer(detail_json(document), position, 200, ((b"etag", b'"v%d"' % document.version),))


class ProjectPage(msgspec.Struct, frozen=True):
    """A page of projects; `next_cursor` leads to the next one, null on the last."""

    items: list[ProjectSummary]
    next_cursor: str | None
    has_more: bool


@get(
    "/projects",
    **documented(
        operation_id="listProjects",
        summary="List projects",
        description="Those that are not deleted, by key. " + BOUNDED,
        responses={200: ProjectPage},
        errors=READ_ERRORS | {400: [*READ_ERRORS[400], "invalid_cursor"], 422: [*READ_ERRORS[422], "instant_in_the_future"]},
        parameters=[
            QueryParameter("archived", bool, "true lists only archived projects, false only those that are not."),
            QueryParameter("deleted", bool, "true lists the deleted projects."),
            QueryParameter("sort", ProjectSort, "By key (the default) or as they came into the log; `-`: descending."),
            QueryParameter(
                "limit", Annotated[int, msgspec.Meta(ge=1, le=LIMIT_MAX)], f"Projects at the most, {LIMIT_DEFAULT} by default."
            ),
            QueryParameter("cursor", str, "`next_cursor` of the page before; the other parameters must be the same."),
            AS_OF,
            MIN_POSITION,
            PREFER_WAIT,
        ],
        response_headers={200: X_POSITION | LINK},
    ),
)
async def list_projects(request: AnyRequest) -> ASGIApp:
    """GET /projects."""
    query = query_of(request, *ProjectQuery.__struct_fields__, "limit", "cursor", "as_of", "min_position")
    wanted = _project_query(query)
    moment = await as_of(request, query)
    wait = await freshness_of(request, query, moment)
    room = room_of(request, query, LIMIT_DEFAULT, LIMIT_MAX)
    workspace_id = principal(request).workspace_id
    signer: CursorSigner = request.app.state.cursors
    bound = b"projects" + msgspec.msgpack.encode(wanted) + (bound_by(moment) if moment else b"")
    cursor = one(query, "cursor")
    after = signer.read(workspace_id, bound, cursor) if cursor else None

    async def ask(connection: Connection) -> Page:
        if moment is not None:
            return await find_projects_as_of(connection, workspace_id, wanted, after, room, moment)
        return await find_projects(connection, workspace_id, wanted, after, room)

    page = await log_of(request).reads.read(_READ_MODEL, ask, wait)
    following = signer.sign(workspace_id, bound, page.after) if page.after else None
    body = page_body(b"[" + b",".join(page.items) + b"]", following, following is not None)
    return Answer(body, reflected(moment, page.position), 200, next_page(request.scope, following))


def _project_query(query: Query) -> ProjectQuery:
    found = {name: text for name in ProjectQuery.__struct_fields__ if (text := one(query, name)) is not None}
    try:
        return msgspec.convert(found, ProjectQuery, strict=False)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$.")
        name = path.rstrip("`")
        hint = "; one of key, -key, added, -added" if name == "sort" else ""
        raise BadRequest(400, "invalid_parameter", f"{name}: {reason}{hint}", name) from None
