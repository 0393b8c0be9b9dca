"""Lists by when things happened, and what became of lists, against a second reading: a plain fold and a plain filter."""

import asyncio
import random
from collections import Counter
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import psycopg
import pytest

from domain.task.events import (
    TaskCompleted,
    TaskCreated,
    TaskDeleted,
    TaskEvent,
    TaskLabelAdded,
    TaskLabelRemoved,
    TaskRenamed,
    TaskReopened,
    TaskRestored,
    TaskStarted,
)
from domain.task.rules import Task
from infrastructure.read_models.diff_reads import TaskDifference, Whereabouts, differences
from infrastructure.read_models.past_reads import by_instant, find_as_of
from infrastructure.servers.postgres import connect
from projections.feed.entries import FieldChange
from projections.tables.bounds import Room
from projections.tables.moments import AsOf
from projections.tables.pages import ListCursor
from projections.tables.words import lexemes, terms
from projections.task.document import TaskDocument, TaskRecord, fold
from projections.task.facets import PRIORITY_RANK
from projections.task.list_as_of import count_tasks
from projections.task.list_diff import Side
from projections.task.list_query import TaskQuery
from projections.task.views import summary_json
from tests.generated_history import EPOCH, WORKSPACES, append_history
from tests.infrastructure.read_models.test_lists_as_of import a_query
from tests.log_world import SCHEMA, World, number

pytestmark = pytest.mark.usefixtures("few_rows_are_looked_at")
Connection = psycopg.AsyncConnection[Any]
Documents = dict[UUID, TaskDocument]
EVERYTHING = Room(1000, 10**9)


def folded(records: list[TaskRecord], as_of: AsOf) -> Documents:
    """Every task as it was."""
    found: Documents = {}
    ended: set[UUID] = set()
    for record in records:
        if as_of.instant is None:
            has_happened = record.position <= as_of.position
        else:
            has_happened = record.happened_at <= as_of.instant and record.stream_id not in ended
        if has_happened:
            found[record.stream_id] = fold(found.get(record.stream_id), record)
        else:
            ended.add(record.stream_id)
    return found


def fits(document: TaskDocument, query: TaskQuery) -> bool:
    """What the filters ask for, said once more."""
    task = document.task
    words = lexemes(task.title, task.labels, task.description)
    asked = terms(query.q or "")
    return (
        task.deleted == query.deleted
        and task.status in (query.status or (task.status,))
        and task.priority in (query.priority or (task.priority,))
        and set(query.label) <= set(task.labels)
        and query.project in (None, task.project_id)
        and query.assignee in (None, *task.assignees)
        and query.created_by in (None, document.created_by)
        and _within(task.due_at, query.due_from, query.due_before)
        and (query.estimate_from is None or (task.estimate is not None and task.estimate >= query.estimate_from))
        and (query.estimate_to is None or (task.estimate is not None and task.estimate <= query.estimate_to))
        and _within(document.created_at, query.created_from, query.created_before)
        and (query.q is None or bool(asked))
        and all(any(w == t.lexeme or (t.is_beginning and w.startswith(t.lexeme)) for w in words) for t in asked)
    )


def _within(at: datetime | None, begin: datetime | None, before: datetime | None) -> bool:
    if at is None:
        return begin is None and before is None
    return (begin is None or at >= begin) and (before is None or at < before)


def in_order(documents: list[TaskDocument], query: TaskQuery) -> list[TaskDocument]:
    sign = -1 if query.sort.startswith("-") else 1
    keys = {
        "added": lambda d: sign * d.created_position,
        "created": lambda d: sign * d.created_at.timestamp(),
        "due": lambda d: (d.task.due_at is None, sign * d.task.due_at.timestamp() if d.task.due_at else 0),
        "estimate": lambda d: (d.task.estimate is None, sign * (d.task.estimate or 0)),
        "priority": lambda d: sign * PRIORITY_RANK[d.task.priority],
    }
    key = keys[query.sort.removeprefix("-")]
    return sorted(documents, key=lambda document: (key(document), sign * document.created_position))


def expected(documents: Documents, workspace: UUID, query: TaskQuery) -> list[bytes]:
    own = [document for document in documents.values() if document.workspace_id == workspace and fits(document, query)]
    return [summary_json(document) for document in in_order(own, query)]


@pytest.fixture
def filled(world: World) -> World:
    append_history(world, 23, 400)
    append_jumps(world)
    world.project()
    return world


JUMPING = range(900, 916)


def append_jumps(world: World) -> None:
    """Imported tasks whose times jump back, as those of a history do that was put together from several."""
    chance = random.Random(9)
    steps = (TaskStarted(), TaskCompleted(), TaskReopened(), TaskDeleted(), TaskRestored(), TaskRenamed("login"))
    sets = (TaskLabelAdded("blue"), TaskLabelRemoved("red"), TaskLabelAdded("red"), TaskLabelRemoved("blue"))
    for task in JUMPING:
        at = EPOCH + timedelta(minutes=chance.randint(0, 10**6))
        workspace = WORKSPACES[task % len(WORKSPACES)]
        world.record(number(task), TaskCreated("fix", labels=("red",)), workspace=workspace, at=at)
        for step in chance.choices((*steps, *sets), k=9):
            world.record(number(task), step, workspace=workspace, at=at + timedelta(minutes=chance.randint(-9_000, 9_000)))


def ask(world: World, question: Any) -> Any:
    async def put() -> Any:
        async with await connect(world.database_url, SCHEMA, "test reader") as connection:
            return await question(connection)

    return asyncio.run(put())


def test_a_list_by_an_instant_is_that_of_what_had_happened(filled: World) -> None:
    records = [record for record in filled.records() if isinstance(record.event, TaskEvent)]
    chance = random.Random(3)
    times = [record.happened_at for record in records]
    jumps = [record.happened_at for record in records if record.stream_id in set(map(number, JUMPING))]
    shown = 0

    async def compare(connection: Connection) -> None:
        nonlocal shown
        for turn in range(120):
            instant = chance.choice(jumps if turn % 2 else times) - timedelta(microseconds=chance.randint(0, 1))
            documents = folded(records, AsOf(0, instant))
            as_of = await by_instant(connection, instant)
            for workspace in WORKSPACES:
                for query in (TaskQuery(), TaskQuery(label=("red",)), TaskQuery(label=("blue",)), a_query(chance)):
                    page = await find_as_of(connection, workspace, query, None, EVERYTHING, as_of)
                    assert page.items == expected(documents, workspace, query), (instant, query)
                    shown += len(page.items)
                counts, _ = await count_tasks(connection, workspace, as_of)
                own = [document.task for document in documents.values() if document.workspace_id == workspace]
                assert counts == Counter("deleted" if task.deleted else task.status for task in own)

    ask(filled, compare)
    assert shown > 1_000


def test_the_pages_by_an_instant_are_its_list(filled: World) -> None:
    chance = random.Random(4)

    async def compare(connection: Connection) -> None:
        for _ in range(40):
            as_of = await by_instant(connection, EPOCH + timedelta(minutes=chance.randint(0, 10**6)))
            query, workspace = a_query(chance), chance.choice(WORKSPACES)
            whole = await find_as_of(connection, workspace, query, None, EVERYTHING, as_of)
            items: list[bytes] = []
            after: ListCursor | None = None
            while not items or after:
                page = await find_as_of(connection, workspace, query, after, Room(2), as_of)
                items, after = [*items, *page.items], page.after
                if not items:
                    break
            assert items == whole.items, query

    ask(filled, compare)


@pytest.mark.parametrize("is_by_instant", [False, True])
def test_differences_are_those_of_the_two_lists(filled: World, is_by_instant: bool) -> None:
    records = [record for record in filled.records() if isinstance(record.event, TaskEvent)]
    chance = random.Random(5)
    told: set[str] = set()

    async def moments(connection: Connection) -> tuple[AsOf, AsOf]:
        if is_by_instant:
            first, last = sorted(record.happened_at for record in chance.sample(records, 2))
            return await by_instant(connection, first), await by_instant(connection, last)
        first_position = chance.randint(0, records[-1].position)
        # Often next to each other, where one event alone tells them apart.
        apart = chance.choice((0, 1, 1, 2, chance.randint(0, records[-1].position)))
        return AsOf(first_position), AsOf(min(first_position + apart, records[-1].position))

    async def compare(connection: Connection) -> None:
        for _ in range(150):
            first, last = await moments(connection)
            query = a_query(chance) if chance.random() < 0.7 else TaskQuery()
            other = query if chance.random() < 0.6 else a_query(chance)
            workspace = chance.choice(WORKSPACES)
            found: list[TaskDifference] = []
            after: int | None = 0
            while after is not None:
                sides = (Side(query, first), Side(other, last))
                page = await differences(connection, workspace, sides, after, Room(3))
                assert len(page.items) <= 3
                found += [msgspec.json.decode(item, type=TaskDifference) for item in page.items]
                after = page.after
            before, now = folded(records, first), folded(records, last)
            told.update(difference.what for difference in found)
            assert found == differing(before, now, workspace, (query, other))

    ask(filled, compare)
    assert told == {"entered", "left", "changed"}


def test_each_single_event_tells_two_neighbouring_lists_apart(filled: World) -> None:
    records = [record for record in filled.records() if isinstance(record.event, TaskEvent)]

    async def compare(connection: Connection) -> None:
        for record in random.Random(6).sample(records, 80):
            moments = AsOf(record.position - 1), AsOf(record.position)
            sides = (Side(TaskQuery(), moments[0]), Side(TaskQuery(), moments[1]))
            page = await differences(connection, record.workspace_id, sides, 0, EVERYTHING)
            before, now = (folded(records, moment) for moment in moments)
            found = [msgspec.json.decode(item, type=TaskDifference) for item in page.items]
            assert found == differing(before, now, record.workspace_id, (TaskQuery(), TaskQuery()))

    ask(filled, compare)


def differing(before: Documents, now: Documents, workspace: UUID, queries: tuple[TaskQuery, TaskQuery]) -> list[TaskDifference]:
    found = []
    for task in sorted(now.keys() | before.keys(), key=lambda task: (now.get(task) or before[task]).created_position):
        old, new = before.get(task), now.get(task)
        shown = new or old
        assert shown is not None
        if shown.workspace_id != workspace:
            continue
        was, is_now = old is not None and fits(old, queries[0]), new is not None and fits(new, queries[1])
        changes = changed_fields(old, new)
        if was != is_now or (was and changes):
            what: Whereabouts = "changed" if was and is_now else "left" if was else "entered"
            versions = old.version if old else None, new.version if new else None
            found.append(TaskDifference(task, shown.task.title, what, *versions, changes))
    return found


def says_nothing(value: object) -> bool:
    return value is None or value is False or value in ("", ())


def changed_fields(old: TaskDocument | None, new: TaskDocument | None) -> tuple[FieldChange, ...]:
    """The fields that differ, those of a new task that say something, in the order in which a task has them; as JSON."""
    if new is None:
        return ()
    pairs = [(name, getattr(old.task, name) if old else None, getattr(new.task, name)) for name in Task.__struct_fields__]
    found = [FieldChange(*each) for each in pairs if each[1] != each[2] and (old or not says_nothing(each[2]))]
    return msgspec.json.decode(msgspec.json.encode(found), type=tuple[FieldChange, ...])
