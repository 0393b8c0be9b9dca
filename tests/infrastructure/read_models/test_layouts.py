"""Read models in the layouts of another release: built beside, by themselves, while the old ones go on."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from psycopg.sql import SQL, Identifier

from domain.task.events import TaskCreated
from infrastructure.read_models.layouts import build_layouts
from infrastructure.read_models.projecting import LogProjecting
from infrastructure.servers.model_tables import has_models
from infrastructure.servers.postgres import models_schema
from infrastructure.settings import load_settings, settings_environ
from projections import TABLES, layouts_id
from projections.task.list import TaskList
from tests.generated_history import append_history
from tests.infrastructure.processes_under_test import started, wait_until
from tests.log_world import LOG, World, number


@contextmanager
def newer(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Within it, this process is of a release whose task list has another layout."""
    with monkeypatch.context() as release:
        release.setattr(TaskList, "layout", TaskList.layout + 1)
        yield


def sweep(world: World) -> None:
    """What a worker of this release does within two seconds."""
    projecting = LogProjecting(world.database_url, world.redis_url, LOG)
    try:
        projecting.sweep()
    finally:
        projecting.close()


def dump(world: World, schema: str) -> dict[str, list[str]]:
    """Every row of the read models in a schema, in order, and their places."""
    tables = [table for projection in TABLES for table in projection.tables]
    rows = {
        table: [
            row[0]
            for row in world.connection.execute(
                SQL("SELECT t::text FROM {} t ORDER BY 1").format(Identifier(schema, table))
            ).fetchall()
        ]
        for table in tables
    }
    places = SQL("SELECT projection || ' ' || position FROM {} WHERE projection <> 'hot_tasks' ORDER BY 1")
    found = world.connection.execute(places.format(Identifier(schema, "checkpoints"))).fetchall()
    return rows | {"places": [row[0] for row in found]}


@pytest.fixture
def served(world: World) -> World:
    append_history(world, 3, 120)
    sweep(world)
    return world


def test_a_new_layout_is_built_beside_and_both_go_on_together(served: World, monkeypatch: pytest.MonkeyPatch) -> None:
    old = models_schema(LOG)
    before = dump(served, old)
    with newer(monkeypatch):
        new = models_schema(LOG)
        assert not has_models(served.connection, LOG)
        sweep(served)
        assert dump(served, new) == before
    assert dump(served, old) == before
    served.record(number(90_001), TaskCreated("seen by both"))
    sweep(served)
    with newer(monkeypatch):
        sweep(served)
    assert dump(served, old) == dump(served, new) != before


def test_what_has_the_same_layout_is_copied_and_only_the_rest_is_built(served: World, monkeypatch: pytest.MonkeyPatch) -> None:
    served.connection.execute("UPDATE flow_daily SET created = created + 1000")
    served.connection.execute("UPDATE task_list SET status = 'forged'")
    with newer(monkeypatch):
        sweep(served)
        new = dump(served, models_schema(LOG))
    assert new["flow_daily"] == dump(served, models_schema(LOG))["flow_daily"]
    assert not any("forged" in row for row in new["task_list"])


def test_a_change_of_tables_alone_is_another_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    before = layouts_id()
    monkeypatch.setattr(TaskList, "ddl", TaskList.ddl.replace("detail bytea NOT NULL", "detail bytea NOT NULL, more int"))
    assert layouts_id() != before


def test_what_a_killed_build_left_is_no_hindrance(served: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with newer(monkeypatch):
        served.connection.execute(f"CREATE SCHEMA {models_schema(LOG)}__new")
        assert build_layouts(served.database_url, LOG)
        assert not build_layouts(served.database_url, LOG)
        assert has_models(served.connection, LOG)


@pytest.mark.parametrize("idle", [True, False])
def test_layouts_that_nobody_has_advanced_for_a_day_are_dropped(
    served: World, monkeypatch: pytest.MonkeyPatch, idle: bool
) -> None:
    old = models_schema(LOG)
    if idle:
        served.connection.execute("UPDATE checkpoints SET updated_at = now() - interval '25 hours'")
    served.record(number(90_001), TaskCreated("the log moves on"))
    with newer(monkeypatch):
        sweep(served)
    there = served.connection.execute("SELECT to_regnamespace(%s) IS NOT NULL", (old,)).fetchone()
    assert there == (not idle,)


def test_real_workers_of_two_releases_work_side_by_side(served: World, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings(
        {"DATABASE_URL": served.database_url, "REDIS_URL": served.redis_url, "TASKMASTER_SECRET_KEY": "x" * 32}
    )
    environ = settings_environ(settings)
    old = models_schema(LOG)
    with newer(monkeypatch):
        new = models_schema(LOG)
    with ExitStack() as stack:
        for module in ("workers.main", "tests.infrastructure.newer_workers"):
            stack.enter_context(started("dramatiq", module, "--processes", "1", "--threads", "2", environ=environ))

        def everywhere(position: int) -> bool:
            return all(
                served.connection.execute("SELECT to_regclass(%s)", (f"{schema}.checkpoints",)).fetchone() != (None,)
                and dump(served, schema)["places"] == [f"{name} {position}" for name in sorted(each.name for each in TABLES)]
                for schema in (old, new)
            )

        wait_until(lambda: everywhere(served.head()))
        for each in range(20):
            served.record(number(90_100 + each), TaskCreated("while both are at work"))
        wait_until(lambda: everywhere(served.head()))
    assert dump(served, old) == dump(served, new)
    for schema in (old, new):
        parked = SQL("SELECT count(*) FROM {}").format(Identifier(schema, "parked"))
        assert served.connection.execute(parked).fetchone() == (0,)
