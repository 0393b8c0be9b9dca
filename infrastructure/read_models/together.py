"""Questions that are asked at the same time and put together, so that many askers cost as much as a few."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Together(Generic[K, V]):
    """Questions that come while some are being put wait and are put in one go, at most `most` of them.

    One go is under way at a time, so a flood of questions takes one connection and not all of them.
    """

    def __init__(self, put: Callable[[list[K]], Awaitable[list[V]]], most: int) -> None:
        self._put = put
        self._most = most
        self._waiting: dict[K, list[asyncio.Future[V]]] = {}
        self._running: asyncio.Task[None] | None = None

    async def ask(self, question: K) -> V:
        """The answer; raises what putting the questions raised."""
        answer: asyncio.Future[V] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(question, []).append(answer)
        if self._running is None:
            self._running = asyncio.create_task(self._serve(), name="questions together")
        return await answer

    async def _serve(self) -> None:
        try:
            while self._waiting:
                questions = list(self._waiting)[: self._most]
                askers = [self._waiting.pop(question) for question in questions]
                try:
                    answers = await self._put(questions)
                except Exception as error:  # noqa: BLE001 - whoever asked is told, whatever it was
                    for waiting in askers:
                        _fail(waiting, error)
                    continue
                for waiting, answer in zip(askers, answers, strict=True):
                    for each in waiting:
                        if not each.done():
                            each.set_result(answer)
        finally:
            self._running = None
            left, self._waiting = self._waiting, {}
            for waiting in left.values():
                _fail(waiting, asyncio.CancelledError())


class Shared(Generic[K, V]):
    """A question that is being put is not put again: who asks meanwhile gets the same answer."""

    def __init__(self, put: Callable[[K], Awaitable[V]]) -> None:
        self._put = put
        self._running: dict[K, asyncio.Task[V]] = {}

    async def ask(self, question: K) -> V:
        """The answer; raises what putting the question raised."""
        task = self._running.get(question)
        if task is None:
            task = self._running[question] = asyncio.ensure_future(self._put_it(question))
            task.add_done_callback(lambda done: self._over(question, done))
        return await asyncio.shield(task)

    async def _put_it(self, question: K) -> V:
        return await self._put(question)

    def _over(self, question: K, done: "asyncio.Task[V]") -> None:
        del self._running[question]
        # Seen here, because whoever waited may have given up.
        if not done.cancelled():
            done.exception()


def _fail(waiting: "list[asyncio.Future[V]]", error: BaseException) -> None:
    for each in waiting:
        if not each.done():
            each.set_exception(error) if not isinstance(error, asyncio.CancelledError) else each.cancel()
