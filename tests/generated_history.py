"""A random but reproducible history of valid commands in several workspaces, part of it imported."""

import random
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import Any
from uuid import UUID

from domain.errors import DomainError
from domain.project.aggregate import PROJECT
from domain.project.commands import (
    ArchiveProject,
    ChangeProject,
    CreateProject,
    DeleteProject,
    ProjectCommand,
    RestoreProject,
    UnarchiveProject,
)
from domain.project.rules import Project
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
from domain.task.rules import Task, decide, evolve
from domain.task.values import Priority
from tests.log_world import ANA, BEN, World, number

PRIORITIES: tuple[Priority, ...] = ("none", "low", "medium", "high", "urgent")
ESTIMATES = (0, 0.1, 0.5, 2.5, 8, 1000)
LABELS = ("red", "blue", "über", "漢字", "a b", "#@")
WORDS = ("fix", "login", "printer", "O'Brien's", "naïve", "✓", "release", "100%", "\\n", "{}")
WORKSPACES = tuple(UUID(int=0x0195A000_0000_7000_8000_00000000F000 + n) for n in range(4))
EPOCH = datetime(2019, 1, 1, tzinfo=UTC)
Write = tuple[UUID, UUID, UUID, Sequence[Any], datetime | None]


def _text(chance: random.Random) -> str:
    return " ".join(chance.choices(WORDS, k=chance.randint(1, 6)))


def _command(chance: random.Random, projects: Sequence[UUID]) -> TaskCommand:
    why = _text(chance) if chance.random() < 0.3 else None
    due = EPOCH + timedelta(hours=chance.randint(0, 90_000))
    return chance.choice(
        (
            StartTask(reason=why),
            StartTask(),
            StopTask(reason=why),
            CompleteTask(reason=why),
            CompleteTask(),
            ReopenTask(reason=why),
            CancelTask(reason=why),
            DeleteTask(reason=why),
            RestoreTask(),
            RestoreTask(reason=why),
            RenameTask(_text(chance)),
            DescribeTask(_text(chance), reason=why),
            SetPriority(chance.choice(PRIORITIES)),
            SetDueDate(due),
            ClearDueDate(),
            AssignTask(chance.choice((ANA, BEN))),
            ReassignTask(chance.choice((ANA, BEN))),
            UnassignTask(chance.choice((ANA, BEN))),
            AddLabel(chance.choice(LABELS)),
            RemoveLabel(chance.choice(LABELS)),
            LogActivity(_text(chance), reason=why),
            SetEstimate(chance.choice(ESTIMATES)),
            ClearEstimate(),
            MoveTask(chance.choice(projects)),
            ChangeTask(title=_text(chance), labels=tuple(chance.sample(LABELS, 2)), due_at=None),
        )
    )


def projects_of(workspace: int, first_task: int = 1) -> tuple[UUID, UUID]:
    """The two projects of the workspace of this number, in a history that begins with this task."""
    first = 0x0195A000_0000_7000_8000_0000_0B00_0000 + 16 * first_task + 2 * workspace
    return UUID(int=first), UUID(int=first + 1)


class _Projects:
    """Two projects a workspace, to the second of which things happen."""

    def __init__(self, chance: random.Random, first_task: int) -> None:
        self._chance = chance
        self._ids = [projects_of(workspace, first_task) for workspace in range(len(WORKSPACES))]
        self._states: dict[UUID, Project | None] = {}

    def of(self, task: UUID) -> Sequence[UUID]:
        """Those of the task's workspace."""
        return self._ids[task.int % len(WORKSPACES)]

    def begin(self, workspace: int) -> Iterator[Write]:
        for n, project in enumerate(self._ids[workspace]):
            key, name, description = f"P{project.int % 1_000_000}{'AB'[n]}", _text(self._chance), _text(self._chance)
            yield from self._done(workspace, project, CreateProject(key, name, description))

    def something_happens(self) -> Iterator[Write]:
        chance, workspace = self._chance, self._chance.randrange(len(WORKSPACES))
        command: ProjectCommand = chance.choice(
            (
                ChangeProject(key=f"K{chance.randint(0, 10**8)}"),
                ChangeProject(name=_text(chance), description=_text(chance)),
                ArchiveProject(),
                UnarchiveProject(reason=_text(chance)),
                DeleteProject(),
                RestoreProject(),
            )
        )
        yield from self._done(workspace, self._ids[workspace][1], command)

    def _done(self, workspace: int, project: UUID, command: ProjectCommand) -> Iterator[Write]:
        with suppress(DomainError):
            events = PROJECT.decide(self._states.get(project), command, EPOCH)
            self._states[project] = reduce(PROJECT.evolve, events, self._states.get(project))
            if events:
                yield project, WORKSPACES[workspace], ANA, events, None


def writes(seed: int, commands: int, first_task: int = 1) -> Iterator[Write]:
    """The events of so many commands that changed something; a few tasks live long, most do not."""
    chance = random.Random(seed)
    tasks: list[UUID] = []
    states: dict[UUID, Task] = {}
    imported: dict[UUID, datetime] = {}
    made = 0
    projects = _Projects(chance, first_task)
    for workspace in range(len(WORKSPACES)):
        yield from projects.begin(workspace)
    while made < commands:
        if not tasks or chance.random() < 0.12:
            task = number(first_task + len(tasks))
            yield from projects.something_happens()
            tasks.append(task)
            if chance.random() < 0.3:
                imported[task] = EPOCH + timedelta(minutes=chance.randint(0, 10**6))
            command: TaskCommand = CreateTask(
                _text(chance),
                _text(chance),
                chance.choice(PRIORITIES),
                EPOCH + timedelta(hours=chance.randint(0, 90_000)) if chance.random() < 0.3 else None,
                chance.choice(((), (ANA,), (BEN, ANA))),
                chance.choice((("red",), ("red", "blue"))),
                project_id=projects.of(task)[0],
                estimate=chance.choice((None, *ESTIMATES)),
            )
        else:
            task = tasks[min(int(chance.expovariate(0.05)), len(tasks) - 1) if chance.random() < 0.7 else 0]
            command = _command(chance, projects.of(task))
        try:
            events = decide(states.get(task), command, datetime(2026, 1, 1, tzinfo=UTC))
        except DomainError:
            continue
        if not events:
            continue
        for event in events:
            states[task] = evolve(states.get(task), event)
        at = imported.get(task)
        if at is not None:
            imported[task] = at + timedelta(minutes=chance.randint(1, 5000))
        yield task, WORKSPACES[task.int % len(WORKSPACES)], chance.choice((ANA, BEN)), events, at
        made += 1


def append_history(world: World, seed: int, commands: int, first_task: int = 1) -> int:
    """Append it, many commands a transaction as group commit does; the head afterwards."""
    batch: list[Write] = []
    for write in writes(seed, commands, first_task):
        if len(batch) >= 100 or any(write[0] == other[0] for other in batch):
            world.record_all(batch)
            batch = []
        batch.append(write)
    return world.record_all(batch)
