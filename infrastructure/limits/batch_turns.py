"""Turns for batches: few are decided at a time, one of a workspace, so that others' commands do not wait behind thousands."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from uuid import UUID

from infrastructure.unavailable import Overloaded

AT_ONCE: Final = 2
MOST_WAITING_OF_ONE: Final = 32


class BatchTurns:
    """Who waits is served by turns, one workspace after the other.

    A waiting batch keeps its body: `most_bytes` of bodies wait in all, and half of that of one workspace.
    """

    def __init__(self, most_bytes: int, at_once: int = AT_ONCE) -> None:
        self._most_bytes = most_bytes
        self._free = at_once
        self._running: set[UUID] = set()
        self._waiting: OrderedDict[UUID, deque[tuple[asyncio.Future[None], int]]] = OrderedDict()
        self._bytes = 0

    @asynccontextmanager
    async def turn(self, workspace: UUID, size: int) -> AsyncIterator[None]:
        """For the length of the block one batch with a body of `size` bytes; raises Overloaded where too much waits."""
        if self._free and workspace not in self._running:
            self._begin(workspace)
        else:
            await self._wait(workspace, size)
        try:
            yield
        finally:
            self._end(workspace)

    async def _wait(self, workspace: UUID, size: int) -> None:
        line = self._waiting.setdefault(workspace, deque())
        own = sum(waiting for _, waiting in line)
        if self._bytes + size > self._most_bytes or own + size > self._most_bytes // 2 or len(line) >= MOST_WAITING_OF_ONE:
            if not line:
                del self._waiting[workspace]
            raise Overloaded("too many batches are waiting")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line.append((turn, size))
        self._bytes += size
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._end(workspace)
            raise

    def _begin(self, workspace: UUID) -> None:
        self._free -= 1
        self._running.add(workspace)

    def _end(self, workspace: UUID) -> None:
        self._free += 1
        self._running.discard(workspace)
        for waiting, line in list(self._waiting.items()):
            if not self._free:
                return
            while line and waiting not in self._running:
                turn, size = line.popleft()
                self._bytes -= size
                if not turn.done():
                    self._begin(waiting)
                    turn.set_result(None)
            if line:
                self._waiting.move_to_end(waiting)
            else:
                del self._waiting[waiting]
