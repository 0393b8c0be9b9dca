"""The log as an import writes it: one transaction a chunk, placeholder members, and what is there already."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec
import psycopg
from psycopg.errors import DivisionByZero
from psycopg.sql import SQL

from application.importing.history import ImportedStream
from application.importing.recognition import RecordedStep
from application.log import Append, LogUnavailable, VersionConflict
from domain.boundaries import Seen
from domain.project.boundaries import Openness, key_tag, open_boundary
from domain.tags import tag_id
from domain.task.rules import Task, evolve
from infrastructure.log.addresses import PROJECT_OF_KEY
from infrastructure.log.append_function import append_parameters, append_statement, other_scheme, streams_again
from infrastructure.log.boundary_reading import OF_BOUNDARY, folded
from infrastructure.log.first_project import make_first_project
from infrastructure.log.rows import COLUMNS, HEAD, own_events
from infrastructure.log.source import Reconnecting
from infrastructure.processes.failpoints import failpoint
from infrastructure.servers.postgres import log_schema

PATIENCE_SECONDS: Final = 30.0
"""How long an unreachable server is waited for; the chunk in question is sent again."""

# Any other outcome than "appended" ends the transaction, by the plainest error there is.
_ALL_OR_NONE: Final = SQL(
    "SELECT a.start + cardinality(a.leaves), 1 / (CASE WHEN 0 = ALL (outcomes) THEN 1 ELSE 0 END) FROM ({call}) AS a"
)
_EVENTS_OF: Final = f"SELECT {COLUMNS} FROM events WHERE originator_id = ANY(%s) ORDER BY originator_id, originator_version"
_ADD_PEOPLE: Final = (
    "INSERT INTO taskmaster.members (workspace_id, principal_id, role, display_name, imported_as) "
    "SELECT %s, p.id, 'imported', p.name, p.name FROM unnest(%s::uuid[], %s::text[]) AS p(id, name) "
    "ON CONFLICT (workspace_id, imported_as) DO NOTHING"
)
_PEOPLE: Final = (
    "SELECT imported_as, principal_id FROM taskmaster.members WHERE workspace_id = %s AND imported_as IS NOT NULL "
    "AND (%s::text[] IS NULL OR imported_as = ANY(%s::text[]))"
)
_PERSONAL_WORKSPACE: Final = (
    "SELECT u.id, w.id, w.log, w.import_secret FROM taskmaster.users u "
    "JOIN taskmaster.members m ON m.principal_id = u.id AND m.role = 'owner' "
    "JOIN taskmaster.workspaces w ON w.id = m.workspace_id "
    "WHERE u.email_key = %s ORDER BY w.created_at, w.id LIMIT 1"
)

T = TypeVar("T")
_PROJECT_OF_KEY = PROJECT_OF_KEY.format(tag="%(tag)s")


class PersonalWorkspace(msgspec.Struct, frozen=True):
    """A user, his own workspace, the log that it lives in, and the secret under which what it imports is recognised."""

    user_id: UUID
    workspace_id: UUID
    log: str
    import_secret: bytes


class ImportLog:
    """One connection to one log, for one import. Used by one thread at a time."""

    def __init__(self, database_url: str, log_name: str) -> None:
        self._schema = log_schema(log_name)
        self._connection = Reconnecting(database_url, self._schema, "taskmaster import")
        self._call = _ALL_OR_NONE.format(call=append_statement(self._schema, again=True)).as_bytes()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def personal_workspace(self, email_key: str) -> PersonalWorkspace | None:
        """The personal workspace of the user with this address; None where there is no such user."""
        row = self._patiently(lambda c: c.execute(_PERSONAL_WORKSPACE, (email_key,)).fetchone())
        return PersonalWorkspace(*row) if row else None

    def people(self, workspace_id: UUID, names: Iterable[str] | None = None) -> dict[str, UUID]:
        """The ids that are kept of imported people, or of just these, by their names."""
        wanted = None if names is None else list(names)
        return dict(self._patiently(lambda c: c.execute(_PEOPLE, (workspace_id, wanted, wanted)).fetchall()))

    def add_people(self, workspace_id: UUID, ids: Mapping[str, UUID]) -> dict[str, UUID]:
        """Keep the ids of people by their names, a placeholder member for each who has none yet; those that are kept now."""
        added = (workspace_id, list(ids.values()), list(ids))
        self._patiently(lambda c: c.execute(_ADD_PEOPLE, added))
        return self.people(workspace_id, ids)

    def append_chunk(self, appends: Sequence[Append]) -> int:
        """Append all in one transaction; the position of the last event.

        Raises VersionConflict where nothing was written or this very chunk was before: then the log has to be read again.
        LogUnavailable says that neither is known.
        """
        try:
            return self._patiently(lambda c: self._append(c, appends))
        except DivisionByZero:
            raise VersionConflict from None
        except psycopg.DatabaseError as error:
            if other_scheme(error):
                raise LogUnavailable("another release has taken the log over") from None
            raise

    def streams(self, task_ids: Mapping[str, UUID]) -> tuple[dict[str, ImportedStream], dict[str, list[RecordedStep]]]:
        """The named cases' tasks folded from the log, and the imported steps in them, in order."""
        rows = self._patiently(lambda c: _binary_rows(c, _EVENTS_OF, [list(task_ids.values())]))
        case_of = {task_id: case for case, task_id in task_ids.items()}
        found = dict.fromkeys(task_ids, ImportedStream())
        steps: dict[str, list[RecordedStep]] = {}
        for record in own_events(rows):
            case = case_of[record.stream_id]
            before = found[case]
            task: Task = evolve(before.task, record.event)
            newest, at = before.newest, record.effective_at
            if at is not None:
                newest = at if newest is None else max(newest, at)
                known = steps.setdefault(case, [])
                if not known or known[-1].command_id != record.command_id:
                    step = (record.event.reason or "", at, record.principal_id)
                    known.append(RecordedStep(record.command_id, step, record.causation_id is not None))
            found[case] = ImportedStream(task, record.version, newest)
        return found, steps

    def project(self, workspace_id: UUID, key: str) -> UUID | None:
        """The project of the workspace that the key leads to."""
        places = {"tag": tag_id(key_tag(workspace_id, key)), "workspace": workspace_id}
        row = self._patiently(lambda c: c.execute(_PROJECT_OF_KEY, places).fetchone())
        return row[0] if row else None

    def openness(self, workspace_id: UUID, projects: Iterable[UUID]) -> dict[UUID, Seen[Openness]]:
        """Whether each of the projects takes commands for its tasks."""
        found: dict[UUID, Seen[Openness]] = {}
        for project in projects:
            boundary = open_boundary(workspace_id, project)
            places = (tag_id(boundary.tag), 0)
            rows = self._patiently(partial(_binary_rows, query=OF_BOUNDARY, parameters=places))
            found[project] = folded(boundary, Seen(boundary.initial, 0), rows)
        return found

    def make_first_project(self, workspace_id: UUID, principal_id: UUID) -> None:
        """Make the workspace's first project unless it is there."""
        self._patiently(lambda c: make_first_project(c, self._schema, workspace_id, principal_id))

    def head(self) -> int:
        """The log's newest position."""
        row = self._patiently(lambda c: c.execute(HEAD).fetchone())
        return int(row[0]) if row else 0

    def _append(self, connection: psycopg.Connection[Any], appends: Sequence[Append]) -> int:
        parameters = (*append_parameters(appends), streams_again(appends))
        failpoint("import.in_flight")
        row = connection.execute(self._call, parameters, prepare=True).fetchone()
        assert row is not None  # noqa: S101 - the function returns one row
        return int(row[0])

    def _patiently(self, work: Callable[[psycopg.Connection[Any]], T]) -> T:
        """Do the work, again where the connection was lost: all of it may be done twice."""
        deadline, pause = time.monotonic() + PATIENCE_SECONDS, 0.05
        while True:
            try:
                return work(self._connection.get())
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                if time.monotonic() + pause > deadline:
                    raise LogUnavailable("the log cannot be reached") from error
                time.sleep(pause)
                pause = min(pause * 2, 1.0)


def _binary_rows(connection: psycopg.Connection[Any], query: str, parameters: Sequence[object]) -> list[Any]:
    cursor = connection.cursor(binary=True)
    cursor.execute(query.encode(), parameters)
    return cursor.fetchall()
