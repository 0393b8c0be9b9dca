"""Turns: so many requests begin a lap of the event loop, the others wait in line, one line a workspace or client.

Thousands of requests that arrive at once would otherwise all begin in the same lap, and while it lasts (a second and more) no
timer, no reply of a database and no health check is looked at: time limits then measure the crowd and not the servers.
"""

import asyncio
from collections import deque
from collections.abc import Hashable
from typing import Final

from infrastructure.unavailable import Overloaded

BEGIN_A_LAP: Final = 48
"""Some milliseconds of work: long enough that a lap's own cost does not matter, short for whatever waits beside it."""


class Turns:
    """The order in which requests begin. One for each process, used on its event loop only.

    At most `most_waiting` wait; who comes then is refused (`Overloaded`) before anything is done for him. The lines are served
    by turns (round robin), so that a client with thousands of connections does not keep others waiting behind all of them.
    """

    def __init__(self, most_waiting: int, begin_a_lap: int = BEGIN_A_LAP) -> None:
        self._most_waiting = most_waiting
        self._begin_a_lap = begin_a_lap
        self._begun = 0
        self._lines: dict[Hashable, deque[asyncio.Future[None]]] = {}
        self._order: deque[Hashable] = deque()
        self._waiting = 0
        self._lap_scheduled = False

    @property
    def waiting(self) -> int:
        """How many requests wait for their turn."""
        return self._waiting

    def begins_now(self) -> bool:
        """Whether a request may begin at once, which then counts as begun; else `wait` is for it."""
        if self._waiting or self._begun >= self._begin_a_lap:
            return False
        self._begun += 1
        if not self._lap_scheduled:
            self._schedule()
        return True

    async def wait(self, line: Hashable) -> None:
        """Wait for the next turn in a line. Raises `Overloaded` where too many wait already."""
        if self._waiting >= self._most_waiting:
            raise Overloaded(f"{self._waiting} requests are waiting already")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue = self._lines.get(line)
        if queue is None:
            queue = self._lines[line] = deque()
            self._order.append(line)
        queue.append(turn)
        self._waiting += 1
        if not self._lap_scheduled:
            self._schedule()
        await turn

    def _schedule(self) -> None:
        self._lap_scheduled = True
        asyncio.get_running_loop().call_soon(self._next_lap)

    def _next_lap(self) -> None:
        self._lap_scheduled = False
        self._begun = 0
        while self._waiting and self._begun < self._begin_a_lap:
            line = self._order.popleft()
            queue = self._lines[line]
            turn = queue.popleft()
            self._waiting -= 1
            if queue:
                self._order.append(line)
            else:
                del self._lines[line]
            # Whoever hung up meanwhile has cancelled his turn.
            if not turn.done():
                turn.set_result(None)
                self._begun += 1
        if self._begun:
            self._schedule()
