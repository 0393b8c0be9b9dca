"""A read as of any position is, byte for byte, that of a log that ended there: lists with every filter, order and page, counts,
tasks and their histories."""

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import Any, get_args
from uuid import UUID

import psycopg
import pytest

from domain.task.aggregate import TASK
from domain.task.events import TaskCreated
from domain.task.values import Status
from infrastructure.log.time_travel import Moment, document_as_of
from infrastructure.read_models.past_reads import find_as_of
from infrastructure.servers.postgres import connect
from projections.feed.feed import ANY_VERSION, history_of
from projections.tables.bounds import Room
from projections.tables.moments import AsOf
from projections.tables.pages import ListCursor, Page
from projections.task.list import find_tasks, get_task
from projections.task.list_as_of import NOW, count_tasks
from projections.task.list_query import Sort, TaskQuery
from projections.task.snapshots import TASK_DOCUMENTS
from projections.task.views import detail_json
from tests.generated_history import EPOCH, ESTIMATES, LABELS, PRIORITIES, WORKSPACES, append_history, projects_of
from tests.log_world import ANA, BEN, SCHEMA, World, number

Connection = psycopg.AsyncConnection[Any]
COMMANDS = 300
READS_A_POSITION = 10
TASKS = 30
PROJECTS = tuple(project for workspace in range(len(WORKSPACES)) for project in projects_of(workspace))
Read = tuple[UUID, TaskQuery, Room]


def a_query(chance: random.Random) -> TaskQuery:
    """Any filters, few at a time, in any order."""

    def some(value: object, otherwise: object = None, share: float = 0.2) -> Any:
        return value if chance.random() < share else otherwise

    when = EPOCH + timedelta(hours=chance.randint(0, 90_000))
    return TaskQuery(
        status=some(tuple(chance.sample(get_args(Status), chance.randint(1, 2))), ()),
        priority=some(tuple(chance.sample(PRIORITIES, chance.randint(1, 3))), ()),
        label=some(tuple(chance.sample(LABELS, chance.randint(1, 2))), ()),
        project=some(chance.choice(PROJECTS)),
        assignee=some(chance.choice((ANA, BEN))),
        created_by=some(chance.choice((ANA, BEN))),
        due_from=some(when, share=0.1),
        due_before=some(when + timedelta(days=500), share=0.1),
        estimate_from=some(chance.choice(ESTIMATES), share=0.1),
        estimate_to=some(chance.choice(ESTIMATES), share=0.1),
        created_from=some(EPOCH + timedelta(minutes=chance.randint(0, 10**6)), share=0.1),
        created_before=some(datetime(2026, 1, 1, tzinfo=UTC), share=0.1),
        q=some(chance.choice(("fix", "fix log", "rel", "naive", "nosuchword", "red", "%%"))),
        deleted=chance.random() < 0.2,
        sort=chance.choice(get_args(Sort)),
    )


async def pages(connection: Connection, read: Read, as_of: AsOf | None) -> list[Page]:
    """All pages of a list, one after the other, without the position that the read model had reached."""
    workspace, query, room = read
    found: list[Page] = []
    after: ListCursor | None = None
    while not found or after is not None:
        if as_of is None:
            page = await find_tasks(connection, workspace, query, after, room)
        else:
            page = await find_as_of(connection, workspace, query, after, room, as_of)
        found.append(Page(page.items, page.after, 0))
        after = page.after
    return found


async def answers(connection: Connection, reads: list[Read], as_of: AsOf | None) -> list[object]:
    found: list[object] = [await pages(connection, read, as_of) for read in reads]
    scopes = [(each, project) for n, each in enumerate(WORKSPACES) for project in (None, *projects_of(n))]
    found += [(await count_tasks(connection, workspace, as_of or NOW, project))[0] for workspace, project in scopes]
    # Which tasks follows from what was asked, so that it is the same ones whenever.
    for task in random.Random(repr(reads)).sample(range(1, TASKS), 2):
        found += await one_task(connection, number(task), as_of)
    return found


async def one_task(connection: Connection, task: UUID, as_of: AsOf | None) -> list[object]:
    """The task in full, if there is one, and its history."""
    workspace, until = WORKSPACES[task.int % len(WORKSPACES)], ANY_VERSION
    if as_of is None:
        stored, _ = await get_task(connection, workspace, task)
        shown = stored[1] if stored else None
    else:
        past = await document_as_of(connection, TASK_DOCUMENTS, workspace, task, Moment(position=as_of.position))
        document = past.document if past else None
        shown, until = (detail_json(document), document.version) if document else (None, 0)
    history = await history_of(connection, workspace, (TASK.name, task), 0, Room(1000, 10**7), until)
    return [shown, history.items]


@pytest.mark.usefixtures("few_rows_are_looked_at")
def test_a_list_as_of_any_position_is_the_list_of_a_log_that_ended_there(world: World) -> None:
    head = append_history(world, 11, COMMANDS)
    chance = random.Random(7)
    projector = world.tables()

    async def compare() -> int:
        async with await connect(world.database_url, SCHEMA, "test reader") as connection:
            asked: dict[int, tuple[list[Read], list[object]]] = {}
            for position in range(1, head + 1):
                assert projector.advance(1) == 1
                reads = [
                    (chance.choice(WORKSPACES), a_query(chance), Room(chance.choice((1, 3, 100)), chance.choice((900, 10**6))))
                    for _ in range(READS_A_POSITION)
                ]
                asked[position] = reads, await answers(connection, reads, None)
                # As of the present as well, and of some position before it.
                assert await answers(connection, reads, AsOf(position)) == asked[position][1], position
                before = chance.randint(1, position)
                assert await answers(connection, asked[before][0], AsOf(before)) == asked[before][1], (position, before)
            for position, (reads, then) in asked.items():
                for read, one, other in zip(reads, then, await answers(connection, reads, AsOf(position)), strict=False):
                    assert other == one, (position, read)
            return len(asked)

    assert asyncio.run(compare()) >= COMMANDS


@pytest.mark.usefixtures("few_rows_are_looked_at")
@pytest.mark.parametrize("rows", [1, 2, 100])
def test_what_fits_rarely_is_found_behind_what_is_looked_at(world: World, rows: int) -> None:
    for task in range(1, 31):
        labels = ("blue",) if task in {1, 2, 30} else ("red",)
        world.record(number(task), TaskCreated(f"Task {task}", labels=labels), workspace=WORKSPACES[0])
    world.project()
    query = TaskQuery(label=("blue",))

    async def both(connection: Connection) -> None:
        read = (WORKSPACES[0], query, Room(rows, 10**6))
        found = await pages(connection, read, AsOf(world.head()))
        assert [len(page.items) for page in found] == {1: [1, 1, 1], 2: [2, 1], 100: [3]}[rows]
        assert found == await pages(connection, read, None)

    world.ask(both)
