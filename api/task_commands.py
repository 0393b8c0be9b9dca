"""Routes that change one task: one row a command."""

from typing import Any, Final

from litestar import delete, patch, post
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp
from uuid_utils.compat import uuid7

from api.edge.answers import Answer, receipt_answer
from api.edge.body import read_body
from api.edge.command_bodies import decode_command
from api.edge.requests import AnyRequest, command_context, log_of, resources, task_id_of
from api.openapi.documentation import documented
from api.openapi.recurring import COMMAND_ERRORS, CORRELATION, ID, IF_MATCH, KEY, PREFER_STRICT, RECEIPT_HEADERS, SOMEBODY
from application.receipts import ReceiptBody
from domain.task.commands import (
    AddLabel,
    AssignTask,
    CancelTask,
    ChangeTask,
    ClearDueDate,
    CompleteTask,
    CreateTask,
    DeleteTask,
    DescribeTask,
    LogActivity,
    MoveTask,
    ReassignTask,
    RemoveLabel,
    RenameTask,
    ReopenTask,
    RestoreTask,
    SetDueDate,
    SetPriority,
    StartTask,
    StopTask,
    TaskCommand,
    UnassignTask,
)

REFUSALS: Final = COMMAND_ERRORS | {
    404: ["task_not_found", "project_not_found"],
    409: ["task_deleted", "task_closed", "project_archived", "project_deleted", "labels_full", "assignees_full", "contention"],
    412: ["precondition_failed", "no_such_version"],
    422: [
        "text_empty",
        "text_too_long",
        "control_character",
        "due_at_out_of_range",
        "repeated_item",
        "unknown_assignee",
        "idempotency_key_reused",
    ],
}


@post(
    "/tasks",
    **documented(
        operation_id="createTask",
        summary="Create a task",
        description="Creates a task in the principal's workspace. A client may choose the id itself, as `task_id`, so that it "
        "can go on with the task before this answer is there; an id that is taken is refused (409), whoever took it.",
        body=CreateTask,
        example={"title": "Write the quarterly report", "priority": "high", "labels": ["finance"]},
        responses={201: ReceiptBody},
        errors=COMMAND_ERRORS
        | {
            404: ["project_not_found"],
            409: ["task_exists", "project_archived", "project_deleted", "contention"],
            422: [*REFUSALS[422], "task_id_invalid"],
        },
        parameters=[KEY, CORRELATION],
        response_headers={201: RECEIPT_HEADERS | {"Location": "The task."}},
    ),
)
async def create_task(request: AnyRequest) -> ASGIApp:
    """POST /tasks."""
    body = await read_body(request, resources(request).settings.max_body_bytes)
    command = decode_command(body, CreateTask)
    task_id = command.task_id or uuid7()
    receipt = await log_of(request).handler.handle(command, task_id, command_context(request, body))
    return receipt_answer(receipt, "tasks")


async def _issue(request: AnyRequest, kind: type[TaskCommand]) -> Answer:
    optional = kind in _WITHOUT_FIELDS
    body = await read_body(request, resources(request).settings.max_body_bytes, optional)
    command = decode_command(b"{}" if optional and not body else body, kind)
    context = command_context(request, body)
    return receipt_answer(await log_of(request).handler.handle(command, await task_id_of(request), context), "tasks")


_WITHOUT_FIELDS: Final = frozenset(
    {StartTask, StopTask, CompleteTask, ReopenTask, CancelTask, RestoreTask, DeleteTask, ClearDueDate}
)


@patch(
    "/tasks/{task_id:str}",
    **documented(
        operation_id="changeTask",
        summary="Change several fields of a task",
        description="Fields that are left out stay as they are; `due_at: null` clears the due date. Becomes one event a "
        "changed field, all or none; what changes nothing is not recorded.",
        body=ChangeTask,
        body_media_type=("application/json", "application/merge-patch+json"),
        example={"title": "Write the annual report", "due_at": "2027-01-31T17:00:00Z"},
        responses={200: ReceiptBody},
        errors=REFUSALS,
        parameters=[ID, KEY, IF_MATCH, PREFER_STRICT, CORRELATION],
        response_headers={200: RECEIPT_HEADERS, 415: {"Accept-Patch": "The media types that a PATCH may have."}},
    ),
)
async def change_task(request: AnyRequest) -> ASGIApp:
    """PATCH /tasks/{task_id}."""
    return await _issue(request, ChangeTask)


@delete(
    "/tasks/{task_id:str}",
    status_code=200,
    **documented(
        operation_id="deleteTask",
        summary="Delete a task",
        description="Its history stays, and `restore` brings it back. Deleting a deleted task changes nothing.",
        body=DeleteTask,
        body_required=False,
        example={"reason": "duplicate"},
        responses={200: ReceiptBody},
        errors=REFUSALS,
        parameters=[ID, KEY, IF_MATCH, PREFER_STRICT, CORRELATION],
        response_headers={200: RECEIPT_HEADERS},
    ),
)
async def delete_task(request: AnyRequest) -> ASGIApp:
    """DELETE /tasks/{task_id}."""
    return await _issue(request, DeleteTask)


def _command_route(verb: str, kind: type[TaskCommand], summary: str, example: dict[str, Any]) -> HTTPRouteHandler:
    words = verb.split("-")

    async def issue(request: AnyRequest) -> ASGIApp:
        return await _issue(request, kind)

    return post(
        f"/tasks/{{task_id:str}}/{verb}",
        status_code=200,
        name=verb,
        **documented(
            operation_id=f"{words[0]}Task{''.join(word.capitalize() for word in words[1:])}",
            summary=summary,
            body=kind,
            body_required=kind not in _WITHOUT_FIELDS,
            example=example,
            responses={200: ReceiptBody},
            errors=REFUSALS,
            parameters=[ID, KEY, IF_MATCH, PREFER_STRICT, CORRELATION],
            response_headers={200: RECEIPT_HEADERS},
        ),
    )(issue)


COMMAND_ROUTES: Final = [
    _command_route("start", StartTask, "Start a task", {}),
    _command_route("stop", StopTask, "Stop work on a task: in progress becomes open", {"reason": "waiting for parts"}),
    _command_route("complete", CompleteTask, "Complete a task", {"reason": "approved by the board"}),
    _command_route("reopen", ReopenTask, "Reopen a completed or cancelled task", {"reason": "figures changed"}),
    _command_route("cancel", CancelTask, "Cancel a task", {"reason": "no longer needed"}),
    _command_route("restore", RestoreTask, "Restore a deleted task", {}),
    _command_route("rename", RenameTask, "Rename a task", {"title": "Write the annual report"}),
    _command_route("describe", DescribeTask, "Describe a task", {"description": "With the new figures."}),
    _command_route("set-priority", SetPriority, "Set a task's priority", {"priority": "urgent"}),
    _command_route("set-due-date", SetDueDate, "Set a task's due date", {"due_at": "2027-01-31T17:00:00Z"}),
    _command_route("clear-due-date", ClearDueDate, "Clear a task's due date", {}),
    _command_route("assign", AssignTask, "Assign a task to a member", {"assignee": SOMEBODY}),
    _command_route("reassign", ReassignTask, "Make a member the only assignee", {"assignee": SOMEBODY}),
    _command_route("unassign", UnassignTask, "Take a task from a member", {"assignee": SOMEBODY}),
    _command_route("add-label", AddLabel, "Add a label", {"label": "finance"}),
    _command_route("remove-label", RemoveLabel, "Remove a label", {"label": "finance"}),
    _command_route("move", MoveTask, "Move a task to another project", {"project_id": SOMEBODY}),
    _command_route(
        "log-activity",
        LogActivity,
        "Record a step that changes no field",
        {"activity": "called the customer"},
    ),
]
