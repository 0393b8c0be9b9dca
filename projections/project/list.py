"""Read model `project_list` (Postgres): one row a project, now and as it was at any moment."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final, Literal
from uuid import UUID

import msgspec
import psycopg
from psycopg.sql import SQL, Composed

from domain.project.aggregate import PROJECT
from projections.project.document import ProjectChange, ProjectDocument, listed_by
from projections.project.views import detail_json, summary_json
from projections.tables.bounds import Room, within_room
from projections.tables.columns import Columns
from projections.tables.moments import HELD_AT_INSTANT, RANGE_COLUMNS, AsOf, ended
from projections.tables.pages import ListCursor, Page

ProjectSort = Literal["key", "-key", "added", "-added"]


class ProjectQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which projects of a workspace, in which order: those in use, archived ones too or alone, or the deleted ones."""

    archived: bool | None = None
    deleted: bool = False
    sort: ProjectSort = "key"


_COLUMNS: Final = Columns(
    ("project_id", "uuid"),
    ("workspace_id", "uuid"),
    ("created_position", "bigint"),
    ("key", "text"),
    ("archived", "boolean"),
    ("deleted", "boolean"),
    ("version", "bigint"),
    ("position", "bigint"),
    ("since", "bigint"),
    ("since_at", "timestamptz"),
    ("summary", "bytea"),
    ("detail", "bytea"),
)
_UPSERT: Final = (
    f"INSERT INTO project_list ({_COLUMNS.listed}) SELECT * FROM {_COLUMNS.unnested} "
    "ON CONFLICT (project_id) DO UPDATE SET " + ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS.names[3:])
).encode()
_OF_PAST: Final = Columns(
    ("workspace_id", "uuid"),
    ("project_id", "uuid"),
    ("created_position", "bigint"),
    *RANGE_COLUMNS,
    ("key", "text"),
    ("archived", "boolean"),
    ("deleted", "boolean"),
)
_PAST: Final = (
    f"INSERT INTO project_list_past ({_OF_PAST.listed}) SELECT * FROM {_OF_PAST.unnested} "
    # As with tasks: what was erased meanwhile is folded from what is left, and written again when it is redacted.
    "ON CONFLICT DO NOTHING"
).encode()


class ProjectList:
    """The projection."""

    name: Final = "project_list"
    tables: Final = ("project_list", "project_list_past")
    layout: Final = 1
    ddl: Final = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
    follows: Final = frozenset({PROJECT.name})

    def apply(self, connection: psycopg.Connection[Any], changes: Sequence[ProjectChange]) -> None:
        """Write each changed project's newest document, and what every change ended."""
        newest = {change.record.stream_id: change.after for change in changes}
        _write(connection, newest.values(), changes)

    def redact(self, connection: psycopg.Connection[Any], histories: Sequence[Sequence[ProjectChange]]) -> None:
        """Write the projects' rows and their past again."""
        newest = [history[-1].after for history in histories]
        connection.execute("DELETE FROM project_list_past WHERE project_id = ANY(%s)", ([each.id for each in newest],))
        _write(connection, newest, [change for history in histories for change in history])


def _write(connection: psycopg.Connection[Any], newest: Iterable[ProjectDocument], changes: Iterable[ProjectChange]) -> None:
    connection.execute(_UPSERT, _COLUMNS.arrays(map(_row, newest)))
    past = [
        _past_row(change.before, change) for change in changes if change.before and change.before.since != change.after.since
    ]
    if past:
        connection.execute(_PAST, _OF_PAST.arrays(past))


def _row(document: ProjectDocument) -> tuple[object, ...]:
    since = document.since
    return (
        document.id,
        document.workspace_id,
        document.created_position,
        *listed_by(document.project),
        document.version,
        document.position,
        since.position,
        since.at if document.imported else None,
        summary_json(document),
        detail_json(document),
    )


def _past_row(before: ProjectDocument, change: ProjectChange) -> tuple[object, ...]:
    after = change.after
    past = ended(before.since, after.position, after.known_by, imported=after.imported)
    return (
        before.workspace_id,
        before.id,
        before.created_position,
        *past.columns,
        *listed_by(before.project),
    )


async def find_projects(
    connection: psycopg.AsyncConnection[Any], workspace_id: UUID, query: ProjectQuery, after: ListCursor | None, room: Room
) -> Page:
    """The page that follows `after` and fits into the room. Rows and position come from one snapshot."""
    key, order = _order(query)
    rows = SQL(
        "SELECT summary AS body, octet_length(summary) AS size, created_position, {key} AS key FROM project_list "
        "WHERE {conditions} ORDER BY {order} LIMIT %(rows)s + 1"
    ).format(key=key, conditions=_conditions(query, after), order=order)
    statement = SQL(
        "SELECT c.position, t.body, t.created_position, t.key, t.found FROM checkpoints c "
        "LEFT JOIN LATERAL ({rows}) t ON true WHERE c.projection = 'project_list'"
    ).format(rows=within_room(rows, order))
    cursor = connection.cursor(binary=True)
    places = _places(workspace_id, query, after) | {"rows": room.rows, "octets": room.octets}
    await cursor.execute(statement, places, prepare=True)
    answered = await cursor.fetchall()
    found = [row for row in answered if row[1] is not None]
    more = bool(found) and found[0][4] > len(found)
    last = ListCursor(found[-1][3], found[-1][2]) if more else None
    return Page([row[1] for row in found], last, answered[0][0])


class ChosenProjects(msgspec.Struct, frozen=True):
    """Which projects a page of the past shows with where each stands, whether others follow, and the position reached."""

    rows: list[tuple[UUID, ListCursor]]
    has_more: bool
    position: int


async def choose_projects(
    connection: psycopg.AsyncConnection[Any],
    workspace_id: UUID,
    query: ProjectQuery,
    after: ListCursor | None,
    rows: int,
    as_of: AsOf,
) -> ChosenProjects:
    """The projects that followed `after` as the list was, at most `rows`, from one snapshot."""
    key, order = _order(query)
    side = SQL("SELECT project_id, created_position, {key} AS key FROM {{table}} WHERE {conditions} AND {{held}}").format(
        key=key, conditions=_conditions(query, after)
    )
    plain = side.as_string()
    sides = [
        ("project_list", as_of.begun("since", "since_at")),
        ("project_list_past", SQL("node = ANY(%(nodes)s::bigint[]) AND {}").format(as_of.held)),
        *([("project_list_past", HELD_AT_INSTANT)] if as_of.instant else []),
    ]
    every = SQL(" UNION ALL ").join(SQL(plain).format(table=SQL(table), held=held) for table, held in sides)
    statement = SQL(
        "SELECT c.position, t.project_id, t.created_position, t.key FROM checkpoints c LEFT JOIN LATERAL "
        "(SELECT * FROM ({every}) e ORDER BY {order} LIMIT %(rows)s + 1) t ON true WHERE c.projection = 'project_list' "
        "ORDER BY {order}"
    ).format(every=every, order=order)
    cursor = connection.cursor(binary=True)
    await cursor.execute(statement, _places(workspace_id, query, after) | as_of.parameters | {"rows": rows}, prepare=True)
    answered = await cursor.fetchall()
    found = [(row[1], ListCursor(row[3], row[2])) for row in answered if row[1] is not None]
    return ChosenProjects(found[:rows], len(found) > rows, answered[0][0])


def _order(query: ProjectQuery) -> tuple[SQL, Composed]:
    direction = SQL("DESC") if query.sort.startswith("-") else SQL("ASC")
    if query.sort.endswith("added"):
        return SQL("NULL::text"), SQL("created_position {}").format(direction)
    return SQL("key"), SQL("key {d}, created_position {d}").format(d=direction)


def _conditions(query: ProjectQuery, after: ListCursor | None) -> Composed:
    conditions = [SQL("workspace_id = %(workspace)s"), SQL("deleted = %(deleted)s")]
    if query.archived is not None:
        conditions.append(SQL("archived = %(archived)s"))
    if after is not None:
        comparison = "<" if query.sort.startswith("-") else ">"
        columns, values = ("created_position", "%(after)s")
        if query.sort.endswith("key"):
            columns, values = "(key, created_position)", "(%(after_key)s, %(after)s)"
        conditions.append(SQL(f"{columns} {comparison} {values}"))
    return SQL(" AND ").join(conditions)


def _places(workspace_id: UUID, query: ProjectQuery, after: ListCursor | None) -> dict[str, object]:
    return {
        "workspace": workspace_id,
        "deleted": query.deleted,
        "archived": query.archived,
        "after": after.created_position if after else 0,
        "after_key": after.value if after else "",
    }


class FoundProject(msgspec.Struct, frozen=True):
    """A project's version and full JSON (None where there is none), and the position that this reflects."""

    version: int
    body: bytes | None
    position: int


async def get_project(connection: psycopg.AsyncConnection[Any], workspace_id: UUID, project_id: UUID) -> FoundProject:
    """One project in full, deleted or not."""
    cursor = connection.cursor(binary=True)
    await cursor.execute(
        "SELECT c.position, p.version, p.detail FROM checkpoints c LEFT JOIN project_list p "
        "ON p.project_id = %s AND p.workspace_id = %s WHERE c.projection = 'project_list'",
        (project_id, workspace_id),
        prepare=True,
    )
    position, version, detail = (await cursor.fetchall())[0]
    return FoundProject(version or 0, detail, position)
