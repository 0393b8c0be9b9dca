"""Rules that no single stream can see: decided on boundaries, proved by the append, whoever else writes."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable
from typing import Any
from uuid import UUID, uuid4

import pytest

from application.authorization import MAY_ISSUE
from application.checks import NothingToCheck
from application.command_handler import CommandHandler
from application.log import Append, Appended
from application.turns import Turns
from domain.errors import RuleViolated
from infrastructure.log.event_store import PostgresEventStore
from infrastructure.log.rows import AFTER_POSITION, recorded_event
from tests.application.handler_under_test import context
from tests.cards import (
    CARD,
    LIMIT,
    CardFreed,
    CardLinked,
    CardMoved,
    CardNamed,
    CardUnlinked,
    Free,
    Link,
    Move,
    Name,
    NoteWhileFree,
    column,
    holder,
    reaches,
    register,
    tags_of,
)
from tests.infrastructure.log_under_test import log_connection, open_store

pytestmark = pytest.mark.anyio

Cards = CommandHandler[Any, Any, Any]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _cards(monkeypatch: pytest.MonkeyPatch) -> None:
    for command in CARD.commands:
        monkeypatch.setitem(MAY_ISSUE, command, frozenset())
    register(monkeypatch.setattr)


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[PostgresEventStore]:
    async with open_store(database_url) as opened:
        yield opened


@pytest.fixture
def cards(store: PostgresEventStore) -> Cards:
    return CommandHandler(CARD, store, NothingToCheck(), Turns(), tags_of)


@pytest.fixture
async def others(database_url: str) -> AsyncIterator[Cards]:
    """Another process on the same log, with a memory of its own."""
    async with open_store(database_url) as opened:
        yield CommandHandler(CARD, opened, NothingToCheck(), Turns(), tags_of)


async def give(cards: Cards, name: str, card: UUID) -> None:
    await cards.handle(Name(card, name), uuid4(), context())


async def refused(cards: Cards, command: Any) -> RuleViolated:
    with pytest.raises(RuleViolated) as refusal:
        await cards.handle(command, uuid4(), context())
    return refusal.value


class TestMemory:
    async def test_a_boundary_that_is_not_remembered_is_read(self, cards: Cards, others: Cards) -> None:
        await give(others, "p", uuid4())
        assert (await refused(cards, Name(uuid4(), "p"))).code == "name_taken"

    async def test_an_accepted_append_leaves_the_boundary_as_the_log_has_it(
        self, cards: Cards, store: PostgresEventStore
    ) -> None:
        mine = uuid4()
        await give(cards, "p", mine)
        seen = store.recall_boundary(holder("p"))
        assert seen is not None
        assert (seen.state, seen.at) == (mine, 1)
        assert await store.load_boundary(holder("p"), None) == seen

    async def test_what_rests_on_it_alone_leaves_its_last_event_where_it_was(
        self, cards: Cards, store: PostgresEventStore
    ) -> None:
        mine = uuid4()
        await give(cards, "p", mine)
        await cards.handle(Free(mine, "p"), uuid4(), context())
        await cards.handle(NoteWhileFree("p"), uuid4(), context())
        seen = store.recall_boundary(holder("p"))
        assert seen is not None
        assert seen.at == 2

    async def test_a_refusal_on_memory_is_decided_again_on_what_the_log_says(self, cards: Cards, others: Cards) -> None:
        mine = uuid4()
        await give(cards, "p", mine)
        await others.handle(Free(mine, "p"), uuid4(), context())
        await give(cards, "p", uuid4())

    async def test_a_decision_on_memory_that_the_log_does_not_prove_is_made_again(self, cards: Cards, others: Cards) -> None:
        mine = uuid4()
        await give(cards, "p", mine)
        await cards.handle(Free(mine, "p"), uuid4(), context())
        await give(others, "p", uuid4())
        assert (await refused(cards, Name(uuid4(), "p"))).code == "name_taken"

    async def test_a_boundary_that_only_went_on_is_no_reason_to_refuse(self, cards: Cards, others: Cards) -> None:
        first, second = uuid4(), uuid4()
        await cards.handle(Move(first, "doing"), first, context())
        await others.handle(Move(second, "doing"), second, context())
        third = uuid4()
        await cards.handle(Move(third, "doing"), third, context())

    async def test_what_changes_nothing_rests_on_no_boundary(self, cards: Cards, others: Cards) -> None:
        inside = uuid4()
        await cards.handle(Move(inside, "doing"), inside, context())
        for card in [uuid4() for _ in range(LIMIT - 1)]:
            await others.handle(Move(card, "doing"), card, context())
        receipt = await cards.handle(Move(inside, "doing"), inside, context())
        assert (receipt.version, receipt.changed) == (1, False)

    async def test_a_refusal_says_at_which_position_of_the_boundary_it_was_decided(self, cards: Cards) -> None:
        card = uuid4()
        await give(cards, "p", uuid4())
        await cards.handle(Move(card, "doing"), card, context())
        assert (await refused(cards, Name(uuid4(), "p"))).position == 1

    async def test_the_log_gives_a_number_where_an_event_asks_for_one(self, cards: Cards) -> None:
        mine, theirs = uuid4(), uuid4()
        receipts = [
            await cards.handle(Name(card, name), uuid4(), context()) for card, name in ((mine, "p"), (theirs, "q"), (mine, "r"))
        ]
        assert [json.loads(receipt.body)["number"] for receipt in receipts] == [1, 1, 2]


class TestTurns:
    async def test_thirty_two_who_enter_one_column_at_once_fill_it_exactly(
        self, cards: Cards, store: PostgresEventStore
    ) -> None:
        everybody = [uuid4() for _ in range(32)]
        outcomes = await asyncio.gather(
            *(cards.handle(Move(card, "doing"), card, context()) for card in everybody), return_exceptions=True
        )
        assert sum(isinstance(outcome, RuleViolated) for outcome in outcomes) == 32 - LIMIT
        assert len((await store.load_boundary(column("doing"), None)).state) == LIMIT

    async def test_who_queues_is_not_passed_by_who_comes_later(self, cards: Cards) -> None:
        """Each of 32 writers has its turn as often as any other, though each comes again at once."""
        done = [0] * 32
        left = 640

        async def write(number: int) -> None:
            nonlocal left
            while left > 0:
                left -= 1
                edge = (f"{number}", f"{number}'")
                await cards.handle(Link(*edge, undo=done[number] % 2 == 1), uuid4(), context())
                done[number] += 1

        await asyncio.gather(*map(write, range(32)))
        assert min(done) >= max(done) - 1

    async def test_each_decides_on_memory_when_it_is_its_turn(
        self, cards: Cards, store: PostgresEventStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await cards.handle(Link("a", "b"), uuid4(), context())
        read, sent = [], []
        load, append = store.load_boundary, store.append

        async def counted(*boundary: Any) -> Any:
            read.append(boundary)
            return await load(*boundary)

        async def watched(asked: Append) -> Appended:
            sent.append(asked)
            return await append(asked)

        monkeypatch.setattr(store, "load_boundary", counted)
        monkeypatch.setattr(store, "append", watched)
        await asyncio.gather(*(cards.handle(Link(f"{n}", f"{n}'"), uuid4(), context()) for n in range(20)))
        assert (len(read), len(sent)) == (0, 20)

    async def test_those_who_only_rest_on_a_boundary_are_under_way_together(
        self, cards: Cards, store: PostgresEventStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await cards.handle(NoteWhileFree("p"), uuid4(), context())
        under_way, most = 0, 0
        append = store.append

        async def watched(asked: Append) -> Appended:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            try:
                return await append(asked)
            finally:
                under_way -= 1

        monkeypatch.setattr(store, "append", watched)
        await asyncio.gather(*(cards.handle(NoteWhileFree("p"), uuid4(), context()) for _ in range(20)))
        assert most == 20

    async def test_nothing_is_held_when_all_is_done(self, cards: Cards) -> None:
        cancelled = [asyncio.create_task(give(cards, "p", uuid4())) for _ in range(10)]
        await asyncio.sleep(0)
        for task in cancelled[::2]:
            task.cancel()
        await asyncio.gather(*cancelled, return_exceptions=True)
        assert cards._turns.busy == 0


def found_broken(events: Iterable[Any]) -> dict[str, int]:
    """The log folded event by event: what stood too long in a column, cycles, and names that were given twice."""
    columns: dict[str, set[UUID]] = {}
    edges: frozenset[tuple[str, str]] = frozenset()
    names: set[str] = set()
    broken = {"full": 0, "cycles": 0, "twice": 0}
    for event in events:
        match event:
            case CardMoved(card, source, target):
                columns.setdefault(source, set()).discard(card)
                columns.setdefault(target, set()).add(card)
                broken["full"] += target != "" and len(columns[target]) > LIMIT
            case CardLinked(before, after):
                broken["cycles"] += (before, after) in edges or reaches(edges, after, before)
                edges |= {(before, after)}
            case CardUnlinked(before, after):
                edges -= {(before, after)}
            case CardNamed(_, name):
                broken["twice"] += name in names
                names.add(name)
            case CardFreed(name):
                names.discard(name)
    return broken


def raced(database_url: str, commands: int, *mode: str) -> tuple[dict[str, int], list[int]]:
    """Two processes of sixteen writers each: what they broke, and how much each writer did."""
    children = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.application.racing_cards", database_url, str(seed), str(commands), *mode],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in (1, 2)
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    outputs = [child.communicate(timeout=240)[0] for child in children]
    assert [child.returncode for child in children] == [0, 0]
    with log_connection(database_url) as log:
        cursor = log.cursor(binary=True)
        cursor.execute(AFTER_POSITION, (0, 10**9))
        events = [recorded_event(row).event for row in cursor.fetchall()]
    return found_broken(events), [done for output in outputs for done in json.loads(output)]


def test_two_processes_of_sixteen_writers_break_no_rule(database_url: str) -> None:
    broken, done = raced(database_url, 150)
    assert broken == {"full": 0, "cycles": 0, "twice": 0}
    assert min(done) > 0


def test_control_without_its_conditions_every_rule_is_broken(database_url: str) -> None:
    broken, _ = raced(database_url, 150, "unconditional")
    assert all(broken.values()), broken
