"""The columns in which rows travel to the server: their names, their types, and their values as one array each.

A statement that takes hundreds of rows takes an array a column and unnests them together.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, LiteralString

from projections.tables.binary_arrays import (
    Array,
    bool_array,
    bytea_array,
    date_array,
    float8_array,
    int2_array,
    int8_array,
    signed_int4_array,
    text_array,
    timestamptz_array,
    uuid_array,
)

_ARRAYS: Final[Mapping[str, Callable[[Sequence[Any]], Array]]] = {
    "boolean": bool_array,
    "smallint": int2_array,
    "integer": signed_int4_array,
    "bigint": int8_array,
    "float8": float8_array,
    "uuid": uuid_array,
    "text": text_array,
    "bytea": bytea_array,
    "date": date_array,
    "timestamptz": timestamptz_array,
}


class Columns:
    """Columns by name and type, such as `("due_at", "timestamptz")`; the types are those of `_ARRAYS`."""

    def __init__(self, *columns: tuple[LiteralString, LiteralString]) -> None:
        self.names = tuple(name for name, _ in columns)
        self.listed: LiteralString = ", ".join(self.names)
        """The names as a list of SQL."""
        self.unnested: LiteralString = f"unnest({', '.join([f'%b::{type_}[]' for _, type_ in columns])})"
        """What gives the rows back on the server, with a parameter a column."""
        self._makers = [_ARRAYS[type_] for _, type_ in columns]

    def arrays(self, rows: Iterable[Sequence[Any]]) -> tuple[Array, ...]:
        """The parameters of `unnested` for these rows, one value a column each."""
        columns = list(zip(*rows, strict=True)) or [()] * len(self._makers)
        return tuple([make(column) for make, column in zip(self._makers, columns, strict=True)])
