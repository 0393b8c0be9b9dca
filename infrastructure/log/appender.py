"""Group commit: appends that arrive while one transaction is under way share the next one.

One appender a process and log. It sends what has collected as one call of `append_events`, which is one
transaction and one flush, and hands every caller its own positions or its own conflict. Each call is shared fairly between
the workspaces that wait.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from uuid import UUID

import psycopg

from application.log import Append, Appended, ConditionViolated, IdempotencyMismatch, LogUnavailable, VersionConflict
from infrastructure.log.append_connection import AppendConnection, Connect
from infrastructure.log.append_function import read_outcomes
from infrastructure.log.fair_queue import ENOUGH_FOR_A_CALL, FairQueue, QueueBounds, Waiting
from infrastructure.log.tags import OtherTagScheme
from infrastructure.processes.failpoints import failpoint
from infrastructure.unavailable import Overloaded

logger = logging.getLogger("taskmaster.log")

COMPANY_SECONDS = 0.25
DEADLINE_SECONDS = 5.0
"""How long an append is tried while Postgres is away, and how long Postgres may stay silent on one of them;
where one was sent, its outcome is unknown to its caller then."""


class GroupCommitAppender:
    """Appends for one log over one connection of its own.

    `on_commit` is told the newest position after each commit, `on_reconnect` when the connection was
    replaced.
    """

    def __init__(
        self,
        connect: Connect,
        schema: str,
        on_commit: Callable[[int], None] = lambda _: None,
        on_reconnect: Callable[[], None] = lambda: None,
        bounds: QueueBounds | None = None,
    ) -> None:
        self._connection = AppendConnection(connect, schema, on_reconnect)
        self._on_commit = on_commit
        self._waiting = FairQueue(bounds or QueueBounds())
        self._something_waits = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._stopping = False
        self._is_reachable = True
        self._is_left_behind = False

    async def start(self) -> None:
        """Connect and begin to serve; raises psycopg.OperationalError where the server is away."""
        await self._connection.open()
        self._running = asyncio.create_task(self._serve(), name="appender")

    async def stop(self) -> None:
        """Answer what is waiting and under way, then close; nothing is taken from now on."""
        self._stopping = True
        self._something_waits.set()
        if self._running:
            await self._running
        await self._connection.close()

    async def append(self, append: Append) -> Appended:
        """Store `append` durably; raises a refusal of the log's, LogUnavailable or Overloaded."""
        if self._stopping:
            raise LogUnavailable("the log is being closed")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Appended] = loop.create_future()
        self._waiting.add(Waiting(append, answer, loop.time() + DEADLINE_SECONDS))
        self._something_waits.set()
        return await answer

    async def append_chain(self, appends: Sequence[Append]) -> list[Appended | Exception]:
        """See `EventStore.append_chain`."""
        first, *others = appends
        if not others:
            try:
                return [await self.append(first)]
            except (VersionConflict, ConditionViolated, IdempotencyMismatch) as refusal:
                return [refusal]
        if self._stopping:
            raise LogUnavailable("the log is being closed")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[Appended | Exception]] = loop.create_future()
        self._waiting.add(Waiting(first, answer, loop.time() + DEADLINE_SECONDS, others))
        self._something_waits.set()
        return await answer

    def has_company(self, workspace_id: UUID) -> bool:
        """Whether another workspace has appended within the last quarter of a second."""
        now = asyncio.get_running_loop().time()
        return self._waiting.has_company(workspace_id, now + DEADLINE_SECONDS - COMPANY_SECONDS)

    async def _serve(self) -> None:
        while self._waiting or not self._stopping:
            await self._something_waits.wait()
            await self._gather()
            self._expire()
            if self._waiting:
                await self._commit(self._waiting.take())
            if not self._waiting and not self._stopping:
                self._something_waits.clear()

    async def _gather(self) -> None:
        """Let in what has arrived already: as long as every turn of the loop brings another append, the flush is worth
        sharing. Nobody waits for a timer, and alone nobody waits at all but one turn."""
        waiting = -1
        while waiting != len(self._waiting) < ENOUGH_FOR_A_CALL:
            waiting = len(self._waiting)
            await asyncio.sleep(0)

    def _expire(self) -> None:
        """What waited too long is refused while it is still certain that it was not stored."""
        for waiting in self._waiting.expired(asyncio.get_running_loop().time()):
            if not waiting.answer.done():
                late = "the append waited too long for its turn"
                waiting.answer.set_exception(Overloaded(late) if self._is_reachable else LogUnavailable(late))

    async def _commit(self, batch: list[Waiting]) -> None:
        try:
            answers = await self._send_until_answered(batch)
        except Exception as error:  # noqa: BLE001 - callers wait for an answer, and others come after them
            await self._give_up(batch, error)
            return
        _hand_out(batch, answers)
        failpoint("append.before_wake_up")
        self._announce(max((a.position for a in answers if isinstance(a, Appended)), default=0))

    async def _give_up(self, batch: list[Waiting], error: Exception) -> None:
        """The error is the answer of all; whatever it is of one that is encoded or refused outright, of that one alone."""
        if isinstance(error, OtherTagScheme):
            if not self._is_left_behind:
                logger.error("another release has taken the log over: this process appends nothing any more")
            self._is_left_behind = True
        elif not isinstance(error, LogUnavailable):
            if len(batch) > 1:
                for waiting in batch:
                    await self._commit([waiting])
                return
            logger.error("the log refused an append", exc_info=error)
        for waiting in batch:
            if not waiting.answer.done():
                waiting.answer.set_exception(error)

    def _announce(self, newest: int) -> None:
        try:
            if newest:
                self._on_commit(newest)
        except Exception:
            # The events are stored and answered; an announcement that fails must not stop the log.
            logger.exception("position %s was not announced", newest)

    async def _send_until_answered(self, batch: list[Waiting]) -> list[Appended | Exception]:
        """Send, and after a lost connection send the same again.

        Sending twice is safe: the function finds a stored append by its key or by its command id and answers
        with the original positions, and a copy that is still under way meets the versions that the other one
        took.
        """
        loop = asyncio.get_running_loop()
        deadline = min(waiting.deadline for waiting in batch)
        appends, follows = _in_order(batch)
        pause = 0.02
        while True:
            try:
                outcomes = read_outcomes(appends, await self._connection.call(appends, DEADLINE_SECONDS, follows))
                self._is_reachable = True
                return outcomes
            except (psycopg.OperationalError, psycopg.InterfaceError, OSError) as error:
                self._is_reachable = False
                if loop.time() + pause > deadline:
                    raise LogUnavailable("the log cannot be reached") from error
                logger.warning("append failed, trying again: %s", str(error).splitlines()[0] if str(error) else error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, 0.5)


def _in_order(batch: list[Waiting]) -> tuple[list[Append], list[int]]:
    """All appends of a call, and the numbers of those that follow the one before them: of chains that rest on boundaries."""
    appends: list[Append] = []
    follows: list[int] = []
    for waiting in batch:
        appends.append(waiting.append)
        if waiting.chain:
            if waiting.append.conditions or any(each.conditions for each in waiting.chain):
                follows.extend(range(len(appends) + 1, len(appends) + len(waiting.chain) + 1))
            appends.extend(waiting.chain)
    return appends, follows


def _hand_out(batch: list[Waiting], answers: Sequence[Appended | Exception]) -> None:
    place = 0
    for waiting in batch:
        answer, chained = answers[place], len(waiting.chain)
        place += 1 + chained
        if waiting.answer.done():
            continue
        if chained:
            waiting.answer.set_result(answers[place - 1 - chained : place])
        elif isinstance(answer, Appended):
            waiting.answer.set_result(answer)
        else:
            waiting.answer.set_exception(answer)
