"""Known faults that a forked child can be given, so that the tests can show that they would notice them."""

from collections.abc import Callable, Sequence

import infrastructure.hot_reader
import infrastructure.hot_store
from infrastructure.checkpoint_rows import move_checkpoints
from infrastructure.failpoints import failpoint
from infrastructure.table_store import TableStore
from projections.changes import Change
from projections.engine import Checkpoint
from projections.hot_tasks import APPLY, checkpoint_position
from workers.projector import Projecting

_COMPARISON = "if found ~= ARGV[1] then return found end\n"


def _checkpoint_first() -> None:
    """The checkpoint is committed before the batch that it stands for."""

    def write(self: TableStore, expected: Sequence[Checkpoint], changes: Sequence[Change]) -> None:
        connection = self._connection.get()
        with connection.transaction():
            move_checkpoints(connection, [checkpoint.projection for checkpoint in expected], changes[-1])
        with connection.transaction():
            for checkpoint in expected:
                failpoint("tables.inside")
                self._apply(connection, checkpoint, changes)

    TableStore.write = write


def _no_comparison() -> None:
    """The script writes whatever the checkpoint in Redis says."""
    assert _COMPARISON in APPLY
    infrastructure.hot_store.APPLY = APPLY.replace(_COMPARISON, "")


def _no_sweep() -> None:
    """Workers act on messages alone."""
    Projecting._sweep = lambda _self: None


def _missing_is_empty() -> None:
    """A read model that is not there is served as if it were complete and empty."""
    newest = [0]

    def position(value: bytes | None) -> int:
        newest[0] = max(newest[0], checkpoint_position(value) or 0)
        return newest[0]

    infrastructure.hot_reader.checkpoint_position = position
    page = infrastructure.hot_reader.READ_PAGE
    missing = "if not checkpoint then return false end"
    assert missing in page
    infrastructure.hot_reader.READ_PAGE = page.replace(missing, "if not checkpoint then checkpoint = false end")


SABOTAGE: dict[str, Callable[[], None]] = {
    "checkpoint first": _checkpoint_first,
    "no comparison": _no_comparison,
    "no sweep": _no_sweep,
    "missing is empty": _missing_is_empty,
}
