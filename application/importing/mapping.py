"""What a ticket system's columns and activities mean here: the checked mapping. `ticket_mapping_file` reads one."""

import re
from collections.abc import Callable, Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

from application.importing.steps import Step
from application.importing.times import Readings
from domain.task.values import Priority

Text = Annotated[str, Meta(min_length=1)]


class MappingError(Exception):
    """The mapping cannot be used; the message names the field and what is wrong with it."""


class Columns(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The names of the columns that every history has."""

    case: Text
    activity: Annotated[tuple[Text, ...], Meta(min_length=1)]
    time: Text
    resource: str = ""


class PriorityColumn(msgspec.Struct, frozen=True):
    """The column that tells a ticket's priority, and what its values mean."""

    column: str
    values: Mapping[str, Priority]


class Template:
    """Text with columns' names in braces. Raises ValueError where a brace stands alone or names nothing."""

    def __init__(self, text: str) -> None:
        parts = re.split(r"\{([^{}]*)\}", text)
        self.text = text
        self._literals = parts[::2]
        self.columns = tuple(name.strip() for name in parts[1::2])
        if any(set("{}") & set(literal) for literal in self._literals):
            raise ValueError("a brace without its other half; a column's name stands in braces")
        if not all(self.columns):
            raise ValueError("braces that name no column")
        self._made = re.compile("(.*)".join(map(re.escape, self._literals)), re.DOTALL)

    def filled(self, value_of: Mapping[str, str]) -> str:
        """The text with every column's value in its place; "" where it names columns and all of them are blank."""
        values = [value_of[column] for column in self.columns]
        if self.columns and not any(values):
            return ""
        return "".join(f"{before}{value}" for before, value in zip(self._literals, [*values, ""], strict=True))

    def may_have_made(self, text: str) -> bool:
        """Whether the text has what all of this template's texts have; False where they have nothing in common."""
        return any(self._literals) and self._made.fullmatch(text) is not None


class TicketMapping(msgspec.Struct, frozen=True, kw_only=True):
    """A checked mapping: how a file is read and what each activity does. `attributes` names columns by attribute."""

    name: str
    columns: Columns
    delimiter: str
    encoding: str
    readings: Callable[[str], Readings]
    time_format: str
    timezone: str
    title: Template
    description: Template
    labels: tuple[Template, ...]
    priority: PriorityColumn | None
    attributes: Mapping[str, str]
    activities: Mapping[str, tuple[Step, ...]]

    @property
    def filled_from(self) -> tuple[str, ...]:
        """The columns that the templates name, each once."""
        templates = (self.title, self.description, *self.labels)
        return tuple(dict.fromkeys(column for template in templates for column in template.columns))

    @property
    def named_columns(self) -> tuple[str, ...]:
        """Every column that the mapping names, each once."""
        own = (self.columns.case, *self.columns.activity, self.columns.time, self.columns.resource)
        priority = (self.priority.column,) if self.priority else ()
        named = (*own, *priority, *self.filled_from, *self.attributes.values())
        return tuple(name for name in dict.fromkeys(named) if name)
