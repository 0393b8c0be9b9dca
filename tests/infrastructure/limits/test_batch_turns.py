"""Turns for batches: one of a workspace at a time, the workspaces by turns, bounded in number and bytes."""

import asyncio
from uuid import UUID

import pytest

from infrastructure.limits.batch_turns import MOST_WAITING_OF_ONE, BatchTurns
from infrastructure.unavailable import Overloaded

pytestmark = pytest.mark.anyio
ONE, TWO, THREE = (UUID(int=number) for number in (1, 2, 3))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Hall:
    """Batches that end when they are told to; `running` names those that have their turn, in order."""

    def __init__(self, most_bytes: int = 1_000, at_once: int = 2) -> None:
        self.turns = BatchTurns(most_bytes, at_once)
        self.running: list[str] = []
        self._ends: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def come(self, name: str, workspace: UUID, size: int = 10) -> None:
        self._ends[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._batch(name, workspace, size))
        await self._settle()

    async def _batch(self, name: str, workspace: UUID, size: int) -> None:
        async with self.turns.turn(workspace, size):
            self.running.append(name)
            try:
                await self._ends[name].wait()
            finally:
                self.running.remove(name)

    async def end(self, name: str) -> None:
        self._ends[name].set()
        await self.tasks[name]
        await self._settle()

    async def leave(self, name: str) -> None:
        self.tasks[name].cancel()
        await self._settle()

    @staticmethod
    async def _settle() -> None:
        for _ in range(5):
            await asyncio.sleep(0)


async def test_one_workspace_has_one_turn_at_a_time() -> None:
    hall = Hall()
    for name in ("a1", "a2", "a3"):
        await hall.come(name, ONE)
    await hall.come("b1", TWO)
    assert hall.running == ["a1", "b1"]
    await hall.end("a1")
    assert hall.running == ["b1", "a2"]


async def test_the_workspaces_are_served_by_turns() -> None:
    hall = Hall(at_once=1)
    for name in ("a1", "a2", "a3"):
        await hall.come(name, ONE)
    await hall.come("b1", TWO)
    await hall.come("c1", THREE)
    order = []
    while hall.running:
        order.append(hall.running[0])
        await hall.end(hall.running[0])
    assert order == ["a1", "a2", "b1", "c1", "a3"]


async def test_who_leaves_while_waiting_or_running_holds_nobody_up() -> None:
    hall = Hall(at_once=1)
    for name, workspace in (("a1", ONE), ("a2", ONE), ("b1", TWO)):
        await hall.come(name, workspace)
    await hall.leave("a2")
    await hall.leave("a1")
    assert hall.running == ["b1"]
    await hall.end("b1")
    await hall.come("a3", ONE)
    assert hall.running == ["a3"]


async def test_who_leaves_in_the_moment_of_getting_a_turn_gives_it_on() -> None:
    hall = Hall(at_once=1)
    for name, workspace in (("a1", ONE), ("b1", TWO), ("c1", THREE)):
        await hall.come(name, workspace)
    hall._ends["a1"].set()
    await asyncio.sleep(0)
    assert hall.tasks["a1"].done()
    hall.tasks["b1"].cancel()
    await hall._settle()
    assert hall.running == ["c1"]


@pytest.mark.parametrize(("size", "fitting"), [(10, MOST_WAITING_OF_ONE), (100, 5)])
async def test_what_waits_of_one_workspace_is_bounded_in_number_and_bytes(size: int, fitting: int) -> None:
    hall = Hall()
    await hall.come("first", ONE, size)
    for number in range(fitting + 1):
        await hall.come(f"a{number}", ONE, size)
    refused = [name for name, task in hall.tasks.items() if task.done()]
    assert refused == [f"a{fitting}"]
    assert isinstance(hall.tasks[refused[0]].exception(), Overloaded)
    await hall.come("b1", TWO, size)
    assert hall.running == ["first", "b1"]
    for task in hall.tasks.values():
        task.cancel()


async def test_all_that_waits_is_bounded_in_bytes() -> None:
    hall = Hall(at_once=1)
    await hall.come("running", ONE)
    for number in range(1, 4):
        await hall.come(f"w{number}", UUID(int=10 + number), 400)
    assert [name for name, task in hall.tasks.items() if task.done()] == ["w3"]
    assert isinstance(hall.tasks["w3"].exception(), Overloaded)
    for task in hall.tasks.values():
        task.cancel()
