"""What became of a list between two moments: tasks that entered it, left it, or changed on it, with each changed field."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Literal
from uuid import UUID

import msgspec
import psycopg

from infrastructure.log.time_travel import documents_as_of, documents_between
from projections.feed.entries import FieldChange, field_changes
from projections.tables.bounds import Room
from projections.tables.moments import AsOf
from projections.task.document import TaskDocument
from projections.task.list_diff import Candidate, Candidates, Comparison, Side
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


class Differences(msgspec.Struct, frozen=True):
    """Differences as JSON in the order added, after which task it goes on (None at the end), and the position reached."""

    items: list[bytes]
    after: int | None
    position: int


async def differences(
    connection: psycopg.AsyncConnection[Any], workspace_id: UUID, sides: tuple[Side, Side], after: int, room: Room
) -> Differences:
    """The differences among tasks added after `after` that fit; there may be none although it goes on."""
    comparison = Comparison(workspace_id, sides)
    # One more than fit tells whether it goes on, and some were touched and are the same in the end.
    most = (room.rows + 1) * 5 // 4
    found = await comparison.on_either(connection, after, None, most)
    end, items, octets, done = found.end, list[bytes](), 0, after
    while found.tasks:
        async with aclosing(_compared(connection, comparison, sides, found, room.rows + 1 - len(items))) as compared:
            async for task, difference in compared:
                item = msgspec.json.encode(difference)
                octets += len(item)
                if items and (len(items) == room.rows or octets > room.octets):
                    return Differences(items, done, found.position)
                done = task.created_position
                items.append(item)
        if len(found.tasks) < most:
            break
        most = max(most, min(4 * most, MOST))
        found = await comparison.on_either(connection, found.tasks[-1].created_position, end, most)
    return Differences(items, end, found.position)


async def _compared(
    connection: psycopg.AsyncConnection[Any],
    comparison: Comparison,
    sides: tuple[Side, Side],
    found: Candidates,
    wanted: int,
) -> AsyncGenerator[tuple[Candidate, TaskDifference]]:
    """The tasks of which something became, in order. About as many are folded at a time as are still wanted."""
    first, last = sides
    either, given = found.tasks, 0
    while either:
        count = min(max(FEWEST, wanted - given), MOST)
        folded, either = either[:count], either[count:]
        ids = [task.task_id for task in folded]
        olds, news = await _documents(connection, comparison, (first.as_of, last.as_of), ids, found.position)
        for task in folded:
            difference = _difference(olds.get(task.task_id), news.get(task.task_id), task.was, task.is_now)
            if difference:
                given += 1
                yield task, difference


async def _documents(
    connection: psycopg.AsyncConnection[Any],
    comparison: Comparison,
    moments: tuple[AsOf, AsOf],
    tasks: Sequence[UUID],
    reached: int,
) -> tuple[Mapping[UUID, TaskDocument], Mapping[UUID, TaskDocument]]:
    """The tasks at both moments."""
    first, last = moments
    if comparison.are_near:
        return await documents_between(connection, TASK_DOCUMENTS, tasks, first.position, last.position)
    olds, news = [
        await documents_as_of(connection, TASK_DOCUMENTS, tasks, reached if each.instant else each.position, each.instant)
        for each in moments
    ]
    return olds, news


def _difference(old: TaskDocument | None, new: TaskDocument | None, was: bool, is_now: bool) -> TaskDifference | None:
    shown = new or old
    if shown is None:
        return None
    fields = field_changes(old.task if old else None, new.task) if new else ()
    if was and is_now and not fields:
        return None
    what: Whereabouts = "changed" if was and is_now else "left" if was else "entered"
    return TaskDifference(shown.id, shown.task.title, what, old.version if old else None, new.version if new else None, fields)
