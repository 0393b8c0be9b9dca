"""What became of a list between two moments: which tasks may have entered, left or changed, and which were on it."""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import msgspec
import psycopg
from psycopg.sql import SQL

from projections.tables.binary_arrays import int8_array
from projections.tables.moments import AsOf
from projections.task.list_as_of import Past, every_side
from projections.task.list_query import Conditions, TaskQuery, all_of, asked_for

NEAR: Final = 20_000
"""So many positions between two moments are looked through for events; over more, the workspace's tasks are, one by one."""

LOOK: Final = 1_000
"""So many tasks are looked at for one answer, at the most."""


class Candidate(msgspec.Struct, frozen=True):
    """A task that may have entered, left or changed."""

    task_id: UUID
    created_position: int


class Candidates(msgspec.Struct, frozen=True):
    """Tasks in the order added, whether others follow, and the position that the read model had reached. `are_near`: the
    moments are positions with few events between them."""

    tasks: list[Candidate]
    has_more: bool
    position: int
    are_near: bool


_TOUCHED: Final = (
    "SELECT task_id, created_position FROM task_list WHERE workspace_id = %(workspace)s AND created_position > %(after)s "
    "AND task_id IN (SELECT originator_id FROM events WHERE notification_id > %(first)s AND notification_id <= %(last)s) "
    "ORDER BY created_position LIMIT %(look)s + 1"
)
_ALL: Final = (
    "SELECT task_id, created_position FROM task_list WHERE workspace_id = %(workspace)s AND created_position > %(after)s "
    "AND created_position <= %(last)s ORDER BY created_position LIMIT %(look)s + 1"
)


async def candidates(
    connection: psycopg.AsyncConnection[Any], workspace_id: UUID, moments: tuple[AsOf, AsOf], after: int, is_one_list: bool
) -> Candidates:
    """Those added after `after`: where it is one list between near positions, of what was touched, else all."""
    first, last = moments
    is_by_position = first.instant is None and last.instant is None
    are_near = is_by_position and last.position - first.position <= NEAR
    statement = SQL(
        "SELECT c.position, t.task_id, t.created_position FROM checkpoints c LEFT JOIN LATERAL ({}) t ON true "
        "WHERE c.projection = 'task_list' ORDER BY t.created_position"
    ).format(SQL(_TOUCHED if are_near and is_one_list else _ALL))
    cursor = connection.cursor(binary=True)
    # What was imported later may have happened before an instant.
    end = last.position if is_by_position else 2**63 - 1
    places = {"workspace": workspace_id, "after": after, "first": first.position, "last": end, "look": LOOK}
    await cursor.execute(statement, places, prepare=True)
    rows = await cursor.fetchall()
    found = [Candidate(row[1], row[2]) for row in rows if row[1] is not None]
    return Candidates(found[:LOOK], len(found) > LOOK, rows[0][0], are_near)


async def members(
    connection: psycopg.AsyncConnection[Any], workspace_id: UUID, query: TaskQuery, as_of: AsOf, among: Sequence[Candidate]
) -> set[UUID]:
    """Which of the tasks were on the list at the moment."""
    past = Past(asked_for(workspace_id, query), as_of)
    conditions: Conditions = [SQL("workspace_id = %(workspace)s"), SQL("created_position = c.number"), *past.columns]
    # Who never had the label is passed over before anything else is asked of him.
    statement = SQL(
        "SELECT f.task_id FROM (SELECT t.created_position AS number FROM unnest(%(among)s::bigint[]) AS t(created_position) "
        "WHERE {} OFFSET 0) c CROSS JOIN LATERAL ({}) f"
    ).format(
        all_of([SQL("true"), *past.sets_and_words]),
        every_side(past, SQL("task_id").format(), SQL("task_id").format(), all_of(conditions), SQL("true")),
    )
    cursor = connection.cursor(binary=True)
    parameters = past.parameters | {"among": int8_array([task.created_position for task in among])}
    await cursor.execute(statement, parameters, prepare=True)
    return {row[0] for row in await cursor.fetchall()}
