"""Pages of lists: where one ended, and what was on it."""

from typing import Any

import msgspec


class ListCursor(msgspec.Struct, frozen=True, array_like=True):
    """Where a page ended: the last row's sort value (None in an order by creation alone or without one) and its creation's
    position."""

    value: Any
    created_position: int


class Page(msgspec.Struct, frozen=True):
    """One page: the rows' JSON, where it ended (None on the last page), and the position that it reflects."""

    items: list[bytes]
    after: ListCursor | None
    position: int
