"""What was erased breaks no read: now and as of any moment, each is that of what is left."""

import asyncio
import random
from functools import reduce

import msgspec
import psycopg

from infrastructure.log.erasing import erase_payloads
from infrastructure.log.time_travel import Moment, document_as_of
from infrastructure.read_models.diff_reads import differences
from infrastructure.read_models.projecting import LogProjecting
from infrastructure.servers.postgres import connect
from projections.feed.entries import HistoryEntry
from projections.feed.feed import changes_after, changes_with_tasks, history_of
from projections.tables.bounds import Room
from projections.tables.moments import AsOf
from projections.task.document import fold
from projections.task.list_diff import Side
from projections.task.list_query import TaskQuery
from projections.task.snapshots import TASK_DOCUMENTS
from tests.generated_history import WORKSPACES, append_history
from tests.infrastructure.read_models.test_lists_as_of import Read, a_query, answers
from tests.log_world import SCHEMA, World
from tests.projections.redaction.canaries import streams

MOMENTS = 25
READS = 12
ALL = Room(100_000, 10**9)
Connection = psycopg.AsyncConnection


def test_lists_as_of_any_position_are_those_of_a_rebuild_that_stopped_there(world: World, projecting: LogProjecting) -> None:
    chance = random.Random(5)
    head = append_history(world, seed=12, commands=500)
    projecting.sweep()
    erase_payloads(world.connection, SCHEMA, [streams(world)[0], *chance.sample(streams(world)[1:], 12)])
    head = append_history(world, seed=13, commands=40, first_task=5_000)
    projecting.sweep()
    reads: list[Read] = [(chance.choice(WORKSPACES), a_query(chance), Room(100, 10**6)) for _ in range(READS)]
    moments = sorted({*chance.sample(range(1, head), MOMENTS), head})

    async def asked(as_of: AsOf | None) -> list[object]:
        async with await connect(world.database_url, SCHEMA, "test reader") as connection:
            return await answers(connection, reads, as_of)

    then = {position: asyncio.run(asked(AsOf(position))) for position in moments}
    world.forget_read_models()
    projector = world.tables()
    for position in moments:
        while (here := world.position("task_list")) < position:
            projector.advance(min(500, position - here))
        assert then[position] == asyncio.run(asked(None)), position


def test_histories_and_single_tasks_are_those_of_what_is_left(world: World, projecting: LogProjecting) -> None:
    append_history(world, seed=14, commands=400)
    projecting.sweep()
    tasks = streams(world)[:4]
    erase_payloads(world.connection, SCHEMA, tasks)
    projecting.sweep()
    records = [record for record in world.records() if record.stream_id in tasks]

    async def look(connection: Connection) -> None:
        for task in tasks:
            own = [record for record in records if record.stream_id == task]
            workspace = own[0].workspace_id
            found = [
                msgspec.json.decode(item, type=HistoryEntry)
                for item in (await history_of(connection, workspace, ("task", task), 0, ALL)).items
            ]
            assert [(entry.version, entry.erased, entry.reason) for entry in found] == [(r.version, True, None) for r in own]
            assert {change.field for entry in found for change in entry.changes} <= {
                "status",
                "deleted",
                "priority",
                "project_id",
            }
            for record in own:
                past = await document_as_of(connection, TASK_DOCUMENTS, workspace, task, Moment(position=record.position))
                assert past is not None
                assert past.document == reduce(fold, own[: record.version], None)

    world.ask(look)


def test_no_other_read_minds(world: World, projecting: LogProjecting) -> None:
    head = append_history(world, seed=15, commands=300)
    erase_payloads(world.connection, SCHEMA, streams(world)[:20])
    projecting.sweep()

    async def look(connection: Connection) -> None:
        for workspace in WORKSPACES:
            changes = await changes_after(connection, workspace, 0, ALL)
            assert len(changes.items) == len((await changes_with_tasks(connection, workspace, 0, ALL)).items) > 0
            sides = Side(TaskQuery(), AsOf(head // 3)), Side(TaskQuery(), AsOf(head))
            assert (await differences(connection, workspace, sides, 0, ALL)).position > head

    world.ask(look)
