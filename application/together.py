"""Many commands decided one after the other, each on what those before it lead to, and appended in one call of the log.

What is decided so is believed only if the append proves it, as all that is decided on memory. What is refused or changes
nothing, and what the log did not take, is left to be handled by itself.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Generic

import msgspec

from application.command_handler import LONGEST_WAIT_FOR_TURN, Asked, CommandHandler
from application.log import Append, Appended, Condition, ConditionViolated, EventStore, Loaded, LogUnavailable, VersionConflict
from application.receipts import EarlierRefusal, Receipt
from application.turns import Held, NoTurn
from domain.aggregate import C, E, S
from domain.boundaries import Boundary, Rule, Seen

MOST_TOGETHER: Final = 128
"""Commands: as many as a call of the log takes of one workspace."""
AT_ONCE: Final = 8
"""Streams that are read together, and decisions between two turns of the event loop: a millisecond or two."""

Breathe = Callable[[float], Awaitable[None]]
"""Lets others go on, after work that began at this time of the event loop."""
Outcomes = dict[int, Receipt | LogUnavailable]


class CommandsTogether(Generic[S, E, C]):
    """Handles commands of one handler together, on the store of that handler."""

    def __init__(self, handler: CommandHandler[S, E, C], store: EventStore) -> None:
        self._handler = handler
        self._store = store

    async def handle(self, commands: Sequence[Asked[S, C]], breathe: Breathe) -> Outcomes:
        """Carry out commands of different streams, in order; receipts by place.

        What is missing there was not done. Of what the log did not answer nobody knows whether it was stored.
        """
        held = Held(self._handler.turns, LONGEST_WAIT_FOR_TURN)
        done: Outcomes = {}
        places: Sequence[int] = range(len(commands))
        try:
            for stream_id in sorted(asked.stream_id for asked in commands):
                await held.take_stream(stream_id)
            # What remembered state did not prove is decided once more, on what the log says.
            for fresh in (False, True):
                decided = await self._decided(commands, places, breathe, fresh=fresh)
                await held.take_tags(_tags(decided))
                places = await self._append(decided, held, done, fresh=fresh)
                if not places:
                    break
        except NoTurn:
            pass
        finally:
            held.give_back()
        return done

    async def _decided(
        self, commands: Sequence[Asked[S, C]], places: Sequence[int], breathe: Breathe, *, fresh: bool
    ) -> "list[_Decided[S, E, C]]":
        loop = asyncio.get_running_loop()
        decided: list[_Decided[S, E, C]] = []
        for start in range(0, len(places), AT_ONCE):
            part = places[start : start + AT_ONCE]
            states = await asyncio.gather(*(self._state(commands[n], fresh=fresh) for n in part), return_exceptions=True)
            began = loop.time()
            for place, loaded in zip(part, states, strict=True):
                if not isinstance(loaded, BaseException) and (each := await self._decide(place, commands[place], loaded)):
                    decided.append(each)
            await breathe(began)
        return decided

    async def _state(self, asked: Asked[S, C], *, fresh: bool) -> Loaded[Any] | None:
        known = None if fresh else self._store.recall(asked.stream_id)
        if known is None and (fresh or not asked.creates):
            known = await self._store.load(self._handler.aggregate, asked.stream_id)
        return known

    async def _decide(self, place: int, asked: Asked[S, C], loaded: Loaded[Any] | None) -> "_Decided[S, E, C] | None":
        try:
            events = await self._handler.decide(asked, loaded)
        except Exception:  # noqa: BLE001 - whatever it is, it is told when the command is handled by itself
            return None
        if not events:
            return None
        rules = self._handler.rules(asked, loaded, events)
        return _Decided(place, asked, loaded, events, self._handler.tags(asked, events), rules)

    async def _append(self, decided: "Sequence[_Decided[S, E, C]]", held: Held, done: Outcomes, *, fresh: bool) -> list[int]:
        """Append what the boundaries allow; the places of what the log refused because it has gone on."""
        boundaries = _Boundaries(self._store, fresh=fresh)
        links: list[_Decided[S, E, C]] = []
        appends: list[Append] = []
        for each in decided:
            conditions = await boundaries.allow(each)
            if conditions is not None:
                links.append(each)
                appends.append(self._handler.append_of(each.asked, each.loaded, each.events, conditions))
        if not links:
            return []
        try:
            answers = await self._store.append_chain(appends)
        except LogUnavailable as away:
            held.turn_away(away)
            done.update((each.place, away) for each in links)
            return []
        except Exception:  # noqa: BLE001 - as above
            return []
        outdated: list[int] = []
        for each, answer in zip(links, answers, strict=True):
            if isinstance(answer, VersionConflict | ConditionViolated):
                outdated.append(each.place)
            elif isinstance(answer, Appended) and (receipt := self._receipt(each, answer)):
                done[each.place] = receipt
        boundaries.remember(links, answers)
        return outdated

    def _receipt(self, each: "_Decided[S, E, C]", answer: Appended) -> Receipt | None:
        try:
            return self._handler.accepted(each.asked, each.loaded, each.events, answer)
        except EarlierRefusal:
            return None


class _Decided(msgspec.Struct, Generic[S, E, C], frozen=True, gc=False):
    """A command that its stream allows: the events that it leads to, their tags, and what they require of boundaries."""

    place: int
    asked: Asked[S, C]
    loaded: Loaded[Any] | None
    events: tuple[E, ...]
    tags: tuple[frozenset[str], ...]
    rules: tuple[Rule[Any], ...]


class _Boundaries:
    """The boundaries that commands rest on: as the log has them, and as the commands before have left them."""

    def __init__(self, store: EventStore, *, fresh: bool) -> None:
        self._store = store
        self._fresh = fresh
        self._before: dict[str, tuple[Boundary[Any], Seen[Any]]] = {}
        self._now: dict[str, Any] = {}
        self._allowed: list[tuple[frozenset[str], Any]] = []

    async def allow(self, decided: _Decided[Any, Any, Any]) -> tuple[Condition, ...] | None:
        """The conditions of the decision, whose events those of later commands come after; None where a boundary forbids it."""
        try:
            for rule in decided.rules:
                rule.require(await self._state(rule.boundary))
        except Exception:  # noqa: BLE001 - as above
            return None
        for tagged in zip(decided.tags, decided.events, strict=True):
            self._allowed.append(tagged)
            for tag in tagged[0] & self._now.keys():
                self._now[tag] = self._before[tag][0].evolve(self._now[tag], tagged[1])
        return tuple(Condition(rule.boundary.tag, self._before[rule.boundary.tag][1].at) for rule in decided.rules)

    async def _state(self, boundary: Boundary[Any]) -> Any:
        tag = boundary.tag
        if tag not in self._now:
            seen = self._store.recall_boundary(boundary)
            if seen is None or self._fresh:
                seen = await self._store.load_boundary(boundary, seen)
            self._before[tag] = (boundary, seen)
            state = seen.state
            for tags, event in self._allowed:
                if tag in tags:
                    state = boundary.evolve(state, event)
            self._now[tag] = state
        return self._now[tag]

    def remember(self, links: Sequence[_Decided[Any, Any, Any]], answers: Sequence[Appended | Exception]) -> None:
        """Keep the boundaries as the log has them now, where an accepted append has proved what they were."""
        stored = [
            (each, answer.position - len(each.events) + 1)
            for each, answer in zip(links, answers, strict=True)
            if isinstance(answer, Appended) and not answer.replayed
        ]
        for tag in {rule.boundary.tag for each, _ in stored for rule in each.rules}:
            boundary, seen = self._before[tag]
            state, at = seen.state, seen.at
            for each, first in stored:
                for position, (tags, event) in enumerate(zip(each.tags, each.events, strict=True), first):
                    if tag in tags:
                        state, at = boundary.evolve(state, event), position
            self._store.remember_boundary(boundary, Seen(state, at))


def _tags(decided: Sequence[_Decided[Any, Any, Any]]) -> dict[str, bool]:
    """The boundaries that they rest on, and whether any of them changes it."""
    changed = frozenset[str]().union(*(tags for each in decided for tags in each.tags))
    return {rule.boundary.tag: rule.boundary.tag in changed for each in decided for rule in each.rules}
