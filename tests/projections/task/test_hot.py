"""hot_tasks: what Redis serves is what the log says."""

import msgspec

from domain.task.events import (
    TaskCancelled,
    TaskCompleted,
    TaskCreated,
    TaskDeleted,
    TaskRenamed,
    TaskReopened,
    TaskRestored,
    TaskStarted,
)
from infrastructure.read_models.hot_keys import hot_keys
from projections.tables.bounds import Room
from projections.task.hot import PAGE_SIZE, READ_PAGE, HotPage, read_checkpoint, read_page, read_task
from projections.task.list import find_tasks
from projections.task.list_as_of import count_tasks
from projections.task.list_query import TaskQuery
from projections.task.views import TaskSummary, detail_json, summary_json
from tests.log_world import ELSEWHERE, HOME, LOG, World, number

KEYS = hot_keys(LOG, 1)


def first_page(world: World) -> HotPage:
    keys = KEYS.of_page(HOME)
    checkpoint, page = world.redis.register_script(READ_PAGE)(keys=keys, args=[PAGE_SIZE, HOME.hex])  # type: ignore[misc]  # half typed
    return read_page(page, read_checkpoint(checkpoint)[1])


def numbers(page: HotPage) -> list[int]:
    return [row.id.int & 0xFFFF for row in msgspec.json.decode(page.items, type=list[TaskSummary])]


def counts(world: World) -> dict[str, int]:
    return {name.decode(): int(value) for name, value in world.redis.hgetall(KEYS.counts(HOME)).items()}  # type: ignore[union-attr]  # the client is synchronous


def test_a_document_is_the_tasks_full_view_with_its_version(world: World) -> None:
    world.record(number(1), TaskCreated("A", "text"), TaskRenamed("B"), TaskStarted())
    world.project()
    stored = world.redis.get(KEYS.task(HOME, number(1)))
    assert isinstance(stored, bytes)
    assert read_task(stored) == (3, detail_json(world.folded(number(1))))
    assert world.redis.get(KEYS.task(ELSEWHERE, number(1))) is None


def test_the_checkpoint_names_the_log_the_position_and_its_leaf(world: World) -> None:
    world.record(number(1), TaskCreated("A"), TaskRenamed("B"))
    world.project()
    stored = world.redis.get(KEYS.checkpoint)
    assert isinstance(stored, bytes)
    assert read_checkpoint(stored) == (world.source().identity(), 2, world.records()[-1].hash)


def test_the_first_page_is_the_newest_twenty_of_twenty_five(world: World) -> None:
    for n in range(1, 26):
        world.record(number(n), TaskCreated(f"Task {n}"))
    world.record(number(3), TaskRenamed("Changed later, and still third"))
    world.project()
    page = first_page(world)
    assert numbers(page) == list(range(25, 5, -1))
    assert (page.last_created_position, page.position) == (6, 26)
    assert page.items == b"[" + b",".join(summary_json(world.folded(number(n))) for n in range(25, 5, -1)) + b"]"


def test_twenty_tasks_are_one_page_and_there_is_no_next(world: World) -> None:
    for n in range(1, 21):
        world.record(number(n), TaskCreated(f"Task {n}"))
    world.project()
    page = first_page(world)
    assert (numbers(page), page.last_created_position) == (list(range(20, 0, -1)), None)


def test_a_deleted_task_leaves_the_page_and_a_restored_one_is_back_in_its_place(world: World) -> None:
    for n in range(1, 26):
        world.record(number(n), TaskCreated(f"Task {n}"))
    world.record(number(25), TaskDeleted())
    world.record(number(20), TaskDeleted())
    world.project()
    assert numbers(first_page(world)) == [24, 23, 22, 21, *range(19, 3, -1)]
    world.record(number(20), TaskRestored())
    world.project()
    assert numbers(first_page(world)) == list(range(24, 4, -1))


def test_a_page_that_was_made_is_gone_after_the_next_change(world: World) -> None:
    world.record(number(1), TaskCreated("A"))
    world.project()
    first_page(world)
    assert world.redis.exists(KEYS.page(HOME))
    world.record(number(1), TaskRenamed("B"))
    world.project()
    assert not world.redis.exists(KEYS.page(HOME))


def test_counters_follow_every_change_of_status_and_deletion(world: World) -> None:
    steps = (TaskStarted(), TaskCompleted(), TaskReopened(), TaskCancelled(), TaskDeleted(), TaskRestored(), TaskReopened())
    expected = ("in_progress", "completed", "open", "cancelled", "deleted", "cancelled", "open")
    world.record(number(2), TaskCreated("Stays open"))
    world.record(number(1), TaskCreated("A"))
    for event, status in zip(steps, expected, strict=True):
        world.record(number(1), event)
        world.project()
        assert counts(world) == ({"open": 2} if status == "open" else {"open": 1, status: 1})


def test_page_and_counters_agree_with_those_of_postgres(world: World) -> None:
    for n in range(1, 31):
        world.record(
            number(n), TaskCreated(f"Task {n}"), *([TaskStarted()] if n % 3 else []), *([TaskDeleted()] if n % 4 else [])
        )
        world.record(number(100 + n), TaskCreated("Not ours"), workspace=ELSEWHERE)
    world.project()
    table = world.ask(lambda connection: find_tasks(connection, HOME, TaskQuery(), None, Room(PAGE_SIZE)))
    assert first_page(world).items == b"[" + b",".join(table.items) + b"]"
    assert counts(world) == world.ask(lambda connection: count_tasks(connection, HOME))[0]
