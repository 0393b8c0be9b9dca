"""Whoever changes a read model behind the program's back is found out by what the log says."""

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from domain.task.events import TaskCompleted, TaskCreated, TaskRenamed, TaskStarted
from infrastructure.cli import operations
from infrastructure.read_models.verify import ReadModelFinding, verify_read_models
from infrastructure.settings import Settings
from projections import ALL, HOT
from tests.infrastructure.command_line import Run
from tests.log_world import ELSEWHERE, World, number
from tests.projections.engine.test_waiting import foreign


@pytest.fixture
def projected(world: World) -> World:
    """Read models of two workspaces' tasks, at the log's head."""
    for task in range(12):
        workspace = {} if task % 3 else {"workspace": ELSEWHERE}
        world.record(number(task), TaskCreated(title=f"task {task}", labels=("a",)), TaskRenamed(title="b"), **workspace)
    for task in (1, 2):
        world.record(number(task), TaskStarted(reason="now"), TaskCompleted(reason="done"))
    world.project()
    return world


def findings(world: World) -> dict[str, ReadModelFinding]:
    settings = Settings(database_url=world.database_url, redis_url=world.redis_url)
    return {found.name: found for found in verify_read_models(settings)}


def differing(world: World) -> dict[str, int]:
    return {name: found.differing for name, found in findings(world).items() if found.differing}


def test_read_models_that_nobody_touched_are_what_the_log_says(projected: World) -> None:
    found = findings(projected)
    assert found.keys() == set(ALL)
    for each in found.values():
        assert (each.position, each.differing, each.not_compared) == (projected.head(), 0, None)


FORGERIES = {
    "feed": "UPDATE feed SET entry = entry || ' '::bytea WHERE position = 3",
    "task_list": "UPDATE task_list SET status = 'cancelled' WHERE created_position = 3",
    "flow": "UPDATE flow_daily SET created = created + 1 WHERE ctid = (SELECT min(ctid) FROM flow_daily)",
}


@pytest.mark.parametrize("name", list(FORGERIES))
def test_a_row_that_was_changed_is_found(projected: World, name: str) -> None:
    projected.connection.execute(FORGERIES[name].encode())
    assert differing(projected) == {name: 1}


@pytest.mark.parametrize("table", ["feed", "task_list", "flow_daily", "flow_completions"])
def test_a_row_that_was_taken_out_is_found(projected: World, table: str) -> None:
    projected.connection.execute(f"DELETE FROM {table} WHERE ctid = (SELECT min(ctid) FROM {table})".encode())
    assert differing(projected) == {"flow" if table.startswith("flow") else table: 1}


def test_what_is_told_of_a_difference_names_the_row_and_not_its_text(projected: World) -> None:
    projected.connection.execute('UPDATE task_list SET summary = \'{"title":"secret"}\' WHERE created_position = 3')
    example = findings(projected)["task_list"].example
    assert example is not None
    assert "task_id" in example
    assert "secret" not in example


def _first(world: World, kind: str) -> str:
    return str(sorted(key.decode() for key in world.redis.scan_iter(f"*:hot-*:{kind}:*"))[0])


HOT_FORGERIES: dict[str, Callable[[World], object]] = {
    "a task": lambda world: world.redis.append(_first(world, "t"), " "),
    "a task taken out": lambda world: world.redis.delete(_first(world, "t")),
    "a counter": lambda world: world.redis.hincrby(_first(world, "c"), "open", 1),
    "a task put in": lambda world: world.redis.set(f"{_first(world, 't')}0", "1 {}"),
}


@pytest.mark.parametrize("kind", list(HOT_FORGERIES))
def test_a_key_in_redis_that_was_changed_is_found(projected: World, kind: str) -> None:
    HOT_FORGERIES[kind](projected)
    assert differing(projected) == {HOT: 1}


def test_nothing_is_left_behind(projected: World) -> None:
    before = (projected.table_dump(), projected.hot_dump(), projected.generations())
    findings(projected)
    assert (projected.table_dump(), projected.hot_dump(), projected.generations()) == before
    left = projected.connection.execute(
        "SELECT count(*) FROM pg_class WHERE relname LIKE 'task_list%' AND relpersistence = 't'"
    )
    assert left.fetchone() == (0,)


def test_what_is_written_and_projected_meanwhile_is_no_difference(projected: World) -> None:
    ended = threading.Event()

    def go_on() -> None:
        tables, hot = projected.tables(), projected.hot(begin=False)
        for task in range(100, 400):
            projected.record(number(task), TaskCreated(title=f"task {task}"))
            tables.catch_up()
            hot.catch_up()
            if ended.is_set():
                return

    writer = threading.Thread(target=go_on)
    writer.start()
    try:
        assert [differing(projected) for _ in range(3)] == [{}, {}, {}]
    finally:
        ended.set()
        writer.join()


def test_foreign_events_at_the_end_and_in_between_are_no_difference(projected: World) -> None:
    for task in (50, 51):
        foreign(projected)
        projected.record(number(task), TaskCreated(title="after a foreign one"))
    foreign(projected)
    projected.project()
    assert {(each.position, each.differing) for each in findings(projected).values()} == {(projected.head(), 0)}


def test_what_cannot_be_compared_says_why(projected: World) -> None:
    projected.connection.execute(
        "INSERT INTO parked (projection, position, stream_id, version, error) VALUES ('flow', 1, %s, 1, 'x')", (number(0),)
    )
    found = verify_read_models(Settings(database_url=projected.database_url))
    told = {each.name: each.not_compared for each in found if each.not_compared}
    assert told == {"flow": "events of 1 tasks are parked", HOT: "Redis is away"}
    projected.connection.execute("UPDATE log SET epoch = 2")
    found = verify_read_models(Settings(database_url=projected.database_url, redis_url=projected.redis_url))
    assert {each.not_compared is None for each in found} == {False}


def test_the_command_says_it_with_its_exit_code(projected: World, run: Run) -> None:
    environ = {"DATABASE_URL": projected.database_url, "REDIS_URL": projected.redis_url}
    code, output, _ = run("verify --read-models", **environ)
    assert (code, output.count("what the log says")) == (0, len(ALL))
    projected.connection.execute(FORGERIES["task_list"].encode())
    code, output, _ = run("verify --read-models", **environ)
    assert (code, "NOT WHAT THE LOG SAYS task_list at position" in output) == (1, True)
    code, output, _ = run("verify --read-models --json", **environ)
    shown: list[dict[str, Any]] = json.loads(output)["read_models"]
    assert (code, {each["name"] for each in shown if each["differing"]}) == (1, {"task_list"})
    assert operations.verify(Settings(database_url=projected.database_url), as_json=True) == 0
