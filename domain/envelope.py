"""The envelope: everything about a recorded event that is not its payload."""

from datetime import datetime
from typing import Generic, TypeVar
from uuid import UUID

import msgspec

E = TypeVar("E")


class Erased(msgspec.Struct, frozen=True, gc=False):
    """In the place of a payload that was erased: its type and what its envelope says are all that is left of it.

    That it happened still counts, so each aggregate tells what its type alone says; what its payload said is unknown. `scope`
    is the one in which the log gave it a number, if it did.
    """

    topic: str
    scope: UUID | None = None

    @property
    def reason(self) -> None:
        """Nobody knows any more why."""

    @property
    def attributes(self) -> dict[str, str]:
        """What else was known of it is gone as well."""
        return {}


class RecordedEvent(msgspec.Struct, Generic[E], frozen=True, gc=False, kw_only=True):
    """One event as the log holds it.

    `position` is its place in the log (1, 2, 3, … without gaps), `version` its place in its stream (from 1).
    `effective_at` is set only for imported history: when it really happened. Times are aware UTC, in microseconds.
    `epoch` is the log's when it was appended, `authority` the position of the event by which its principal was permitted to
    do it (0 for none), `number` the one that the log gave it in `scope`.
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
    event: E | Erased
    hash: bytes = b""
    epoch: int = 1
    authority: int = 0
    scope: UUID | None = None
    number: int | None = None

    @property
    def happened_at(self) -> datetime:
        """When it happened: `effective_at` where the history was imported, else `recorded_at`."""
        return self.effective_at or self.recorded_at
