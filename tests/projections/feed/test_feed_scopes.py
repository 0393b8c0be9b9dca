"""The feed of a part of the workspace: what belongs there in full, and of what left it that it left."""

from typing import Any

import msgspec
import pytest

from domain.task.events import TaskCreated
from infrastructure.servers.migrate import migrate
from projections.feed.feed import changes_after
from projections.tables.bounds import Room
from tests.log_world import ELSEWHERE, HOME, LOG, World, number
from tests.second_aggregate import JarFilled, JarOpened, JarPainted, jars_are_known, shelf


@pytest.fixture(autouse=True)
def _jars(monkeypatch: pytest.MonkeyPatch, database_url: str) -> None:
    jars_are_known(monkeypatch)
    # What follows jars is of another layout than what the database has.
    migrate(database_url, [LOG])


def told(world: World, colour: str | None, after: int = 0, limit: int = 100) -> list[tuple[int, str, list[Any]]]:
    """The entries of the shelf of a colour, without one all: position, type, and what they say was changed."""
    scope = shelf(colour) if colour else None
    found = world.ask(lambda connection: changes_after(connection, HOME, after, Room(limit), scope))
    entries = [msgspec.json.decode(item) for item in found.items]
    return [(entry["position"], entry["type"], [each["after"] for each in entry["changes"]]) for entry in entries]


@pytest.fixture
def painted(world: World) -> World:
    """A blue jar that becomes red and then has no colour, and a blue one that stays."""
    world.record(number(1), JarOpened("blue"), JarFilled(3))
    world.record(number(2), JarOpened("blue"))
    world.record(number(1), JarPainted("red"), JarFilled(4), JarPainted(""))
    world.record(number(3), JarOpened("blue"), workspace=ELSEWHERE)
    world.project()
    return world


def test_whoever_sees_everything_is_told_of_the_streams_of_every_aggregate(painted: World) -> None:
    painted.record(number(9), TaskCreated("A"))
    painted.project()
    assert [position for position, *_ in told(painted, None)] == [1, 2, 3, 4, 5, 6, 8]
    assert told(painted, None)[-1] == (8, "task.created", ["A", "open", "none"])


def test_what_leaves_is_told_to_both_sides_and_the_losing_one_learns_no_more(painted: World) -> None:
    assert told(painted, "blue") == [
        (1, "jar.opened", ["blue", 0]),
        (2, "jar.filled", [3]),
        (3, "jar.opened", ["blue", 0]),
        (4, "jar.painted", []),
    ]
    assert told(painted, "red") == [(4, "jar.painted", ["red"]), (5, "jar.filled", [7]), (6, "jar.painted", [])]


def test_a_part_is_read_in_pages_as_the_whole_is(painted: World) -> None:
    whole, seen, after = told(painted, "blue"), [], 0
    while page := told(painted, "blue", after, 1):
        seen += page
        after = page[-1][0]
    assert seen == whole


def test_a_part_of_another_workspace_is_empty(painted: World) -> None:
    found = painted.ask(lambda connection: changes_after(connection, ELSEWHERE, 0, Room(9), shelf("red")))
    assert (found.items, found.position) == ([], 7)
