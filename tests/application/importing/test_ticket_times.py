"""Wall times where clocks are changed: the order of the file tells which of two moments is meant."""

from collections.abc import Sequence
from datetime import UTC, datetime

from application.importing.mapping_file import read_mapping
from application.importing.rows import Rejection, RowReader, TicketRow
from tests.importing import HEADER, MAPPING, row

NOW = datetime(2026, 11, 1, tzinfo=UTC)
BERLIN = MAPPING.replace("[priority]", '[time]\nformat = "%Y-%m-%d %H:%M"\ntimezone = "Europe/Berlin"\n[priority]')
SUMMER, WINTER = 0, 1


def _read(*rows: Sequence[str]) -> tuple[list[TicketRow], list[Rejection]]:
    return RowReader(read_mapping(BERLIN.encode()), HEADER, NOW).rows(enumerate(rows, 2))


def _autumn(case: str, minute: int, step: str = "Note", hour: int = 2) -> tuple[str, ...]:
    return row(case, step, f"2025-10-26 {hour:02}:{minute:02}")


def _utc(*rows: Sequence[str]) -> list[tuple[int, str]]:
    accepted, rejected = _read(*rows)
    assert not rejected
    return [(each.line, f"{each.at:%H:%M}") for each in accepted]


def test_a_time_that_existed_twice_follows_the_row_before_it() -> None:
    assert _utc(_autumn("1", 50), _autumn("1", 55), _autumn("1", 10)) == [(2, "00:50"), (3, "00:55"), (4, "01:10")]


def test_it_follows_its_own_ticket_in_a_file_that_goes_ticket_by_ticket() -> None:
    rows = [_autumn("1", 50), _autumn("1", 10), _autumn("2", 20), _autumn("2", 30)]
    assert _utc(*rows) == [(4, "00:20"), (5, "00:30"), (2, "00:50"), (3, "01:10")]


def test_it_follows_the_row_of_any_ticket_in_a_file_that_is_ordered_by_time() -> None:
    rows = [_autumn("1", 30, hour=1), _autumn("2", 50), _autumn("1", 10), _autumn("2", 5, hour=3)]
    assert _utc(*rows) == [(2, "23:30"), (3, "00:50"), (4, "01:10"), (5, "02:05")]


def test_a_file_with_the_newest_row_first_is_read_from_its_end() -> None:
    rows = [_autumn("1", 5, hour=3), _autumn("1", 10), _autumn("1", 55), _autumn("1", 50), _autumn("1", 30, hour=1)]
    assert _utc(*rows) == [(6, "23:30"), (5, "00:50"), (4, "00:55"), (3, "01:10"), (2, "02:05")]


def test_a_short_file_with_the_newest_row_first_is_recognised_by_times_that_existed_twice() -> None:
    rows = [_autumn("1", 10), _autumn("1", 50), _autumn("1", 30, hour=1)]
    assert _utc(*rows) == [(4, "23:30"), (3, "00:50"), (2, "01:10")]


def test_a_file_with_the_newest_row_first_is_recognised_by_all_its_tickets_where_none_tells_alone() -> None:
    rows = [_autumn("1", 5), _autumn("1", 50), _autumn("2", 45, hour=1), _autumn("1", 40), _autumn("3", 30, hour=1)]
    assert _utc(*rows) == [(6, "23:30"), (4, "23:45"), (5, "00:40"), (3, "00:50"), (2, "01:05")]


def test_rows_of_one_moment_stay_as_they_are_where_only_the_tickets_come_newest_first() -> None:
    rows = [_autumn("2", 8, "Open", hour=9), _autumn("2", 8, "Take", hour=9), _autumn("1", 7, "Open", hour=8)]
    accepted, _ = _read(*rows)
    assert [(each.case, each.activity) for each in accepted] == [("1", "Open"), ("2", "Open"), ("2", "Take")]


def test_rows_of_one_moment_are_reversed_in_a_file_with_the_newest_row_first() -> None:
    rows = [_autumn("1", 9, hour=9), _autumn("1", 8, "Take", hour=9), _autumn("1", 8, "Open", hour=9)]
    accepted, _ = _read(*rows)
    assert [each.activity for each in accepted] == ["Open", "Take", "Note"]


def test_a_time_that_never_was_is_refused() -> None:
    _, rejected = _read(row("1", "Open", "2026-03-29 01:59"), row("1", "Note", "2026-03-29 02:30"))
    why = "'2026-03-29 02:30' never was: the clocks of Europe/Berlin were put forward over it"
    assert rejected == [Rejection(3, "When", why)]


def test_where_the_file_is_in_no_order_the_first_reading_is_taken() -> None:
    assert _utc(_autumn("1", 30, hour=5), _autumn("1", 10)) == [(3, "00:10"), (2, "04:30")]
