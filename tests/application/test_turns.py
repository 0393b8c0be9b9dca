"""Turns at names: first come, first served, and nobody is left standing there."""

import asyncio
from uuid import uuid4

import pytest

from application.turns import Held, NoTurn, Turns

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def turns() -> Turns:
    return Turns()


async def settle() -> None:
    """Let everybody go as far as he can."""
    for _ in range(10):
        await asyncio.sleep(0)


class Crowd:
    """Some who come one after the other, and in which order they get in."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.inside: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def comes(self, who: str, *, to_change: bool) -> None:
        async def enter() -> None:
            await self.turns.enter("name", to_change=to_change)
            self.inside.append(who)

        self.tasks[who] = asyncio.create_task(enter())
        await settle()

    async def leaves(self, who: str, *, to_change: bool) -> None:
        self.inside.remove(who)
        self.turns.leave("name", to_change=to_change)
        await settle()

    async def gives_up(self, who: str) -> None:
        self.tasks[who].cancel()
        await settle()


async def test_those_who_change_go_one_by_one_in_the_order_of_their_coming(turns: Turns) -> None:
    crowd = Crowd(turns)
    for who in "abc":
        await crowd.comes(who, to_change=True)
    assert crowd.inside == ["a"]
    await crowd.leaves("a", to_change=True)
    assert crowd.inside == ["b"]
    await crowd.leaves("b", to_change=True)
    assert crowd.inside == ["c"]


async def test_those_who_only_rest_on_it_share(turns: Turns) -> None:
    crowd = Crowd(turns)
    for who in "ab":
        await crowd.comes(who, to_change=False)
    assert crowd.inside == ["a", "b"]


async def test_who_shares_does_not_pass_one_who_waits_to_change(turns: Turns) -> None:
    crowd = Crowd(turns)
    await crowd.comes("a", to_change=False)
    await crowd.comes("b", to_change=True)
    await crowd.comes("c", to_change=False)
    await crowd.comes("d", to_change=False)
    assert crowd.inside == ["a"]
    await crowd.leaves("a", to_change=False)
    assert crowd.inside == ["b"]
    await crowd.leaves("b", to_change=True)
    assert crowd.inside == ["c", "d"]


async def test_who_gives_up_holds_up_nobody(turns: Turns) -> None:
    crowd = Crowd(turns)
    await crowd.comes("a", to_change=False)
    await crowd.comes("b", to_change=True)
    await crowd.comes("c", to_change=False)
    await crowd.gives_up("b")
    assert crowd.inside == ["a", "c"]


async def test_who_is_called_and_gives_up_at_the_same_moment_passes_the_turn_on(turns: Turns) -> None:
    crowd = Crowd(turns)
    for who in "abc":
        await crowd.comes(who, to_change=True)
    crowd.inside.remove("a")
    turns.leave("name", to_change=True)
    await crowd.gives_up("b")
    assert crowd.inside == ["c"]
    await crowd.leaves("c", to_change=True)
    assert turns.busy == 0


async def test_who_has_waited_long_enough_is_told(turns: Turns) -> None:
    first, second = Held(turns, 0), Held(turns, 0)
    stream = uuid4()
    await first.take_stream(stream)
    with pytest.raises(NoTurn):
        await second.take_stream(stream)
    second.give_back()
    first.give_back()
    assert turns.busy == 0


async def test_two_who_want_the_same_tags_never_wait_for_each_other(turns: Turns) -> None:
    async def work(tags: list[str]) -> None:
        held = Held(turns, 60)
        for _ in range(20):
            # As commands do it: at once where that can be had, and in order behind others where it cannot.
            if not held.take_tags_at_once(dict.fromkeys(tags, True)):
                await held.take_tags(dict.fromkeys(tags, True))
            await asyncio.sleep(0)
            held.give_back()

    await asyncio.wait_for(asyncio.gather(*(work(tags) for tags in (["a", "b"], ["b", "a"], ["b", "c"], ["c", "a"]))), 30)
    assert turns.busy == 0


async def test_tags_that_need_waiting_are_not_taken_at_once(turns: Turns) -> None:
    first, second = Held(turns, 60), Held(turns, 60)
    assert first.take_tags_at_once({"b": True})
    assert not second.take_tags_at_once({"a": True, "b": False})
    waiting = asyncio.create_task(second.take_tags({"a": True, "b": False}))
    await settle()
    assert not waiting.done()
    first.give_back()
    await waiting
    assert not turns.enter_at_once("a", to_change=False)
    assert not turns.enter_at_once("b", to_change=True)
    second.give_back()
    assert turns.busy == 0


async def test_tags_are_not_taken_at_once_beside_others_that_are_held(turns: Turns) -> None:
    held = Held(turns, 60)
    assert held.take_tags_at_once({"b": True})
    assert not held.take_tags_at_once({"a": True})


async def test_other_tags_take_the_place_of_those_that_are_held(turns: Turns) -> None:
    held = Held(turns, 0)
    await held.take_tags({"a": True, "b": False})
    await held.take_tags({"b": True})
    assert not turns.enter_at_once("b", to_change=False)
    assert turns.enter_at_once("a", to_change=True)


async def test_those_who_are_turned_away_have_no_turn_even_if_they_give_up_at_the_same_moment(turns: Turns) -> None:
    crowd = Crowd(turns)
    for who in "abc":
        await crowd.comes(who, to_change=True)
    turns.turn_away("name", ValueError("no use"))
    await crowd.gives_up("b")
    assert crowd.inside == ["a"]
    with pytest.raises(ValueError, match="no use"):
        await crowd.tasks["c"]
    await crowd.leaves("a", to_change=True)
    assert turns.busy == 0
