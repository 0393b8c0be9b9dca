"""What became of a list between two moments: which tasks may have entered, left or changed, and which list they were on."""

from typing import Any, Final, LiteralString
from uuid import UUID

import msgspec
import psycopg
from psycopg.sql import SQL, Composed

from projections.tables.moments import AsOf
from projections.task.list_as_of import Past, every_side
from projections.task.list_query import Conditions, TaskQuery, all_of, asked_for

NEAR: Final = 20_000
"""So many positions between two moments are looked through for events; over more, the workspace's tasks are, one by one."""

LOOK: Final = 1_000
"""So many tasks are looked at for one answer, at the most."""


class Side(msgspec.Struct, frozen=True):
    """One end of a comparison: a list at a moment."""

    query: TaskQuery
    as_of: AsOf


class Candidate(msgspec.Struct, frozen=True):
    """A task that was on either list: it may have entered, left or changed."""

    task_id: UUID
    created_position: int
    was: bool
    is_now: bool


class Candidates(msgspec.Struct, frozen=True):
    """Tasks in the order added, and the position that the read model had reached. `end` is the last task that was looked at,
    where others follow it."""

    tasks: list[Candidate]
    end: int | None
    position: int


class Comparison:
    """Two lists of a workspace that are compared, from the earlier moment to the later one."""

    def __init__(self, workspace_id: UUID, sides: tuple[Side, Side]) -> None:
        first, last = sides
        moments = first.as_of, last.as_of
        is_by_position = first.as_of.instant is None and last.as_of.instant is None
        self.are_near = is_by_position and last.as_of.position - first.as_of.position <= NEAR
        """Whether the moments are positions with few events between them."""
        is_one_list = msgspec.structs.replace(first.query, sort="added") == msgspec.structs.replace(last.query, sort="added")
        was, is_now = (Past(asked_for(workspace_id, side.query), side.as_of) for side in sides)
        self._statement = SQL(_ON_EITHER).format(
            looked=SQL(_TOUCHED if self.are_near and is_one_list else _ALL),
            was=_is_member(was),
            is_now=_of_the_end(_is_member(is_now)),
        )
        self._parameters = {
            **was.parameters,
            **{_END + name: value for name, value in is_now.parameters.items()},
            "workspace": workspace_id,
            "first": moments[0].position,
            # What was imported later may have happened before an instant.
            "last": moments[1].position if is_by_position else _NEVER,
            "look": LOOK,
        }

    async def on_either(self, connection: psycopg.AsyncConnection[Any], after: int, until: int | None, most: int) -> Candidates:
        """Of the tasks that were added after `after`, up to `until`, the first `most` that were on either list: where it is one
        list at near positions, of those that were touched between them. No more than LOOK are looked at."""
        cursor = connection.cursor(binary=True)
        places = {"after": after, "until": _NEVER if until is None else until, "most": most}
        await cursor.execute(self._statement, self._parameters | places, prepare=True)
        rows = await cursor.fetchall()
        return Candidates([Candidate(*row[2:]) for row in rows if row[2] is not None], rows[0][1], rows[0][0])


_NEVER: Final = 2**63 - 1
_END: Final = "to_"

_TOUCHED: Final = (
    "SELECT task_id, created_position FROM task_list WHERE workspace_id = %(workspace)s AND created_position > %(after)s "
    "AND created_position <= %(until)s "
    "AND task_id IN (SELECT originator_id FROM events WHERE notification_id > %(first)s AND notification_id <= %(last)s "
    "AND workspace_id = %(workspace)s) "
    "ORDER BY created_position LIMIT %(look)s + 1"
)
_ALL: Final = (
    "SELECT task_id, created_position FROM task_list WHERE workspace_id = %(workspace)s AND created_position > %(after)s "
    "AND created_position <= %(until)s AND created_position <= %(last)s ORDER BY created_position LIMIT %(look)s + 1"
)
# One after the other in their order, until there are enough: most are never asked which list they were on.
_ON_EITHER: Final = (
    "WITH looked AS MATERIALIZED ({looked}), ends AS MATERIALIZED (SELECT (SELECT created_position FROM looked "
    "ORDER BY created_position OFFSET %(look)s - 1 LIMIT 1) AS place WHERE (SELECT count(*) FROM looked) > %(look)s) "
    "SELECT c.position, (SELECT place FROM ends), t.task_id, t.number, t.was, t.is_now FROM checkpoints c LEFT JOIN LATERAL ("
    "SELECT c.task_id, c.number, m.was, m.is_now FROM (SELECT task_id, created_position AS number FROM looked "
    "ORDER BY created_position LIMIT %(look)s) c CROSS JOIN LATERAL (SELECT {was} AS was, {is_now} AS is_now OFFSET 0) m "
    "WHERE m.was OR m.is_now ORDER BY c.number LIMIT %(most)s) t ON true "
    "WHERE c.projection = 'task_list' ORDER BY t.number"
)


def _is_member(past: Past) -> Composed:
    """Whether the task with the creation `c.number` was on the list. Who never had the label is passed over before anything
    else is asked of him, and words are read last."""
    its_own: Conditions = [SQL("workspace_id = %(workspace)s"), SQL("created_position = c.number"), *past.columns]
    nothing = SQL("1").format()
    return SQL(
        "(SELECT CASE WHEN {sets} THEN CASE WHEN EXISTS ({sides}) THEN {words} ELSE false END ELSE false END "
        "FROM (SELECT c.number AS created_position) t)"
    ).format(
        sets=all_of([SQL("true"), *past.sets]),
        sides=every_side(past, nothing, nothing, all_of(its_own), SQL("true")),
        words=all_of([SQL("true"), *past.words]),
    )


def _of_the_end(statement: Composed) -> SQL:
    """The same with parameters of other names, so that both lists stand in one statement."""
    text: LiteralString = statement.as_string().replace("%(", f"%({_END}")
    return SQL(text)
