"""Every command route as a table: what makes it succeed, what makes it change nothing, what it refuses."""

from typing import Any, NamedTuple
from uuid import UUID

from domain.task.events import (
    TaskActivityLogged,
    TaskCancelled,
    TaskCompleted,
    TaskCreated,
    TaskDeleted,
    TaskDescribed,
    TaskDueDateSet,
    TaskEstimateSet,
    TaskEvent,
    TaskLabelAdded,
    TaskPrioritySet,
    TaskRenamed,
    TaskStarted,
)
from tests.domain.samples import NOON

CREATED = TaskCreated("Ship it")
LATER = "2026-04-01T12:00:00Z"


class Route(NamedTuple):
    """`before` leads to where `body` records an event of type `records`; after `already` the same body changes nothing;
    after `refusing` it is refused with `code` (None where no state refuses it but deletion)."""

    verb: str
    body: dict[str, Any] | None
    records: str
    before: tuple[TaskEvent, ...] = (CREATED,)
    already: tuple[TaskEvent, ...] | None = (CREATED,)
    refusing: tuple[TaskEvent, ...] = (CREATED, TaskDeleted())
    code: str = "task_deleted"

    @property
    def method(self) -> str:
        return {"change": "PATCH", "delete": "DELETE"}.get(self.verb, "POST")

    def path(self, task_id: UUID | str) -> str:
        return f"/tasks/{task_id}" if self.verb in {"change", "delete"} else f"/tasks/{task_id}/{self.verb}"


def _closed(event: TaskEvent) -> dict[str, Any]:
    return {"refusing": (CREATED, event), "code": "task_closed"}


def routes(member: UUID) -> list[Route]:
    """All of them; `member` is somebody of the workspace who is not assigned yet."""
    assigned = TaskCreated("Ship it", assignees=(member,))
    return [
        Route("change", {"title": "Sail it"}, "task.renamed", already=(CREATED, TaskRenamed("Sail it"))),
        Route("start", None, "task.started", already=(CREATED, TaskStarted()), **_closed(TaskCompleted())),
        Route("stop", None, "task.stopped", (CREATED, TaskStarted()), (CREATED,), **_closed(TaskCompleted())),
        Route("complete", None, "task.completed", already=(CREATED, TaskCompleted()), **_closed(TaskCancelled())),
        Route("reopen", None, "task.reopened", (CREATED, TaskCompleted()), (CREATED,)),
        Route("cancel", None, "task.cancelled", already=(CREATED, TaskCancelled()), **_closed(TaskCompleted())),
        Route("restore", None, "task.restored", (CREATED, TaskDeleted()), (CREATED,), ()),
        Route("delete", None, "task.deleted", (CREATED,), (CREATED, TaskDeleted()), ()),
        Route("rename", {"title": "Sail it"}, "task.renamed", already=(CREATED, TaskRenamed("Sail it"))),
        Route("describe", {"description": "Mind"}, "task.described", already=(CREATED, TaskDescribed("Mind"))),
        Route("set-priority", {"priority": "high"}, "task.priority_set", already=(CREATED, TaskPrioritySet("high"))),
        Route("set-due-date", {"due_at": LATER}, "task.due_date_set", already=(CREATED, TaskDueDateSet(NOON))),
        Route("clear-due-date", None, "task.due_date_cleared", (CREATED, TaskDueDateSet(NOON))),
        Route("assign", {"assignee": str(member)}, "task.assigned", already=(assigned,)),
        Route("reassign", {"assignee": str(member)}, "task.assigned", already=(assigned,)),
        Route("unassign", {"assignee": str(member)}, "task.unassigned", (assigned,), (CREATED,)),
        Route("add-label", {"label": "ink"}, "task.label_added", already=(CREATED, TaskLabelAdded("ink"))),
        Route("remove-label", {"label": "ink"}, "task.label_removed", (CREATED, TaskLabelAdded("ink"))),
        Route("set-estimate", {"estimate": 2.5}, "task.estimate_set", already=(CREATED, TaskEstimateSet(2.5))),
        Route("clear-estimate", None, "task.estimate_cleared", (CREATED, TaskEstimateSet(0.0))),
        Route("log-activity", {"activity": "called"}, "task.activity_logged", (CREATED, TaskActivityLogged("called")), None),
    ]


VERBS = [route.verb for route in routes(UUID(int=0))]
