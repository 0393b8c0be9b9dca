"""Routes that change one project: one row a command."""

from typing import Any, Final

from litestar import delete, patch, post
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp
from uuid_utils.compat import uuid7

from api.edge.answers import Answer, receipt_answer
from api.edge.body import read_body
from api.edge.command_bodies import decode_command
from api.edge.requests import AnyRequest, command_context, log_of, project_id_of, resources
from api.openapi.documentation import documented
from api.openapi.recurring import COMMAND_ERRORS, CORRELATION, IF_MATCH, KEY, PREFER_STRICT, PROJECT, RECEIPT_HEADERS
from application.receipts import ReceiptBody
from domain.project.commands import (
    ArchiveProject,
    ChangeProject,
    CreateProject,
    DeleteProject,
    ProjectCommand,
    RestoreProject,
    UnarchiveProject,
)

REFUSALS: Final = COMMAND_ERRORS | {
    404: ["project_not_found"],
    409: ["project_deleted", "key_taken", "contention"],
    412: ["precondition_failed", "no_such_version"],
    422: ["text_empty", "text_too_long", "control_character", "key_invalid", "idempotency_key_reused"],
}
_WITHOUT_FIELDS: Final = frozenset({ArchiveProject, UnarchiveProject, DeleteProject, RestoreProject})


@post(
    "/projects",
    **documented(
        operation_id="createProject",
        summary="Create a project",
        description="Its key is unique in the workspace for ever: one that another project has or ever had is refused (409 "
        "`key_taken`). A client may choose the id itself, as `project_id`.",
        body=CreateProject,
        example={"key": "PRJ", "name": "The annual report"},
        responses={201: ReceiptBody},
        errors=COMMAND_ERRORS
        | {409: ["project_exists", "key_taken", "contention"], 422: [*REFUSALS[422], "project_id_invalid"]},
        parameters=[KEY, CORRELATION],
        response_headers={201: RECEIPT_HEADERS | {"Location": "The project."}},
    ),
)
async def create_project(request: AnyRequest) -> ASGIApp:
    """POST /projects."""
    body = await read_body(request, resources(request).settings.max_body_bytes)
    command = decode_command(body, CreateProject)
    project_id = command.project_id or uuid7()
    receipt = await log_of(request).projects.handle(command, project_id, command_context(request, body))
    return receipt_answer(receipt, "projects")


async def _issue(request: AnyRequest, kind: type[ProjectCommand]) -> Answer:
    optional = kind in _WITHOUT_FIELDS
    body = await read_body(request, resources(request).settings.max_body_bytes, optional)
    command = decode_command(b"{}" if optional and not body else body, kind)
    context = command_context(request, body)
    return receipt_answer(await log_of(request).projects.handle(command, await project_id_of(request), context), "projects")


@patch(
    "/projects/{project:str}",
    **documented(
        operation_id="changeProject",
        summary="Change several fields of a project",
        description="Fields that are left out stay as they are. A former key goes on leading to the project, and to its tasks.",
        body=ChangeProject,
        body_media_type=("application/json", "application/merge-patch+json"),
        example={"key": "REPORT", "description": "Due in March."},
        responses={200: ReceiptBody},
        errors=REFUSALS,
        parameters=[PROJECT, KEY, IF_MATCH, PREFER_STRICT, CORRELATION],
        response_headers={200: RECEIPT_HEADERS, 415: {"Accept-Patch": "The media types that a PATCH may have."}},
    ),
)
async def change_project(request: AnyRequest) -> ASGIApp:
    """PATCH /projects/{project}."""
    return await _issue(request, ChangeProject)


@delete(
    "/projects/{project:str}",
    status_code=200,
    **documented(
        operation_id="deleteProject",
        summary="Delete a project",
        description="Its tasks stay as they are and take no commands; `restore` brings it back. Deleting a deleted project "
        "changes nothing.",
        body=DeleteProject,
        body_required=False,
        example={"reason": "never begun"},
        responses={200: ReceiptBody},
        errors=REFUSALS,
        parameters=[PROJECT, KEY, IF_MATCH, PREFER_STRICT, CORRELATION],
        response_headers={200: RECEIPT_HEADERS},
    ),
)
async def delete_project(request: AnyRequest) -> ASGIApp:
    """DELETE /projects/{project}."""
    return await _issue(request, DeleteProject)


def _command_route(verb: str, kind: type[ProjectCommand], summary: str, example: dict[str, Any]) -> HTTPRouteHandler:
    async def issue(request: AnyRequest) -> ASGIApp:
        return await _issue(request, kind)

    return post(
        f"/projects/{{project:str}}/{verb}",
        status_code=200,
        name=f"{verb}-project",
        **documented(
            operation_id=f"{verb}Project",
            summary=summary,
            body=kind,
            body_required=False,
            example=example,
            responses={200: ReceiptBody},
            errors=REFUSALS,
            parameters=[PROJECT, KEY, IF_MATCH, PREFER_STRICT, CORRELATION],
            response_headers={200: RECEIPT_HEADERS},
        ),
    )(issue)


PROJECT_COMMAND_ROUTES: Final = [
    create_project,
    change_project,
    delete_project,
    _command_route("archive", ArchiveProject, "Archive a project: its tasks take no commands", {"reason": "finished"}),
    _command_route("unarchive", UnarchiveProject, "Take an archived project up again", {}),
    _command_route("restore", RestoreProject, "Restore a deleted project", {}),
]
