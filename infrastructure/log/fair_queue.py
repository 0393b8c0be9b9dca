"""Appends that wait for the log: one line a workspace, and each call of the log shared out between the lines.

Deficit round robin (Shreedhar and Varghese, 1995) by events: in each round every line may send events worth one quantum more,
so that a workspace with a thousand waiting appends delays one with a single append by its share of one call, and no more.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from typing import Any, Final
from uuid import UUID

from msgspec import Struct

from application.log import Append, NewEvent
from infrastructure.unavailable import Overloaded

QUANTUM_EVENTS: Final = 16
MOST_EVENTS_A_CALL = 512
ENOUGH_FOR_A_CALL: Final = 512
"""Appends for which no more are waited for."""
MOST_EVENTS_OF_ONE_LINE = 128
"""In one call: enough that the flush is shared, few enough that a call stays short for whoever comes next."""


class QueueBounds(Struct, frozen=True):
    """What may wait: appends in all and of one workspace, and bytes of text in all."""

    appends: int = 10_000
    appends_of_one: int = 2_500
    text_bytes: int = 67_108_864


class Waiting:
    """An append, where its answer is to go, and until when it may wait (the loop's time). `chain` follows it in its call."""

    __slots__ = ("answer", "append", "bytes", "chain", "deadline", "events")

    def __init__(self, append: Append, answer: "asyncio.Future[Any]", deadline: float, chain: Sequence[Append] = ()) -> None:
        self.append = append
        self.answer = answer
        self.deadline = deadline
        self.chain = chain
        self.events = max(1, len(append.events))
        self.bytes = sum(map(_text_bytes, append.events))
        for each in chain:
            self.events += max(1, len(each.events))
            self.bytes += sum(map(_text_bytes, each.events))


class _Line:
    __slots__ = ("credit", "sent", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[Waiting] = deque()
        self.credit = 0
        self.sent = 0


class FairQueue:
    """The lines. `len` is the number of waiting appends."""

    def __init__(self, bounds: QueueBounds) -> None:
        self._bounds = bounds
        # In the order in which they are served next.
        self._lines: OrderedDict[UUID, _Line] = OrderedDict()
        self._count = 0
        self._bytes = 0
        # The two workspaces that came last, with the deadlines that they got: enough to tell whether one has company.
        self._last = self._last_but_one = (UUID(int=0), 0.0)

    def __len__(self) -> int:
        return self._count

    def add(self, waiting: Waiting) -> None:
        """Put it at the end of its workspace's line; raises Overloaded past a bound."""
        bounds, workspace = self._bounds, waiting.append.workspace_id
        line = self._lines.get(workspace)
        if self._count >= bounds.appends or self._bytes + waiting.bytes > bounds.text_bytes:
            raise Overloaded("too many appends are waiting")
        if line is None:
            line = self._lines[workspace] = _Line()
        elif len(line.waiting) >= bounds.appends_of_one:
            raise Overloaded("too many appends of this workspace are waiting")
        line.waiting.append(waiting)
        self._count += 1
        self._bytes += waiting.bytes
        if self._last[0] != workspace:
            self._last_but_one = self._last
        self._last = (workspace, waiting.deadline)

    def has_company(self, workspace: UUID, since: float) -> bool:
        """Whether another workspace has come with a deadline after `since`."""
        _, deadline = self._last if self._last[0] != workspace else self._last_but_one
        return deadline > since

    def take(self) -> list[Waiting]:
        """The next call's appends, no stream and no key twice: the log relies on that. Each stream's order is kept."""
        call = _Call()
        lines = list(self._lines.items())
        while call.room and lines:
            lines = [(workspace, line) for workspace, line in lines if self._serve(line, call)]
        for workspace, line in list(self._lines.items()):
            if call.held.get(line):
                line.waiting.extendleft(reversed(call.held[line]))
            if not line.waiting:
                del self._lines[workspace]
            elif line.sent:
                # Whoever was served is served last in the next call, should that not have room for all.
                self._lines.move_to_end(workspace)
            line.sent = 0
        self._count -= len(call.taken)
        self._bytes -= sum(each.bytes for each in call.taken)
        return call.taken

    @staticmethod
    def _serve(line: _Line, call: "_Call") -> bool:
        """One round for one line; False once it has nothing more for this call."""
        if call.room <= 0:
            return False
        line.credit += QUANTUM_EVENTS
        while line.waiting and line.waiting[0].events <= line.credit:
            if call.room <= 0 or line.sent >= MOST_EVENTS_OF_ONE_LINE:
                return False
            waiting = line.waiting.popleft()
            if call.admits(waiting):
                call.add(waiting)
                line.credit -= waiting.events
                line.sent += waiting.events
            else:
                call.held.setdefault(line, []).append(waiting)
        if not line.waiting:
            # Who has nothing to send saves nothing up.
            line.credit = 0
        return bool(line.waiting)

    def expired(self, now: float) -> Iterator[Waiting]:
        """Take out what has waited beyond its deadline."""
        for workspace, line in list(self._lines.items()):
            while line.waiting and line.waiting[0].deadline < now:
                waiting = line.waiting.popleft()
                self._count -= 1
                self._bytes -= waiting.bytes
                yield waiting
            if not line.waiting:
                del self._lines[workspace]


class _Call:
    """What goes into one call: taken appends, and those held back because something before them is in it."""

    def __init__(self) -> None:
        self.taken: list[Waiting] = []
        self.held: dict[_Line, list[Waiting]] = {}
        self.room = MOST_EVENTS_A_CALL
        self._marks: set[object] = set()

    def admits(self, waiting: Waiting) -> bool:
        """Whether neither a stream nor the key stands in it. What is held back holds back what comes after it as well."""
        append = waiting.append
        marks: set[object] = {new.stream_id for new in append.events}
        if append.idempotency:
            marks.add((append.principal_id, append.idempotency.key))
        for each in waiting.chain:
            marks.update(new.stream_id for new in each.events)
            if each.idempotency:
                marks.add((each.principal_id, each.idempotency.key))
        is_free = self._marks.isdisjoint(marks)
        self._marks |= marks
        return is_free

    def add(self, waiting: Waiting) -> None:
        self.taken.append(waiting)
        self.room -= waiting.events


def _text_bytes(new: NewEvent) -> int:
    # Only descriptions can be large; four bytes a character is the most that one takes.
    return 4 * len(getattr(new.event, "description", ""))
