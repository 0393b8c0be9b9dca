"""Tasks as this process last knew them, bounded in bytes: the ones that were not needed for longest go first."""

from collections import OrderedDict
from sys import getsizeof
from typing import Final
from uuid import UUID

from application.log import LoadedTask

DEFAULT_BYTES: Final = 67_108_864
_FIXED: Final = 560
"""Of a task without its texts: the structs, ids, times and the entry. Measured with tracemalloc."""
_EACH: Final = 120
"""Of an assignee: a UUID with its number, and its place in the tuple."""


class TaskMemory:
    """The memory behind `EventStore.recall`: it may be out of date, and appends prove what is decided on it."""

    def __init__(self, most_bytes: int = DEFAULT_BYTES) -> None:
        self._most_bytes = most_bytes
        self._kept: OrderedDict[UUID, tuple[LoadedTask, int]] = OrderedDict()
        self._bytes = 0

    @property
    def bytes(self) -> int:
        """What the remembered tasks take, about."""
        return self._bytes

    def recall(self, stream_id: UUID) -> LoadedTask | None:
        """The task, if it is remembered."""
        known = self._kept.get(stream_id)
        if known is None:
            return None
        self._kept.move_to_end(stream_id)
        return known[0]

    def remember(self, stream_id: UUID, loaded: LoadedTask) -> None:
        """Keep it unless a newer version is remembered."""
        known = self._kept.get(stream_id)
        if known is None or known[0].version <= loaded.version:
            self.replace(stream_id, loaded)

    def replace(self, stream_id: UUID, loaded: LoadedTask) -> None:
        """Keep it in any case."""
        known = self._kept.pop(stream_id, None)
        if known is not None:
            self._bytes -= known[1]
        size = size_of(loaded)
        self._kept[stream_id] = (loaded, size)
        self._bytes += size
        while self._bytes > self._most_bytes:
            self._bytes -= self._kept.popitem(last=False)[1][1]

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self._bytes = 0


def size_of(loaded: LoadedTask) -> int:
    """In bytes, about."""
    task = loaded.task
    texts = getsizeof(task.title) + getsizeof(task.description) + sum(map(getsizeof, task.labels))
    return _FIXED + texts + _EACH * len(task.assignees)
