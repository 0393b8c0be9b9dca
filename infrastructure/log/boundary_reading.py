"""Boundaries as a process knows them: read from the log by their tag, and remembered within a bound of bytes."""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import islice
from sys import getsizeof
from typing import Any, Final, LiteralString, TypeVar

import msgspec
import psycopg

from domain import tags
from domain.boundaries import Boundary, Seen
from domain.tags import tag_id
from infrastructure.log.codec import UnknownEventType, decode, erased, is_foreign, is_strange
from infrastructure.log.tags import OtherTagScheme

B = TypeVar("B")

DEFAULT_BYTES: Final = 33_554_432
_FIXED: Final = 400
"""Of a boundary without its state: the tag, what was seen and the entry."""
_LOOKED_AT: Final = 8
"""So many elements of a collection stand for all of them."""

# The event of each tag by its position, one at a time: joined in any other way the planner reads the whole log once a boundary
# has some thousand events. The scheme comes with them from one snapshot, and by itself where there are none: tags of another
# one would say of a boundary that nothing happened to it.
OF_BOUNDARY: LiteralString = (
    "SELECT l.tag_scheme, t.position, e.topic, e.schema_version, e.state "
    "FROM (SELECT tag_scheme FROM log LIMIT 1) l LEFT JOIN event_tags t ON t.tag = %s AND t.position > %s "
    "LEFT JOIN LATERAL (SELECT topic, schema_version, state FROM events WHERE notification_id = t.position LIMIT 1) e ON true "
    "ORDER BY t.position"
)


async def read_boundary(connection: psycopg.AsyncConnection[Any], boundary: Boundary[B], seen: Seen[B]) -> Seen[B]:
    """The boundary with everything after what was seen folded onto it.

    Where the log has no event at `seen.at` with this tag any more, it is another history, and the boundary is read anew.
    Raises UnknownEventType and OtherTagScheme.
    """
    cursor = connection.cursor(binary=True)
    await cursor.execute(OF_BOUNDARY, (tag_id(boundary.tag), seen.at - 1), prepare=True)
    rows = await cursor.fetchall()
    if seen.at and (not rows or rows[0][1] != seen.at):
        return await read_boundary(connection, boundary, Seen(boundary.initial, 0))
    return folded(boundary, seen, rows)


def folded(boundary: Boundary[B], seen: Seen[B], rows: Iterable[Sequence[Any]]) -> Seen[B]:
    """The boundary with rows of OF_BOUNDARY folded onto what was seen. Raises UnknownEventType and OtherTagScheme."""
    state, at = seen.state, seen.at
    for scheme, position, topic, schema_version, stored in rows:
        if scheme != tags.TAG_SCHEME:
            raise OtherTagScheme
        if position is not None and position > seen.at:
            at = position
            if is_strange(topic):
                # Its tag says that it matters here, and a release that knows it decides otherwise.
                raise UnknownEventType(f"event type {topic!r}, which stands in a boundary, is unknown to this release")
            if not is_foreign(topic):
                event = erased(topic) if stored is None else decode(topic, schema_version, stored)
                state = boundary.evolve(state, event)
    return Seen(state, at)


class BoundaryMemory:
    """The memory behind `EventStore.recall_boundary`: it may be out of date, and appends prove what is decided on it."""

    def __init__(self, most_bytes: int = DEFAULT_BYTES) -> None:
        self._most_bytes = most_bytes
        self._kept: OrderedDict[str, tuple[Seen[Any], int]] = OrderedDict()
        self._bytes = 0

    @property
    def bytes(self) -> int:
        """What the remembered boundaries take, about."""
        return self._bytes

    def recall(self, boundary: Boundary[B]) -> Seen[B] | None:
        """The boundary, if it is remembered."""
        known = self._kept.get(boundary.tag)
        if known is None:
            return None
        self._kept.move_to_end(boundary.tag)
        return known[0]

    def remember(self, boundary: Boundary[B], seen: Seen[B]) -> None:
        """Keep it unless more of it is remembered."""
        known = self._kept.get(boundary.tag)
        if known is None or known[0].at <= seen.at:
            self.replace(boundary, seen)

    def replace(self, boundary: Boundary[B], seen: Seen[B]) -> None:
        """Keep it in any case."""
        known = self._kept.pop(boundary.tag, None)
        if known is not None:
            self._bytes -= known[1]
        size = _FIXED + len(boundary.tag) + size_of(seen.state)
        self._kept[boundary.tag] = (seen, size)
        self._bytes += size
        while self._bytes > self._most_bytes:
            self._bytes -= self._kept.popitem(last=False)[1][1]

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self._bytes = 0


def size_of(value: object, depth: int = 4) -> int:
    """In bytes, about: of a large collection only the first elements are looked at, so that this takes microseconds."""
    size = getsizeof(value)
    if depth == 0 or isinstance(value, str | bytes):
        return size
    if isinstance(value, msgspec.Struct):
        return size + sum(size_of(getattr(value, field), depth - 1) for field in value.__struct_fields__)
    if isinstance(value, Mapping):
        return size + _of_elements(value.keys(), depth) + _of_elements(value.values(), depth)
    if isinstance(value, Collection):
        return size + _of_elements(value, depth)
    return size


def _of_elements(elements: Collection[Any], depth: int) -> int:
    if not elements:
        return 0
    looked_at = [size_of(element, depth - 1) for element in islice(elements, _LOOKED_AT)]
    return len(elements) * sum(looked_at) // len(looked_at)
