"""A time limit for answers of another process that does not blame it for a busy event loop."""

import asyncio
from types import TracebackType

STEP = 0.025
LONGEST = 5.0


class Patience:
    """Raises TimeoutError in its block after so many seconds without an answer, counting only those in which the event loop
    could have heard one.

    An ordinary time-out measures wall-clock time: where the loop was held up for longer than that, the answer may have lain in
    the socket's buffer all along. Here time passes in steps of 25 ms, and only steps that the loop came to in time count.
    `LONGEST` seconds bound it all the same. An asynchronous context manager, used once.
    """

    __slots__ = ("_deadline", "_due", "_left", "_loop", "_timer", "_until")

    def __init__(self, seconds: float) -> None:
        self._left = max(1, round(seconds / STEP))
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time()
        self._until = self._due + LONGEST
        self._deadline = asyncio.timeout(None)
        self._timer: asyncio.TimerHandle

    async def __aenter__(self) -> None:
        await self._deadline.__aenter__()
        self._wait()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        await self._deadline.__aexit__(kind, error, trace)

    def _wait(self) -> None:
        self._due = self._loop.time() + STEP
        self._timer = self._loop.call_at(self._due, self._step)

    def _step(self) -> None:
        now = self._loop.time()
        if now - self._due < STEP:
            self._left -= 1
        if self._left > 0 and now < self._until:
            self._wait()
        else:
            self._deadline.reschedule(now)
