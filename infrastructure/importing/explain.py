"""`taskmaster import --explain MAPPING`: what a mapping does, in words."""

from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from application.importing.mapping import TicketMapping
from application.importing.steps import meanings_of, written
from application.importing.text import printable
from infrastructure.importing.files import load_mapping


def print_mapping(name_or_path: str, console: Console | None = None) -> None:
    """Show where each value comes from, what each activity does and what the steps mean; raises ConfigurationError."""
    mapping = load_mapping(name_or_path)
    console = console or Console()
    _show(console, f"The mapping {mapping.name}", ("value", "from"), _values(mapping))
    activities = [
        (name, written(steps) or "recorded as a step that changes nothing") for name, steps in mapping.activities.items()
    ]
    _show(console, "What each activity does", ("/".join(mapping.columns.activity), "steps"), activities)
    meanings = meanings_of(step for steps in mapping.activities.values() for step in steps)
    _show(console, "What these steps mean", ("step", "meaning"), meanings.items())


def _values(mapping: TicketMapping) -> Iterator[tuple[str, str]]:
    columns = mapping.columns
    yield "ticket", columns.case
    yield "time", f"{columns.time}, written as {mapping.time_format}, in {mapping.timezone} where it names no zone"
    yield "done by", columns.resource or "the importing user"
    yield "title", mapping.title.text
    if mapping.description.text:
        yield "description", mapping.description.text
    for label in mapping.labels:
        yield "label", label.text
    if mapping.priority:
        values = ", ".join(f"{value} = {priority}" for value, priority in mapping.priority.values.items())
        yield "priority", f"{mapping.priority.column}: {values}"
    for name, column in mapping.attributes.items():
        yield f"attribute {name}", column
    yield "file", f"CSV in {mapping.encoding}, columns separated by {mapping.delimiter!r}"


def _show(console: Console, title: str, header: tuple[str, str], rows: Iterable[tuple[str, str]]) -> None:
    table = Table(title=Text(printable(title)), title_justify="left")
    for name in header:
        table.add_column(Text(printable(name)), overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console.print(table)
