"""Every command takes this way: authorise, load, check, decide, append, receipt."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from typing import Any, Generic
from uuid import UUID

import msgspec
from msgspec.structs import replace

from application.authorization import authorize
from application.checks import Check
from application.log import (
    Append,
    Appended,
    Condition,
    ConditionViolated,
    EventStore,
    IdempotencyKey,
    Loaded,
    LogUnavailable,
    NewEvent,
    VersionConflict,
)
from application.principal import Principal
from application.receipts import Receipt, completed, receipt_start, replayed
from application.turns import Held, NoTurn, Turns
from domain.aggregate import Aggregate, C, E, S
from domain.boundaries import Boundary, Rule, Seen
from domain.errors import DomainError
from domain.tags import tags_of

MOST_ATTEMPTS = 10
LONGEST_WAIT_FOR_TURN = 5.0
"""In seconds, behind other commands of this process for the same stream or boundary."""


class Refused(Exception):
    """A refusal that is no rule of the domain. `position` is what it was decided at, where that is known."""

    position: int | None = None


class PreconditionFailed(Refused):
    """The stream changed since the version in If-Match, in a field that matters to the command."""

    def __init__(self, version: int, fields: frozenset[str]) -> None:
        super().__init__(f"the stream is at version {version}")
        self.version = version
        self.fields = fields


class NoSuchVersion(PreconditionFailed):
    """If-Match names no version that the stream ever had: nothing that the client saw can be compared with it."""

    def __init__(self, version: int) -> None:
        super().__init__(version, frozenset())


class Contention(Refused):
    """Other writers kept changing the stream between reading and appending, again and again."""


class IfMatch(msgspec.Struct, frozen=True):
    """The versions that the client would accept; `strict` refuses any later change, not just one of its fields.

    `versions` are those of the strong entity tags in If-Match that have the form of ours. Weak ones and strange ones match
    nothing (RFC 9110, 13.1.1), so that an empty tuple is a condition that does not hold.
    """

    versions: tuple[int, ...]
    strict: bool = False


class CommandContext(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Who issues a command, when, and what ties it to others. `effective_at` is for imported history only."""

    principal: Principal
    now: datetime
    command_id: UUID
    correlation_id: UUID
    causation_id: UUID | None = None
    idempotency: IdempotencyKey | None = None
    if_match: IfMatch | None = None
    effective_at: datetime | None = None


TagsOf = Callable[[Any, UUID, UUID], tuple[str, ...]]
"""The tags of an event, by its stream and workspace: `domain.tags.tags_of`."""

Remedy = Callable[[C, DomainError, CommandContext], Awaitable[bool]]
"""Asked about a refusal: True where what was missing has been made, so that the command is to be decided once more."""


async def no_remedy(command: object, refusal: DomainError, context: CommandContext) -> bool:  # noqa: ARG001
    """A refusal stands."""
    return False


class CommandHandler(Generic[S, E, C]):
    """Handles the commands of one aggregate over one log. All handlers of a process and log share their `turns`."""

    def __init__(
        self,
        aggregate: Aggregate[S, E, C],
        store: EventStore,
        check: Check[S, C],
        turns: Turns,
        tags: TagsOf = tags_of,
        remedy: Remedy[C] = no_remedy,
    ) -> None:
        self.aggregate = aggregate
        self.check = check
        self._remedy = remedy
        self._store = store
        self._turns = turns
        self._tags_of = tags

    async def handle(self, command: C, stream_id: UUID, context: CommandContext, check: Check[S, C] | None = None) -> Receipt:
        """Decide `command` and append what it means, durably; `check` takes the place of the handler's own.

        A decision on remembered state is believed only if the append proves it: a no-op or a refusal is
        decided again on state read from the log. Raises DomainError, PreconditionFailed, IdempotencyMismatch,
        Contention or LogUnavailable.
        """
        asked = self.asked(command, stream_id, context, check)
        try:
            receipt = await self._handle(asked)
        except (DomainError, PreconditionFailed) as refusal:
            # A refusal stands unless the key shows that this very request was accepted before.
            earlier = await self._earlier_answer(context)
            if earlier is None:
                if not isinstance(refusal, DomainError) or not await self._remedy(asked.command, refusal, context):
                    raise
                earlier = await self._handle(asked)
            receipt = earlier
        return replace(receipt, created=asked.creates) if receipt.replayed else receipt

    def asked(self, command: C, stream_id: UUID, context: CommandContext, check: Check[S, C] | None = None) -> "Asked[S, C]":
        """The command with everything that it is decided on beside the log. Raises Forbidden."""
        authorize(context.principal, command)
        command = self.aggregate.completed(command, context.principal.workspace_id)
        return Asked(command, stream_id, context, check or self.check, type(command) in self.aggregate.creates)

    @property
    def turns(self) -> Turns:
        """Shared by all handlers of a process and log."""
        return self._turns

    async def _handle(self, asked: "Asked[S, C]") -> Receipt:
        held = Held(self._turns, LONGEST_WAIT_FOR_TURN)
        try:
            if not held.take_stream_at_once(asked.stream_id):
                await held.take_stream(asked.stream_id)
            try:
                receipt = await self._decided_on_memory(asked, held)
                return receipt or await self._decided_on_log(asked, held)
            except (VersionConflict, ConditionViolated):
                pass
            for _ in range(MOST_ATTEMPTS - 1):
                with suppress(VersionConflict, ConditionViolated):
                    return await self._decided_on_log(asked, held)
        except NoTurn:
            raise Contention from None
        except LogUnavailable as away:
            held.turn_away(away)
            raise
        finally:
            held.give_back()
        raise Contention

    async def _decided_on_memory(self, asked: "Asked[S, C]", held: Held) -> Receipt | None:
        """The receipt if remembered state leads to events and the append proves it; a new stream needs none."""
        remembered = self._store.recall(asked.stream_id)
        if remembered is None and not asked.creates:
            return None
        try:
            events = await self.decide(asked, remembered)
            if not events:
                return None
            rested = await self._rest_on_boundaries(asked, remembered, events, held, fresh=False)
        except (DomainError, PreconditionFailed):
            return None
        return await self._append(asked, remembered, events, rested)

    async def _decided_on_log(self, asked: "Asked[S, C]", held: Held) -> Receipt:
        loaded = await self._store.load(self.aggregate, asked.stream_id)
        try:
            events = await self.decide(asked, loaded)
            rested = await self._rest_on_boundaries(asked, loaded, events, held, fresh=True)
        except (DomainError, PreconditionFailed) as refusal:
            # What is somebody else's leaves no trace in a refusal, and a creation cannot tell whose the id is.
            if loaded and self._is_own(asked, loaded) and not asked.creates:
                refusal.position = max(loaded.position, refusal.position or 0)
            raise
        return await self._append(asked, loaded, events, rested)

    async def _rest_on_boundaries(
        self,
        asked: "Asked[S, C]",
        loaded: Loaded[S] | None,
        events: tuple[E, ...],
        held: Held,
        *,
        fresh: bool,
    ) -> "_Rested":
        """What the decision rests on beside its stream, and may; raises the refusal where it may not.

        The turns come first: what was remembered before the others had theirs is out of date by then.
        """
        rules = self.rules(asked, loaded, events)
        if not rules:
            return _NOTHING
        tags = self.tags(asked, events)
        changed = frozenset().union(*tags)
        turns = {rule.boundary.tag: rule.boundary.tag in changed for rule in rules}
        if not held.take_tags_at_once(turns):
            await held.take_tags(turns)
        rested: list[tuple[Boundary[Any], Seen[Any]]] = []
        for rule in rules:
            seen = self._store.recall_boundary(rule.boundary)
            if seen is None or fresh:
                seen = await self._store.load_boundary(rule.boundary, seen)
            try:
                rule.require(seen.state)
            except DomainError as refusal:
                refusal.position = seen.at or None
                raise
            rested.append((rule.boundary, seen))
        return _Rested(tuple(rested), tags)

    def rules(self, asked: "Asked[S, C]", loaded: Loaded[S] | None, events: tuple[E, ...]) -> tuple[Rule[Any], ...]:
        """What the events of a decision require of boundaries: where there are none, nothing."""
        state = loaded.state if loaded else None
        workspace_id = asked.context.principal.workspace_id
        return self.aggregate.rules(state, asked.command, asked.stream_id, workspace_id) if events else ()

    def tags(self, asked: "Asked[S, C]", events: tuple[E, ...]) -> tuple[frozenset[str], ...]:
        """The tags of each event."""
        workspace_id = asked.context.principal.workspace_id
        return tuple([frozenset(self._tags_of(event, asked.stream_id, workspace_id)) for event in events])

    async def decide(self, asked: "Asked[S, C]", loaded: Loaded[Any] | None) -> tuple[E, ...]:
        """The events that the command leads to on the stream as it is. Raises DomainError or PreconditionFailed."""
        if loaded is not None and not self._is_own(asked, loaded):
            raise self.aggregate.exists() if asked.creates else self.aggregate.missing()
        if loaded is None and not asked.creates:
            raise self.aggregate.missing()
        context = asked.context
        if context.if_match and loaded:
            await self._require_unchanged(asked, loaded, context.if_match)
        state = loaded.state if loaded else None
        await asked.check(state, asked.command, context.principal)
        return self.aggregate.decide(state, asked.command, context.now)

    def _is_own(self, asked: "Asked[S, C]", loaded: Loaded[Any]) -> bool:
        """Whether the stream is of the principal's workspace and of the handler's kind."""
        return loaded.workspace_id == asked.context.principal.workspace_id and loaded.aggregate.name == self.aggregate.name

    async def _require_unchanged(self, asked: "Asked[S, C]", loaded: Loaded[S], if_match: IfMatch) -> None:
        if loaded.version in if_match.versions:
            return
        # The newest that was seen has the fewest changes after it: what clashes with that one clashes with all.
        seen = max((version for version in if_match.versions if 0 < version < loaded.version), default=0)
        if not seen:
            raise NoSuchVersion(loaded.version)
        touched = await self._store.touched_since(self.aggregate, asked.stream_id, seen)
        clash = touched if if_match.strict else touched & self.aggregate.command_fields(asked.command)
        if clash or if_match.strict:
            raise PreconditionFailed(loaded.version, clash)

    async def _append(
        self, asked: "Asked[S, C]", loaded: Loaded[S] | None, events: tuple[E, ...], rested: "_Rested"
    ) -> Receipt:
        context = asked.context
        if not events and not context.idempotency and loaded:
            unchanged = completed(receipt_start(asked.stream_id, loaded.version), loaded.position)
            return Receipt(
                stream_id=asked.stream_id, version=loaded.version, position=loaded.position, body=unchanged, changed=False
            )
        conditions = tuple([Condition(boundary.tag, seen.at) for boundary, seen in rested.boundaries])
        appended = await self._store.append(self.append_of(asked, loaded, events, conditions))
        receipt = self.accepted(asked, loaded, events, appended)
        if events and not appended.replayed:
            self._advance(rested, events, appended.position)
        return receipt

    def append_of(
        self, asked: "Asked[S, C]", loaded: Loaded[S] | None, events: tuple[E, ...], conditions: tuple[Condition, ...]
    ) -> Append:
        """What a decision asks of the log."""
        context, before = asked.context, loaded.version if loaded else 0
        return Append(
            workspace_id=context.principal.workspace_id,
            principal_id=context.principal.principal_id,
            command_id=context.command_id,
            correlation_id=context.correlation_id,
            causation_id=context.causation_id,
            events=tuple(
                [
                    NewEvent(asked.stream_id, before + number, event, context.effective_at, self.aggregate.scope(event))
                    for number, event in enumerate(events, 1)
                ]
            ),
            receipt_start=receipt_start(asked.stream_id, before + len(events)),
            idempotency=context.idempotency,
            conditions=conditions,
        )

    def accepted(self, asked: "Asked[S, C]", loaded: Loaded[S] | None, events: tuple[E, ...], appended: Appended) -> Receipt:
        """The receipt; the stream is remembered as it is now. Raises EarlierRefusal where the key brings one back."""
        if appended.replayed and asked.context.idempotency:
            return replayed(appended.receipt)
        before = loaded.version if loaded else 0
        version = before + len(events)
        # A replay answers with the time of the second sending, which is not when it happened.
        if events and not appended.replayed:
            self._remember(asked, loaded, events, version, appended)
        return Receipt(
            stream_id=asked.stream_id,
            version=version,
            position=appended.position,
            body=appended.receipt,
            created=before == 0,
            changed=bool(events),
        )

    def _remember(
        self, asked: "Asked[S, C]", loaded: Loaded[S] | None, events: tuple[E, ...], version: int, appended: Appended
    ) -> None:
        aggregate, context = self.aggregate, asked.context
        state = loaded.state if loaded else None
        for event in events:
            state = aggregate.evolve(state, event)
        assert state is not None  # noqa: S101 - there was at least one event
        happened_at = context.effective_at or appended.recorded_at
        workspace_id = context.principal.workspace_id
        self._store.remember(asked.stream_id, Loaded(aggregate, state, version, appended.position, workspace_id, happened_at))

    def _advance(self, rested: "_Rested", events: tuple[E, ...], position: int) -> None:
        """Remember the boundaries as the accepted append has left them: it proved what they were before it."""
        for boundary, seen in rested.boundaries:
            state, at = seen.state, seen.at
            if not any(boundary.tag in each for each in rested.tags):
                # It is as it was, and most likely remembered so.
                if self._store.recall_boundary(boundary) is None:
                    self._store.remember_boundary(boundary, seen)
                continue
            for place, (event, tags) in enumerate(zip(events, rested.tags, strict=True), position - len(events) + 1):
                if boundary.tag in tags:
                    state, at = boundary.evolve(state, event), place
            self._store.remember_boundary(boundary, Seen(state, at))

    async def _earlier_answer(self, context: CommandContext) -> Receipt | None:
        if context.idempotency is None:
            return None
        principal = context.principal
        stored = await self._store.find_receipt(principal.workspace_id, principal.principal_id, context.idempotency)
        return replayed(stored.receipt) if stored else None


class Asked(msgspec.Struct, Generic[S, C], frozen=True, gc=False):
    """A command on its way: what is asked of which stream, by whom, and whether it begins the stream."""

    command: C
    stream_id: UUID
    context: CommandContext
    check: Check[S, C]
    creates: bool


class _Rested(msgspec.Struct, frozen=True, gc=False):
    """What a decision rested on beside its stream: the boundaries as they were seen, and the tags of each of its events."""

    boundaries: tuple[tuple[Boundary[Any], Seen[Any]], ...] = ()
    tags: tuple[frozenset[str], ...] = ()


_NOTHING = _Rested()
