"""Projects for the API: their list now and as it was."""

from typing import Any
from uuid import UUID

import psycopg

from infrastructure.log.time_travel import documents_as_of
from projections.project.document import PROJECT_DOCUMENTS
from projections.project.list import ProjectQuery, choose_projects
from projections.project.views import summary_json
from projections.tables.bounds import Room, fitting
from projections.tables.moments import AsOf
from projections.tables.pages import ListCursor, Page


async def find_projects_as_of(
    connection: psycopg.AsyncConnection[Any],
    workspace_id: UUID,
    query: ProjectQuery,
    after: ListCursor | None,
    room: Room,
    as_of: AsOf,
) -> Page:
    """The page that follows `after` as the list was; its position is the one that the read model had reached.

    As of a position it is byte for byte the page that the list would show if the log had ended there.
    """
    chosen = await choose_projects(connection, workspace_id, query, after, room.rows, as_of)
    ids = [project_id for project_id, _ in chosen.rows]
    position = as_of.position if as_of.instant is None else chosen.position
    documents = await documents_as_of(connection, PROJECT_DOCUMENTS, ids, position, as_of.instant)
    lines = [summary_json(documents[project_id]) for project_id in ids]
    shown = fitting(lines, room.octets)
    more = chosen.has_more or shown < len(lines)
    return Page(lines[:shown], chosen.rows[shown - 1][1] if more and shown else None, chosen.position)
