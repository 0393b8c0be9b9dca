"""What a request hears when more are under way than the process takes on."""

from collections.abc import Iterator

import pytest

from api.edge.turns import Turns
from tests.api_world import World, problem


@pytest.fixture
def full(world: World) -> Iterator[World]:
    """The application while its line is full."""
    edge = world.api.app.asgi_handler
    turns = edge._turns
    edge._turns = Turns(most_waiting=0, begin_a_lap=0)
    yield world
    edge._turns = turns


def test_past_the_bound_a_request_is_refused_as_overloaded_and_told_when_to_come_back(full: World) -> None:
    answer = full.ada.get("/tasks")
    problem(answer, 503, "overloaded")
    assert int(answer.headers["retry-after"]) >= 1


def test_what_is_refused_for_itself_does_not_wait_for_a_turn(full: World) -> None:
    problem(full.api.request("GET", "/api/v1/tasks"), 401, "missing_token")
