"""Columns of values as arrays in PostgreSQL's binary format, for statements that are sent hundreds of times a second.

psycopg asks every element of a list for its type, in Python. Here a column has one type: its array is a header and, one after
the other, each element's length and bytes (`array_recv` in PostgreSQL's arrayfuncs.c; a length of -1 is NULL).
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from struct import Struct, pack
from typing import Final
from uuid import UUID

import psycopg
from psycopg.adapt import Buffer, Dumper
from psycopg.pq import Format

_HEADER: Final = Struct(">iIIii").pack
_EMPTY: Final = Struct(">iII").pack
_LENGTH: Final = Struct(">i").pack
_NULL: Final = _LENGTH(-1)
_SIXTEEN: Final = _LENGTH(16)
_EIGHT_AND_INT8: Final = Struct(">iq").pack
_EIGHT_AND_FLOAT8: Final = Struct(">id").pack
_FOUR_AND_INT4: Final = Struct(">ii").pack
_TWO_AND_INT2: Final = Struct(">ih").pack
_BOOLS: Final = {False: _LENGTH(1) + b"\0", True: _LENGTH(1) + b"\1"}
# Length and value of a short integer, read as one long one.
_FOUR: Final = 4 << 32
_TIMES_START: Final = datetime(2000, 1, 1, tzinfo=UTC)
_DAYS_START: Final = _TIMES_START.toordinal()
_MICROSECOND: Final = timedelta(microseconds=1)


class Array:
    """A one-dimensional array, ready to be sent. Each element type has a class of its own, by which psycopg knows it."""

    __slots__ = ("data",)
    element_oid = 0

    def __init__(self, count: int, elements: bytes) -> None:
        # Whether there is a NULL among them is only a hint to the server.
        self.data = (
            _HEADER(1, 1, self.element_oid, count, 1) + elements if count else _HEADER(0, 0, self.element_oid, 0, 0)[:12]
        )


class _Bools(Array):
    element_oid = psycopg.adapters.types["bool"].oid


class _Int2s(Array):
    element_oid = psycopg.adapters.types["int2"].oid


class _Int4s(Array):
    element_oid = psycopg.adapters.types["int4"].oid


class _Int8s(Array):
    element_oid = psycopg.adapters.types["int8"].oid


class _Float8s(Array):
    element_oid = psycopg.adapters.types["float8"].oid


class _Uuids(Array):
    element_oid = psycopg.adapters.types["uuid"].oid


class _Texts(Array):
    element_oid = psycopg.adapters.types["text"].oid


class _Byteas(Array):
    element_oid = psycopg.adapters.types["bytea"].oid


class _Dates(Array):
    element_oid = psycopg.adapters.types["date"].oid


class _Timestamps(Array):
    element_oid = psycopg.adapters.types["timestamptz"].oid


class _ArrayDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: Array) -> Buffer:
        return obj.data


for _kind in (_Bools, _Int2s, _Int4s, _Int8s, _Float8s, _Uuids, _Texts, _Byteas, _Dates, _Timestamps):
    _info = psycopg.adapters.types[_kind.element_oid]
    assert _info is not None  # noqa: S101 - a type that every server has
    psycopg.adapters.register_dumper(_kind, type("_Dumper", (_ArrayDumper,), {"oid": _info.array_oid}))


def int2_array(values: Sequence[int | None]) -> Array:
    """An `int2[]`."""
    return _Int2s(len(values), b"".join([_NULL if value is None else _TWO_AND_INT2(2, value) for value in values]))


def int4_array(values: Sequence[int]) -> Array:
    """An `int4[]`; the values are not negative."""
    return _Int4s(len(values), pack(f">{len(values)}q", *[_FOUR | value for value in values]))


def signed_int4_array(values: Sequence[int | None]) -> Array:
    """An `int4[]` of any values."""
    return _Int4s(len(values), b"".join([_NULL if value is None else _FOUR_AND_INT4(4, value) for value in values]))


def int8_array(values: Sequence[int | None]) -> Array:
    """An `int8[]`."""
    return _Int8s(len(values), b"".join([_NULL if value is None else _EIGHT_AND_INT8(8, value) for value in values]))


def float8_array(values: Sequence[float | None]) -> Array:
    """A `float8[]`."""
    return _Float8s(len(values), b"".join([_NULL if value is None else _EIGHT_AND_FLOAT8(8, value) for value in values]))


def bool_array(values: Sequence[bool | None]) -> Array:
    """A `boolean[]`."""
    return _Bools(len(values), b"".join([_NULL if value is None else _BOOLS[value] for value in values]))


def uuid_array(values: Sequence[UUID | None]) -> Array:
    """A `uuid[]`."""
    return _Uuids(len(values), b"".join([_NULL if value is None else _SIXTEEN + value.int.to_bytes(16) for value in values]))


def text_array(values: Sequence[str | None]) -> Array:
    """A `text[]`; raises UnicodeEncodeError for a lone surrogate."""
    return _Texts(len(values), _sized([None if value is None else value.encode() for value in values]))


def bytea_array(values: Sequence[bytes | None]) -> Array:
    """A `bytea[]`."""
    return _Byteas(len(values), _sized(values))


def date_array(values: Sequence[date | None]) -> Array:
    """A `date[]`."""
    days = [None if day is None else day.toordinal() - _DAYS_START for day in values]
    return _Dates(len(values), b"".join([_NULL if day is None else _FOUR_AND_INT4(4, day) for day in days]))


def timestamptz_array(values: Sequence[datetime | None]) -> Array:
    """A `timestamptz[]`; the times are aware."""
    return _Timestamps(
        len(values),
        b"".join(
            [_NULL if at is None else _EIGHT_AND_INT8(8, (at - _TIMES_START) // _MICROSECOND) for at in values],
        ),
    )


def _sized(values: Sequence[bytes | None]) -> bytes:
    return b"".join([_NULL if value is None else _LENGTH(len(value)) + value for value in values])
