"""The projection engine: advances read models behind the log, exactly once an event, whatever fails.

A projector advances the projections that share one store. Every batch is written together with its checkpoint, and only
if the stored checkpoint is still exactly where the batch begins; so two owners, a repeated job or a crash in between
change nothing. A batch that fails is repeated event by event; an event that fails three times alone is parked with the later
events of its stream, and the rest goes on. Groups of projections that are far apart take turns, so that one that begins at 0
holds up nobody; one that has to wait, for a release that knows an event or for its tables, does not either.
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol
from uuid import UUID

import msgspec

from projections.engine.changes import ChangeReader, Entry, LogIdentity

logger = logging.getLogger("taskmaster.projections")

BATCH = 500
ATTEMPTS_BEFORE_PARKING = 3


class Checkpoint(msgspec.Struct, frozen=True):
    """How far a projection has come, in which log, and how it fares there.

    `attempts` counts failed tries at the next event, `single_until` is the position up to which it goes event by event, `held`
    says why it waits, `parked` names the streams whose events are set aside.
    """

    projection: str
    identity: LogIdentity
    position: int
    attempts: int = 0
    single_until: int = 0
    held: str | None = None
    parked: frozenset[UUID] = frozenset()
    leaf_hash: bytes | None = None
    generation: int = 1

    @property
    def single(self) -> bool:
        """Whether it goes event by event at present."""
        return self.single_until > self.position


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
        """Apply the changes among `entries` to the projections in `expected` and move their checkpoints to the last entry, all
        or nothing.

        Raises Moved where a checkpoint is not as expected, ProjectionFailed where applying raised because of an event,
        ProjectionHolds where it did for another reason that a repetition alone will not mend.
        """

    def note(self, checkpoint: Checkpoint) -> None:
        """Store attempts, single_until and held of one checkpoint, durably, if its position is unchanged."""

    def park(self, checkpoint: Checkpoint, entry: Entry, error: str) -> None:
        """Set one event aside and move the projection past it, all or nothing; a feed takes it in plain form instead, or raises
        ProjectionHolds."""


class Projector:
    """Advances the projections of one store. Not safe for several threads at once; several processes are harmless."""

    def __init__(
        self,
        store: Store,
        reader: ChangeReader,
        on_applied: Callable[[Iterable[str], int], None] | None = None,
    ) -> None:
        self._store = store
        self._reader = reader
        self._on_applied = on_applied or (lambda _names, _position: None)
        self._known: list[Checkpoint] | None = None
        # A process that was killed by an event starts here again: until the first success every try is counted beforehand, and
        # later on those of events that go alone.
        self._cautious = True
        self._counted: set[tuple[str, int]] = set()
        self._holding: dict[str, Hold] = {}
        self._turns: dict[str, int] = {}
        self.is_owner = True
        """Whether nobody else does this work at the same time. Only an owner counts tries and parks what was tried too often:
        the unfinished try of a second owner that lives looks like that of one that died."""

    def catch_up(self, stop: Callable[[], bool] = lambda: False) -> int:
        """Advance until nothing is left or `stop()`; returns the number of event applications.

        Raises Incomplete, Hold, or the store's own errors where it is away; what was applied before stays.
        """
        applied = 0
        while not stop():
            try:
                step = self.advance()
            except Moved:
                self._known = None
                continue
            if step == 0:
                break
            applied += step
        return applied

    def advance(self, batch: int = BATCH) -> int:
        """One batch for the projections whose turn it is; returns how many events it took, 0 when there are none for anybody.

        Raises Hold where nobody can go on and somebody has to wait.
        """
        if self._known is None:
            self._known = self._store.checkpoints()
        idle: set[str] = set()
        while groups := self._groups(batch, idle):
            group = groups[0]
            try:
                taken = self._advance(group, batch)
            except ProjectionHolds as hold:
                self._hold([c for c in group if c.projection == hold.projection], hold)
                continue
            names = {checkpoint.projection for checkpoint in group}
            self._turns |= dict.fromkeys(names, max(self._turns.values(), default=0) + 1)
            if taken:
                return taken
            idle |= names
        waiting = list(self._holding.values())
        # Whoever comes again tries again.
        self._holding.clear()
        if waiting:
            raise waiting[0]
        return 0

    def _groups(self, batch: int, idle: set[str]) -> list[list[Checkpoint]]:
        """Who can go on, the longest waiting first. Those less than a batch ahead of others wait to be met by them: from then
        on they share their transactions."""
        by_position: dict[int, list[Checkpoint]] = {}
        for checkpoint in sorted(self._known or (), key=lambda known: known.position):
            if checkpoint.projection not in idle and checkpoint.projection not in self._holding:
                by_position.setdefault(checkpoint.position, []).append(checkpoint)
        groups: list[list[Checkpoint]] = []
        followed = -1
        for position, checkpoints in by_position.items():
            together = [checkpoint for checkpoint in checkpoints if not checkpoint.single]
            meets = followed >= 0 and position - followed <= batch
            if together:
                followed = position
            groups += [group for group in (together, *([c] for c in checkpoints if c.single)) if group and not meets]
        return sorted(groups, key=lambda group: (max(self._turns.get(c.projection, 0) for c in group), group[0].single))

    def _advance(self, group: list[Checkpoint], batch: int) -> int:
        start = group[0].position
        changes = self._changes(group, start, 1 if group[0].single else self._room(group, batch))
        if not changes:
            return 0
        if self.is_owner and group[0].single and group[0].attempts >= ATTEMPTS_BEFORE_PARKING:
            self._park(group[0], changes[0], "failed or killed the worker three times")
            return 1
        if self.is_owner and (self._cautious or group[0].single):
            group = self._count_tried(group, changes)
        if group[0].single:
            changes = changes[:1]
            group = group[:1]
        try:
            self._store.write(group, changes)
        except ProjectionFailed as failure:
            self._failed(group, changes, failure)
            return 1
        except Exception:
            self._take_back(group)
            raise
        self._cautious = False
        self._counted.clear()
        self._moved_to(group, changes[-1])
        return len(changes)

    def forget(self) -> None:
        """Read the checkpoints again before the next batch, and try again what had to wait."""
        self._known = None
        self._holding.clear()

    def _changes(self, group: list[Checkpoint], start: int, limit: int) -> list[Entry]:
        for checkpoint in group:
            if start and checkpoint.leaf_hash and self._reader.hash_at(start) != checkpoint.leaf_hash:
                self._reader.forget()
                raise Incomplete(checkpoint.projection, f"it reflects another history at {start}")
        try:
            return self._reader.after(start, limit)
        except Hold as hold:
            self._hold(group, hold)
            return []

    def _hold(self, group: list[Checkpoint], hold: Hold) -> None:
        for checkpoint in group:
            if checkpoint.held != str(hold):
                logger.error("projection %s holds at %s: %s", checkpoint.projection, checkpoint.position, hold)
                self._remember(msgspec.structs.replace(checkpoint, held=str(hold)))
            self._holding[checkpoint.projection] = hold

    def _room(self, group: list[Checkpoint], batch: int) -> int:
        """Stop where the next group stands, so that projections meet and then go on together."""
        ahead = [c.position for c in self._known or () if c.position > group[0].position and not c.single]
        return min([batch, *(position - group[0].position for position in ahead)])

    def _count_tried(self, group: list[Checkpoint], changes: Sequence[Entry]) -> list[Checkpoint]:
        """Count the whole group, or the first alone where it goes alone: the others go alone too, each counted in its turn."""
        first = self._count(group[0], changes)
        if not first.single:
            return [first, *(self._count(checkpoint, changes) for checkpoint in group[1:])]
        for checkpoint in group[1:]:
            if not checkpoint.single:
                self._remember(msgspec.structs.replace(checkpoint, single_until=first.single_until))
        return [first]

    def _count(self, checkpoint: Checkpoint, changes: Sequence[Entry]) -> Checkpoint:
        """Store that this is about to be tried, once for as long as the process lives through it."""
        place = (checkpoint.projection, checkpoint.position)
        if place in self._counted:
            return checkpoint
        until = checkpoint.single_until
        if checkpoint.attempts and not checkpoint.single:
            until = changes[-1].record.position
        counted = msgspec.structs.replace(checkpoint, attempts=checkpoint.attempts + 1, single_until=until)
        self._remember(counted)
        self._counted.add(place)
        return counted

    def _take_back(self, group: list[Checkpoint]) -> None:
        """The store was away: that says nothing about the events, and the process lives."""
        for checkpoint in group:
            place = (checkpoint.projection, checkpoint.position)
            if place in self._counted:
                self._remember(msgspec.structs.replace(checkpoint, attempts=checkpoint.attempts - 1))
                self._counted.discard(place)

    def _failed(self, group: list[Checkpoint], changes: Sequence[Entry], failure: ProjectionFailed) -> None:
        checkpoint = next(c for c in group if c.projection == failure.projection)
        self._take_back([c for c in group if c is not checkpoint])
        counted = (checkpoint.projection, checkpoint.position) in self._counted
        self._counted.discard((checkpoint.projection, checkpoint.position))
        if len(changes) > 1 or not checkpoint.single:
            logger.warning("%s: going event by event up to %s", failure, changes[-1].record.position)
            self._remember(msgspec.structs.replace(checkpoint, single_until=changes[-1].record.position, attempts=0))
            return
        tries = checkpoint.attempts if counted else checkpoint.attempts + 1
        if tries >= ATTEMPTS_BEFORE_PARKING:
            self._park(checkpoint, changes[0], repr(failure.error))
            return
        self._remember(msgspec.structs.replace(checkpoint, attempts=tries))
        time.sleep(0.01 * tries)

    def _park(self, checkpoint: Checkpoint, change: Entry, error: str) -> None:
        logger.error("projection %s parks event %s: %s", checkpoint.projection, change.record.position, error)
        self._store.park(checkpoint, change, error)
        self._known = None
        self._on_applied([checkpoint.projection], change.record.position)

    def _remember(self, checkpoint: Checkpoint) -> None:
        self._store.note(checkpoint)
        self._known = [checkpoint if c.projection == checkpoint.projection else c for c in self._known or ()]

    def _moved_to(self, group: list[Checkpoint], last: Entry) -> None:
        names = {checkpoint.projection for checkpoint in group}
        position = last.record.position
        self._known = [
            msgspec.structs.replace(c, position=position, attempts=0, held=None, leaf_hash=last.record.hash)
            if c.projection in names
            else c
            for c in self._known or ()
        ]
        self._on_applied(sorted(names), position)
