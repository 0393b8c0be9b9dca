"""Read models in the layouts of another release: built beside, by themselves, while the old ones go on."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from psycopg.sql import SQL, Identifier

import infrastructure.read_models.layouts as layouts_module
from domain.task.events import TaskCreated, TaskRenamed
from infrastructure.log.source import PostgresLogSource, Reconnecting
from infrastructure.read_models.layouts import build_layouts
from infrastructure.read_models.projecting import PROJECTORS, LogProjecting
from infrastructure.read_models.table_store import TableStore
from infrastructure.servers.model_tables import has_models
from infrastructure.servers.postgres import models_schema
from infrastructure.settings import load_settings, settings_environ
from projections import DOCUMENTS, TABLES, layouts_id
from projections.engine.changes import ChangeReader
from projections.engine.projector import Projector
from projections.task.list import TaskList
from tests.generated_history import append_history
from tests.infrastructure.processes_under_test import started, wait_until
from tests.log_world import LOG, World, number
from tests.older_release import forget
from tests.second_aggregate import jars_are_known


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


@contextmanager
def another_release(world: World, schema: str) -> Iterator[Projector]:
    """The projector of a worker whose read models stand in `schema`."""
    connection, source = Reconnecting(world.database_url, schema, "test"), PostgresLogSource(world.database_url, LOG, False)
    connection.get().execute(SQL("SET search_path = {}, {}").format(Identifier(schema), Identifier(f"log_{LOG}")))
    try:
        yield Projector(TableStore(connection, TABLES), ChangeReader(source, DOCUMENTS))
    finally:
        connection.close()
        source.close()


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


def test_an_aggregate_that_a_read_model_follows_makes_another_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    before = layouts_id()
    jars_are_known(monkeypatch)
    assert layouts_id() != before


def test_who_advances_what_is_copied_goes_on_meanwhile(served: World, monkeypatch: pytest.MonkeyPatch) -> None:
    copy, moved = layouts_module._copy, []

    def meanwhile(connection: Any, projection: Any, other: str, building: str) -> None:
        if not moved:
            # The other release's worker, in a process of its own: its queries are not those of this one's layouts.
            moved.append(served.record(number(90_001), TaskCreated("meanwhile")))
            with another_release(served, other) as projector:
                projector.catch_up()
                assert [c.position for c in projector._store.checkpoints()] == moved * len(TABLES)
        copy(connection, projection, other, building)

    old = models_schema(LOG)
    monkeypatch.setattr(layouts_module, "_copy", meanwhile)
    with newer(monkeypatch):
        sweep(served)
        assert dump(served, models_schema(LOG)) == dump(served, old)
    assert moved


def test_checkpoints_in_another_form_are_no_hindrance(served: World, monkeypatch: pytest.MonkeyPatch) -> None:
    before = dump(served, models_schema(LOG))
    served.connection.execute("ALTER TABLE checkpoints RENAME COLUMN leaf_hash TO hash_there")
    with newer(monkeypatch):
        sweep(served)
        new = dump(served, models_schema(LOG))
    assert new == before


def test_layouts_whose_workers_are_held_are_kept(served: World, monkeypatch: pytest.MonkeyPatch) -> None:
    old = models_schema(LOG)
    served.record(number(90_001), TaskCreated("A"), TaskRenamed("unknown to the old release"))
    with monkeypatch.context() as older:
        forget(older, TaskRenamed)
        sweep(served)
        served.connection.execute("UPDATE checkpoints SET updated_at = now() - interval '25 hours'")
        sweep(served)
    with newer(monkeypatch):
        sweep(served)
    assert served.connection.execute("SELECT to_regnamespace(%s) IS NOT NULL", (old,)).fetchone() == (True,)


def test_a_worker_that_is_woken_before_its_read_models_are_there_waits(
    served: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with newer(monkeypatch):
        projecting = LogProjecting(served.database_url, served.redis_url, LOG)
        for name in PROJECTORS:
            projecting.run(name)
        assert caplog.text.count("waits for its tables") == len(PROJECTORS)
        projecting.sweep()
        served.record(number(90_001), TaskCreated("seen"))
        for name in PROJECTORS:
            projecting.run(name)
        projecting.close()
        assert dump(served, models_schema(LOG))["places"] == [
            f"{name} {served.head()}" for name in sorted(t.name for t in TABLES)
        ]


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
