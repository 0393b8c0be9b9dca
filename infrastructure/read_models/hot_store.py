"""The store of the Redis read model: one script a batch writes the data and the checkpoint together."""

from collections.abc import Sequence
from typing import Any, Final

import redis

from infrastructure.log.source import Reconnecting
from infrastructure.processes.failpoints import failpoint
from infrastructure.read_models.checkpoint_rows import (
    note_checkpoint,
    park_changes,
    parked_streams,
    read_checkpoints,
    without_parked,
)
from infrastructure.read_models.hot_keys import hot_keys
from projections.engine.changes import Change, Entry, History, LogIdentity, Redaction, followed, parted
from projections.engine.checkpoint import Checkpoint
from projections.engine.port import Incomplete, Moved, ProjectionFailed, ProjectionHolds
from projections.task.hot import (
    APPLY,
    DAMAGED,
    FOLLOWS,
    NAME,
    checkpoint_value,
    read_checkpoint,
    redacted,
    write_arguments,
)


class HotStore:
    """Store of `hot_tasks`. The data and their checkpoint live in Redis; the generation and misfortunes live in Postgres.

    `generation` fixes a build of its own (a rebuild); otherwise the store follows the one that is being served. What a build
    sets aside stands under a name of its own until the build takes its place.
    """

    def __init__(
        self,
        connection: Reconnecting,
        client: redis.Redis,
        log_name: str,
        generation: int | None = None,
    ) -> None:
        self._connection = connection
        self._client = client
        self._log_name = log_name
        self._generation = generation
        self._parked_as = parked_as(generation) if generation else NAME
        self._apply = client.register_script(APPLY)

    def checkpoints(self) -> list[Checkpoint]:
        """See `Store.checkpoints`."""
        stored = read_checkpoints(self._connection.get(), [NAME])[0]
        generation = self._generation or stored.generation
        keys = hot_keys(self._log_name, generation)
        found: Any = self._client.mget([keys.checkpoint, keys.damaged])
        value, damaged = found
        if value is None:
            raise Incomplete(NAME, "Redis does not hold it")
        if damaged is not None:
            raise Incomplete(NAME, f"it is damaged: {damaged.decode(errors='replace')}")
        try:
            identity, position, leaf_hash = read_checkpoint(value)
        except ValueError:
            raise Incomplete(NAME, "its checkpoint cannot be read") from None
        if identity != stored.identity and not self._generation:
            raise Incomplete(NAME, "Redis holds that of another log or epoch")
        # What is noted in Postgres counts for the place where it was noted.
        is_noted = position == stored.position and not self._generation
        parked = parked_streams(self._connection.get(), self._parked_as) if self._generation else stored.parked
        return [
            Checkpoint(
                projection=NAME,
                identity=identity,
                position=position,
                attempts=stored.attempts if is_noted else 0,
                single_until=0 if self._generation else stored.single_until,
                held=stored.held if is_noted else None,
                parked=parked,
                leaf_hash=leaf_hash,
                generation=generation,
            )
        ]

    def begin(self, identity: LogIdentity) -> None:
        """Lay the first stone of a generation: from here on it is there, at position 0."""
        keys = hot_keys(self._log_name, self._generation or 1)
        with self._client.pipeline(transaction=True) as pipeline:
            pipeline.hset(keys.totals, "", 1)
            pipeline.set(keys.checkpoint, checkpoint_value(identity, 0, None), nx=True)
            pipeline.execute()

    def write(self, expected: Sequence[Checkpoint], entries: Sequence[Entry]) -> None:
        """See `Store.write`."""
        checkpoint = expected[0]
        wanted: list[Change[Any]] = []
        for part in parted(entries):
            if isinstance(part, Redaction):
                wanted += redacted(self._applied(checkpoint, part))
                continue
            changes = followed(part, FOLLOWS)
            wanted += [change for change in changes if change.record.stream_id not in checkpoint.parked]
            later = [change for change in changes if change.record.stream_id in checkpoint.parked]
            if later:
                self._set_aside(checkpoint, later, "an earlier event of this stream is parked")
        self._run(checkpoint, wanted, entries[-1])

    def _applied(self, checkpoint: Checkpoint, redaction: Redaction) -> list[History]:
        own = [history for history in redaction.histories() if history[0].aggregate in FOLLOWS]
        return without_parked(self._connection.get(), self._parked_as, own, checkpoint.parked)

    def _run(self, checkpoint: Checkpoint, changes: Sequence[Change[Any]], last: Entry) -> None:
        keys = hot_keys(self._log_name, checkpoint.generation)
        before = checkpoint_value(checkpoint.identity, checkpoint.position, checkpoint.leaf_hash)
        after = checkpoint_value(checkpoint.identity, last.record.position, last.record.hash)
        try:
            names, arguments = write_arguments(keys, before, after, changes)
        except Exception as error:
            raise ProjectionFailed(NAME, error) from error
        failpoint("hot.before_apply")
        failpoint("hot.in_flight")
        try:
            found = self._apply(keys=names, args=arguments)
        except redis.exceptions.ResponseError as error:
            if is_server_trouble(error):
                raise
            raise ProjectionFailed(NAME, error) from error
        failpoint("hot.after_apply")
        if found.startswith(DAMAGED):
            raise Incomplete(NAME, found.decode(errors="replace"))
        if found != after:
            raise Moved(NAME)

    def note(self, checkpoint: Checkpoint) -> None:
        """See `Store.note`. Of a build nothing is noted."""
        if not self._generation:
            note_checkpoint(self._connection.get(), checkpoint)

    def park(self, checkpoint: Checkpoint, entry: Entry, error: str) -> None:
        """See `Store.park`. Parked first: moving on before would lose the event if the process died between the two."""
        if isinstance(entry, Redaction):
            raise ProjectionHolds(NAME, f"what was erased up to {entry.record.position} cannot be taken out: {error}")
        if isinstance(entry, Change) and entry.aggregate in FOLLOWS:
            self._set_aside(checkpoint, [entry], error)
        self._run(checkpoint, [], entry)

    def _set_aside(self, checkpoint: Checkpoint, changes: Sequence[Change[Any]], error: str) -> None:
        connection = self._connection.get()
        with connection.transaction():
            # Of a generation that was replaced meanwhile nothing may be parked any more: it would stick to the new one.
            if read_checkpoints(connection, [NAME], lock=True)[0].generation != checkpoint.generation and not self._generation:
                raise Moved(NAME)
            park_changes(connection, self._parked_as, changes, error)


def parked_as(generation: int) -> str:
    """The name under which a build's parked events stand."""
    return f"{NAME}#{generation}"


def is_server_trouble(error: redis.exceptions.ResponseError) -> bool:
    """Whether Redis refuses every write at present; anything else is the fault of what was written."""
    return isinstance(error, _REFUSALS) or any(code in str(error) for code in _REFUSAL_CODES)


_REFUSALS: Final = (
    redis.exceptions.OutOfMemoryError,
    redis.exceptions.ReadOnlyError,
    redis.exceptions.NoPermissionError,
    redis.exceptions.ClusterDownError,
    redis.exceptions.MasterDownError,
    redis.exceptions.TryAgainError,
)
# The client cuts the codes off that it has classes for; older servers wrap them into a script's error.
_REFUSAL_CODES: Final = ("OOM ", "MISCONF ", "NOREPLICAS ", "READONLY ", "BUSY ", "UNKILLABLE ")
