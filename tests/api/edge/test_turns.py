"""Turns: how requests begin when more come at once than a lap of the event loop should hold."""

import asyncio
from collections import Counter

import pytest

from api.edge.turns import Turns
from infrastructure.unavailable import Overloaded


async def _laps_of(turns: Turns, requests: list[str]) -> list[list[str]]:
    """Which requests, named by their line, began in which lap, all of them having arrived at once."""
    laps: list[list[str]] = [[]]

    async def request(line: str) -> None:
        if not turns.begins_now():
            await turns.wait(line)
        laps[-1].append(line)

    running = [asyncio.create_task(request(line)) for line in requests]
    while not all(task.done() for task in running):
        await asyncio.sleep(0)
        if laps[-1]:
            laps.append([])
    await asyncio.gather(*running)
    return [lap for lap in laps if lap]


def test_of_a_crowd_no_lap_begins_more_requests_than_it_may() -> None:
    # Given turns for four requests a lap, when fifty arrive at once
    laps = asyncio.run(_laps_of(Turns(1_000, begin_a_lap=4), ["anybody"] * 50))
    # Then all begin, and no lap holds more than four.
    assert sum(map(len, laps)) == 50
    assert max(map(len, laps)) == 4


def test_control_without_turns_a_crowd_begins_in_one_lap() -> None:
    laps = asyncio.run(_laps_of(Turns(1_000, begin_a_lap=1_000), ["anybody"] * 50))
    assert [len(lap) for lap in laps] == [50]


def test_one_request_alone_begins_at_once() -> None:
    async def alone() -> bool:
        return Turns(1_000).begins_now()

    assert asyncio.run(alone())


def test_a_line_of_its_own_does_not_wait_behind_another_ones_crowd() -> None:
    # Given a hundred requests of one workspace, when one of another arrives last
    laps = asyncio.run(_laps_of(Turns(1_000, begin_a_lap=4), ["flood"] * 100 + ["other"]))
    # Then it begins among the first that had to wait.
    assert "other" in laps[1]


def test_two_crowds_are_served_by_turns() -> None:
    laps = asyncio.run(_laps_of(Turns(1_000, begin_a_lap=10), ["a"] * 10 + ["b"] * 100 + ["c"] * 100))
    assert Counter(laps[1]) == Counter(laps[5]) == {"b": 5, "c": 5}


def test_past_the_stated_bound_a_request_is_refused_before_it_begins() -> None:
    async def crowded() -> None:
        turns = Turns(most_waiting=3, begin_a_lap=1)
        assert turns.begins_now()
        waiting = [asyncio.create_task(turns.wait("anybody")) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await turns.wait("anybody")
        await asyncio.gather(*waiting)
        assert turns.waiting == 0

    asyncio.run(crowded())


def test_whoever_hangs_up_while_waiting_takes_no_turn_from_others() -> None:
    async def hung_up() -> None:
        turns = Turns(most_waiting=10, begin_a_lap=1)
        assert turns.begins_now()
        gone = [asyncio.create_task(turns.wait("anybody")) for _ in range(4)]
        last = asyncio.create_task(turns.wait("anybody"))
        await asyncio.sleep(0)
        for task in gone:
            task.cancel()
        await asyncio.wait_for(last, 1)
        assert turns.waiting == 0

    asyncio.run(hung_up())


def test_a_request_does_not_overtake_those_that_wait() -> None:
    async def overtaking() -> None:
        turns = Turns(most_waiting=10, begin_a_lap=1)
        assert turns.begins_now()
        waiting = [asyncio.create_task(turns.wait("anybody")) for _ in range(3)]
        await asyncio.sleep(0)
        while turns.waiting:
            assert not turns.begins_now()
            await asyncio.sleep(0)
        await asyncio.gather(*waiting)

    asyncio.run(overtaking())


def test_a_flood_of_strangers_leaves_the_turns_of_those_who_are_known_alone() -> None:
    async def flooded() -> list[int]:
        turns = Turns(1_000, begin_a_lap=4, strangers_a_lap=1)
        begun = {True: 0, False: 0}

        async def request(line: int, stranger: bool) -> None:
            if not turns.begins_now(stranger):
                await turns.wait(line, stranger)
            begun[stranger] += 1

        running = [asyncio.create_task(request(number, True)) for number in range(200)]
        running += [asyncio.create_task(request(0, False)) for _ in range(8)]
        await asyncio.gather(*running[200:])
        seen = [begun[True], begun[False]]
        await asyncio.gather(*running)
        return seen

    strangers, known = asyncio.run(flooded())
    # Two laps for those who are known: by then no more than a stranger a lap, and the laps of their start and end, have begun.
    assert known == 8
    assert strangers <= 6


def test_beside_those_who_are_at_work_strangers_begin_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.edge.turns.BUSY_SECONDS", 3600.0)
    monkeypatch.setattr("api.edge.turns.SECONDS_A_STRANGER", 3600.0)

    async def beside(known: bool) -> list[bool]:
        turns = Turns(1_000, strangers_a_lap=2)
        if known:
            assert turns.begins_now()
        first = turns.begins_now(stranger=True)
        for _ in range(3):
            # Into another lap, whose count begins anew.
            await asyncio.sleep(0)
        return [first, turns.begins_now(stranger=True)]

    assert asyncio.run(beside(known=True)) == [True, False]
    assert asyncio.run(beside(known=False)) == [True, True]
