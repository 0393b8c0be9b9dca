"""What the engine knows of an aggregate's documents: how they are folded, how large they are, where older ones are found."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final, Generic, Protocol, TypeVar
from uuid import UUID

import msgspec
import psycopg

from domain.aggregate import Aggregate
from domain.envelope import RecordedEvent


class Document(Protocol):
    """A stream as readers see it after its event `version`, which is the log's event `position`."""

    @property
    def id(self) -> UUID:
        """The stream."""

    @property
    def workspace_id(self) -> UUID:
        """Whose it is."""

    @property
    def version(self) -> int:
        """Its version."""

    @property
    def position(self) -> int:
        """The position of that version's event."""

    @property
    def happened_at(self) -> datetime:
        """When that event happened."""

    @property
    def known_by(self) -> datetime:
        """The latest time of all its events so far: an event counts as having happened when all before it had as well."""


D = TypeVar("D", bound=Document)


class Snapshots(Protocol[D]):
    """Where documents of earlier versions are found, so that a fold need not begin at the first event."""

    async def latest(self, connection: psycopg.AsyncConnection[Any], stream_id: UUID, version: int) -> D | None:
        """The stream's newest document that is not after `version`; None where there is none."""

    async def known_by(self, connection: psycopg.AsyncConnection[Any], stream_id: UUID, instant: datetime) -> int:
        """The version of the stream's newest document all of whose events had happened by the instant; 0 for none."""

    async def until(
        self, connection: psycopg.AsyncConnection[Any], streams: Sequence[UUID], position: int, instant: datetime
    ) -> dict[UUID, D]:
        """For each stream its newest document that was there at the position and had happened by the instant."""

    def before(self, connection: psycopg.Connection[Any], versions: dict[UUID, int]) -> dict[UUID, D]:
        """For each stream its newest document not after the given version, where there is one."""


SPAN: Final = 100
"""So many events of a stream are folded at a time, and lie between two of its snapshots where its kind has any."""


def nothing_is_remembered() -> None:
    """There is nothing to forget."""


class Documents(msgspec.Struct, Generic[D], frozen=True, kw_only=True):
    """The documents of one aggregate.

    `fold` is the step from one event to the next document and never raises; `state` is the aggregate's own state in it; `size`
    is what it takes in memory, in bytes, about; `scope` is where the stream belongs, such as a task to its project, None for
    nowhere: by it those who follow are shown a part of what happens. `forget` drops what is remembered of what they said.
    """

    aggregate: Aggregate[Any, Any, Any]
    fold: Callable[[D | None, RecordedEvent[Any]], D]
    state: Callable[[D], Any]
    size: Callable[[D], int]
    scope: Callable[[D], UUID | None]
    snapshots: Snapshots[D] | None = None
    forget: Callable[[], None] = nothing_is_remembered
