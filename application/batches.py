"""Many commands in one request: each succeeds or fails on its own, and one idempotency key covers them whole.

What a keyed batch decides is settled command by command, under a key of its own that no client can send (`key`, line feed,
number): an accepted command in the transaction of its events, a refusal in one that only remembers it. Whoever settles a
command first has settled it for everybody, so a batch that was killed half-way is completed by its retry without doubling
anything, copies that run at the same time end in the same answer, and a replay is put together from what was settled.
What fails for a reason that passes (the log is away, the line is full) is not settled: the retry tries it again.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Final, Generic
from uuid import UUID

import msgspec
from msgspec.structs import replace
from uuid_utils.compat import uuid7

from application.checks import Check
from application.command_handler import Asked, CommandContext, CommandHandler, IfMatch
from application.log import Append, EventStore, IdempotencyKey
from application.receipts import EarlierRefusal, Receipt, refusal_start, replayed
from application.together import MOST_TOGETHER, CommandsTogether
from domain.aggregate import C, E, S
from domain.errors import DomainError

AT_ONCE: Final = 8
"""Commands of one batch that are under way together: enough to share a flush, few enough that what they cost between two turns
of the event loop is a millisecond or two."""

REST: Final = 2.0
MOST_REST_SECONDS: Final = 0.03
MOST_REST_TOGETHER_SECONDS: Final = 0.25
"""After commands that went together, where they are as many."""


class Entry(msgspec.Struct, Generic[C], frozen=True):
    """A command of a batch, or the `refusal` of something that cannot be one."""

    stream_id: UUID
    command: C
    if_match: IfMatch | None = None
    refusal: Exception | None = None


_Numbered = tuple[int, Entry[C]]


class Outcome(msgspec.Struct, frozen=True):
    """What became of a command: a receipt, or the JSON of the problem; and the position it was decided at, where known."""

    position: int | None
    receipt: Receipt | None = None
    problem: bytes = b""


class BatchAnswer(msgspec.Struct, frozen=True):
    """An outcome for each command, in order, and the newest position that they rest on."""

    position: int
    outcomes: tuple[Outcome, ...]
    replayed: bool


class Rendered(msgspec.Struct, frozen=True):
    """A refusal as it is sent, and whether it is one for good."""

    problem: bytes
    is_final: bool


Render = Callable[[Exception], Rendered]


class BatchHandler(Generic[S, E, C]):
    """Carries out batches of one aggregate's commands over one log. What the check needs is asked once a batch.

    While `has_company` says that other workspaces are at work, a batch rests after each command for twice as long as that took.
    """

    def __init__(
        self,
        store: EventStore,
        handler: CommandHandler[S, E, C],
        has_company: Callable[[UUID], bool] = lambda _: False,
    ) -> None:
        self._store = store
        self._handler = handler
        self._has_company = has_company

    async def handle(self, entries: Sequence[Entry[C]], context: CommandContext, render: Render) -> BatchAnswer:
        """Carry out those of one stream in order; those of different streams in order as well, as far as none is refused.

        Raises IdempotencyMismatch before anything is done, LogUnavailable or Overloaded if it cannot begin.
        """
        begun_at, settled = await self._begin(len(entries), context)
        is_replay = len(settled) == len(entries)
        if not is_replay:
            commands = (entry.command for entry in entries if entry.refusal is None)
            check = await self._handler.check.ahead(commands, context.principal)
            run = _Run(self._store, self._handler, context, render, check, self._has_company)
            settled |= await run.carry_out(entries, settled)
        outcomes = tuple(self._completed(settled[number], entry) for number, entry in enumerate(entries))
        positions = [outcome.position for outcome in outcomes if outcome.position is not None]
        return BatchAnswer(max(positions, default=begun_at), outcomes, is_replay)

    def _completed(self, outcome: Outcome, entry: Entry[C]) -> Outcome:
        if outcome.receipt is None:
            return outcome
        created = type(entry.command) in self._handler.aggregate.creates
        return replace(outcome, receipt=replace(outcome.receipt, created=created))

    async def _begin(self, count: int, context: CommandContext) -> tuple[int, dict[int, Outcome]]:
        key = context.idempotency
        if key is None:
            return await self._store.head(), {}
        begun = await self._store.append(_without_events(context, f'{{"commands":{count}', key))
        if not begun.replayed:
            return begun.position, {}
        numbers = {_key_of(key, number).key: number for number in range(count)}
        principal = context.principal
        found = await self._store.find_receipts(principal.workspace_id, principal.principal_id, list(numbers))
        return begun.position, {numbers[name]: _settled(appended.receipt) for name, appended in found.items()}


class _Run(Generic[S, E, C]):
    """One go at a batch."""

    def __init__(
        self,
        store: EventStore,
        handler: CommandHandler[S, E, C],
        context: CommandContext,
        render: Render,
        check: Check[S, C],
        has_company: Callable[[UUID], bool],
    ) -> None:
        self._has_company = has_company
        self._store = store
        self._handler = handler
        self._context = context
        self._render = render
        self._check = check
        self._outcomes: dict[int, Outcome] = {}

    async def carry_out(self, entries: Sequence[Entry[C]], settled: dict[int, Outcome]) -> dict[int, Outcome]:
        """Round by round the next command of each stream: as many together as a call takes, and by itself whatever is left."""
        lines: dict[UUID, deque[_Numbered[C]]] = {}
        for number, entry in enumerate(entries):
            if number not in settled:
                lines.setdefault(entry.stream_id, deque()).append((number, entry))
        while lines:
            following = [line.popleft() for line in lines.values()]
            for start in range(0, len(following), MOST_TOGETHER):
                await self._round(following[start : start + MOST_TOGETHER])
            lines = {stream_id: line for stream_id, line in lines.items() if line}
        return self._outcomes

    async def _round(self, commands: Sequence[_Numbered[C]]) -> None:
        if len(commands) > 1:
            await self._together(commands)
        waiting = iter([each for each in commands if each[0] not in self._outcomes])
        await asyncio.gather(*(self._work(waiting) for _ in range(min(AT_ONCE, len(commands)))))

    async def _together(self, commands: Sequence[_Numbered[C]]) -> None:
        asked: list[Asked[S, C]] = []
        numbers: list[int] = []
        for number, entry in commands:
            if entry.refusal is None:
                # A refusal is told by whoever handles it by itself.
                with suppress(DomainError):
                    asked.append(
                        self._handler.asked(entry.command, entry.stream_id, self._context_of(number, entry), self._check)
                    )
                    numbers.append(number)
        began = asyncio.get_running_loop().time()
        done = await CommandsTogether(self._handler, self._store).handle(asked, self._breathe)
        await self._breathe(began, MOST_REST_TOGETHER_SECONDS)
        for place, outcome in done.items():
            number = numbers[place]
            if isinstance(outcome, Receipt):
                self._outcomes[number] = Outcome(outcome.position, outcome)
            else:
                self._outcomes[number] = await self._refused(outcome, asked[place].context)

    async def _work(self, waiting: Iterator[_Numbered[C]]) -> None:
        for number, entry in waiting:
            began = asyncio.get_running_loop().time()
            self._outcomes[number] = await self._one(number, entry)
            await self._breathe(began)

    async def _breathe(self, began: float, most: float = MOST_REST_SECONDS) -> None:
        if self._has_company(self._context.principal.workspace_id):
            await asyncio.sleep(min(REST * (asyncio.get_running_loop().time() - began), most))
        else:
            await asyncio.sleep(0)

    def _context_of(self, number: int, entry: Entry[C]) -> CommandContext:
        key = self._context.idempotency
        own = _key_of(key, number) if key else None
        return replace(self._context, command_id=uuid7(), idempotency=own, if_match=entry.if_match)

    async def _one(self, number: int, entry: Entry[C]) -> Outcome:
        context = self._context_of(number, entry)
        try:
            if entry.refusal is not None:
                raise entry.refusal
            receipt = await self._handler.handle(entry.command, entry.stream_id, context, self._check)
        except EarlierRefusal as refusal:
            return Outcome(refusal.position, problem=refusal.problem)
        except Exception as error:  # noqa: BLE001 - every command has its own result
            return await self._refused(error, context)
        return Outcome(receipt.position, receipt)

    async def _refused(self, error: Exception, context: CommandContext) -> Outcome:
        rendered, position = self._render(error), getattr(error, "position", None)
        if context.idempotency and rendered.is_final:
            start = refusal_start(rendered.problem, position)
            try:
                appended = await self._store.append(_without_events(context, start, context.idempotency))
            except Exception as failure:  # noqa: BLE001 - and this one is not settled
                return Outcome(None, problem=self._render(failure).problem)
            return _settled(appended.receipt)
        return Outcome(position, problem=rendered.problem)


def _key_of(key: IdempotencyKey, number: int) -> IdempotencyKey:
    return IdempotencyKey(f"{key.key}\n{number}", key.request_hash)


def _without_events(context: CommandContext, receipt_start: str, key: IdempotencyKey) -> Append:
    principal = context.principal
    return Append(
        workspace_id=principal.workspace_id,
        principal_id=principal.principal_id,
        command_id=context.command_id,
        correlation_id=context.correlation_id,
        causation_id=context.causation_id,
        events=(),
        receipt_start=receipt_start,
        idempotency=key,
    )


def _settled(stored: bytes) -> Outcome:
    try:
        receipt = replayed(stored)
    except EarlierRefusal as refusal:
        return Outcome(refusal.position, problem=refusal.problem)
    return Outcome(receipt.position, receipt)
