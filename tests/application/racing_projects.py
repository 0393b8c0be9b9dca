"""Sixteen writers of projects: python -m tests.application.racing_projects DATABASE_URL SEED COMMANDS [unconditional]

Prints how many commands were carried out by each writer, as JSON. Without conditions the same decisions are made, on what this
process remembers, and nothing proves them.
"""

import asyncio
import json
import random
import sys
from contextlib import suppress
from uuid import UUID, uuid4

from application.authorization import OWNER
from application.checks import NothingToCheck
from application.command_handler import CommandHandler, Contention
from application.turns import Turns
from domain.errors import NotFound, RuleViolated
from domain.project.aggregate import PROJECT
from domain.project.boundaries import key_boundary
from domain.project.commands import (
    ArchiveProject,
    ChangeProject,
    CreateProject,
    DeleteProject,
    ProjectCommand,
    RestoreProject,
    UnarchiveProject,
)
from domain.task.aggregate import TASK
from domain.task.commands import AddLabel, CompleteTask, CreateTask, MoveTask, ReopenTask, TaskCommand
from tests.application.handler_under_test import a_principal, context
from tests.application.racing_cards import WRITERS, without_conditions
from tests.infrastructure.log_under_test import WORKSPACE, open_store

PROJECTS = tuple(UUID(int=0x0195A000_0000_7000_8000_00000000AA00 + n) for n in range(3))
KEYS = tuple(f"K{n}" for n in range(40))
PUT_AWAY = (ArchiveProject(), DeleteProject())
TAKE_UP = (UnarchiveProject(), RestoreProject())


class Writer:
    def __init__(self, seed: int, tasks: CommandHandler, projects: CommandHandler) -> None:
        self.random = random.Random(seed)
        self.tasks, self.projects = tasks, projects
        self.mine: list[UUID] = []
        self.done = 0

    async def write(self, commands: int) -> None:
        for _ in range(commands):
            with suppress(RuleViolated, NotFound, Contention):
                await self._one()
                self.done += 1

    async def _one(self) -> None:
        owner = context(principal=a_principal(role=OWNER))
        if self.random.random() < 0.3:
            command = self._project_command()
            stream = uuid4() if isinstance(command, CreateProject) else self.random.choice(PROJECTS)
            await self.projects.handle(command, stream, owner)
            return
        task = self.random.choice(self.mine) if self.mine and self.random.random() < 0.7 else uuid4()
        await self.tasks.handle(self._task_command(new=task not in self.mine), task, owner)
        if task not in self.mine:
            self.mine.append(task)

    def _project_command(self) -> ProjectCommand:
        match self.random.choice("aauuknn"):
            case "a":
                return self.random.choice(PUT_AWAY)
            case "u":
                return self.random.choice(TAKE_UP)
            case "k":
                return ChangeProject(key=self.random.choice(KEYS))
            case _:
                return CreateProject(key=self.random.choice(KEYS), name="P")

    def _task_command(self, *, new: bool) -> TaskCommand:
        chance = self.random
        if new:
            return CreateTask("T", project_id=chance.choice(PROJECTS))
        return chance.choice(
            (CompleteTask(), ReopenTask(), AddLabel(f"{chance.randint(0, 9)}"), MoveTask(chance.choice(PROJECTS)))
        )


async def race(database_url: str, seed: int, commands: int, *, conditional: bool) -> list[int]:
    async with open_store(database_url) as store:
        turns = Turns()
        tasks, projects = (CommandHandler(each, store, NothingToCheck(), turns) for each in (TASK, PROJECT))
        for number, project in enumerate(PROJECTS):
            with suppress(RuleViolated):
                await projects.handle(CreateProject(f"P{number}", "P"), project, context(principal=a_principal(role=OWNER)))
        for key in KEYS:
            # A key is taken once: only who remembers it as free from before can be wrong about it.
            await store.load_boundary(key_boundary(WORKSPACE, key))
        if not conditional:
            without_conditions(store)
        writers = [Writer(seed * WRITERS + number, tasks, projects) for number in range(WRITERS)]
        # Nobody begins before the other process is there: it reads a line.
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        await asyncio.gather(*(writer.write(commands) for writer in writers))
    return [writer.done for writer in writers]


if __name__ == "__main__":
    url, seed, commands, *more = sys.argv[1:]
    print(json.dumps(asyncio.run(race(url, int(seed), int(commands), conditional=not more))), flush=True)
