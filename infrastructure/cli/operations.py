"""What the command line's operations do. Each gets settings whose servers can be reached and returns the exit
code.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from uuid import UUID

import msgspec
from rich.console import Console

from application.log import LogUnavailable
from infrastructure.cli import projection_operations
from infrastructure.cli.backup import backup as write_backup
from infrastructure.cli.progress_bar import progress_bar
from infrastructure.cli.restore import restore as put_back
from infrastructure.cli.verify_report import print_verification
from infrastructure.importing.report import print_summary, require_writable, write_report
from infrastructure.importing.tickets import ImportRequest
from infrastructure.importing.tickets import import_tickets as run_import
from infrastructure.log.erasing import NotErasable, erase_payloads
from infrastructure.log.retagging import retag as derive_tags
from infrastructure.log.verify import verify_log
from infrastructure.processes.failpoints import arm
from infrastructure.read_models.verify import verify_read_models
from infrastructure.servers.postgres import connect_sync, log_schema
from infrastructure.settings import ConfigurationError, Settings

STOPPED_ON_ITS_WAY = 1
ROWS_REFUSED = 3


def import_tickets(settings: Settings, *, request: ImportRequest, report: Path | None) -> int:
    """Import a ticket history and show what came of it; ROWS_REFUSED where some of its rows were refused.

    STOPPED_ON_ITS_WAY where the log stayed away: what was appended before stays.
    """
    arm(settings.failpoint)
    if report is not None:
        require_writable(report)
    try:
        with progress_bar(Console(stderr=True), "importing") as on_progress:
            summary = run_import(settings.database_url, settings.redis_url, settings.log_name, request, on_progress)
    except LogUnavailable as error:
        Console(stderr=True).print(f"error: {error}; run the same import again to go on with it", soft_wrap=True)
        return STOPPED_ON_ITS_WAY
    print_summary(Console(), summary)
    if report is not None:
        write_report(report, summary)
    return ROWS_REFUSED if summary.rejected else 0


def retag(settings: Settings) -> bool:
    """Derive the log's tags as this release does, and say so where they were others."""
    arm(settings.failpoint)
    with progress_bar(Console(stderr=True), "deriving tags") as on_progress:
        done = derive_tags(settings.database_url, settings.log_name, on_progress)
    if done:
        _say(f"derived the tags of {done.events:,} events anew (scheme {done.scheme})")
    return done is not None


def backup(settings: Settings, *, file: Path, overwrite: bool) -> int:
    """Write the database to a file and say what it holds."""
    with _waiting("backing up"):
        made = write_backup(settings.database_url, file, overwrite=overwrite)
    for log in made.logs:
        _say(f"log {log.name} up to position {log.head:,}, epoch {log.epoch}")
    _say(f"is in {made.file}: {made.bytes:,} bytes, written in {made.seconds:.1f} s")
    return 0


def restore(settings: Settings, *, file: Path, replace: bool) -> int:
    """Put a backup in place, check every hash of it and say what came of it; 1 where the backup itself was changed."""
    with _waiting("restoring"):
        logs = put_back(settings.database_url, file, replace=replace)
    worst = 0
    for log in logs:
        _say(f"log {log.name} is back, and begins epoch {log.epoch} at position {log.head:,}")
        worst = max(worst, verify(msgspec.structs.replace(settings, log_name=log.name), as_json=False))
    _say("every session was ended; the read models rebuild themselves once the workers run")
    return worst


def verify(settings: Settings, *, as_json: bool, read_models: bool = False) -> int:
    """Check the log, and on request the read models, and show what was found; 1 where something was changed."""
    with progress_bar(Console(stderr=True), "verifying") as on_progress:
        found = verify_log(settings.database_url, settings.log_name, on_progress)
    models = verify_read_models(settings) if read_models and not found.first_bad else None
    print_verification(Console(), found, models, as_json=as_json)
    return 1 if not found.is_clean or any(each.differing for each in models or ()) else 0


def erase(settings: Settings, *, streams: Sequence[UUID]) -> int:
    """Erase the payloads of these streams and say how many they were."""
    schema = log_schema(settings.log_name)
    try:
        with connect_sync(settings.database_url, schema, "taskmaster erase") as connection:
            erased = erase_payloads(connection, schema, streams)
    except NotErasable as refusal:
        raise ConfigurationError(str(refusal)) from None
    _say(
        f"the payloads of {erased.events:,} events were erased; from position {erased.position:,} on no read model holds "
        "anything of them, once the workers have come there"
    )
    return 0


def status(settings: Settings, *, as_json: bool) -> int:
    """Show the log's head and how each read model fares."""
    return projection_operations.status(settings, as_json=as_json)


def rebuild(settings: Settings, *, name: str) -> int:
    """Build a read model, or `all`, again from the log."""
    return projection_operations.rebuild_one(settings, name=name)


def parked(settings: Settings, *, replay: bool) -> int:
    """List what projections had to set aside, or apply it after the fix."""
    return projection_operations.parked(settings, replay=replay)


def _say(text: str) -> None:
    Console(soft_wrap=True).print(text, markup=False, highlight=False)


@contextmanager
def _waiting(doing: str) -> Iterator[None]:
    console = Console(stderr=True)
    with console.status(f"{doing} …") if console.is_terminal else nullcontext():
        yield
