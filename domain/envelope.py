"""The envelope: everything about a recorded event that is not its payload."""

from datetime import datetime
from typing import Generic, TypeVar
from uuid import UUID

import msgspec

E = TypeVar("E")


class RecordedEvent(msgspec.Struct, Generic[E], frozen=True, gc=False):
    """One event as the log holds it.

    `position` is its place in the log (1, 2, 3, … without gaps), `version` its place in its stream (from 1).
    `effective_at` is set only for imported history: when it really happened. Times are aware UTC, in microseconds.
    """

    position: int
    stream_id: UUID
    version: int
    recorded_at: datetime
    effective_at: datetime | None
    workspace_id: UUID
    principal_id: UUID
    command_id: UUID
    correlation_id: UUID
    causation_id: UUID | None
    event: E
    hash: bytes = b""

    @property
    def happened_at(self) -> datetime:
        """When it happened: `effective_at` where the history was imported, else `recorded_at`."""
        return self.effective_at or self.recorded_at
