"""The task as an aggregate."""

from sys import getsizeof
from typing import Final, get_args

from domain.aggregate import Aggregate
from domain.task.commands import CreateTask, TaskCommand, command_fields
from domain.task.events import TASK_FIELDS, TOUCHED, TaskEvent
from domain.task.refusals import no_such_task, task_exists
from domain.task.rules import Task, decide, evolve

_EACH: Final = 120
"""Bytes of an assignee: a UUID with its number, and its place in the tuple. Measured with tracemalloc."""


def state_size(task: Task) -> int:
    """In bytes, about: the texts and the assignees."""
    texts = getsizeof(task.title) + getsizeof(task.description) + sum(map(getsizeof, task.labels))
    return texts + _EACH * len(task.assignees)


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
    state_size=state_size,
)
