"""A task: what it is and every rule about it.

A task is one stream. `decide` holds the rules and writes nothing; `evolve` folds recorded events into the
state and never raises, so a rule that tightens later cannot make an older history unreadable. What can happen
is in `task_events`, what may be asked in `task_commands`, what a value may be in `task_values`.
"""

from datetime import datetime
from typing import Any, Final, assert_never
from uuid import UUID

from msgspec import UNSET, Struct
from msgspec.structs import replace

from domain.boundaries import Rule
from domain.envelope import Erased
from domain.errors import RuleViolated
from domain.project.boundaries import open_rule
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
    TaskCommand,
    UnassignTask,
)
from domain.task.erased import known
from domain.task.events import (
    TaskActivityLogged,
    TaskAssigned,
    TaskCancelled,
    TaskCompleted,
    TaskCreated,
    TaskDeleted,
    TaskDescribed,
    TaskDueDateCleared,
    TaskDueDateSet,
    TaskEstimateCleared,
    TaskEstimateSet,
    TaskEvent,
    TaskLabelAdded,
    TaskLabelRemoved,
    TaskMoved,
    TaskPrioritySet,
    TaskRenamed,
    TaskReopened,
    TaskRestored,
    TaskStarted,
    TaskStopped,
    TaskUnassigned,
)
from domain.task.refusals import no_such_task, task_exists
from domain.task.values import (
    ASSIGNEES_MAX,
    LABELS_MAX,
    Priority,
    Status,
    accepted_activity,
    accepted_assignees,
    accepted_due_at,
    accepted_estimate,
    accepted_label,
    accepted_labels,
    accepted_priority,
    accepted_task_id,
    accepted_title,
)
from domain.text import accepted_description, accepted_reason

# STATE


class Task(Struct, frozen=True, gc=False, kw_only=True):
    """A task as its events left it. `due_at` is aware UTC; assignees and labels are in order of addition.

    Every task belongs to a project; which one is None only where that is not known any more, its creation having been erased.
    """

    title: str = ""
    description: str = ""
    status: Status = "open"
    priority: Priority = "none"
    due_at: datetime | None = None
    assignees: tuple[UUID, ...] = ()
    labels: tuple[str, ...] = ()
    estimate: float | None = None
    deleted: bool = False
    project_id: UUID | None = None


# What a history starts from whose first event is not the creation.
_BLANK: Final = Task()

# DECIDE


def decide(  # noqa: C901, PLR0911, PLR0912 - one line a command reads best as one table
    state: Task | None, command: TaskCommand, now: datetime
) -> tuple[TaskEvent, ...]:
    """The events that follow from the command, none where it changes nothing; `now` is aware.

    Raises NotFound `task_not_found`, RuleViolated (`task_exists`, `task_deleted`, `task_closed`,
    `labels_full`, `assignees_full`) or InvalidValue with the field to blame.
    """
    if isinstance(command, CreateTask):
        return _create(state, command, now)
    task = _addressed(state, command)
    why = accepted_reason(command.reason)
    match command:
        case ChangeTask():
            return _change(task, command, why, now)
        case RenameTask(title):
            return _rename(task, title, why)
        case DescribeTask(description):
            return _describe(task, description, why)
        case SetPriority(priority):
            return _prioritise(task, priority, why)
        case SetDueDate(due_at):
            return _schedule(task, due_at, why, now)
        case ClearDueDate():
            return _schedule(task, None, why, now)
        case AssignTask(assignee):
            return _assign(task, assignee, why)
        case ReassignTask(assignee):
            return _reassign(task, (assignee,), why)
        case UnassignTask(assignee):
            return (TaskUnassigned(assignee, reason=why),) if assignee in task.assignees else ()
        case AddLabel(label):
            return _add_label(task, label, why)
        case RemoveLabel(label):
            return (TaskLabelRemoved(kept, reason=why),) if (kept := label.strip()) in task.labels else ()
        case SetEstimate(estimate):
            return _estimate(task, estimate, why)
        case ClearEstimate():
            return _estimate(task, None, why)
        case StartTask():
            return _start(task, why)
        case StopTask():
            return _stop(task, why)
        case CompleteTask():
            return _complete(task, why)
        case ReopenTask():
            return (TaskReopened(reason=why),) if task.status in {"completed", "cancelled"} else ()
        case CancelTask():
            return _cancel(task, why)
        case DeleteTask():
            return () if task.deleted else (TaskDeleted(reason=why),)
        case RestoreTask():
            return (TaskRestored(reason=why),) if task.deleted else ()
        case MoveTask(project_id):
            return () if project_id == task.project_id else (TaskMoved(task.project_id, project_id, reason=why),)
        case LogActivity(activity):
            return (TaskActivityLogged(accepted_activity(activity), reason=why),)
        case _:
            assert_never(command)


def _addressed(state: Task | None, command: TaskCommand) -> Task:
    if state is None:
        raise no_such_task()
    if state.deleted and not isinstance(command, RestoreTask | DeleteTask):
        raise RuleViolated("task_deleted", "The task is deleted; restore it first.")
    return state


def _create(state: Task | None, command: CreateTask, now: datetime) -> tuple[TaskEvent, ...]:
    if state is not None:
        raise task_exists()
    if command.task_id is not None:
        accepted_task_id(command.task_id)
    created = TaskCreated(
        title=accepted_title(command.title),
        description=accepted_description(command.description),
        priority=accepted_priority(command.priority),
        due_at=None if command.due_at is None else accepted_due_at(command.due_at, now),
        assignees=accepted_assignees(command.assignees),
        labels=accepted_labels(command.labels),
        project_id=command.project_id,
        estimate=None if command.estimate is None else accepted_estimate(command.estimate),
        reason=accepted_reason(command.reason),
    )
    return (created,)


def _change(task: Task, command: ChangeTask, why: str | None, now: datetime) -> tuple[TaskEvent, ...]:
    events: tuple[TaskEvent, ...] = ()
    if command.title is not UNSET:
        events += _rename(task, command.title, why)
    if command.description is not UNSET:
        events += _describe(task, command.description, why)
    if command.priority is not UNSET:
        events += _prioritise(task, command.priority, why)
    if command.due_at is not UNSET:
        events += _schedule(task, command.due_at, why, now)
    if command.assignees is not UNSET:
        events += _reassign(task, command.assignees, why)
    if command.labels is not UNSET:
        events += _relabel(task, command.labels, why)
    if command.estimate is not UNSET:
        events += _estimate(task, command.estimate, why)
    return events


def _rename(task: Task, title: str, why: str | None) -> tuple[TaskEvent, ...]:
    title = accepted_title(title)
    return () if title == task.title else (TaskRenamed(title, reason=why),)


def _describe(task: Task, description: str, why: str | None) -> tuple[TaskEvent, ...]:
    description = accepted_description(description)
    return () if description == task.description else (TaskDescribed(description, reason=why),)


def _prioritise(task: Task, priority: Priority, why: str | None) -> tuple[TaskEvent, ...]:
    priority = accepted_priority(priority)
    return () if priority == task.priority else (TaskPrioritySet(priority, reason=why),)


def _schedule(task: Task, due_at: datetime | None, why: str | None, now: datetime) -> tuple[TaskEvent, ...]:
    if due_at is None:
        return () if task.due_at is None else (TaskDueDateCleared(reason=why),)
    due_at = accepted_due_at(due_at, now)
    return () if due_at == task.due_at else (TaskDueDateSet(due_at, reason=why),)


def _assign(task: Task, assignee: UUID, why: str | None) -> tuple[TaskEvent, ...]:
    if assignee in task.assignees:
        return ()
    if len(task.assignees) >= ASSIGNEES_MAX:
        raise RuleViolated("assignees_full", f"The task has {ASSIGNEES_MAX} assignees already.", "assignee")
    return (TaskAssigned(assignee, reason=why),)


def _reassign(task: Task, assignees: tuple[UUID, ...], why: str | None) -> tuple[TaskEvent, ...]:
    wanted = accepted_assignees(assignees)
    # Removals go first so that no state in between is over the bound.
    removed = (TaskUnassigned(each, reason=why) for each in dict.fromkeys(task.assignees) if each not in wanted)
    added = (TaskAssigned(each, reason=why) for each in wanted if each not in task.assignees)
    return (*removed, *added)


def _add_label(task: Task, label: str, why: str | None) -> tuple[TaskEvent, ...]:
    label = accepted_label(label)
    if label in task.labels:
        return ()
    if len(task.labels) >= LABELS_MAX:
        raise RuleViolated("labels_full", f"The task has {LABELS_MAX} labels already.", "label")
    return (TaskLabelAdded(label, reason=why),)


def _relabel(task: Task, labels: tuple[str, ...], why: str | None) -> tuple[TaskEvent, ...]:
    wanted = accepted_labels(labels)
    removed = (TaskLabelRemoved(each, reason=why) for each in dict.fromkeys(task.labels) if each not in wanted)
    added = (TaskLabelAdded(each, reason=why) for each in wanted if each not in task.labels)
    return (*removed, *added)


def _estimate(task: Task, estimate: float | None, why: str | None) -> tuple[TaskEvent, ...]:
    if estimate is None:
        return () if task.estimate is None else (TaskEstimateCleared(reason=why),)
    estimate = accepted_estimate(estimate)
    return () if estimate == task.estimate else (TaskEstimateSet(estimate, reason=why),)


def _start(task: Task, why: str | None) -> tuple[TaskEvent, ...]:
    if task.status in {"completed", "cancelled"}:
        raise RuleViolated("task_closed", f"The task is {task.status}; reopen it first.")
    return () if task.status == "in_progress" else (TaskStarted(reason=why),)


def _stop(task: Task, why: str | None) -> tuple[TaskEvent, ...]:
    if task.status in {"completed", "cancelled"}:
        raise RuleViolated("task_closed", f"The task is {task.status}; reopen it first.")
    return (TaskStopped(reason=why),) if task.status == "in_progress" else ()


def _complete(task: Task, why: str | None) -> tuple[TaskEvent, ...]:
    if task.status == "cancelled":
        raise RuleViolated("task_closed", "The task is cancelled; reopen it first.")
    return () if task.status == "completed" else (TaskCompleted(reason=why),)


def _cancel(task: Task, why: str | None) -> tuple[TaskEvent, ...]:
    if task.status == "completed":
        raise RuleViolated("task_closed", "The task is completed; reopen it first.")
    return () if task.status == "cancelled" else (TaskCancelled(reason=why),)


def rules(
    state: Task | None,
    command: TaskCommand,
    stream_id: UUID,  # noqa: ARG001 - as every aggregate's
    workspace_id: UUID,
) -> tuple[Rule[Any], ...]:
    """What else has to hold: the project that the task is in takes commands for its tasks, and the one that it goes to."""
    project_id = command.project_id if isinstance(command, CreateTask) else state.project_id if state else None
    own = () if project_id is None else (open_rule(workspace_id, project_id),)
    return (*own, open_rule(workspace_id, command.project_id)) if isinstance(command, MoveTask) else own


# EVOLVE


def evolve(  # noqa: C901, PLR0911, PLR0912 - one line an event reads best as one table
    state: Task | None, event: TaskEvent | Erased
) -> Task:
    """The task after the event. Total: any event is folded into any state, whatever rules once allowed it.

    Of an erased one what is left of it, see `known`.
    """
    task = _BLANK if state is None else state
    event = known(event)
    match event:
        case TaskCreated():
            return Task(
                title=event.title,
                description=event.description,
                priority=event.priority,
                due_at=event.due_at,
                assignees=event.assignees,
                labels=event.labels,
                estimate=event.estimate,
                project_id=event.project_id,
            )
        case TaskRenamed(title):
            return replace(task, title=title)
        case TaskDescribed(description):
            return replace(task, description=description)
        case TaskPrioritySet(priority):
            return replace(task, priority=priority)
        case TaskDueDateSet(due_at):
            return replace(task, due_at=due_at)
        case TaskDueDateCleared():
            return replace(task, due_at=None)
        case TaskAssigned(assignee):
            return task if assignee in task.assignees else replace(task, assignees=(*task.assignees, assignee))
        case TaskUnassigned(assignee):
            return replace(task, assignees=tuple(each for each in task.assignees if each != assignee))
        case TaskLabelAdded(label):
            return task if label in task.labels else replace(task, labels=(*task.labels, label))
        case TaskLabelRemoved(label):
            return replace(task, labels=tuple(each for each in task.labels if each != label))
        case TaskEstimateSet(estimate):
            return replace(task, estimate=estimate)
        case TaskEstimateCleared():
            return replace(task, estimate=None)
        case TaskStarted():
            return replace(task, status="in_progress")
        case TaskCompleted():
            return replace(task, status="completed")
        case TaskStopped() | TaskReopened():
            return replace(task, status="open")
        case TaskCancelled():
            return replace(task, status="cancelled")
        case TaskDeleted():
            return replace(task, deleted=True)
        case TaskRestored():
            return replace(task, deleted=False)
        case TaskMoved(_, to_project):
            return replace(task, project_id=to_project)
        case TaskActivityLogged():
            return task
        case _:
            assert_never(event)
