"""The queue before the log: shares of a call, order within a stream, bounds."""

import asyncio
from collections import Counter
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from application.log import Append, NewEvent
from domain.task.events import TaskDescribed, TaskRenamed
from infrastructure.log.fair_queue import (
    MOST_EVENTS_A_CALL,
    MOST_EVENTS_OF_ONE_LINE,
    QUANTUM_EVENTS,
    FairQueue,
    QueueBounds,
    Waiting,
)
from infrastructure.unavailable import Overloaded
from tests.infrastructure.log_under_test import an_append, created, key, renamed, streams

FLOOD, QUIET = UUID(int=1), UUID(int=2)


def waiting(append: Append, deadline: float = 1.0) -> Waiting:
    with asyncio.Runner() as runner:
        return Waiting(append, runner.get_loop().create_future(), deadline)


def queue(*appends: Append, bounds: QueueBounds | None = None) -> FairQueue:
    found = FairQueue(bounds or QueueBounds())
    for append in appends:
        found.add(waiting(append))
    return found


def taken(found: FairQueue) -> list[Append]:
    return [each.append for each in found.take()]


def single(workspace: UUID) -> Append:
    return an_append(created(uuid4()), workspace_id=workspace)


def large(workspace: UUID, events: int) -> Append:
    stream = uuid4()
    return an_append(*(NewEvent(stream, n, TaskRenamed("a")) for n in range(1, events + 1)), workspace_id=workspace)


class TestShares:
    def test_a_single_append_goes_with_the_next_call_however_many_wait(self) -> None:
        mine = single(QUIET)
        found = queue(*(single(FLOOD) for _ in range(1_000)), mine)
        assert mine in taken(found)

    def test_one_line_alone_takes_no_more_than_its_bound(self) -> None:
        found = queue(*(single(FLOOD) for _ in range(300)))
        assert [len(taken(found)) for _ in range(3)] == [MOST_EVENTS_OF_ONE_LINE, MOST_EVENTS_OF_ONE_LINE, 44]

    def test_a_full_call_is_shared_equally_by_events(self) -> None:
        lines = [UUID(int=n) for n in range(1, 9)]
        appends = [large(line, n) for n, line in enumerate(lines, 1) for _ in range(200)]
        events = Counter[UUID]()
        for append in taken(queue(*appends)):
            events[append.workspace_id] += len(append.events)
        assert max(events.values()) - min(events.values()) <= QUANTUM_EVENTS + 8

    def test_more_lines_than_fit_are_served_by_turns(self) -> None:
        lines = [UUID(int=n) for n in range(1, 101)]
        found = queue(*(large(line, 16) for _ in range(3) for line in lines))
        served = [append.workspace_id for _ in range(4) for append in taken(found)]
        assert Counter(served).keys() == set(lines)

    def test_an_append_larger_than_a_round_is_served_too(self) -> None:
        found = queue(large(FLOOD, MOST_EVENTS_OF_ONE_LINE + 50))
        assert len(taken(found)) == 1
        assert len(found) == 0


class TestOrder:
    @given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 20)), max_size=60))
    def test_every_stream_keeps_its_order_and_nothing_is_lost(self, steps: list[tuple[int, int]]) -> None:
        tasks, versions, sent = streams(4), [0, 0, 0, 0], []
        for number, events in steps:
            news = [renamed(tasks[number], versions[number] + n) for n in range(1, events + 1)]
            versions[number] += events
            sent.append(an_append(*news, workspace_id=UUID(int=number % 2)))
        found, got = queue(*sent), []
        while found:
            call = taken(found)
            assert 0 < sum(len(append.events) for append in call) <= MOST_EVENTS_A_CALL + 20
            names = [name for append in call for name in {new.stream_id for new in append.events}]
            assert len(names) == len(set(names))
            got += call
        assert len(got) == len(sent)
        for task in tasks:
            order = [new.version for append in got for new in append.events if new.stream_id == task]
            assert order == sorted(order)

    def test_one_key_stands_in_a_call_once(self) -> None:
        appends = [an_append(created(task), idempotency=key("k")) for task in streams(3)]
        found = queue(*appends)
        assert [taken(found) for _ in range(3)] == [[append] for append in appends]


class TestBounds:
    def test_one_workspace_fills_its_own_share_of_the_queue_alone(self) -> None:
        found = queue(*(single(FLOOD) for _ in range(3)), bounds=QueueBounds(10, 3))
        with pytest.raises(Overloaded):
            found.add(waiting(single(FLOOD)))
        found.add(waiting(single(QUIET)))
        assert len(found) == 4

    def test_the_whole_queue_is_bounded(self) -> None:
        found = queue(*(single(UUID(int=n)) for n in range(3)), bounds=QueueBounds(3, 3))
        with pytest.raises(Overloaded):
            found.add(waiting(single(QUIET)))
        found.take()
        found.add(waiting(single(QUIET)))

    def test_text_is_bounded_in_bytes(self) -> None:
        described = an_append(NewEvent(uuid4(), 2, TaskDescribed("x" * 1_000)))
        found = queue(described, bounds=QueueBounds(text_bytes=5_000))
        with pytest.raises(Overloaded):
            found.add(waiting(described))
        found.take()
        found.add(waiting(described))

    def test_what_waited_too_long_is_taken_out_of_every_line(self) -> None:
        found = FairQueue(QueueBounds())
        late, later, good = waiting(single(FLOOD), 1.0), waiting(single(QUIET), 2.0), waiting(single(QUIET), 9.0)
        for each in (late, later, good):
            found.add(each)
        assert list(found.expired(5.0)) == [late, later]
        assert taken(found) == [good.append]


class TestCompany:
    def test_a_workspace_has_company_while_another_came_lately(self) -> None:
        found = FairQueue(QueueBounds())
        found.add(waiting(single(FLOOD), 1.0))
        assert not found.has_company(FLOOD, 0.5)
        assert found.has_company(QUIET, 0.5)
        found.add(waiting(single(QUIET), 2.0))
        found.add(waiting(single(FLOOD), 3.0))
        found.add(waiting(single(FLOOD), 4.0))
        assert found.has_company(FLOOD, 1.5)
        assert not found.has_company(FLOOD, 2.5)
        assert found.has_company(QUIET, 3.5)
