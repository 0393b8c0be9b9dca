"""A payload that was erased: the log stays whole, and whatever reads it goes on without what is gone."""

from uuid import UUID

import msgspec
import pytest

from application.log import NewEvent
from domain.boundaries import Boundary
from domain.envelope import Erased
from domain.task.aggregate import TASK
from domain.task.events import TaskCreated, TaskLabelAdded, TaskPrioritySet, TaskRenamed
from infrastructure.cli import operations
from infrastructure.log.event_store import PostgresEventStore
from infrastructure.log.verify import verify_log
from infrastructure.settings import Settings
from projections import TABLES
from projections.feed.feed import changes_after
from projections.tables.bounds import Room
from tests.infrastructure.log.tagged_by_label import _tagged_by_label  # noqa: F401 - a fixture
from tests.infrastructure.log_under_test import an_append, created, log_connection, open_store
from tests.log_world import HOME, World, number

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def erase(world: World, position: int) -> None:
    world.connection.execute("UPDATE events SET state = NULL, salt = NULL WHERE notification_id = %s", (position,))


def test_the_log_is_as_it_was_appended_and_says_how_many_are_gone(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.record(number(1), TaskCreated("A"), TaskRenamed("B"), TaskRenamed("C"))
    erase(world, 2)
    found = verify_log(world.database_url, "main")
    assert (found.first_bad, found.events, found.erased) == (None, 3, 1)
    assert operations.verify(Settings(database_url=world.database_url), as_json=False) == 0
    assert "the payloads of 1 of them were erased" in capsys.readouterr().out


@pytest.mark.parametrize("left", ["state", "salt"])
def test_half_an_erasure_is_none(world: World, left: str) -> None:
    world.record(number(1), TaskCreated("A"), TaskRenamed("B"))
    gone = "salt" if left == "state" else "state"
    world.connection.execute(f"UPDATE events SET {gone} = NULL WHERE notification_id = 2".encode())
    bad = verify_log(world.database_url, "main").first_bad
    assert bad is not None
    assert (bad.position, bad.problem, f"only its {left} is there" in bad.reason) == (2, "changed", True)


def test_a_byte_that_wandered_from_the_payload_into_the_salt_is_found(world: World) -> None:
    world.record(number(1), TaskCreated("A"))
    world.connection.execute("UPDATE events SET salt = salt || substring(state FROM 1 FOR 1), state = substring(state FROM 2)")
    bad = verify_log(world.database_url, "main").first_bad
    assert bad is not None
    assert (bad.position, bad.problem) == (1, "changed")


def test_every_read_model_goes_past_it_and_the_feed_says_that_it_was_erased(world: World) -> None:
    world.record(number(1), TaskCreated("A"), TaskRenamed("B"), TaskPrioritySet("high"))
    erase(world, 2)
    world.project()
    assert {world.position(table.name) for table in TABLES} == {3}
    assert world.connection.execute("SELECT count(*) FROM parked").fetchone() == (0,)
    entries = [msgspec.json.decode(entry) for entry in world.ask(lambda c: changes_after(c, HOME, 0, Room(10))).items]
    assert [entry["type"] for entry in entries] == ["task.created", "task.renamed", "task.priority_set"]
    assert [entry["erased"] for entry in entries] == [False, True, False]
    assert (entries[1]["changes"], entries[1]["reason"]) == ([{"field": "title", "before": "A", "after": ""}], None)


def test_a_task_whose_creation_is_gone_goes_on_without_it(world: World) -> None:
    world.record(number(1), TaskCreated("A"), TaskPrioritySet("high"))
    erase(world, 1)
    world.project()
    row = world.connection.execute("SELECT priority, version FROM task_list WHERE task_id = %s", (number(1),)).fetchone()
    assert row is not None
    assert row[1] == 2


async def test_folding_keeps_what_its_type_says(database_url: str) -> None:
    task = number(1)
    async with open_store(database_url) as store:
        news = NewEvent(task, 2, TaskRenamed("Sail it")), NewEvent(task, 3, TaskPrioritySet("high"))
        await store.append(an_append(created(task, "Ship it"), *news))
        _erase(database_url, 2)
        loaded = await store.load(TASK, task)
        assert loaded is not None
        assert (loaded.state.title, loaded.state.priority, loaded.version) == ("", "high", 3)
        assert [record.event for record in await store.events_of(task, 1, 2)] == [Erased("task.renamed")]
        _erase(database_url, 1)
        blank = await store.load(TASK, task)
        assert blank is not None
        assert (blank.state.title, blank.state.priority, blank.version) == ("", "high", 3)


@pytest.mark.usefixtures("_tagged_by_label")
async def test_its_boundary_is_told_of_it_with_no_more_than_its_type(database_url: str) -> None:
    boundary: Boundary[list[str]] = Boundary("a", [], lambda told, event: [*told, getattr(event, "label", repr(event))])
    async with open_store(database_url) as store:
        await _label(store, number(1))
        assert (await store.load_boundary(boundary)).state == ["a"]
        _erase(database_url, 2)
        seen = await store.load_boundary(boundary)
        assert (seen.state, seen.at) == ([repr(Erased("task.label_added"))], 2)


async def _label(store: PostgresEventStore, task: UUID) -> None:
    await store.append(an_append(created(task), NewEvent(task, 2, TaskLabelAdded("a"))))


def _erase(database_url: str, position: int) -> None:
    with log_connection(database_url) as connection:
        connection.execute("UPDATE events SET state = NULL, salt = NULL WHERE notification_id = %s", (position,))
