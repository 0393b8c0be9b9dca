"""What the write side relies on, of the log in PostgreSQL and of the one in memory alike."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from application.log import (
    Append,
    Appended,
    Condition,
    ConditionViolated,
    EventStore,
    IdempotencyMismatch,
    NewEvent,
    VersionConflict,
)
from domain.boundaries import Boundary, Seen
from domain.task.aggregate import TASK
from domain.task.events import TaskCreated, TaskPrioritySet, TaskRenamed
from domain.task.rules import Task
from tests.in_memory_event_store import InMemoryEventStore
from tests.infrastructure.log.tagged_by_label import _tagged_by_label  # noqa: F401 - a fixture
from tests.infrastructure.log_under_test import (
    ANA,
    BEN,
    WORKSPACE,
    an_append,
    created,
    key,
    open_store,
    renamed,
    streams,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["postgres", "memory"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[EventStore]:
    if request.param == "memory":
        yield InMemoryEventStore(lambda: datetime.now(UTC))
        return
    async with open_store(request.getfixturevalue("database_url")) as opened:
        yield opened


TITLES: Boundary[tuple[str, ...]] = Boundary("a", (), lambda titles, event: (*titles, event.title))


def labelled(title: str, *labels: str) -> NewEvent:
    """The first event of a new task, whose labels are its tags in these tests."""
    return NewEvent(streams(1)[0], 1, TaskCreated(title, labels=labels))


async def outcomes(store: EventStore, *appends: Append) -> list[Appended | BaseException]:
    return await asyncio.gather(*(store.append(each) for each in appends), return_exceptions=True)


class TestLoad:
    async def test_an_unknown_stream_is_none(self, store: EventStore) -> None:
        assert await store.load(TASK, streams(1)[0]) is None

    async def test_a_task_is_folded_from_its_events(self, store: EventStore) -> None:
        task, other = streams(2)
        await store.append(an_append(created(task)))
        await store.append(an_append(created(other)))
        last = await store.append(an_append(renamed(task, 2)))
        loaded = await store.load(TASK, task)
        assert loaded is not None
        assert loaded.state == Task(title="Sail it")
        assert (loaded.version, loaded.position, loaded.workspace_id) == (2, 3, WORKSPACE)
        assert loaded.happened_at == last.recorded_at

    async def test_imported_history_keeps_its_own_time(self, store: EventStore) -> None:
        (task,) = streams(1)
        then = datetime(2019, 5, 4, 3, 2, 1, 123456, UTC)
        await store.append(an_append(NewEvent(task, 1, TaskCreated("Old"), then)))
        loaded = await store.load(TASK, task)
        assert loaded is not None
        assert loaded.happened_at == then

    async def test_what_was_loaded_is_recalled(self, store: EventStore) -> None:
        (task,) = streams(1)
        await store.append(an_append(created(task)))
        assert store.recall(task) is None
        loaded = await store.load(TASK, task)
        assert store.recall(task) == loaded


class TestTouchedSince:
    async def test_it_names_the_fields_of_later_events_alone(self, store: EventStore) -> None:
        task, other = streams(2)
        await store.append(an_append(created(task), renamed(task, 2)))
        await store.append(an_append(NewEvent(task, 3, TaskPrioritySet("high")), created(other)))
        assert await store.touched_since(TASK, task, 1) == {"title", "priority"}
        assert await store.touched_since(TASK, task, 2) == {"priority"}
        assert await store.touched_since(TASK, task, 3) == frozenset()
        assert await store.touched_since(TASK, task, 9) == frozenset()


class TestAppend:
    async def test_positions_are_dense_over_all_streams(self, store: EventStore) -> None:
        first, second = streams(2)
        answers = [
            await store.append(an_append(created(first), renamed(first, 2))),
            await store.append(an_append(created(second))),
        ]
        assert [(a.position, a.replayed) for a in answers] == [(2, False), (3, False)]
        assert answers[0].recorded_at <= answers[1].recorded_at

    @pytest.mark.parametrize("version", [1, 3])
    async def test_an_append_not_at_the_next_version_is_a_conflict(self, store: EventStore, version: int) -> None:
        task, other = streams(2)
        await store.append(an_append(created(task)))
        with pytest.raises(VersionConflict):
            await store.append(an_append(created(other), renamed(task, version)))
        assert await store.load(TASK, other) is None
        assert (await store.append(an_append(created(other)))).position == 2

    async def test_sent_again_it_is_answered_as_before(self, store: EventStore) -> None:
        task, other = streams(2)
        asked = an_append(created(task), renamed(task, 2))
        original = await store.append(asked)
        await store.append(an_append(created(other)))
        again = await store.append(asked)
        assert (again.position, again.receipt, again.replayed) == (2, original.receipt, True)

    async def test_of_appends_in_flight_one_takes_a_version(self, store: EventStore) -> None:
        (task,) = streams(1)
        answers = await outcomes(store, *(an_append(created(task)) for _ in range(5)))
        assert [type(answer) for answer in answers].count(Appended) == 1
        assert [type(answer) for answer in answers].count(VersionConflict) == 4

    async def test_what_cannot_be_encoded_is_refused_and_the_store_goes_on(self, store: EventStore) -> None:
        broken, task = streams(2)
        with pytest.raises(UnicodeEncodeError):
            await store.append(an_append(created(broken, "\ud800")))
        assert (await store.append(an_append(created(task)))).position == 1


class TestIdempotency:
    async def test_a_key_brings_back_its_receipt(self, store: EventStore) -> None:
        first, second = streams(2)
        original = await store.append(an_append(created(first), idempotency=key("k")))
        again = await store.append(an_append(created(second), idempotency=key("k")))
        assert (again.receipt, again.position, again.replayed) == (original.receipt, 1, True)
        assert await store.load(TASK, second) is None

    async def test_a_key_for_another_request_is_a_mismatch(self, store: EventStore) -> None:
        first, second = streams(2)
        await store.append(an_append(created(first), idempotency=key("k")))
        with pytest.raises(IdempotencyMismatch):
            await store.append(an_append(created(second), idempotency=key("k", "another")))

    async def test_a_receipt_without_events_is_remembered(self, store: EventStore) -> None:
        first, second = streams(2)
        await store.append(an_append(created(first)))
        original = await store.append(an_append(idempotency=key("k")))
        await store.append(an_append(created(second)))
        again = await store.append(an_append(idempotency=key("k")))
        assert (again.receipt, again.position, again.replayed) == (original.receipt, 1, True)

    async def test_equal_keys_in_flight_write_once(self, store: EventStore) -> None:
        appends = [an_append(created(task), idempotency=key("k")) for task in streams(5)]
        answers = await outcomes(store, *appends)
        assert len({answer.receipt for answer in answers if isinstance(answer, Appended)}) == 1
        assert [answer.replayed for answer in answers if isinstance(answer, Appended)].count(False) == 1


@pytest.mark.usefixtures("_tagged_by_label")
class TestBoundaries:
    async def test_one_without_events_is_as_it_begins(self, store: EventStore) -> None:
        assert await store.load_boundary(TITLES) == Seen((), 0)

    async def test_it_folds_the_events_with_its_tag_in_order(self, store: EventStore) -> None:
        await store.append(an_append(labelled("one", "a"), labelled("other", "b"), labelled("two", "a", "b")))
        assert await store.load_boundary(TITLES) == Seen(("one", "two"), 3)

    async def test_what_comes_after_what_was_seen_is_folded_onto_it(self, store: EventStore) -> None:
        await store.append(an_append(labelled("one", "a")))
        seen = await store.load_boundary(TITLES)
        await store.append(an_append(labelled("two", "a")))
        assert await store.load_boundary(TITLES, Seen(("something else",), seen.at)) == Seen(("something else", "two"), 2)

    async def test_what_was_loaded_or_remembered_is_recalled(self, store: EventStore) -> None:
        assert store.recall_boundary(TITLES) is None
        await store.append(an_append(labelled("one", "a")))
        assert store.recall_boundary(TITLES) is None
        seen = await store.load_boundary(TITLES)
        assert store.recall_boundary(TITLES) == seen
        store.remember_boundary(TITLES, Seen(("one", "two"), 2))
        assert store.recall_boundary(TITLES) == Seen(("one", "two"), 2)

    async def test_of_many_that_decide_on_one_at_once_one_is_accepted(self, store: EventStore) -> None:
        await store.append(an_append(labelled("one", "a")))
        seen = await store.load_boundary(TITLES)
        condition = Condition(TITLES.tag, seen.at)
        answers = await outcomes(store, *(an_append(labelled("two", "a"), conditions=[condition]) for _ in range(9)))
        assert sorted(type(answer).__name__ for answer in answers) == ["Appended"] + ["ConditionViolated"] * 8

    async def test_a_number_is_the_next_of_its_scope(self, store: EventStore) -> None:
        scope, other = streams(2)
        wanted = [replace(labelled("x"), scope=scope), replace(labelled("x"), scope=other), replace(labelled("x"), scope=scope)]
        answers = [await store.append(an_append(new)) for new in wanted]
        assert [answer.number for answer in answers] == [1, 1, 2]
        assert (await store.append(an_append(labelled("x")))).number is None


class TestFindReceipt:
    async def test_it_finds_the_answer_that_a_key_had(self, store: EventStore) -> None:
        (task,) = streams(1)
        original = await store.append(an_append(created(task), idempotency=key("k")))
        found = await store.find_receipt(WORKSPACE, ANA, key("k"))
        assert found == replace(original, replayed=True)

    async def test_it_knows_no_key_of_another_principal_or_workspace(self, store: EventStore) -> None:
        (task,) = streams(1)
        await store.append(an_append(created(task), idempotency=key("k")))
        assert await store.find_receipt(WORKSPACE, BEN, key("k")) is None
        assert await store.find_receipt(ANA, ANA, key("k")) is None
        assert await store.find_receipt(WORKSPACE, ANA, key("l")) is None

    async def test_a_key_of_another_request_is_a_mismatch(self, store: EventStore) -> None:
        (task,) = streams(1)
        await store.append(an_append(created(task), idempotency=key("k")))
        with pytest.raises(IdempotencyMismatch):
            await store.find_receipt(WORKSPACE, ANA, key("k", "another"))


async def test_a_stored_payload_is_the_one_that_was_sent(store: EventStore) -> None:
    (task,) = streams(1)
    await store.append(an_append(created(task, "naïve ✓ 漢字"), NewEvent(task, 2, TaskRenamed("a", reason="b"))))
    loaded = await store.load(TASK, task)
    assert loaded is not None
    assert loaded.state.title == "a"


class TestReceiptsByKey:
    async def test_those_that_are_remembered_are_found_and_nobody_elses(self, store: EventStore) -> None:
        first, second, foreign = streams(3)
        await store.append(an_append(created(first), idempotency=key("a")))
        answer = await store.append(an_append(created(second), idempotency=key("b", "another request")))
        await store.append(an_append(created(foreign), idempotency=key("c"), principal_id=BEN))
        found = await store.find_receipts(WORKSPACE, ANA, ["a", "b", "c", "d"])
        assert found.keys() == {"a", "b"}
        assert (found["b"].receipt, found["b"].position, found["b"].replayed) == (answer.receipt, 2, True)

    async def test_the_head_is_the_newest_position(self, store: EventStore) -> None:
        assert await store.head() == 0
        await store.append(an_append(*(created(task) for task in streams(3))))
        assert await store.head() == 3


@pytest.mark.usefixtures("_tagged_by_label")
class TestChain:
    """Appends that were decided one after the other, each on what those before it lead to."""

    async def test_each_may_change_what_they_rest_on_and_has_its_own_answer(self, store: EventStore) -> None:
        await store.append(an_append(labelled("one", "a")))
        chain = [an_append(labelled(title, "a"), conditions=[Condition("a", 1)]) for title in ("two", "three", "four")]
        answers = await store.append_chain(chain)
        assert [answer.position for answer in answers if isinstance(answer, Appended)] == [2, 3, 4]
        for append, answer in zip(chain, answers, strict=True):
            assert isinstance(answer, Appended)
            assert answer.receipt.decode().startswith(append.receipt_start)
        assert (await store.load_boundary(TITLES, None)).state == ("one", "two", "three", "four")

    async def test_one_that_is_refused_takes_those_behind_it_along(self, store: EventStore) -> None:
        taken = labelled("taken")
        await store.append(an_append(taken))
        clash = an_append(taken, conditions=[Condition("a", 0)])
        answers = await store.append_chain([an_append(labelled("one", "a")), clash, an_append(labelled("two"))])
        assert [type(answer) for answer in answers] == [Appended, VersionConflict, ConditionViolated]
        assert await store.head() == 2

    async def test_where_nobody_rests_on_a_boundary_each_stands_for_itself(self, store: EventStore) -> None:
        taken = labelled("taken")
        await store.append(an_append(taken))
        answers = await store.append_chain([an_append(taken), an_append(labelled("one")), an_append(labelled("two"))])
        assert [type(answer) for answer in answers] == [VersionConflict, Appended, Appended]

    async def test_what_others_did_meanwhile_refuses_it_whole(self, store: EventStore) -> None:
        await store.append(an_append(labelled("one", "a")))
        chain = [an_append(labelled(title, "a"), conditions=[Condition("a", 0)]) for title in ("two", "three")]
        assert [type(answer) for answer in await store.append_chain(chain)] == [ConditionViolated] * 2
        assert [type(answer) for answer in await store.append_chain(chain[:1])] == [ConditionViolated]
        assert await store.head() == 1

    async def test_sent_again_it_is_recognised(self, store: EventStore) -> None:
        chain = [an_append(labelled(title, "a"), conditions=[Condition("a", 0)]) for title in ("one", "two", "three")]
        first, again = await store.append_chain(chain), await store.append_chain(chain)
        assert [(each.receipt, each.replayed) for each in again if isinstance(each, Appended)] == [
            (each.receipt, True) for each in first if isinstance(each, Appended)
        ]
        assert await store.head() == 3

    async def test_beside_others_everybody_gets_his_own_answer(self, store: EventStore) -> None:
        chains = [[an_append(labelled("chained")) for _ in range(length)] for length in (3, 1, 4)]
        singles = [an_append(labelled("single")) for _ in range(5)]
        chained, alone = await asyncio.gather(
            asyncio.gather(*map(store.append_chain, chains)), asyncio.gather(*map(store.append, singles))
        )
        asked = [*(each for chain in chains for each in chain), *singles]
        answers = [*(each for answers in chained for each in answers), *alone]
        for append, answer in zip(asked, answers, strict=True):
            assert isinstance(answer, Appended)
            assert answer.receipt.decode().startswith(append.receipt_start)
        assert sorted(answer.position for answer in answers if isinstance(answer, Appended)) == list(range(1, 14))
