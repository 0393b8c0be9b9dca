"""Password hashing: argon2id on a few threads of its own, with a line of bounded length before them."""

import asyncio
import os
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

import argon2

from infrastructure.unavailable import Overloaded

P = ParamSpec("P")
R = TypeVar("R")

# OWASP's and RFC 9106's floor for argon2id: 19 MiB, two passes, one lane.
FLOOR = argon2.PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1, type=argon2.Type.ID)


# Few at once. (A lower priority would not do: a thread that is put off while it holds the interpreter puts off all the others.)
THREADS = max(1, (os.cpu_count() or 1) // 4)


class PasswordHasher:
    """argon2id, never on the event loop. Raises `Overloaded` when `threads` work and `waiting` wait already.

    A hash takes about 40 ms of one core and 19 MiB, so an unbounded burst of sign-ins would take the machine.
    """

    def __init__(self, argon: argon2.PasswordHasher = FLOOR, threads: int = THREADS, waiting: int = 64) -> None:
        self._argon = argon
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="argon2")
        self._places = threading.BoundedSemaphore(threads + waiting)
        # Verified instead of a real hash for unknown users, so that time does not tell who has an account.
        self._nobody = argon.hash(secrets.token_urlsafe(16))

    def require_room(self) -> None:
        """Raise `Overloaded` where there is no place in the line now."""
        if not self._places.acquire(blocking=False):
            raise _overloaded()
        self._places.release()

    async def hash(self, password: str) -> str:
        """A new encoded hash with today's parameters."""
        return await self._run(self._argon.hash, password)

    async def verify(self, stored: str | None, password: str) -> bool:
        """Whether the password matches. Exactly one argon2 verification, with or without a stored hash."""
        matches = await self._run(self._matches, self._nobody if stored is None else stored, password)
        return matches and stored is not None

    def is_outdated(self, stored: str) -> bool:
        """Whether the hash was made with other parameters than today's."""
        return self._argon.check_needs_rehash(stored)

    def close(self) -> None:
        """Let the running work end and refuse what waits."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _matches(self, stored: str, password: str) -> bool:
        try:
            return self._argon.verify(stored, password)
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return False

    async def _run(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        if not self._places.acquire(blocking=False):
            raise _overloaded()
        try:
            future = self._pool.submit(work, *args, **kwargs)
        except RuntimeError:
            self._places.release()
            raise
        # The place is given back when the thread is done, not when the caller has gone away.
        future.add_done_callback(self._leave)
        return await asyncio.wrap_future(future)

    def _leave(self, _: "Future[R]") -> None:
        self._places.release()


def _overloaded() -> Overloaded:
    return Overloaded("Too many sign-ins at once.", retry_after=2)
