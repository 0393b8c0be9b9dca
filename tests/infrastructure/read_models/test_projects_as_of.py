"""Lists of projects as they were: at any position those of a log that ended there, by any instant those of a plain fold."""

import asyncio
import random
from datetime import datetime, timedelta
from typing import Any, get_args
from uuid import UUID

import psycopg

from domain.project.events import (
    ProjectArchived,
    ProjectCreated,
    ProjectDeleted,
    ProjectEvent,
    ProjectKeyChanged,
    ProjectRenamed,
    ProjectRestored,
    ProjectUnarchived,
)
from infrastructure.read_models.past_reads import by_instant
from infrastructure.read_models.project_reads import find_projects_as_of
from infrastructure.servers.postgres import connect
from projections.project.document import ProjectDocument, fold
from projections.project.list import ProjectQuery, ProjectSort, find_projects
from projections.project.views import summary_json
from projections.tables.bounds import Room
from projections.tables.moments import AsOf
from projections.tables.pages import ListCursor, Page
from tests.log_world import ELSEWHERE, HOME, SCHEMA, World, number

Connection = psycopg.AsyncConnection[Any]
BEGAN = datetime.fromisoformat("2019-01-01T00:00:00Z")
PROJECTS = range(1, 9)


def a_query(chance: random.Random) -> ProjectQuery:
    return ProjectQuery(
        archived=chance.choice((None, None, True, False)),
        deleted=chance.random() < 0.3,
        sort=chance.choice(get_args(ProjectSort)),
    )


def something_happens(world: World, chance: random.Random) -> None:
    """To one of the projects; half of them were imported, with times that jump back."""
    project = chance.choice(PROJECTS)
    event: ProjectEvent = chance.choice(
        (
            ProjectKeyChanged("", f"K{chance.randint(0, 99)}"),
            ProjectRenamed(f"name {chance.randint(0, 9)}"),
            ProjectArchived(),
            ProjectUnarchived(),
            ProjectDeleted(),
            ProjectRestored(),
        )
    )
    at = BEGAN + timedelta(minutes=chance.randint(0, 500)) if project % 2 else None
    world.record(number(project), event, workspace=workspace_of(project), at=at)


def workspace_of(project: int) -> UUID:
    return HOME if project % 4 else ELSEWHERE


def begin(world: World, project: int) -> None:
    at = BEGAN if project % 2 else None
    world.record(number(project), ProjectCreated(f"P{project}", "P"), workspace=workspace_of(project), at=at)


async def pages(connection: Connection, query: ProjectQuery, rows: int, as_of: AsOf | None) -> list[Page]:
    found: list[Page] = []
    after: ListCursor | None = None
    while not found or after is not None:
        if as_of is None:
            page = await find_projects(connection, HOME, query, after, Room(rows))
        else:
            page = await find_projects_as_of(connection, HOME, query, after, Room(rows), as_of)
        found.append(Page(page.items, page.after, 0))
        after = page.after
    return found


def test_a_list_as_of_any_position_is_the_list_of_a_log_that_ended_there(world: World) -> None:
    chance = random.Random(5)
    projector = world.tables()

    async def compare() -> None:
        async with await connect(world.database_url, SCHEMA, "test reader") as connection:
            asked: list[tuple[int, ProjectQuery, int, list[Page]]] = []
            for step in range(250):
                if step < len(PROJECTS):
                    begin(world, PROJECTS[step])
                else:
                    something_happens(world, chance)
                assert projector.advance(1) == 1
                query, rows = a_query(chance), chance.choice((1, 3, 100))
                asked.append((world.head(), query, rows, await pages(connection, query, rows, None)))
                for position, then, size, shown in (asked[-1], chance.choice(asked)):
                    assert await pages(connection, then, size, AsOf(position)) == shown, (position, then)
            for position, then, size, shown in asked:
                assert await pages(connection, then, size, AsOf(position)) == shown, (position, then)

    asyncio.run(compare())


def test_a_list_by_any_instant_is_that_of_what_had_happened(world: World) -> None:
    chance = random.Random(6)
    for project in PROJECTS:
        begin(world, project)
    for _ in range(150):
        something_happens(world, chance)
    world.project()
    records = world.records()

    async def compare() -> int:
        shown = 0
        async with await connect(world.database_url, SCHEMA, "test reader") as connection:
            for record in records:
                instant = record.happened_at - timedelta(microseconds=chance.randint(0, 1))
                query = a_query(chance)
                page = await find_projects_as_of(
                    connection, HOME, query, None, Room(100), await by_instant(connection, instant)
                )
                assert page.items == _expected(records, instant, query), (instant, query)
                shown += len(page.items)
        return shown

    assert asyncio.run(compare()) > 100


def _expected(records: list[Any], instant: datetime, query: ProjectQuery) -> list[bytes]:
    found: dict[UUID, ProjectDocument] = {}
    ended: set[UUID] = set()
    for record in records:
        if record.happened_at <= instant and record.stream_id not in ended:
            found[record.stream_id] = fold(found.get(record.stream_id), record)
        else:
            ended.add(record.stream_id)
    fitting = [
        each
        for each in found.values()
        if each.workspace_id == HOME
        and each.project.deleted == query.deleted
        and query.archived in (None, each.project.archived)
    ]

    def place(each: ProjectDocument) -> tuple[str, int]:
        return each.project.key if query.sort.endswith("key") else "", each.created_position

    return [summary_json(each) for each in sorted(fitting, key=place, reverse=query.sort.startswith("-"))]
