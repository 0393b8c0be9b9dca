"""Turns: commands of one process that meet on a stream or a boundary go on one after the other, in the order of their coming.

Whoever finds a name busy queues before its first attempt. At once, each success would make the next attempt of all others fail;
and if newcomers might try first, they would win on memory against those who wait, again and again. Those who only rest on a
boundary and do not change it share its turn.
"""

import asyncio
from collections import deque
from collections.abc import Hashable
from contextlib import suppress
from uuid import UUID


class NoTurn(Exception):
    """The turn did not come in time."""


class _Line:
    """Those who are at one name, and those who wait for it."""

    __slots__ = ("changing", "sharing", "waiting")

    def __init__(self) -> None:
        self.changing = False
        self.sharing = 0
        self.waiting: deque[tuple[bool, asyncio.Future[None]]] = deque()

    def lets_in(self, *, to_change: bool) -> bool:
        return not self.changing and not (to_change and self.sharing)

    def enter(self, *, to_change: bool) -> None:
        if to_change:
            self.changing = True
        else:
            self.sharing += 1

    def leave(self, *, to_change: bool) -> None:
        if to_change:
            self.changing = False
        else:
            self.sharing -= 1
        if self.waiting:
            self.call()

    def call(self) -> None:
        """Let in whoever is first, and those behind who can share with him."""
        while self.waiting and self.lets_in(to_change=self.waiting[0][0]):
            to_change, called = self.waiting.popleft()
            if not called.done():
                self.enter(to_change=to_change)
                called.set_result(None)

    def turn_away(self, reason: Exception) -> None:
        """Tell those who wait that it is of no use."""
        while self.waiting:
            _, called = self.waiting.popleft()
            if not called.done():
                called.set_exception(type(reason)(*reason.args))

    @property
    def is_empty(self) -> bool:
        return not (self.changing or self.sharing or self.waiting)


class Turns:
    """The lines of one process. Used by one event loop."""

    def __init__(self) -> None:
        self._lines: dict[Hashable, _Line] = {}

    @property
    def busy(self) -> int:
        """At how many names somebody is."""
        return len(self._lines)

    def enter_at_once(self, name: Hashable, *, to_change: bool) -> bool:
        """Take the turn if nobody is there and nobody waits who would be passed."""
        line = self._lines.get(name)
        if line is None:
            line = self._lines[name] = _Line()
        elif line.waiting or not line.lets_in(to_change=to_change):
            return False
        line.enter(to_change=to_change)
        return True

    async def enter(self, name: Hashable, *, to_change: bool) -> None:
        """Take the turn when it comes. Whoever is cancelled or turned away meanwhile has not got it."""
        if self.enter_at_once(name, to_change=to_change):
            return
        line = self._lines[name]
        called: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        place = (to_change, called)
        line.waiting.append(place)
        try:
            await called
        except asyncio.CancelledError:
            if called.done() and not called.cancelled():
                if called.exception() is None:
                    self.leave(name, to_change=to_change)
            else:
                with suppress(ValueError):
                    line.waiting.remove(place)
                # Those behind may share with those who are at it, which the one who left could not.
                line.call()
            raise

    def leave(self, name: Hashable, *, to_change: bool) -> None:
        """Give the turn to whoever is next."""
        line = self._lines[name]
        line.leave(to_change=to_change)
        if line.is_empty:
            del self._lines[name]

    def turn_away(self, name: Hashable, reason: Exception) -> None:
        """Let those who wait for this name fail as the one did who is at it."""
        self._lines[name].turn_away(reason)


class Held:
    """The turns that one command holds. Names are taken in one order by everybody (the stream, then tags as they sort), so that
    nobody waits for somebody who waits for him.

    `patience` is for how many seconds it waits, from the first time that it has to: then NoTurn is raised.
    """

    __slots__ = ("_deadline", "_held", "_patience", "_turns")

    def __init__(self, turns: Turns, patience: float) -> None:
        self._turns = turns
        self._patience = patience
        self._deadline: float | None = None
        self._held: dict[Hashable, bool] = {}

    def _take_at_once(self, name: Hashable, *, to_change: bool) -> bool:
        if not self._turns.enter_at_once(name, to_change=to_change):
            return False
        self._held[name] = to_change
        return True

    def take_stream_at_once(self, stream_id: UUID) -> bool:
        """The turn to change this stream, if it needs no waiting."""
        # By its number: the hash of a UUID is made in Python, each time that it is asked for.
        return self._take_at_once(stream_id.int, to_change=True)

    async def take_stream(self, stream_id: UUID) -> None:
        """The turn to change this stream."""
        await self._take(stream_id.int, to_change=True)

    def take_tags_at_once(self, tags: dict[str, bool]) -> bool:
        """The turns for these tags, if none was taken before and they need no waiting; some may be taken if not."""
        if any(isinstance(name, str) for name in self._held):
            return False
        return all(self._take_at_once(tag, to_change=tags[tag]) for tag in sorted(tags))

    async def take_tags(self, tags: dict[str, bool]) -> None:
        """The turns for these tags, True where it is to change: instead of those for other tags that are held."""
        held = {name: to_change for name, to_change in self._held.items() if isinstance(name, str)}
        if all(held.get(tag) in {to_change, True} for tag, to_change in tags.items()):
            return
        for tag in held:
            self._leave(tag)
        for tag in sorted(tags):
            await self._take(tag, to_change=tags[tag])

    async def _take(self, name: Hashable, *, to_change: bool) -> None:
        if self._take_at_once(name, to_change=to_change):
            return
        if self._deadline is None:
            self._deadline = asyncio.get_running_loop().time() + self._patience
        try:
            async with asyncio.timeout_at(self._deadline):
                await self._turns.enter(name, to_change=to_change)
        except TimeoutError:
            raise NoTurn from None
        self._held[name] = to_change

    def turn_away(self, reason: Exception) -> None:
        """Those who wait for what is held here would fail for the same reason, each after as long a time."""
        for name in self._held:
            self._turns.turn_away(name, reason)

    def give_back(self) -> None:
        """Leave all."""
        for name, to_change in self._held.items():
            self._turns.leave(name, to_change=to_change)
        self._held.clear()

    def _leave(self, name: Hashable) -> None:
        self._turns.leave(name, to_change=self._held.pop(name))
