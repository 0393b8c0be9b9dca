"""Routes that change one task: one row a command."""

from typing import Final

from api.edge.requests import task_id_of
from api.openapi.command_routes import CommandRoutes
from api.openapi.recurring import COMMAND_ERRORS, ID, SOMEBODY
from domain.task.commands import (
    AddLabel,
    AssignTask,
    CancelTask,
    ChangeTask,
    ClearDueDate,
    ClearEstimate,
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
    SetEstimate,
    SetPriority,
    StartTask,
    StopTask,
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
        "estimate_out_of_range",
        "estimate_too_fine",
        "repeated_item",
        "unknown_assignee",
        "idempotency_key_reused",
    ],
}


_ROUTES: Final = CommandRoutes(
    collection="tasks",
    noun="Task",
    named=ID,
    id_of=task_id_of,
    handler=lambda log: log.handler,
    refusals=REFUSALS,
)
COMMAND_ROUTES: Final = [
    _ROUTES.create(
        CreateTask,
        "Create a task",
        "Creates a task in the principal's workspace. A client may choose the id itself, as `task_id`, so that it "
        "can go on with the task before this answer is there; an id that is taken is refused (409), whoever took it.",
        {"title": "Write the quarterly report", "priority": "high", "labels": ["finance"]},
        {
            404: ["project_not_found"],
            409: ["task_exists", "project_archived", "project_deleted", "contention"],
            422: [*REFUSALS[422], "task_id_invalid"],
        },
    ),
    _ROUTES.patch(
        ChangeTask,
        "Change several fields of a task",
        "Fields that are left out stay as they are; `due_at: null` clears the due date, `estimate: null` the estimate. "
        "Becomes one event a changed field, all or none; what changes nothing is not recorded.",
        {"title": "Write the annual report", "due_at": "2027-01-31T17:00:00Z"},
    ),
    _ROUTES.delete(
        DeleteTask,
        "Delete a task",
        "Its history stays, and `restore` brings it back. Deleting a deleted task changes nothing.",
        {"reason": "duplicate"},
    ),
    _ROUTES.post("start", StartTask, "Start a task", {}),
    _ROUTES.post("stop", StopTask, "Stop work on a task: in progress becomes open", {"reason": "waiting for parts"}),
    _ROUTES.post("complete", CompleteTask, "Complete a task", {"reason": "approved by the board"}),
    _ROUTES.post("reopen", ReopenTask, "Reopen a completed or cancelled task", {"reason": "figures changed"}),
    _ROUTES.post("cancel", CancelTask, "Cancel a task", {"reason": "no longer needed"}),
    _ROUTES.post("restore", RestoreTask, "Restore a deleted task", {}),
    _ROUTES.post("rename", RenameTask, "Rename a task", {"title": "Write the annual report"}),
    _ROUTES.post("describe", DescribeTask, "Describe a task", {"description": "With the new figures."}),
    _ROUTES.post("set-priority", SetPriority, "Set a task's priority", {"priority": "urgent"}),
    _ROUTES.post("set-due-date", SetDueDate, "Set a task's due date", {"due_at": "2027-01-31T17:00:00Z"}),
    _ROUTES.post("clear-due-date", ClearDueDate, "Clear a task's due date", {}),
    _ROUTES.post("assign", AssignTask, "Assign a task to a member", {"assignee": SOMEBODY}),
    _ROUTES.post("reassign", ReassignTask, "Make a member the only assignee", {"assignee": SOMEBODY}),
    _ROUTES.post("unassign", UnassignTask, "Take a task from a member", {"assignee": SOMEBODY}),
    _ROUTES.post("add-label", AddLabel, "Add a label", {"label": "finance"}),
    _ROUTES.post("remove-label", RemoveLabel, "Remove a label", {"label": "finance"}),
    _ROUTES.post("set-estimate", SetEstimate, "Estimate a task, in points", {"estimate": 2.5}),
    _ROUTES.post("clear-estimate", ClearEstimate, "Clear a task's estimate", {}),
    _ROUTES.post("move", MoveTask, "Move a task to another project", {"project_id": SOMEBODY}),
    _ROUTES.post(
        "log-activity",
        LogActivity,
        "Record a step that changes no field",
        {"activity": "called the customer"},
    ),
]
