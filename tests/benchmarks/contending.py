"""Writers whose every command rests on one boundary and changes it: how many are carried out, and how evenly."""

import asyncio
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import pytest
import uvloop

from application.authorization import MAY_ISSUE
from application.checks import NothingToCheck
from application.command_handler import CommandHandler
from application.turns import Turns
from infrastructure.settings import Settings
from tests.application.handler_under_test import context
from tests.benchmarks.figures import Figure, percentile
from tests.benchmarks.load import LoadGenerator
from tests.benchmarks.plan import Plan
from tests.benchmarks.servers import Bench
from tests.cards import CARD, Card, CardCommand, CardEvent, Link, register, tags_of
from tests.infrastructure.log_under_test import open_store

KEYS = ("contended_per_s", "contended_fairness")
WRITERS = 32
Cards = CommandHandler[Card, CardEvent, CardCommand]


class _Round:
    """What each writer got done, and how long each of its commands took."""

    def __init__(self) -> None:
        self.done = [0] * WRITERS
        self.milliseconds: list[float] = []
        self.seconds = 0.0

    @property
    def per_second(self) -> float:
        return sum(self.done) / self.seconds

    @property
    def fairness(self) -> float:
        return min(self.done) / max(self.done)


def measure(bench: Bench, generator: LoadGenerator, plan: Plan) -> list[Figure]:
    """Links of cards, of which a workspace has one boundary; each command begins a stream of its own."""
    with bench.stage() as settings, _cards_are_known():
        _run(settings, 0.5)
        rounds = [_run(settings, plan.round_seconds) for _ in range(plan.rounds)]
    spent = [milliseconds for each in rounds for milliseconds in each.milliseconds]
    how = (
        f"{WRITERS} writers in one process, each linking and unlinking cards of its own as fast as it is answered: every "
        f"command takes a turn at the one boundary of all links, folds it, and appends an event with its tag and a condition; "
        f"{plan.rounds} rounds of {plan.round_seconds:g} s"
    )
    told = f"p50 {percentile(spent, 0.5):.0f} ms, p99 {percentile(spent, 0.99):.0f} ms"
    least = min(rounds, key=lambda each: each.fairness)
    return [
        Figure("contended_per_s", statistics.median(each.per_second for each in rounds), f"{how}; the median, {told}"),
        Figure(
            "contended_fairness",
            least.fairness,
            f"the writer with the fewest commands / the one with the most, in the round where that is least; {how}",
            f"{min(least.done):,} / {max(least.done):,} commands",
        ),
    ]


@contextmanager
def _cards_are_known() -> Iterator[None]:
    """The tests' own aggregate with rules across streams: its one boundary of all links is a hard case of the product's."""
    with pytest.MonkeyPatch.context() as patch:
        for command in CARD.commands:
            patch.setitem(MAY_ISSUE, command, frozenset())
        register(patch.setattr)
        yield


def _run(settings: Settings, seconds: float) -> _Round:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_contend(settings, seconds))


async def _contend(settings: Settings, seconds: float) -> _Round:
    found = _Round()
    async with open_store(settings.database_url) as store:
        cards = CommandHandler(CARD, store, NothingToCheck(), Turns(), tags_of)
        begun = time.perf_counter()
        until = begun + seconds
        await asyncio.gather(*(_write(cards, number, until, found) for number in range(WRITERS)))
        found.seconds = time.perf_counter() - begun
    return found


async def _write(cards: Cards, number: int, until: float, found: _Round) -> None:
    pair = uuid4().hex, uuid4().hex
    while (begun := time.perf_counter()) < until:
        # A refusal would end the run: nothing that is asked here may be refused, and nobody may be told to come again.
        await cards.handle(Link(*pair, undo=bool(found.done[number] % 2)), uuid4(), context())
        found.done[number] += 1
        found.milliseconds.append((time.perf_counter() - begun) * 1000)
