"""The projection engine: advances read models behind the log, exactly once an event, whatever fails.

A projector advances the projections that share one store. Every batch is written together with its checkpoint, and only
if the stored checkpoint is still exactly where the batch begins; so two owners, a repeated job or a crash in between
change nothing. What becomes of an event that cannot be applied, `poison` decides. Groups of projections that are far apart
take turns, so that one that begins at 0 holds up nobody; one that has to wait, for a release that knows an event or for its
tables, does not either.
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence

import msgspec

from projections.engine.changes import ChangeReader, Entry
from projections.engine.checkpoint import Checkpoint
from projections.engine.failures import failure_told
from projections.engine.poison import Tries, after_failure, after_success, after_trouble, before_trying, is_exhausted
from projections.engine.port import Hold, Incomplete, Moved, ProjectionFailed, ProjectionHolds, Store

logger = logging.getLogger("taskmaster.projections")

BATCH = 1_000
"""While there are fewer, each reading takes what there is. More at a time are cheaper: what changes twice is written once."""


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
        self._tries = Tries()
        self._holding: dict[str, Hold] = {}
        self._turns: dict[str, int] = {}
        self.is_owner = True
        """Whether nobody else does this work at the same time; see `poison.is_exhausted`."""

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
        if is_exhausted(group[0], self.is_owner):
            self._park(group[0], changes[0], "failed or killed the worker three times")
            return 1
        prepared = before_trying(self._tries, group, changes[-1].record.position, self.is_owner)
        self._note(prepared.tries, prepared.notes)
        group = list(prepared.group)
        if group[0].single:
            changes = changes[:1]
        try:
            self._store.write(group, changes)
        except ProjectionFailed as failure:
            self._failed(group, changes, failure)
            return 1
        except Exception as error:
            tries, uncounted = after_trouble(self._tries, group)
            self._note(tries, uncounted)
            if not isinstance(error, Hold) or isinstance(error, ProjectionHolds):
                raise
            # What was erased is of streams whose events are not known here.
            known = {checkpoint.projection: checkpoint for checkpoint in (*group, *uncounted)}
            self._hold(list(known.values()), error)
            return 0
        self._tries = after_success()
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

    def _failed(self, group: list[Checkpoint], changes: Sequence[Entry], failure: ProjectionFailed) -> None:
        last = changes[-1].record.position
        verdict = after_failure(self._tries, group, failure.projection, len(changes), last)
        self._note(verdict.tries, verdict.notes)
        if verdict.what == "park":
            self._park(verdict.failed, changes[0], failure_told(failure.error))
        elif verdict.what == "apart":
            logger.warning("%s: going event by event up to %s", failure, last)
        else:
            time.sleep(verdict.pause)

    def _park(self, checkpoint: Checkpoint, change: Entry, error: str) -> None:
        logger.error("projection %s parks event %s: %s", checkpoint.projection, change.record.position, error)
        self._store.park(checkpoint, change, error)
        self._known = None
        self._on_applied([checkpoint.projection], change.record.position)

    def _note(self, tries: Tries, notes: Iterable[Checkpoint]) -> None:
        for checkpoint in notes:
            self._remember(checkpoint)
        self._tries = tries

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
