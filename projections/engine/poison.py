"""What becomes of an event that cannot be applied: the policy, as pure decisions.

A batch that fails is repeated event by event, and an event that failed three times alone is parked. A process that dies of an
event cannot say so afterwards: so whoever has not yet applied anything counts every try beforehand, and takes the count back
where it was the store that failed. Nothing here reads or writes; the projector stores the checkpoints that it is handed.
"""

from collections.abc import Sequence
from typing import Final, Literal

import msgspec
from msgspec.structs import replace

from projections.engine.checkpoint import Checkpoint

ATTEMPTS_BEFORE_PARKING: Final = 3
PAUSE_SECONDS: Final = 0.01


class Tries(msgspec.Struct, frozen=True):
    """What one process knows of its own tries.

    `cautious` until its first success: it may have been started in the place of one that an event has killed. `counted` are the
    places (projection, position) whose present try stands counted in the store.
    """

    cautious: bool = True
    counted: frozenset[tuple[str, int]] = frozenset()

    def without(self, checkpoints: Sequence[Checkpoint]) -> "Tries":
        """As if those places had not been counted."""
        return replace(self, counted=self.counted - {_place(checkpoint) for checkpoint in checkpoints})


class Prepared(msgspec.Struct, frozen=True):
    """How a try begins: the checkpoints to store first, and those that are tried."""

    tries: Tries
    notes: tuple[Checkpoint, ...]
    group: tuple[Checkpoint, ...]


class Verdict(msgspec.Struct, frozen=True):
    """What follows a try that failed: go `apart` (event by event), try `again` after a pause in seconds, or `park` the event.

    `failed` is the checkpoint that it is about; `notes` are those to store.
    """

    tries: Tries
    what: Literal["apart", "again", "park"]
    failed: Checkpoint
    notes: tuple[Checkpoint, ...]
    pause: float = 0.0


def is_exhausted(checkpoint: Checkpoint, is_owner: bool) -> bool:
    """Whether the next event is parked untried. Only an owner may: a second owner's unfinished try looks like a dead one's."""
    return is_owner and checkpoint.single and checkpoint.attempts >= ATTEMPTS_BEFORE_PARKING


def before_trying(tries: Tries, group: Sequence[Checkpoint], last: int, is_owner: bool) -> Prepared:
    """Whom to try on the events up to the position `last`, and what to store beforehand.

    A group that goes event by event is tried one at a time: the others go alone too, each counted in its turn.
    """
    notes: tuple[Checkpoint, ...] = ()
    tried = tuple(group)
    if is_owner and (tries.cautious or group[0].single):
        first = _counted(tries, group[0], last)
        if first.single:
            others = tuple(replace(each, single_until=first.single_until) for each in group[1:] if not each.single)
            tried = (first,)
        else:
            others = ()
            tried = (first, *(_counted(tries, each, last) for each in group[1:]))
        notes = (*(each for each in tried if each not in group), *others)
        tries = replace(tries, counted=tries.counted | {_place(each) for each in tried})
    return Prepared(tries, notes, tried[:1] if tried[0].single else tried)


def after_success() -> Tries:
    """This process lives and applies: no event has killed it."""
    return Tries(cautious=False)


def after_trouble(tries: Tries, group: Sequence[Checkpoint]) -> tuple[Tries, tuple[Checkpoint, ...]]:
    """The store was away: that says nothing about the events, and the process lives. The notes take the counts back."""
    counted = [checkpoint for checkpoint in group if _place(checkpoint) in tries.counted]
    return tries.without(counted), tuple(replace(each, attempts=each.attempts - 1) for each in counted)


def after_failure(tries: Tries, group: Sequence[Checkpoint], projection: str, events: int, last: int) -> Verdict:
    """Applying `events` events up to the position `last` raised in `projection`; nothing of them was written."""
    failed = next(checkpoint for checkpoint in group if checkpoint.projection == projection)
    was_counted = _place(failed) in tries.counted
    tries, notes = after_trouble(tries, [checkpoint for checkpoint in group if checkpoint is not failed])
    tries = tries.without([failed])
    if events > 1 or not failed.single:
        apart = replace(failed, single_until=last, attempts=0)
        return Verdict(tries, "apart", apart, (*notes, apart))
    attempts = failed.attempts if was_counted else failed.attempts + 1
    if attempts >= ATTEMPTS_BEFORE_PARKING:
        return Verdict(tries, "park", failed, notes)
    again = replace(failed, attempts=attempts)
    return Verdict(tries, "again", again, (*notes, again), PAUSE_SECONDS * attempts)


def _counted(tries: Tries, checkpoint: Checkpoint, last: int) -> Checkpoint:
    """One try more, once for as long as the process lives through it; a second try of a batch goes event by event."""
    if _place(checkpoint) in tries.counted:
        return checkpoint
    until = last if checkpoint.attempts and not checkpoint.single else checkpoint.single_until
    return replace(checkpoint, attempts=checkpoint.attempts + 1, single_until=until)


def _place(checkpoint: Checkpoint) -> tuple[str, int]:
    return checkpoint.projection, checkpoint.position
