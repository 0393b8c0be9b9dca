"""How an import is shown: a table afterwards, a JSON file on request."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from application.importing.rows import Rejection
from application.importing.text import printable
from infrastructure.importing import tickets
from infrastructure.settings import ConfigurationError

MOST_SHOWN = 10


def print_summary(console: Console, summary: tickets.ImportSummary) -> None:
    """The numbers, the activities, and the first of the rejected rows."""
    table = Table(
        title="Dry run: nothing was written" if summary.dry_run else "Imported", title_justify="left", show_header=False
    )
    table.add_column("")
    table.add_column("", justify="right")
    for name, value in (
        ("tickets", summary.tickets),
        ("rows", summary.rows),
        ("rows that were in the log before", summary.rows_before),
        ("events", summary.events),
        ("rejected rows", len(summary.rejected)),
    ):
        table.add_row(name, f"{value:,}")
    table.add_row("seconds", f"{summary.seconds:.2f}")
    table.add_row("position", f"{summary.position:,}", end_section=True)
    for activity, count in summary.activities.items():
        table.add_row(Text(printable(activity)), f"{count:,}")
    console.print(table)
    _print_rows(console, "refused", summary.rejected)
    _print_rows(console, "looks wrong", summary.notices)


def _print_rows(console: Console, what: str, rows: Sequence[Rejection]) -> None:
    for row in rows[:MOST_SHOWN]:
        where = f"line {row.line}" + (f", column {row.column}" if row.column else "")
        console.print(printable(f"{what}: {where}: {row.reason}"), markup=False, highlight=False, soft_wrap=True)
    if len(rows) > MOST_SHOWN:
        console.print(f"… and {len(rows) - MOST_SHOWN} more; --report FILE has them all")


def require_writable(path: Path) -> None:
    """Raise ConfigurationError, before anything is imported, where the report could not be written."""
    try:
        path.open("ab").close()
    except OSError as error:
        raise ConfigurationError(printable(f"--report: cannot write {path}: {error.strerror}")) from None


def write_report(path: Path, summary: tickets.ImportSummary) -> None:
    """The whole summary, with every rejected row, as JSON."""
    try:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(summary)) + b"\n")
    except OSError as error:
        raise ConfigurationError(printable(f"--report: cannot write {path}: {error.strerror}")) from None
