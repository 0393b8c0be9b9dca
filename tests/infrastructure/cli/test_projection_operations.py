"""What operators do with read models, over real servers."""

import re
from collections.abc import Iterator

import msgspec
import psycopg
import pytest

from domain.project.events import ProjectEvent
from domain.task.events import TaskCompleted, TaskCreated, TaskEvent, TaskRenamed, TaskReopened, TaskStarted
from infrastructure.cli.projection_operations import LogStatus, parked, rebuild_one, status
from infrastructure.read_models.hot_store import write_arguments
from infrastructure.read_models.projecting import PROJECTORS, LogProjecting
from infrastructure.settings import Settings
from projections import ALL, TABLES, layouts
from projections.engine.changes import Change
from projections.flow import Flow
from tests.generated_history import append_history
from tests.log_world import LOG, World, number


@pytest.fixture
def settings(world: World) -> Settings:
    return Settings(database_url=world.database_url, redis_url=world.redis_url)


@pytest.fixture
def projecting(world: World) -> Iterator[LogProjecting]:
    running = LogProjecting(world.database_url, world.redis_url, LOG)
    yield running
    running.close()


def told(settings: Settings, capsys: pytest.CaptureFixture[str]) -> LogStatus:
    assert status(settings, as_json=True) == 0
    return msgspec.json.decode(capsys.readouterr().out, type=LogStatus)


def test_status_tells_how_far_behind_each_read_model_is(
    world: World, settings: Settings, projecting: LogProjecting, capsys: pytest.CaptureFixture[str]
) -> None:
    world.record(number(1), TaskCreated("A"), TaskStarted())
    projecting.sweep()
    world.record(number(1), TaskCompleted())
    world.connection.execute("UPDATE events SET recorded_at = now() - interval '1 minute' WHERE notification_id = 3")
    found = told(settings, capsys)
    assert (found.log, found.head) == ("main", 3)
    assert {model.name: model.layout for model in found.read_models} == layouts()
    for model in found.read_models:
        assert (model.position, model.behind, model.held, model.parked) == (2, 1, None, 0)
        assert model.lag_seconds is not None
        assert 60 <= model.lag_seconds < 90
        assert model.redis == ("ok" if model.name == "hot_tasks" else None)


def test_status_tells_what_is_held_and_what_is_parked(
    world: World, settings: Settings, projecting: LogProjecting, capsys: pytest.CaptureFixture[str]
) -> None:
    world.record(number(1), TaskCreated("A"))
    projecting.sweep()
    world.record(number(1), TaskRenamed("B"))
    world.connection.execute("UPDATE events SET topic = 'task.teleported' WHERE notification_id = 2")
    world.connection.execute(
        "INSERT INTO parked (projection, position, stream_id, version, error) "
        "SELECT 'flow', 1, originator_id, 1, 'x' FROM events LIMIT 1"
    )
    projecting.sweep()
    for model in told(settings, capsys).read_models:
        assert "task.teleported" in (model.held or "")
        assert model.parked == (1 if model.name == "flow" else 0)
    assert status(settings, as_json=False) == 0
    table = capsys.readouterr().out
    assert re.search(rf"task_list .* {layouts()['task_list']} ", table)
    assert "held" in table


def test_status_tells_a_redis_without_data_from_one_that_is_away(
    world: World, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    hot = next(model for model in told(settings, capsys).read_models if model.name == "hot_tasks")
    assert (hot.position, hot.redis) == (None, "rebuilding")
    away = msgspec.structs.replace(settings, redis_url="unix:///nowhere/at.sock")
    hot = next(model for model in told(away, capsys).read_models if model.name == "hot_tasks")
    assert (hot.position, hot.redis) == (None, "away")
    assert status(settings, as_json=False) == 0


def test_status_without_postgres_is_one_line_and_a_failure(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    away = msgspec.structs.replace(settings, database_url="host=/nowhere dbname=x")
    assert status(away, as_json=True) == 1
    assert re.fullmatch(r"error: PostgreSQL: .+\n", capsys.readouterr().err)


def test_a_rebuild_mends_a_read_model(world: World, settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    append_history(world, seed=21, commands=150)
    world.project()
    tables, hot = world.table_dump(), world.hot_dump()
    world.connection.execute("DELETE FROM task_list WHERE version > 2")
    world.connection.execute("UPDATE flow_daily SET created = 99")
    assert world.table_dump() != tables
    assert rebuild_one(settings, name="all") == 0
    assert (world.table_dump(), world.hot_dump()) == (tables, hot)
    assert "task_list was built again up to position" in capsys.readouterr().out
    assert world.generations() == {2}


def test_an_unknown_read_model_is_a_mistake_and_the_names_are_told(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rebuild_one(settings, name="task_lists") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert all(name in error for name in (*ALL, "all"))


def test_a_rebuild_without_redis_is_one_line_and_a_failure(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    away = msgspec.structs.replace(settings, redis_url="unix:///nowhere/at.sock")
    assert rebuild_one(away, name="hot_tasks") == 1
    assert capsys.readouterr().err.startswith("error: hot_tasks: ")


# Parked events: every projection that parks fails at every task whose number ends in 7. The feed never parks.

PARKING = tuple(name for name in ALL if name != "feed")


def _fails(change: Change) -> bool:
    return change.record.stream_id.int % 10 == 7


@pytest.fixture
def broken(world: World, projecting: LogProjecting, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[int]]:
    """A history of which every read model had to park a part; the fix is deployed afterwards."""
    with monkeypatch.context() as release:
        for projection in TABLES:
            if projection.name not in PARKING:
                continue
            kind = type(projection)
            release.setattr(kind, "apply", _breaking(kind.apply))
        release.setattr("infrastructure.read_models.hot_store.write_arguments", _breaking_hot())
        append_history(world, seed=23, commands=250)
        world.record(number(7), TaskReopened(), TaskStarted(), TaskCompleted())
        projecting.sweep()
    return {name: world.parked(name) for name in ALL}


def _breaking(apply):  # type: ignore[no-untyped-def]  # stands in for any projection's apply
    def broken_apply(self, connection, changes):  # type: ignore[no-untyped-def]  # the same
        if any(_fails(change) for change in changes):
            raise ValueError("a bug of this release")
        apply(self, connection, changes)

    return broken_apply


def _breaking_hot():  # type: ignore[no-untyped-def]  # stands in for write_arguments
    def broken_arguments(keys, expected, new, changes):  # type: ignore[no-untyped-def]  # the same
        if any(_fails(change) for change in changes):
            raise ValueError("a bug of this release")
        return write_arguments(keys, expected, new, changes)

    return broken_arguments


def from_scratch(world: World) -> tuple[dict[str, list[str]], dict[bytes, object]]:
    world.forget_read_models()
    world.connection.execute("UPDATE checkpoints SET generation = 1")
    world.project()
    return world.table_dump(), world.hot_dump()


def test_parked_events_are_listed_with_the_reason(
    world: World, settings: Settings, broken: dict[str, list[int]], capsys: pytest.CaptureFixture[str]
) -> None:
    failing = [record for record in world.records() if record.stream_id.int % 10 == 7]
    of_projects = [record.position for record in failing if isinstance(record.event, ProjectEvent)]
    expected = [record.position for record in failing if record.position not in of_projects]
    assert len(expected) > 5 < len(of_projects)
    assert broken == dict.fromkeys(PARKING, expected) | {"project_list": of_projects, "feed": []}
    assert parked(settings, replay=False) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == sum(map(len, broken.values()))
    told = [line for line in lines if line.startswith("flow\t")]
    assert any("ValueError, in broken_apply" in line for line in told)
    assert not any("a bug of this release" in line for line in told)
    assert world.parked("flow") == expected


def test_replaying_after_the_fix_leaves_every_read_model_as_if_nothing_had_happened(
    world: World, settings: Settings, broken: dict[str, list[int]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert parked(settings, replay=True) == 0
    assert [world.parked(name) for name in ALL] == [[]] * len(ALL)
    after = world.table_dump(), world.hot_dump()
    assert after == from_scratch(world)


def test_a_projector_that_runs_on_forgets_that_a_stream_was_parked(
    world: World, settings: Settings, projecting: LogProjecting, broken: dict[str, list[int]]
) -> None:
    assert parked(settings, replay=True) == 0
    world.record(number(7), TaskRenamed("After the fix"))
    for name in PROJECTORS:
        projecting.run(name)
    assert [world.parked(name) for name in ALL] == [[]] * len(ALL)
    after = world.table_dump(), world.hot_dump()
    assert after == from_scratch(world)


def test_replaying_twice_applies_nothing_twice(
    world: World, settings: Settings, broken: dict[str, list[int]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert parked(settings, replay=True) == 0
    once = world.table_dump()
    assert parked(settings, replay=True) == 0
    assert world.table_dump() == once
    assert "0 of 0 parked events" in capsys.readouterr().out
    assert parked(settings, replay=False) == 0
    assert "nothing is parked" in capsys.readouterr().out


def test_what_still_fails_stays_parked_and_changes_nothing(
    world: World, settings: Settings, broken: dict[str, list[int]], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    before = world.table_dump(Flow.tables)
    monkeypatch.setattr(Flow, "apply", _breaking(Flow.apply))
    assert parked(settings, replay=True) == 1
    assert world.parked("flow") == broken["flow"]
    assert world.parked("task_list") == []
    assert world.table_dump(Flow.tables) == before
    assert "still fails" in capsys.readouterr().err


def test_a_replay_and_a_projector_at_the_same_time_apply_each_event_once(
    world: World, settings: Settings, projecting: LogProjecting, broken: dict[str, list[int]]
) -> None:
    """The projector moves on between the replays of two streams."""
    streams = {
        record.stream_id for record in world.records() if record.stream_id.int % 10 == 7 and isinstance(record.event, TaskEvent)
    }
    assert len(streams) > 1
    for stream in sorted(streams):
        world.record(stream, TaskRenamed("Meanwhile"))
        projecting.run("tables")
    with psycopg.connect(world.database_url):
        assert parked(settings, replay=True) == 0
    projecting.sweep()
    after = world.table_dump(), world.hot_dump()
    assert after == from_scratch(world)


def test_a_clock_that_was_set_back_makes_no_read_model_younger_than_nothing(
    world: World, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    world.record(number(1), TaskCreated("A"))
    world.connection.execute("UPDATE events SET recorded_at = now() + interval '1 hour'")
    found = told(settings, capsys)
    assert {model.lag_seconds for model in found.read_models if model.position is not None} == {0.0}
    assert {model.behind for model in found.read_models if model.position is not None} == {1}
