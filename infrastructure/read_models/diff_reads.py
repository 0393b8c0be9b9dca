"""What became of a list between two moments: tasks that entered it, left it, or changed on it, with each changed field."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Literal
from uuid import UUID

import msgspec
import psycopg

from infrastructure.log.time_travel import documents_as_of
from projections.feed.entries import FieldChange, field_changes
from projections.tables.bounds import Room
from projections.tables.moments import AsOf
from projections.task.document import TaskDocument
from projections.task.list_diff import Candidate, Candidates, candidates, members
from projections.task.list_query import TaskQuery
from projections.task.snapshots import TASK_DOCUMENTS

FEWEST, MOST = 20, 200
"""Tasks that are folded at a time, at the least and at the most."""


Whereabouts = Literal["entered", "left", "changed"]


class TaskDifference(msgspec.Struct, frozen=True):
    """A task that was on only one of the two lists, or on both and changed between the moments.

    `fields` are those that differ, for a task that did not exist before those that are not empty. Versions are null where the
    task did not exist.
    """

    task_id: UUID
    title: str
    what: Whereabouts
    from_version: int | None
    to_version: int | None
    fields: tuple[FieldChange, ...]


class Side(msgspec.Struct, frozen=True):
    """One end of a comparison: a list at a moment."""

    query: TaskQuery
    as_of: AsOf


class Differences(msgspec.Struct, frozen=True):
    """Differences as JSON in the order added, after which task it goes on (None at the end), and the position reached."""

    items: list[bytes]
    after: int | None
    position: int


async def differences(
    connection: psycopg.AsyncConnection[Any], workspace_id: UUID, sides: tuple[Side, Side], after: int, room: Room
) -> Differences:
    """The differences among tasks added after `after` that fit; there may be none although it goes on."""
    first, last = sides
    is_one_list = msgspec.structs.replace(first.query, sort="added") == msgspec.structs.replace(last.query, sort="added")
    found = await candidates(connection, workspace_id, (first.as_of, last.as_of), after, is_one_list)
    items: list[bytes] = []
    octets, done = 0, after
    async with aclosing(_compared(connection, workspace_id, sides, found, room.rows + 1)) as compared:
        async for task, difference in compared:
            item = msgspec.json.encode(difference)
            octets += len(item)
            if items and (len(items) == room.rows or octets > room.octets):
                return Differences(items, done, found.position)
            done = task.created_position
            items.append(item)
    end = found.tasks[-1].created_position if found.has_more else None
    return Differences(items, end, found.position)


async def _compared(
    connection: psycopg.AsyncConnection[Any], workspace_id: UUID, sides: tuple[Side, Side], found: Candidates, wanted: int
) -> AsyncGenerator[tuple[Candidate, TaskDifference]]:
    """The tasks of which something became, in order. No more of them are looked at than it takes to find so many, about: what
    lists they were on at first for as many and then for more and more, what they were for the rest of what is wanted."""
    first, last = sides
    begin, portion, given = 0, max(FEWEST, wanted), 0
    while some := found.tasks[begin : begin + portion]:
        begin, portion = begin + portion, portion * 4
        before = await members(connection, workspace_id, first.query, first.as_of, some)
        now = await members(connection, workspace_id, last.query, last.as_of, some)
        either = [task for task in some if task.task_id in before or task.task_id in now]
        while either:
            count = min(max(FEWEST, wanted - given), MOST)
            folded, either = either[:count], either[count:]
            ids = [task.task_id for task in folded]
            olds = await _documents(connection, ids, first.as_of, found)
            news = await _documents(connection, ids, last.as_of, found, olds if found.are_near else None)
            for task in folded:
                each = task.task_id
                difference = _difference(olds.get(each), news.get(each), each in before, each in now)
                if difference:
                    given += 1
                    yield task, difference


async def _documents(
    connection: psycopg.AsyncConnection[Any],
    tasks: Sequence[UUID],
    as_of: AsOf,
    found: Candidates,
    earlier: Mapping[UUID, TaskDocument] | None = None,
) -> dict[UUID, TaskDocument]:
    position = found.position if as_of.instant else as_of.position
    return await documents_as_of(connection, TASK_DOCUMENTS, tasks, position, as_of.instant, earlier)


def _difference(old: TaskDocument | None, new: TaskDocument | None, was: bool, is_now: bool) -> TaskDifference | None:
    shown = new or old
    if shown is None:
        return None
    fields = field_changes(old.task if old else None, new.task) if new else ()
    if was and is_now and not fields:
        return None
    what: Whereabouts = "changed" if was and is_now else "left" if was else "entered"
    return TaskDifference(shown.id, shown.task.title, what, old.version if old else None, new.version if new else None, fields)
