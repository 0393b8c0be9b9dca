"""The checkpoint of a projection: its place in the log."""

from uuid import UUID

import msgspec

from projections.engine.changes import LogIdentity


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """How far a projection has come, in which log, and how it fares there.

    `attempts` counts failed tries at the next event, `single_until` is the position up to which it goes event by event, `held`
    says why it waits, `parked` names the streams whose events are set aside. `generation` counts the builds of the whole read
    model, `replays` how often events that had been set aside were applied later.
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
    replays: int = 0

    @property
    def single(self) -> bool:
        """Whether it goes event by event at present."""
        return self.single_until > self.position
