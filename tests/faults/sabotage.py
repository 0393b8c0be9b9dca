"""Known faults that a forked child can be given, so that the tests can show that they would notice them."""

from collections.abc import Callable, Sequence
from typing import Any

import infrastructure.read_models.hot_reader
import infrastructure.read_models.hot_store
import infrastructure.read_models.rebuild
import infrastructure.read_models.task_reads
from infrastructure.processes.failpoints import failpoint
from infrastructure.read_models.checkpoint_rows import move_checkpoints
from infrastructure.read_models.hot_reader import HotReader, HotUnavailable
from infrastructure.read_models.table_store import TableStore
from infrastructure.read_models.task_reads import TaskReads
from projections import FEED
from projections.engine.changes import Change
from projections.engine.checkpoint import Checkpoint
from projections.task.hot import APPLY, HotPage, checkpoint_position
from tests.faults.skew_sabotage import SKEW_SABOTAGE
from workers.projector import Projecting

_COMPARISON = "if found ~= ARGV[1] then return found end\n"


def _checkpoint_first() -> None:
    """The checkpoint is committed before the batch that it stands for, and the feed's batch is where processes die.

    Every death then loses entries of the feed; one in another read model shows as whatever that one's loss brings about.
    """

    def write(self: TableStore, expected: Sequence[Checkpoint], changes: Sequence[Change]) -> None:
        connection = self._connection.get()
        with connection.transaction():
            move_checkpoints(connection, [checkpoint.projection for checkpoint in expected], changes[-1])
        with connection.transaction():
            for checkpoint in expected:
                if checkpoint.projection == FEED.name:
                    failpoint("tables.inside")
                self._apply(connection, checkpoint, changes)

    TableStore.write = write


def _no_comparison() -> None:
    """The script writes whatever the checkpoint in Redis says, and nobody looks whether the sums still agree."""
    look = "local why = wrong("
    assert _COMPARISON in APPLY
    assert look in APPLY
    infrastructure.read_models.hot_store.APPLY = APPLY.replace(_COMPARISON, "").replace(look, "local why = nil and wrong(")
    HotReader.mark_damaged = lambda _self, _why: None


def _no_sweep() -> None:
    """Workers act on messages alone."""
    Projecting._sweep = lambda _self: None


def _missing_is_empty() -> None:
    """A read model that is not there is served as if it were complete and empty."""
    honest, newest = HotReader.page, [0]

    async def page(self: HotReader, workspace_key: Any) -> HotPage:
        try:
            found = await honest(self, workspace_key)
        except HotUnavailable:
            return HotPage(b"[]", None, newest[0])
        newest[0] = max(newest[0], found.position)
        return found

    HotReader.page = page


def _announced_counts() -> None:
    """What was announced of a read model is believed, whatever an answer found."""
    careful = TaskReads._table

    async def table(self: TaskReads, projection: str, ask: Any, position_of: Any, wait: Any) -> Any:
        if self._positions.known(projection) >= wait.minimum:
            return await ask()
        return await careful(self, projection, ask, position_of, wait)

    TaskReads._table = table


def _any_log() -> None:
    """Redis is believed of whatever log and epoch."""
    HotReader._place = lambda _self, checkpoint: checkpoint_position(checkpoint)


def _newest_known() -> None:
    """A task that is not there is refused at the furthest position that the process has heard of."""
    honest = TaskReads.task

    async def task(self: TaskReads, *asked: Any) -> Any:
        found, position = await honest(self, *asked)
        return found, position if found else max((known for known, _ in self._positions._known.values()), default=position)

    TaskReads.task = task


def _missing_is_no() -> None:
    """A key that Redis does not hold is a task that there is not."""
    honest = HotReader.read

    async def task(self: TaskReads, workspace_id: Any, task_id: Any, wait: Any) -> Any:
        try:
            position, value = await honest(self._hot, self._hot.keys.task(workspace_id, task_id))
        except HotUnavailable:
            position, value = 0, None
        return (infrastructure.read_models.task_reads.read_task(value) if value else None), max(position, wait.minimum)

    TaskReads.task = task


def _unchecked_keys() -> None:
    """Scripts write without looking at what is there, a batch that failed half-way is applied again, and nobody leaves word."""
    HotReader.mark_damaged = lambda _self, _why: None
    check, gone = "local types = ", "redis.call('DEL', KEYS[1])\n"
    assert check in APPLY
    assert gone in APPLY
    infrastructure.read_models.hot_store.APPLY = APPLY.replace(check, f"do return nil end\n  {check}").replace(gone, "")


def _no_limits() -> None:
    """The server lets a switch that is stopped hold its locks for ever."""
    infrastructure.read_models.rebuild.SWITCH_SECONDS = 0
    infrastructure.read_models.rebuild.SILENT_SECONDS = 0


SABOTAGE: dict[str, Callable[[], None]] = {
    "checkpoint first": _checkpoint_first,
    "no comparison": _no_comparison,
    "no sweep": _no_sweep,
    "missing is empty": _missing_is_empty,
    "announced counts": _announced_counts,
    "any log": _any_log,
    "newest known": _newest_known,
    "missing is no": _missing_is_no,
    "unchecked keys": _unchecked_keys,
    "no limits": _no_limits,
    **SKEW_SABOTAGE,
}
