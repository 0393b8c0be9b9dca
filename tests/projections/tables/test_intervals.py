"""Ranges in an interval tree: whatever holds a number is found on its path, once, and nothing needs more."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from projections.tables.intervals import MOMENT_BITS, POSITION_BITS, moment, node, path

NUMBERS = st.integers(1, 2**POSITION_BITS - 1)


@given(NUMBERS, NUMBERS, NUMBERS)
def test_a_range_that_holds_a_number_stands_on_its_path(one: int, other: int, third: int) -> None:
    first, number, last = sorted((one, other, third))
    assert node(first, last) in path(number)


@given(NUMBERS, NUMBERS)
def test_a_range_stands_at_a_number_inside_it(one: int, other: int) -> None:
    first, last = sorted((one, other))
    assert first <= node(first, last) <= last


@given(NUMBERS)
def test_a_path_names_each_node_once_however_high_the_tree(number: int) -> None:
    assert len(set(path(number))) == len(path(number)) == POSITION_BITS


@given(st.datetimes(timezones=st.just(UTC)))
def test_every_instant_is_a_number_of_the_tree_and_keeps_its_order(at: datetime) -> None:
    assert 1 <= moment(at) < 2**MOMENT_BITS
    assert moment(at) in path(moment(at), MOMENT_BITS)
    if at < datetime.max.replace(tzinfo=UTC):
        assert moment(at + timedelta(microseconds=1)) == moment(at) + 1
