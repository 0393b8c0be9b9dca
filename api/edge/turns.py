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
STRANGERS_A_LAP: Final = 4
BUSY_SECONDS: Final = 0.02
SECONDS_A_STRANGER: Final = 0.002
"""While others are at work, a stranger begins so often at most: less than a tenth of the process' time is theirs then."""


class _Lines:
    """Lines that are served by turns (round robin), so that whoever waits in a short one does not wait behind a long one."""

    def __init__(self) -> None:
        self._lines: dict[Hashable, deque[asyncio.Future[None]]] = {}
        self._order: deque[Hashable] = deque()
        self.waiting = 0

    def join(self, line: Hashable, turn: "asyncio.Future[None]") -> None:
        queue = self._lines.get(line)
        if queue is None:
            queue = self._lines[line] = deque()
            self._order.append(line)
        queue.append(turn)
        self.waiting += 1

    def begin(self, most: int) -> int:
        """Let up to `most` begin; how many did."""
        begun = 0
        while self.waiting and begun < most:
            line = self._order.popleft()
            queue = self._lines[line]
            turn = queue.popleft()
            self.waiting -= 1
            if queue:
                self._order.append(line)
            else:
                del self._lines[line]
            # Whoever hung up meanwhile has cancelled his turn.
            if not turn.done():
                turn.set_result(None)
                begun += 1
        return begun


class Turns:
    """The order in which requests begin. One for each process, used on its event loop only.

    At most `most_waiting` wait; who comes then is refused (`Overloaded`) before anything is done for him. Strangers, who show
    no good token, begin a few a lap where nobody else is at work, and else one at a time, `SECONDS_A_STRANGER` apart: a
    flood of sign-ins costs sign-ins.
    """

    def __init__(self, most_waiting: int, begin_a_lap: int = BEGIN_A_LAP, strangers_a_lap: int = STRANGERS_A_LAP) -> None:
        self._most_waiting = most_waiting
        self._a_lap = {False: begin_a_lap, True: strangers_a_lap}
        self._begun = {False: 0, True: 0}
        self._lines = {False: _Lines(), True: _Lines()}
        self._lap_scheduled = False
        self._stranger_after = 0.0
        self._busy_until = 0.0

    @property
    def waiting(self) -> int:
        """How many requests wait for their turn."""
        return self._lines[False].waiting + self._lines[True].waiting

    def begins_now(self, stranger: bool = False) -> bool:
        """Whether a request may begin at once, which then counts as begun; else `wait` is for it."""
        if self._lines[stranger].waiting or self._begun[stranger] >= self._room(stranger):
            return False
        self._begun[stranger] += 1
        if not stranger:
            self._busy_until = asyncio.get_running_loop().time() + BUSY_SECONDS
        if not self._lap_scheduled:
            self._schedule()
        return True

    async def wait(self, line: Hashable, stranger: bool = False) -> None:
        """Wait for the next turn in a line. Raises `Overloaded` where too many wait already."""
        if self.waiting >= self._most_waiting:
            raise Overloaded(f"{self.waiting} requests are waiting already")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lines[stranger].join(line, turn)
        if not self._lap_scheduled:
            self._schedule()
        await turn

    def _schedule(self) -> None:
        self._lap_scheduled = True
        asyncio.get_running_loop().call_soon(self._next_lap)

    def _room(self, stranger: bool) -> int:
        """How many of a kind may begin in this lap."""
        if not stranger:
            return self._a_lap[False]
        now = asyncio.get_running_loop().time()
        if now >= self._busy_until and not self._lines[False].waiting:
            return self._a_lap[True]
        if now < self._stranger_after:
            return 0
        self._stranger_after = now + SECONDS_A_STRANGER
        return 1

    def _next_lap(self) -> None:
        self._lap_scheduled = False
        strangers = self._room(stranger=True) if self._lines[True].waiting else 0
        self._begun = {
            False: self._lines[False].begin(self._a_lap[False]),
            True: self._lines[True].begin(strangers),
        }
        if self._begun[False]:
            self._busy_until = asyncio.get_running_loop().time() + BUSY_SECONDS
        if self._begun[False] or self._begun[True]:
            self._schedule()
        elif self._lines[True].waiting:
            self._lap_scheduled = True
            asyncio.get_running_loop().call_later(SECONDS_A_STRANGER, self._next_lap)
