"""What lists of tasks are chosen and sorted by, each thing named once: from here come columns, SQL of present and past, and
parameters.

A facet is a field of the task with one value at a time, which lists filter or sort by; its past are ranges of positions in
`task_list_past`. Sets have a range for each of their terms, texts one for what they are found by.
"""

from collections.abc import Callable
from functools import lru_cache
from hashlib import sha256
from operator import attrgetter
from typing import Any, Final
from uuid import UUID

import msgspec

PRIORITY_RANK: Final[dict[str, int]] = {"none": 0, "low": 1, "medium": 2, "high": 3, "urgent": 4}


def _as_it_is(value: Any) -> Any:
    return value


def _tenths(estimate: float | None) -> int | None:
    """Whole numbers: compared with what is asked for, and added up by whoever reports, without a rounding."""
    return None if estimate is None else round(estimate * 10)


class Facet(msgspec.Struct, frozen=True):
    """A field of the task, the type of its column, and how a value stands there."""

    field: str
    type: str
    stored: Callable[[Any], Any] = _as_it_is


FACETS: Final = (
    Facet("status", "text"),
    Facet("priority", "smallint", PRIORITY_RANK.__getitem__),
    Facet("due_at", "timestamptz"),
    Facet("estimate", "smallint", _tenths),
    Facet("deleted", "boolean"),
    Facet("project_id", "uuid"),
)
"""A further one is a line here and a column with its indexes in list.sql."""

FIXED: Final = (Facet("created_at", "timestamptz"), Facet("created_by", "uuid"))
"""What never changes, of the document, as it is: it stands in past rows too, so that one statement's conditions fit both."""


def label_term(workspace_id: UUID, label: str) -> str:
    """How a label stands among a row's terms; the workspace is part of it, so that the index finds only its own tasks."""
    return workspace_id.hex + _of_label(label)


def assignee_term(workspace_id: UUID, assignee: UUID) -> str:
    """How an assignee stands among a row's terms."""
    return workspace_id.hex + _of_assignee(assignee)


def _of_label(label: str) -> str:
    return f"#{label}"


def _of_assignee(assignee: UUID) -> str:
    return f"@{assignee.hex}"


SETS: Final[tuple[tuple[str, Callable[[Any], str]], ...]] = (("labels", _of_label), ("assignees", _of_assignee))
"""Fields that hold several values, and how one of them stands among the terms, behind the workspace."""

TEXTS: Final = ("title", "labels", "description")
"""Fields whose words a search finds."""

facets_of: Final = attrgetter(*(facet.field for facet in FACETS))
"""The values of a task's facets."""

sets_of: Final = attrgetter(*(field for field, _ in SETS))
"""The values of a task's sets."""

_NO_VALUES: Final[tuple[tuple[Any, ...], ...]] = tuple(() for _ in SETS)

texts_of: Final = attrgetter(*TEXTS)
"""The values of a task's texts."""


fixed_of: Final = attrgetter(*(fixed.field for fixed in FIXED))
"""The values of what never changes, of a document."""

_STORED_OTHERWISE: Final = [(place, facet.stored) for place, facet in enumerate(FACETS) if facet.stored is not _as_it_is]


def stored_facets(task: Any) -> list[Any]:
    """The facets' values as they stand in columns."""
    values = list(facets_of(task))
    for place, stored in _STORED_OTHERWISE:
        values[place] = stored(values[place])
    return values


def terms_of(workspace_id: UUID, task: Any) -> list[str]:
    """All terms of a task, in order."""
    workspace = workspace_id.hex
    return [workspace + told(value) for (_, told), values in zip(SETS, sets_of(task), strict=True) for value in values]


def changed_terms(workspace_id: UUID, before: Any, after: Any) -> tuple[list[str], list[str]]:
    """The terms that a task has lost and won with a change, sorted; `before` is None for a new one."""
    gone: set[str] = set()
    come: set[str] = set()
    olds = sets_of(before) if before is not None else _NO_VALUES
    workspace = workspace_id.hex
    for (_, told), old, new in zip(SETS, olds, sets_of(after), strict=True):
        gone.update([workspace + told(value) for value in old if value not in new])
        come.update([workspace + told(value) for value in new if value not in old])
    return sorted(gone), sorted(come)


@lru_cache(maxsize=50_000)
def term_id(term: str) -> UUID:
    """How a term stands in the table of spans."""
    return UUID(bytes=sha256(term.encode()).digest()[:16])
