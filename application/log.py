"""What the use cases need from the outside, where the outside has more than one implementation."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar
from uuid import UUID

import msgspec

from domain.aggregate import Aggregate
from domain.boundaries import Boundary, Seen

B = TypeVar("B")
S = TypeVar("S")


class NewEvent(msgspec.Struct, frozen=True, gc=False):
    """One event to append: its stream, the version that it shall have there, and its payload.

    `scope` asks the log for the next number of that scope, which becomes part of the event.
    """

    stream_id: UUID
    version: int
    event: msgspec.Struct
    effective_at: datetime | None = None
    scope: UUID | None = None


class IdempotencyKey(msgspec.Struct, frozen=True, gc=False):
    """A client's key for one request and a digest of that request."""

    key: str
    request_hash: bytes


class Condition(msgspec.Struct, frozen=True, gc=False):
    """What a decision rested on: the last event with this tag is at position `at`, or there is none and `at` is 0."""

    tag: str
    at: int


class Append(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A request to the log: all these events or none, each exactly at its version and only where the conditions hold.

    `receipt_start` is the receipt's JSON up to what only the log knows: number, hash and position. With an idempotency key,
    `events` may be empty: the receipt of a command that changed nothing is remembered as well. `authority` is the position of
    the newest event by which the principal was permitted to do this, 0 for none.
    """

    workspace_id: UUID
    principal_id: UUID
    command_id: UUID
    correlation_id: UUID
    causation_id: UUID | None
    events: tuple[NewEvent, ...]
    receipt_start: str
    idempotency: IdempotencyKey | None = None
    conditions: tuple[Condition, ...] = ()
    authority: int = 0


class Appended(msgspec.Struct, frozen=True, gc=False):
    """The log's answer: the position of the append's last event, and its receipt as it is to be sent.

    `replayed` says that nothing was written now: the key or the very events had been there before. `hash` is that of the last
    event, empty where there was none; `number` the last that the log gave in this append.
    """

    position: int
    recorded_at: datetime
    receipt: bytes
    replayed: bool
    hash: bytes = b""
    number: int | None = None


class Loaded(msgspec.Struct, Generic[S], frozen=True, gc=False):
    """A stream folded up to `version`, with the position of that version's event and when it happened.

    `aggregate` is whose kind the stream is.
    """

    aggregate: Aggregate[S, Any, Any]
    state: S
    version: int
    position: int
    workspace_id: UUID
    happened_at: datetime


class VersionConflict(Exception):
    """A stream was not at the version that an append expected; nothing of the append was written."""


class ConditionViolated(Exception):
    """A boundary had another event than the last one that an append's decision rested on; nothing of the append was written."""


class IdempotencyMismatch(Exception):
    """The idempotency key was used for another request before; nothing was written."""


class LogUnavailable(Exception):
    """The log cannot be reached within the time allowed; whether a sent append was stored is unknown."""


class EventStore(Protocol):
    """The log as the write side sees it."""

    def recall(self, stream_id: UUID) -> Loaded[Any] | None:
        """The stream as this process last knew it, whatever its kind; may be out of date, and None says nothing."""

    def remember(self, stream_id: UUID, loaded: Loaded[Any]) -> None:
        """Keep what an accepted append has just proved."""

    async def load(self, aggregate: Aggregate[Any, Any, Any], stream_id: UUID) -> Loaded[Any] | None:
        """The stream folded freshly from the log, or None where there is none; most likely one of `aggregate`."""

    async def touched_since(self, aggregate: Aggregate[Any, Any, Any], stream_id: UUID, version: int) -> frozenset[str]:
        """The fields that events after `version` changed; all of the aggregate's where that cannot be told."""

    async def find_receipt(self, workspace_id: UUID, principal_id: UUID, idempotency: IdempotencyKey) -> Appended | None:
        """The remembered answer to this key; raises IdempotencyMismatch where it answered another request."""

    async def find_receipts(self, workspace_id: UUID, principal_id: UUID, keys: Sequence[str]) -> dict[str, Appended]:
        """The remembered answers to those of the keys that have one, whatever their request was."""

    async def head(self) -> int:
        """The newest position, 0 for an empty log."""

    def recall_boundary(self, boundary: Boundary[B]) -> Seen[B] | None:
        """The boundary as this process last knew it; may be out of date, and None says nothing."""

    def remember_boundary(self, boundary: Boundary[B], seen: Seen[B]) -> None:
        """Keep what an accepted append has just proved."""

    async def load_boundary(self, boundary: Boundary[B], seen: Seen[B] | None = None) -> Seen[B]:
        """The boundary as the log has it: what comes after `seen` is read and folded onto it. It is remembered."""

    async def append(self, append: Append) -> Appended:
        """Store the append durably; raises VersionConflict, ConditionViolated, IdempotencyMismatch or LogUnavailable."""

    async def append_chain(self, appends: Sequence[Append]) -> list[Appended | Exception]:
        """Store these durably in one transaction, in order, as far as it goes: an answer for each, in the place of an exception
        that `append` would raise that exception. Each stands on a stream of its own.

        Each was decided on what those before it lead to, so that their tags do not matter to its conditions. Where one is not
        stored now, those behind it are violated as well, should any of them have a condition. Raises LogUnavailable.
        """
