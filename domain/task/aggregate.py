"""The task as an aggregate."""

from sys import getsizeof
from typing import Final, get_args
from uuid import UUID

from msgspec.structs import replace

from domain.aggregate import Aggregate
from domain.project.values import first_project_of
from domain.task.commands import CreateTask, TaskCommand, command_fields
from domain.task.events import (
    PERSONAL_FIELDS,
    STRUCTURAL_TEXT,
    TASK_FIELDS,
    TOUCHED,
    TaskCreated,
    TaskEvent,
    TaskMoved,
)
from domain.task.refusals import no_such_task, task_exists
from domain.task.rules import Task, decide, evolve, rules

_EACH: Final = 120
"""Bytes of an assignee: a UUID with its number, and its place in the tuple. Measured with tracemalloc."""


def state_size(task: Task) -> int:
    """In bytes, about: the texts and the assignees."""
    texts = getsizeof(task.title) + getsizeof(task.description) + sum(map(getsizeof, task.labels))
    return texts + _EACH * len(task.assignees)


def completed(command: TaskCommand, workspace_id: UUID) -> TaskCommand:
    """A task that names no project belongs to the workspace's first one."""
    if isinstance(command, CreateTask) and command.project_id is None:
        return replace(command, project_id=first_project_of(workspace_id))
    return command


def scope(event: TaskEvent) -> UUID | None:
    """A task is numbered in each project that it comes into."""
    if isinstance(event, TaskCreated):
        return event.project_id
    return event.to_project if isinstance(event, TaskMoved) else None


TASK: Final[Aggregate[Task, TaskEvent, TaskCommand]] = Aggregate(
    name="task",
    events=frozenset(get_args(TaskEvent)),
    commands=frozenset(get_args(TaskCommand)),
    decide=decide,
    evolve=evolve,
    creates=frozenset({CreateTask}),
    missing=no_such_task,
    exists=task_exists,
    fields=TASK_FIELDS,
    touched=TOUCHED,
    command_fields=command_fields,
    personal=PERSONAL_FIELDS,
    structural=STRUCTURAL_TEXT,
    state_size=state_size,
    rules=rules,
    scope=scope,
    completed=completed,
)
