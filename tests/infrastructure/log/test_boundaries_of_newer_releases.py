"""An event in a boundary, of an aggregate that only a newer release has: nobody here knows what it means for a decision."""

import asyncio
from typing import Any

import pytest

from domain.boundaries import Boundary, Seen
from domain.tags import tag_id
from infrastructure.log.codec import UnknownEventType
from tests.infrastructure.log_under_test import open_store
from tests.log_world import World
from tests.projections.engine.test_waiting import foreign

NAMES: Boundary[int] = Boundary("names", 0, lambda count, _: count + 1)


def tagged(world: World, topic: str) -> int:
    """An event of that type in the boundary; its position."""
    position = foreign(world, topic)
    world.connection.execute("INSERT INTO event_tags VALUES (%s, %s)", (tag_id(NAMES.tag), position))
    return position


def read(world: World) -> Seen[int]:
    async def ask() -> Any:
        async with open_store(world.database_url) as store:
            return await store.load_boundary(NAMES)

    found: Seen[int] = asyncio.run(ask())
    return found


def test_it_makes_the_boundary_unreadable_for_the_moment(world: World) -> None:
    tagged(world, "sprint.begun")
    with pytest.raises(UnknownEventType, match=r"'sprint\.begun', which stands in a boundary"):
        read(world)


def test_one_of_another_application_counts_as_seen_and_means_nothing(world: World) -> None:
    position = tagged(world, "dcb:NameTaken")
    assert read(world) == Seen(0, position)
