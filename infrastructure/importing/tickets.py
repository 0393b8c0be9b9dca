"""`taskmaster import tickets`: a whole ticket history into the log, in the order in which things happened."""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import msgspec

from application.identity.rules import email_key
from application.importing.csv_files import FileRefused, read_rows
from application.importing.ids import ImportSource
from application.importing.mapping import MappingError, TicketMapping
from application.importing.rows import Rejection, RowReader, TicketRow
from application.importing.text import printable
from domain.errors import DomainError, InvalidValue
from domain.project.boundaries import require_open
from domain.project.values import first_project_of
from infrastructure.importing.files import TicketFile, load_mapping, read_ticket_file
from infrastructure.importing.log_writing import ImportLog, PersonalWorkspace
from infrastructure.importing.run import ImportRun
from infrastructure.log.head_publisher import ImportHeadPublisher
from infrastructure.settings import ConfigurationError


class ImportRequest(msgspec.Struct, frozen=True):
    """What to import: a file, the mapping by a name that ships or a path, whose workspace gets it, and the key of the project
    there, the workspace's first one if none is given.

    `strict`: the first row that is refused ends the import, before anything is written unless somebody else changed a ticket
    meanwhile.
    """

    file: Path
    mapping: str
    email: str
    dry_run: bool = False
    strict: bool = False
    project: str | None = None


class ImportSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What an import came to.

    `rows` counts the accepted rows, of which `rows_before` were in the log already; `events` were appended now, or would have
    been in a dry run. `notices` are of what was imported and looks wrong. `activities` counts accepted rows. `position` is that
    of the import's newest event or, where nothing was appended, the log's. Seconds are wall time, `append_seconds` without
    reading the file.
    """

    import_id: UUID
    workspace_id: UUID
    dry_run: bool
    tickets: int
    rows: int
    rows_before: int
    events: int
    rejected: Sequence[Rejection]
    notices: Sequence[Rejection]
    activities: dict[str, int]
    position: int
    seconds: float
    append_seconds: float


Progress = Callable[[int, int], None]
"""Told how many of how many rows are done."""


def import_tickets(
    database_url: str,
    redis_url: str,
    log_name: str,
    request: ImportRequest,
    on_progress: Progress | None = None,
) -> ImportSummary:
    """Import a file into the personal workspace of a user of the log `log_name`.

    New heads are announced over Redis as far as it can be reached; an empty `redis_url` announces none.
    Nothing is written before the whole file is read.

    Raises ConfigurationError for what the operator can mend, LogUnavailable where the server stays away or
    other writers keep changing the same tasks. What was appended before stays, and the same import goes on
    from there.
    """
    started = time.monotonic()
    mapping = load_mapping(request.mapping)
    file = read_ticket_file(request.file, mapping.encoding)
    rows, unreadable, notices = _read_rows(file, mapping, request.file)
    if request.strict and (unreadable or notices):
        raise _stopped(min([*unreadable, *notices], key=lambda rejection: rejection.line))
    announcer = ImportHeadPublisher(redis_url, log_name)

    def on_chunk(done: int, position: int) -> None:
        if position:
            announcer.announce(position)
        if on_progress:
            on_progress(done, len(rows))

    log = ImportLog(database_url, log_name)
    try:
        source = _source(log, log_name, request, mapping, file)
        run = ImportRun(log, source, mapping, rows, on_chunk, is_rehearsal=request.dry_run)
        read = time.monotonic()
        if request.dry_run:
            run.rehearse()
        elif request.strict:
            rehearsal = ImportRun(log, source, mapping, rows, is_rehearsal=True)
            rehearsal.rehearse()
            if rehearsal.rejected:
                raise _stopped(rehearsal.rejected[0])
            run.append(until_refused=True)
        else:
            run.append()
        ended = time.monotonic()
        return ImportSummary(
            import_id=source.import_id,
            workspace_id=source.workspace_id,
            dry_run=request.dry_run,
            tickets=len(run.cases),
            rows=run.activities.total(),
            rows_before=run.rows_before,
            events=run.events,
            rejected=sorted([*unreadable, *run.rejected], key=lambda rejection: rejection.line),
            notices=notices,
            activities=dict(run.activities.most_common()),
            position=run.position or log.head(),
            seconds=ended - started,
            append_seconds=ended - read,
        )
    finally:
        log.close()
        announcer.close()


def _stopped(rejection: Rejection) -> ConfigurationError:
    where = f"line {rejection.line}" + (f", column {printable(rejection.column)}" if rejection.column else "")
    return ConfigurationError(f"{where}: {printable(rejection.reason)}; --strict: nothing was imported")


def _read_rows(
    file: TicketFile, mapping: TicketMapping, path: Path
) -> tuple[list[TicketRow], list[Rejection], list[Rejection]]:
    try:
        # The whole file before any of it is used: what is wrong at its end shall stop its beginning too.
        (_, header), *cells = [*read_rows(file.text, mapping.delimiter)] or [(1, ())]
        if not header:
            raise ConfigurationError(printable(f"{path} has no header"))
        reader = RowReader(mapping, header, datetime.now(UTC))
        rows, rejected = reader.rows(cells)
    except FileRefused as refused:
        raise ConfigurationError(printable(f"{path}: {refused}; nothing was imported")) from None
    except MappingError as error:
        raise ConfigurationError(printable(f"{path} does not fit the mapping {mapping.name!r}: {error}")) from None
    return rows, rejected, reader.notices


def _source(log: ImportLog, log_name: str, request: ImportRequest, mapping: TicketMapping, file: TicketFile) -> ImportSource:
    email = request.email
    try:
        owner = log.personal_workspace(email_key(email))
    except InvalidValue as invalid:
        raise ConfigurationError(printable(invalid.message)) from None
    if owner is None:
        raise ConfigurationError(printable(f"there is no user {email!r}"))
    if owner.log != log_name:
        raise ConfigurationError(
            f"TASKMASTER_LOG: the workspace of {email!r} lives in the log {owner.log!r}, not in {log_name!r}"
        )
    project_id = _project(log, owner, request)
    return ImportSource(owner.workspace_id, owner.user_id, owner.import_secret, mapping.name, file.digest, project_id)


def _project(log: ImportLog, owner: PersonalWorkspace, request: ImportRequest) -> UUID:
    """Where new tasks go to. Raises ConfigurationError for a project that is not there or takes no commands."""
    if request.project is None:
        project_id = first_project_of(owner.workspace_id)
        if not request.dry_run:
            log.make_first_project(owner.workspace_id, owner.user_id)
        elif not log.openness(owner.workspace_id, [project_id])[project_id].state.exists:
            # The import itself would make it.
            return project_id
    else:
        found = log.project(owner.workspace_id, request.project)
        if found is None:
            raise ConfigurationError(printable(f"--project: the workspace of {request.email!r} has no {request.project!r}"))
        project_id = found
    try:
        require_open(log.openness(owner.workspace_id, [project_id])[project_id].state)
    except DomainError as refusal:
        raise ConfigurationError(f"--project: {refusal.message}") from None
    return project_id
