"""Streams as this process last knew them, bounded in bytes: the ones that were not needed for longest go first."""

from collections import OrderedDict
from typing import Any, Final
from uuid import UUID

from application.log import Loaded

DEFAULT_BYTES: Final = 67_108_864
_FIXED: Final = 560
"""Of a stream without what its aggregate counts: the structs, ids, times and the entry. Measured with tracemalloc."""


class StreamMemory:
    """The memory behind `EventStore.recall`: it may be out of date, and appends prove what is decided on it."""

    def __init__(self, most_bytes: int = DEFAULT_BYTES) -> None:
        self._most_bytes = most_bytes
        # By the number of the id: the hash of a UUID is made in Python, each time that it is asked for.
        self._kept: OrderedDict[int, tuple[Loaded[Any], int]] = OrderedDict()
        self._bytes = 0

    @property
    def bytes(self) -> int:
        """What the remembered streams take, about."""
        return self._bytes

    def recall(self, stream_id: UUID) -> Loaded[Any] | None:
        """The stream, if it is remembered."""
        known = self._kept.get(stream_id.int)
        if known is None:
            return None
        self._kept.move_to_end(stream_id.int)
        return known[0]

    def remember(self, stream_id: UUID, loaded: Loaded[Any]) -> None:
        """Keep it unless a newer version is remembered."""
        known = self._kept.get(stream_id.int)
        if known is None or known[0].version <= loaded.version:
            self.replace(stream_id, loaded)

    def replace(self, stream_id: UUID, loaded: Loaded[Any]) -> None:
        """Keep it in any case."""
        known = self._kept.pop(stream_id.int, None)
        if known is not None:
            self._bytes -= known[1]
        size = size_of(loaded)
        self._kept[stream_id.int] = (loaded, size)
        self._bytes += size
        while self._bytes > self._most_bytes:
            self._bytes -= self._kept.popitem(last=False)[1][1]

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self._bytes = 0


def size_of(loaded: Loaded[Any]) -> int:
    """In bytes, about."""
    return _FIXED + loaded.aggregate.state_size(loaded.state)
