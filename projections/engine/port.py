"""What the projector needs of a store, and the ways in which a store or the log says no."""

from collections.abc import Sequence
from typing import Protocol

from projections.engine.changes import Entry
from projections.engine.checkpoint import Checkpoint


class Moved(Exception):
    """The stored checkpoint is not where the batch begins: somebody else was faster."""


class Incomplete(Exception):
    """The store has lost its data or belongs to another log: the read model has to be rebuilt."""

    def __init__(self, projection: str, reason: str) -> None:
        super().__init__(f"{projection}: {reason}")
        self.projection = projection
        self.reason = reason


class Hold(Exception):
    """The log holds something that this release does not know; projecting waits for one that does."""


class ProjectionHolds(Hold):
    """One projection cannot go on, for a reason that is not the event's; the others can."""

    def __init__(self, projection: str, reason: str) -> None:
        super().__init__(reason)
        self.projection = projection


class ProjectionFailed(Exception):
    """Applying raised; names the projection that did."""

    def __init__(self, projection: str, error: Exception) -> None:
        super().__init__(f"{projection}: {error!r}")
        self.projection = projection
        self.error = error


class Store(Protocol):
    """Where the projections of one projector keep their data and checkpoints."""

    def checkpoints(self) -> list[Checkpoint]:
        """The stored checkpoints; raises Incomplete where data is missing."""

    def write(self, expected: Sequence[Checkpoint], entries: Sequence[Entry]) -> None:
        """Apply the changes and redactions among `entries` to the projections in `expected` and move their checkpoints to the
        last entry, all or nothing.

        Raises Moved where a checkpoint is not as expected, ProjectionFailed where applying raised because of an event,
        ProjectionHolds where it did for another reason that a repetition alone will not mend.
        """

    def note(self, checkpoint: Checkpoint) -> None:
        """Store attempts, single_until and held of one checkpoint, durably, if its position is unchanged."""

    def park(self, checkpoint: Checkpoint, entry: Entry, error: str) -> None:
        """Set one event aside and move the projection past it, all or nothing; a feed takes it in plain form instead, or raises
        ProjectionHolds, as everybody does at a redaction."""
