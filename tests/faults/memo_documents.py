"""The documents of an aggregate that only a later release has. Stands as `projections/memo.py` there."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from domain.memo import MEMO, Memo

from domain.envelope import RecordedEvent
from projections.engine.documents import Documents


class MemoDocument(msgspec.Struct, frozen=True, gc=False):
    """A memo as readers see it."""

    id: UUID
    workspace_id: UUID
    memo: Memo
    version: int
    position: int
    happened_at: datetime
    known_by: datetime


def fold(document: MemoDocument | None, record: RecordedEvent[Any]) -> MemoDocument:
    """The document after the event."""
    memo, at = MEMO.evolve(document.memo if document else None, record.event), record.happened_at
    return MemoDocument(record.stream_id, record.workspace_id, memo, record.version, record.position, at, at)


MEMO_DOCUMENTS: Final = Documents(
    aggregate=MEMO,
    fold=fold,
    state=lambda document: document.memo,
    size=lambda document: 100 + len(document.memo.text),
    scope=lambda _: None,
)
