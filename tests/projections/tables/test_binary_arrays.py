"""Arrays in PostgreSQL's binary format: the server reads exactly the values that were put in."""

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from projections.tables.binary_arrays import (
    Array,
    bool_array,
    bytea_array,
    date_array,
    float8_array,
    int2_array,
    int4_array,
    int8_array,
    signed_int4_array,
    text_array,
    timestamptz_array,
    uuid_array,
)

MAKERS: dict[str, tuple[Callable[[Any], Array], Sequence[object]]] = {
    "int4": (int4_array, (0, 1, 255, 256, 2**31 - 1)),
    "integer": (signed_int4_array, (0, 1, -1, None, 2**31 - 1, -(2**31))),
    "int8": (int8_array, (0, 1, -1, None, 2**31, 2**63 - 1, -(2**63))),
    "smallint": (int2_array, (0, -1, None, 2**15 - 1, -(2**15))),
    "float8": (float8_array, (0.0, -1.5, None, 1e300, 0.1)),
    "boolean": (bool_array, (True, None, False)),
    "date": (date_array, (date(2000, 1, 1), date(1, 1, 1), None, date(9999, 12, 31))),
    "uuid": (uuid_array, (UUID(int=0), UUID(int=2**128 - 1), None, uuid4())),
    "text": (text_array, ("", "plain", None, 'comma, "quote" {brace} \\ NULL', "ü 漢 😀", "x" * 70_000)),
    "bytea": (bytea_array, (b"", b"\x00\xff", None, bytes(range(256)))),
    "timestamptz": (
        timestamptz_array,
        (
            datetime(2000, 1, 1, tzinfo=UTC),
            datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=UTC),
            None,
            datetime(2099, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
            datetime(2026, 11, 24, 12, tzinfo=timezone(timedelta(hours=5, minutes=30))),
        ),
    ),
}


def as_the_server_reads_it(database_url: str, element_type: str, array: Array) -> list[object]:
    with psycopg.connect(database_url) as connection:
        cursor = connection.cursor(binary=True)
        row = cursor.execute(f"SELECT %b::{element_type}[]".encode(), (array,)).fetchone()
    assert row is not None
    read: list[object] = row[0]
    return read


@pytest.mark.parametrize("element_type", MAKERS)
def test_the_server_reads_the_values_that_were_put_in(database_url: str, element_type: str) -> None:
    make, values = MAKERS[element_type]
    assert as_the_server_reads_it(database_url, element_type, make(values)) == list(values)


@pytest.mark.parametrize("element_type", MAKERS)
def test_an_array_without_elements_is_empty(database_url: str, element_type: str) -> None:
    make, _ = MAKERS[element_type]
    assert as_the_server_reads_it(database_url, element_type, make(())) == []


def test_text_that_utf_8_cannot_hold_is_refused() -> None:
    with pytest.raises(UnicodeEncodeError):
        text_array(["\ud800"])
