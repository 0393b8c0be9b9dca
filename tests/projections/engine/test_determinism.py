"""The same log gives the same read models, byte for byte, however, how often and in which process it is replayed."""

import pytest

from infrastructure.read_models.rebuild import rebuild
from projections import ALL
from tests.generated_history import WORKSPACES, append_history
from tests.infrastructure.processes_under_test import started
from tests.log_world import LOG, World
from tests.projections.replay_process import digest

COMMANDS = 2500


def replayed(world: World, batch: int) -> str:
    world.forget_read_models()
    world.project(batch)
    return digest(world)


def in_a_process(world: World, seed: str, batch: int) -> str:
    arguments = (world.database_url, world.redis_url, str(batch))
    with started("tests.projections.replay_process", *arguments, environ={"PYTHONHASHSEED": seed}) as process:
        out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return out


def test_a_history_replayed_in_any_batches_and_processes_is_the_same(world: World) -> None:
    head = append_history(world, seed=2026, commands=COMMANDS)
    expected = replayed(world, 500)
    assert len(world.table_dump()["feed"]) == head > COMMANDS
    assert world.table_dump()["project_list_past"]
    assert world.table_dump()["task_snapshots"]
    workspaces = {row[0] for row in world.connection.execute("SELECT DISTINCT workspace_id FROM task_list").fetchall()}
    assert workspaces == set(WORKSPACES)
    assert world.connection.execute("SELECT count(*) FROM events WHERE effective_at IS NOT NULL").fetchone() != (0,)
    for batch in (37, 500, 2000):
        assert replayed(world, batch) == expected, batch
    for seed, batch in (("0", 500), ("1", 37), ("4242", 1999)):
        assert in_a_process(world, seed, batch) == expected, seed


def test_one_event_at_a_time_is_the_same(world: World) -> None:
    append_history(world, seed=7, commands=500)
    assert replayed(world, 1) == replayed(world, 500)


def test_rebuilt_is_the_same_as_live(world: World) -> None:
    append_history(world, seed=99, commands=600)
    live = replayed(world, 100)
    for name in ALL:
        rebuild(world.database_url, world.redis_url, LOG, name)
    assert digest(world) == live


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE task_list SET summary = '' WHERE task_id = (SELECT min(task_id::text)::uuid FROM task_list)",
        "UPDATE flow_daily SET open_change = open_change + 1",
        "DELETE FROM feed WHERE position = 3",
        "UPDATE project_list SET version = version + 1",
    ],
)
def test_the_digest_notices_a_single_difference(world: World, statement: str) -> None:
    append_history(world, seed=5, commands=60)
    expected = replayed(world, 500)
    world.connection.execute(statement.encode())
    assert digest(world) != expected
