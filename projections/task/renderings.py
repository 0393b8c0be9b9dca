"""What is stored of a task's document, worked out once for all read models that store it.

The list and Redis store the same documents at about the same time; what a task is found by stays while its texts do. What was
worked out is kept for a while, bounded in number and in bytes, and forgotten whenever payloads were erased.
"""

from functools import lru_cache
from typing import Final, NamedTuple

from projections.tables.words import forget_words, lexemes, scope_of
from projections.task.document import TaskDocument
from projections.task.views import detail_json, summary_json

MOST: Final = 2_000
LARGEST: Final = 8_192
"""In characters or bytes: what is larger is worked out each time."""


class Rendering(NamedTuple):
    """A task as a line of a list and in full, as JSON."""

    summary: bytes
    detail: bytes


class _Kept:
    """The newest renderings, by the very document. Two generations, so that the older half goes at once."""

    def __init__(self) -> None:
        self.newer: dict[int, tuple[TaskDocument, Rendering]] = {}
        self.older: dict[int, tuple[TaskDocument, Rendering]] = {}

    def keep(self, document: TaskDocument, rendering: Rendering) -> None:
        if len(self.newer) >= MOST:
            self.newer, self.older = {}, self.newer
        self.newer[id(document)] = document, rendering


_kept: Final = _Kept()


def rendering(document: TaskDocument) -> Rendering:
    """The document as JSON. May be called from several threads."""
    key = id(document)
    known = _kept.newer.get(key) or _kept.older.get(key)
    if known is not None and known[0] is document:
        return known[1]
    made = Rendering(summary_json(document), detail_json(document))
    if len(made.detail) <= LARGEST:
        _kept.keep(document, made)
    return made


def words_of(document: TaskDocument) -> str:
    """What the task is found by, a line a lexeme."""
    task, scope = document.task, scope_of(document.workspace_id)
    find = _words if len(task.description) <= LARGEST else _words.__wrapped__
    return find(scope, task.title, task.labels, task.description)


@lru_cache(maxsize=MOST)
def _words(scope: str, title: str, labels: tuple[str, ...], description: str) -> str:
    return "\n".join([scope + lexeme for lexeme in lexemes(title, labels, description)])


def forget_renderings() -> None:
    """Keep nothing of what was worked out."""
    _kept.newer, _kept.older = {}, {}
    _words.cache_clear()
    forget_words()
