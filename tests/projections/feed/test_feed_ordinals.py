"""The ordinals of the feed: 1, 2, 3, … in each workspace, however it was built."""

from collections import Counter
from typing import Any
from uuid import UUID

import msgspec
import pytest

from domain.task.events import TaskCompleted, TaskCreated, TaskRenamed
from infrastructure.read_models.rebuild import rebuild
from projections import FEED
from projections.feed.feed import changes_after, history_of
from projections.tables.bounds import Room
from tests.generated_history import WORKSPACES, append_history
from tests.log_world import ELSEWHERE, HOME, LOG, World, number
from tests.projections.engine.test_waiting import breaking, foreign


def entries(world: World, workspace: UUID = HOME) -> list[dict[str, Any]]:
    found = world.ask(lambda connection: changes_after(connection, workspace, 0, Room(100_000, 10**9)))
    return [msgspec.json.decode(item) for item in found.items]


def ordinals(world: World, workspace: UUID = HOME) -> list[int]:
    return [entry["ordinal"] for entry in entries(world, workspace)]


def test_they_have_no_gaps_in_any_workspace_and_no_batch_matters(world: World) -> None:
    append_history(world, seed=4, commands=400)
    rows: dict[int, list[str]] = {}
    for batch in (500, 1, 37):
        world.forget_read_models()
        world.project(batch)
        rows[batch] = world.table_dump(["feed"])["feed"]
    assert rows[500] == rows[1] == rows[37]
    events = Counter(record.workspace_id for record in world.records())
    assert events.keys() == set(WORKSPACES)
    for workspace, number_of_events in events.items():
        assert ordinals(world, workspace) == list(range(1, number_of_events + 1))


def test_a_feed_that_was_built_again_is_the_same_byte_for_byte(world: World) -> None:
    append_history(world, seed=5, commands=200)
    world.project(50)
    before = world.table_dump(["feed"])["feed"]
    append_history(world, seed=6, commands=50, first_task=9_000)
    rebuild(world.database_url, world.redis_url, LOG, FEED.name)
    rebuilt = world.table_dump(["feed"])["feed"]
    assert set(before) < set(rebuilt)
    world.forget_read_models()
    world.project(50)
    assert world.table_dump(["feed"])["feed"] == rebuilt


def test_what_belongs_to_others_takes_none(world: World) -> None:
    world.record(number(1), TaskCreated("A"))
    foreign(world)
    world.record(number(2), TaskCreated("B"), workspace=ELSEWHERE)
    world.record(number(1), TaskRenamed("C"))
    world.project()
    assert [(entry["position"], entry["ordinal"]) for entry in entries(world)] == [(1, 1), (4, 2)]
    assert ordinals(world, ELSEWHERE) == [1]


def test_an_entry_in_plain_form_has_its_own(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.record(number(1), TaskCreated("A"), TaskRenamed("B"), TaskCompleted())
    with monkeypatch.context() as release:
        breaking(release, 2)
        world.project()
    assert [(entry["ordinal"], len(entry["changes"])) for entry in entries(world)] == [(1, 3), (2, 0), (3, 1)]


def test_every_route_of_an_entry_gives_the_bytes_that_are_stored(world: World) -> None:
    world.record(number(1), TaskCreated("A"), TaskRenamed("B", reason="why"))
    world.project()
    stored = [row[0] for row in world.connection.execute("SELECT entry FROM feed ORDER BY position").fetchall()]
    changes = world.ask(lambda connection: changes_after(connection, HOME, 0, Room(10))).items
    history = world.ask(lambda connection: history_of(connection, HOME, ("task", number(1)), 0, Room(10))).items
    assert stored == changes == history
    assert stored[1].endswith(b',"ordinal":2}')
