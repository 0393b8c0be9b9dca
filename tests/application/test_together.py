"""The commands of a batch are decided one after the other, each on what those before it lead to, and go out in one call."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from application.authorization import MAY_ISSUE
from application.batches import BatchAnswer, BatchHandler, Entry, Rendered
from application.checks import NothingToCheck
from application.command_handler import CommandHandler
from application.first_project import FirstProjects
from application.log import Append, LogUnavailable
from application.turns import Turns
from domain.errors import DomainError
from domain.task.aggregate import TASK
from domain.task.commands import CompleteTask, CreateTask
from infrastructure.log.append_connection import AppendConnection
from infrastructure.log.event_store import PostgresEventStore
from infrastructure.log.verify import verify_log
from tests.application.handler_under_test import context
from tests.application.test_rules_across_streams import found_broken
from tests.cards import CARD, LIMIT, Free, Link, Move, Name, NoteWhileFree, column, links, register, tags_of
from tests.infrastructure.log_under_test import ANA, WORKSPACE, open_store

pytestmark = pytest.mark.anyio

Batches = BatchHandler[Any, Any, Any]
Ask = tuple[UUID, Any]


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
async def others(database_url: str) -> AsyncIterator[PostgresEventStore]:
    """Another process on the same log, with a memory of its own."""
    async with open_store(database_url) as opened:
        yield opened


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many events each call of the log was to append, without those that only remember an answer."""
    events: list[int] = []
    call = AppendConnection.call

    async def counted(self: AppendConnection, appends: Sequence[Append], *more: Any) -> Any:
        if count := sum(len(append.events) for append in appends):
            events.append(count)
        return await call(self, appends, *more)

    monkeypatch.setattr(AppendConnection, "call", counted)
    return events


def rendered(error: Exception) -> Rendered:
    code = error.code if isinstance(error, DomainError) else type(error).__name__
    return Rendered(msgspec.json.encode({"code": code}), isinstance(error, DomainError))


def batches_of(store: PostgresEventStore) -> Batches:
    return BatchHandler(store, CommandHandler(CARD, store, NothingToCheck(), Turns(), tags_of))


def asks(*commands: Any) -> list[Ask]:
    """Each on a stream of its own."""
    return [(uuid4(), command) for command in commands]


async def carried_out(store: PostgresEventStore, given: Sequence[Ask], key: str | None = None) -> BatchAnswer:
    return await batches_of(store).handle([Entry(*each) for each in given], context(key), rendered)


def told(answer: BatchAnswer) -> list[str]:
    """Of each command its position, or the code of its refusal."""
    return [
        str(outcome.receipt.position) if outcome.receipt else msgspec.json.decode(outcome.problem)["code"]
        for outcome in answer.outcomes
    ]


def chain(count: int) -> list[Ask]:
    """Links from each card to the next one, all of which rest on one boundary and change it."""
    return asks(*(Link(f"{n}", f"{n + 1}") for n in range(count)))


class TestOneCall:
    async def test_a_hundred_commands_on_one_boundary_are_one_append_and_one_reading(
        self, store: PostgresEventStore, sent: list[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        read: list[str] = []
        load = store.load_boundary

        async def counted(boundary: Any, *seen: Any) -> Any:
            read.append(boundary.tag)
            return await load(boundary, *seen)

        monkeypatch.setattr(store, "load_boundary", counted)
        answer = await carried_out(store, chain(100))
        assert told(answer) == [str(n) for n in range(1, 101)]
        assert (sent, read) == ([100], ["links"])

    async def test_more_than_a_call_takes_are_as_few_as_possible(self, store: PostgresEventStore, sent: list[int]) -> None:
        await carried_out(store, chain(300))
        assert sent == [128, 128, 44]

    async def test_control_by_themselves_they_are_one_append_each(self, store: PostgresEventStore, sent: list[int]) -> None:
        batches = batches_of(store)
        for stream_id, command in chain(10):
            await batches.handle([Entry(stream_id, command)], context(), rendered)
        assert sent == [1] * 10

    async def test_streams_that_nobody_remembers_are_read_and_go_along(
        self, store: PostgresEventStore, others: PostgresEventStore, sent: list[int]
    ) -> None:
        tasks = [uuid4() for _ in range(20)]
        await FirstProjects(store).make(WORKSPACE, ANA)
        sent.clear()
        for each, command in ((others, CreateTask("A")), (store, CompleteTask())):
            handler = CommandHandler(TASK, each, NothingToCheck(), Turns())
            entries = [Entry(task, command) for task in tasks]
            answer = await BatchHandler(each, handler).handle(entries, context(), rendered)
        assert [outcome.receipt.version for outcome in answer.outcomes if outcome.receipt] == [2] * 20
        assert sent == [20, 20]

    async def test_what_follows_on_a_stream_is_the_next_call(self, store: PostgresEventStore, sent: list[int]) -> None:
        cards = [uuid4() for _ in range(3)]
        both = [ask for card in cards for ask in ((card, Move(card, "doing")), (card, Move(card, "review")))]
        answer = await carried_out(store, both)
        assert told(answer) == ["1", "4", "2", "5", "3", "6"]
        assert sent == [3, 3]


class TestInOrder:
    async def test_each_is_decided_on_what_those_before_it_lead_to(self, store: PostgresEventStore, sent: list[int]) -> None:
        one, two = uuid4(), uuid4()
        given = asks(
            Name(one, "p"), Free(one, "p"), NoteWhileFree("p"), Name(two, "p"), Link("a", "b"), Link("b", "a", undo=False)
        )
        assert told(await carried_out(store, given)) == ["1", "2", "3", "4", "5", "cycle"]
        assert sent == [5]

    async def test_a_boundary_that_is_full_refuses_those_who_come_later(self, store: PostgresEventStore) -> None:
        cards = [uuid4() for _ in range(LIMIT + 3)]
        answer = await carried_out(store, [(card, Move(card, "doing")) for card in cards])
        assert told(answer) == [*(str(n) for n in range(1, LIMIT + 1)), *["column_full"] * 3]

    async def test_a_boundary_counts_what_those_did_that_do_not_rest_on_it(
        self, store: PostgresEventStore, sent: list[int]
    ) -> None:
        cards = [uuid4() for _ in range(LIMIT)]
        await carried_out(store, [(card, Move(card, "doing")) for card in cards])
        # Leaving a column rests on nothing.
        given = [(cards[0], Move(cards[0], "")), *((card, Move(card, "doing")) for card in (uuid4(), uuid4()))]
        assert told(await carried_out(store, given)) == [str(LIMIT + 1), str(LIMIT + 2), "column_full"]
        assert sent == [LIMIT, 2]

    async def test_what_changes_nothing_leaves_no_event(self, store: PostgresEventStore, sent: list[int]) -> None:
        card = uuid4()
        await carried_out(store, [(card, Move(card, "doing")), *chain(1)])
        answer = await carried_out(store, [(card, Move(card, "doing")), *asks(Link("x", "y"), Link("y", "z"))])
        assert [outcome.receipt.changed for outcome in answer.outcomes if outcome.receipt] == [False, True, True]
        assert sent == [2, 2]


class TestMemory:
    async def test_what_is_remembered_afterwards_is_what_the_log_has(self, store: PostgresEventStore) -> None:
        cards = [uuid4() for _ in range(3)]
        await carried_out(store, [*((card, Move(card, "doing")) for card in cards), *chain(4)])
        for boundary in (column("doing"), links()):
            remembered = store.recall_boundary(boundary)
            assert remembered is not None
            assert await store.load_boundary(boundary, None) == remembered
        loaded = store.recall(cards[1])
        assert loaded is not None
        assert (loaded.state.column, loaded.version, loaded.position) == ("doing", 1, 2)

    async def test_out_of_date_it_costs_one_more_call(
        self, store: PostgresEventStore, others: PostgresEventStore, sent: list[int]
    ) -> None:
        await carried_out(store, chain(2))
        await carried_out(others, asks(Link("x", "y"), Link("y", "z")))
        del sent[:]
        answer = await carried_out(store, asks(Link("a", "b"), Link("b", "c"), Link("c", "a"), Link("z", "x"), Link("c", "d")))
        assert told(answer) == ["5", "6", "cycle", "cycle", "7"]
        # The link from z to x was no cycle for all that was remembered.
        assert sent == [4, 3]

    async def test_a_stream_that_others_began_meanwhile_is_refused_and_the_others_go_on(
        self, store: PostgresEventStore, others: PostgresEventStore
    ) -> None:
        given = chain(4)
        await carried_out(store, asks(Link("x", "y"), Link("y", "z")))
        await carried_out(others, [(given[1][0], Move(uuid4(), "doing"))])
        answer = await carried_out(store, given)
        versions = [outcome.receipt.version for outcome in answer.outcomes if outcome.receipt]
        assert versions == [1, 2, 1, 1]


class TestKeys:
    async def test_each_command_has_a_receipt_of_its_own_and_the_retry_brings_all_back(
        self, store: PostgresEventStore, others: PostgresEventStore, sent: list[int]
    ) -> None:
        given = [*chain(5), *asks(Link("0", "1"), Link("5", "0"))]
        first = await carried_out(store, given, "k")
        again = await carried_out(others, given, "k")
        assert told(first) == told(again) == ["1", "2", "3", "4", "5", "cycle", "cycle"]
        assert [each.receipt and each.receipt.body for each in first.outcomes] == [
            each.receipt and each.receipt.body for each in again.outcomes
        ]
        assert (first.replayed, again.replayed, sent) == (False, True, [5])

    async def test_copies_at_the_same_time_end_in_the_same_answer(
        self, store: PostgresEventStore, others: PostgresEventStore
    ) -> None:
        given = [*chain(40), *asks(Link("40", "0"))]
        answers = await asyncio.gather(*(carried_out(each, given, "k") for each in (store, others, store, others)))
        assert len({tuple(told(answer)) for answer in answers}) == 1
        assert sorted(map(int, told(answers[0])[:40])) == list(range(1, 41))
        assert told(answers[0])[40] == "cycle"
        assert await store.head() == 40

    async def test_what_a_batch_before_has_settled_is_not_done_again(self, store: PostgresEventStore) -> None:
        given = chain(6)
        handler = CommandHandler(CARD, store, NothingToCheck(), Turns(), tags_of)
        whole = context("k")
        assert whole.idempotency is not None
        # As a copy that was killed has left it: the third command is settled, under the key that the batch gives it.
        third = msgspec.structs.replace(whole.idempotency, key="k\n2")
        await handler.handle(given[2][1], given[2][0], msgspec.structs.replace(whole, idempotency=third))
        answer = await carried_out(store, given, "k")
        assert sorted(map(int, told(answer))) == [1, 2, 3, 4, 5, 6]
        assert told(answer)[2] == "1"
        assert await store.head() == 6


class TestTrouble:
    async def test_where_the_log_does_not_answer_each_command_says_so_once(
        self, store: PostgresEventStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[int] = []

        async def away(appends: Sequence[Append]) -> Any:
            asked.append(len(appends))
            raise LogUnavailable("away")

        monkeypatch.setattr(store, "append_chain", away)
        assert told(await carried_out(store, chain(3))) == ["LogUnavailable"] * 3
        assert asked == [3]

    async def test_one_that_cannot_be_stored_leaves_the_others_to_themselves(self, store: PostgresEventStore) -> None:
        given = asks(Link("a", "b"), Link("b", "\ud800"), Link("b", "c"))
        assert told(await carried_out(store, given)) == ["1", "UnicodeEncodeError", "2"]

    async def test_no_turn_is_held_afterwards(self, store: PostgresEventStore) -> None:
        batches = batches_of(store)
        running = [
            asyncio.create_task(batches.handle([Entry(*each) for each in chain(20)], context(), rendered)) for _ in range(6)
        ]
        await asyncio.sleep(0)
        for task in running[::2]:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        assert batches._handler.turns.busy == 0


def at_random(chance: random.Random, cards: Sequence[UUID]) -> list[Ask]:
    """Twelve commands, those on cards each on another one's stream."""
    given: list[Ask] = [(card, Move(card, chance.choice(("doing", "review", "")))) for card in chance.sample(cards, 4)]
    for _ in range(8):
        before, after = chance.sample("abcdef", 2)
        card, name = chance.choice(cards), chance.choice("pqr")
        given += asks(chance.choice((Link(before, after, undo=chance.random() < 0.4), Name(card, name), Free(card, name))))
    chance.shuffle(given)
    return given


async def raced(store: PostgresEventStore, others: PostgresEventStore) -> dict[str, int]:
    """Batches of two processes, three at a time each: what they broke."""

    async def writer(each: PostgresEventStore, seed: int) -> None:
        chance = random.Random(seed)
        cards = [UUID(int=chance.getrandbits(128), version=4) for _ in range(8)]
        batches = handlers[id(each)]
        for _ in range(15):
            await batches.handle([Entry(*ask) for ask in at_random(chance, cards)], context(), rendered)

    handlers = {id(each): batches_of(each) for each in (store, others)}
    await asyncio.gather(*(writer(each, seed) for seed, each in enumerate((store, others) * 3)))
    return found_broken(record.event for record in await store.events_after(0, 10**6))


async def test_batches_of_two_processes_break_no_rule(
    store: PostgresEventStore, others: PostgresEventStore, database_url: str
) -> None:
    assert await raced(store, others) == {"full": 0, "cycles": 0, "twice": 0}
    assert verify_log(database_url, "main").first_bad is None


async def test_control_without_its_conditions_every_rule_is_broken(
    store: PostgresEventStore, others: PostgresEventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for each in (store, others):
        append, append_chain = each.append, each.append_chain
        bare = lambda asked: msgspec.structs.replace(asked, conditions=())  # noqa: E731
        monkeypatch.setattr(each, "append", lambda asked, append=append: append(bare(asked)))
        monkeypatch.setattr(each, "append_chain", lambda asked, chain=append_chain: chain([bare(one) for one in asked]))
    broken = await raced(store, others)
    assert all(broken.values()), broken
