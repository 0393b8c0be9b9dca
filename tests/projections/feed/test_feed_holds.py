"""The feed never parks: where others set an event aside, it waits, and nobody waits with it."""

from collections.abc import Iterator
from typing import Any

import pytest

import projections.feed.feed
from domain.task.events import TaskCompleted, TaskCreated, TaskRenamed
from infrastructure.read_models.projecting import LogProjecting
from projections import FEED, TOGETHER
from projections.engine.changes import Change
from projections.flow import Flow
from tests.log_world import LOG, World, number
from tests.projections.engine.test_waiting import breaking, checkpoint_of, entries


@pytest.fixture
def projecting(world: World) -> Iterator[LogProjecting]:
    running = LogProjecting(world.database_url, world.redis_url, LOG)
    yield running
    running.close()


def test_where_a_read_model_that_may_parks_the_feed_holds_until_it_can_go_on(
    world: World, projecting: LogProjecting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The flow metrics, which fail at the same event, are the control."""
    world.record(number(1), TaskCreated("A"), TaskRenamed("B"), TaskCompleted())
    with monkeypatch.context() as broken:
        breaking(broken, 2)
        broken.setattr(projections.feed.feed, "plain_entry", _nothing)
        broken.setattr(Flow, "apply", _but_the_second(Flow.apply))
        for _ in range(4):
            projecting.sweep()
        assert (world.parked("flow"), world.position("flow")) == ([2, 3], 3)
        assert (world.parked("feed"), world.position("feed")) == ([], 1)
        assert "event 2 cannot be taken" in (checkpoint_of(world, "feed") or "")
        assert {world.position(each.name) for each in TOGETHER} == {3}
    projecting.sweep()
    assert [(entry.position, entry.ordinal) for entry in entries(world)] == [(1, 1), (2, 2), (3, 3)]
    assert (world.parked("feed"), checkpoint_of(world, "feed")) == ([], None)


def test_the_feed_has_a_projector_of_its_own(world: World, projecting: LogProjecting) -> None:
    world.record(number(1), TaskCreated("A"))
    projecting.run("feed")
    assert ({world.position(each.name) for each in TOGETHER}, world.position(FEED.name)) == ({0}, 1)
    projecting.run("tables")
    assert {world.position(each.name) for each in TOGETHER} == {1}


def _nothing(*_: Any) -> None:
    raise ValueError("not even that")


def _but_the_second(apply: Any) -> Any:
    def broken(self: Flow, connection: Any, changes: list[Change[Any]]) -> None:
        if any(change.record.position == 2 for change in changes):
            raise ValueError("a bug")
        apply(self, connection, changes)

    return broken
