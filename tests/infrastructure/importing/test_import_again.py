"""Importing again: exports that grew, were corrected, reordered or encoded otherwise add exactly what is new in them."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from infrastructure.importing.tickets import ImportRequest, ImportSummary, import_tickets
from infrastructure.log.verify import verify_log
from infrastructure.servers.postgres import connect_sync
from tests.importing import EMAIL, MAPPING, add_owner, as_csv, files, log_rows, recorded_events, rename

HEADER = ("Ticket", "Step", "Who", "When", "Title", "Severity", "Area")
MAPPED = MAPPING.replace('"Ticket {Ticket}"', '"{Title}"').replace("ticket:{Ticket}", "area:{Area}")


@pytest.fixture
def log_url(database_url: str) -> str:
    """A database whose log `main` is empty and where EMAIL owns a workspace."""
    add_owner(database_url)
    return database_url


Cells = tuple[str, ...]


def _row(case: str, step: str, day: int, title: str = "Screen", severity: str = "1", area: str = "web") -> Cells:
    return (case, step, "Ann", f"2026-03-{day:02}", title, severity, area)


def _import(log_url: str, folder: Path, *rows: Sequence[str], mapping: str = MAPPED, encoding: str = "") -> ImportSummary:
    content = as_csv(rows, HEADER)
    if encoding:
        content, mapping = content.decode().encode(encoding), f'encoding = "{encoding}"\n{mapping}'
    return import_tickets(log_url, "", "main", ImportRequest(*files(folder, content, mapping), EMAIL))


def _added(log_url: str, before: int) -> list[tuple[str, str]]:
    """Type and day of the events after a position."""
    return log_rows(
        log_url,
        "SELECT topic, to_char(effective_at AT TIME ZONE 'UTC', 'MM-DD') FROM events WHERE notification_id > %s "
        "ORDER BY notification_id",
        before,
    )


MARCH = [_row("1", "Open", 2), _row("2", "Open", 3), _row("1", "Take", 4)]


def test_new_rows_of_known_tickets_and_new_tickets_are_appended(log_url: str, tmp_path: Path) -> None:
    before = _import(log_url, tmp_path, *MARCH).position
    grown = _import(log_url, tmp_path, *MARCH, _row("1", "Close", 5), _row("3", "Open", 6))
    assert (grown.rows, grown.rows_before, grown.rejected) == (5, 3, [])
    assert [each for each in _added(log_url, before) if each[0] != "task.activity_logged"] == [
        ("task.completed", "03-05"),
        ("task.created", "03-06"),
    ]
    assert verify_log(log_url, "main").first_bad is None


def test_a_file_with_the_new_rows_alone_does_as_well(log_url: str, tmp_path: Path) -> None:
    before = _import(log_url, tmp_path, *MARCH).position
    _import(log_url, tmp_path, _row("1", "Close", 5, severity="2", area="desk"))
    assert [topic for topic, _ in _added(log_url, before)] == [
        "task.priority_set",
        "task.label_removed",
        "task.label_added",
        "task.completed",
    ]


@pytest.mark.parametrize("encoding", ["", "utf-16", "iso-8859-1"])
def test_another_order_encoding_line_end_or_comment_adds_nothing(log_url: str, tmp_path: Path, encoding: str) -> None:
    rows = [_row("1", "Open", 2, "Größe"), *MARCH[1:], _row("1", "Wait", 4, "Größe"), _row("1", "Wait", 4, "Größe")]
    _import(log_url, tmp_path, *rows)
    before = recorded_events(log_url)
    again = _import(log_url, tmp_path, *reversed(rows), mapping=f"# later\n{MAPPED}# end\n", encoding=encoding)
    assert (again.events, again.rows_before, again.rejected) == (0, len(rows), [])
    assert recorded_events(log_url) == before


def test_the_same_text_in_another_unicode_form_adds_nothing(log_url: str, tmp_path: Path) -> None:
    _import(log_url, tmp_path, _row("caf\u00e9", "Open", 2, "caf\u00e9"))
    assert _import(log_url, tmp_path, _row("cafe\u0301", "Open", 2, "cafe\u0301")).events == 0


def test_times_written_otherwise_add_nothing(log_url: str, tmp_path: Path) -> None:
    _import(log_url, tmp_path, *MARCH)
    again = [(*each[:3], f"{each[3]}T02:00:00.000+02:00", *each[4:]) for each in MARCH]
    assert _import(log_url, tmp_path, *again).events == 0


def test_a_corrected_value_of_a_ticket_is_applied_once_and_its_step_not_done_again(log_url: str, tmp_path: Path) -> None:
    before = _import(log_url, tmp_path, *MARCH).position
    corrected = [_row("1", "Open", 2, "Display"), MARCH[1], _row("1", "Take", 4, "Display")]
    first = _import(log_url, tmp_path, *corrected)
    assert _added(log_url, before) == [("task.renamed", "03-04")]
    assert (first.rejected, _import(log_url, tmp_path, *corrected).events) == ([], 0)
    assert _import(log_url, tmp_path, *corrected, _row("1", "Close", 5, "Monitor")).events == 2


def test_a_correction_that_a_later_row_overtakes_is_not_applied(log_url: str, tmp_path: Path) -> None:
    _import(log_url, tmp_path, *MARCH)
    assert _import(log_url, tmp_path, _row("1", "Open", 2, "Display"), *MARCH[1:]).events == 0


def test_a_step_that_was_missing_in_the_past_is_recorded_and_changes_nothing(log_url: str, tmp_path: Path) -> None:
    closed = [*MARCH, _row("1", "Close", 9)]
    before = _import(log_url, tmp_path, *closed).position
    late = _import(log_url, tmp_path, *closed, _row("1", "Wait", 5))
    assert late.rejected == []
    assert _added(log_url, before) == [("task.activity_logged", "03-05")]
    assert _import(log_url, tmp_path, *closed, _row("1", "Wait", 5)).events == 0


def test_a_row_that_was_refused_is_refused_again(log_url: str, tmp_path: Path) -> None:
    rows = [_row("1", "Close", 1), _row("1", "Drop", 2), _row("1", "Take", 3)]
    first = _import(log_url, tmp_path, *rows)
    again = _import(log_url, tmp_path, *rows)
    assert [each.line for each in first.rejected] == [each.line for each in again.rejected] == [3]
    assert (again.events, again.rows_before) == (0, 2)
    assert again.rejected == first.rejected


def test_a_mapping_that_keeps_more_of_a_row_adds_nothing_to_what_is_there(log_url: str, tmp_path: Path) -> None:
    _import(log_url, tmp_path, *MARCH)
    more = MAPPED + '[attributes]\nplace = "Area"\n'
    assert _import(log_url, tmp_path, *MARCH, mapping=more).events == 0
    grown = _import(log_url, tmp_path, *MARCH, _row("1", "Note", 7), mapping=more)
    assert grown.events == 1
    (state,) = log_rows(log_url, "SELECT convert_from(state, 'UTF8')::jsonb FROM events ORDER BY notification_id DESC LIMIT 1")
    assert state[0]["attributes"] == {"place": "web"}


def test_what_people_changed_meanwhile_stays(log_url: str, tmp_path: Path) -> None:
    _import(log_url, tmp_path, *MARCH)
    (task_id,) = log_rows(log_url, "SELECT originator_id FROM events WHERE notification_id = 2")[0]
    with connect_sync(log_url, "log_main") as other:
        rename(other, task_id, "renamed by hand")
    grown = _import(log_url, tmp_path, *MARCH, _row("1", "Close", 5))
    assert grown.rejected == []
    topics = log_rows(log_url, "SELECT topic FROM events WHERE originator_id = %s ORDER BY originator_version", task_id)
    assert [topic for (topic,) in topics[-2:]] == ["task.renamed", "task.completed"]


def test_rows_of_an_hour_that_existed_twice_are_known_in_any_order(log_url: str, tmp_path: Path) -> None:
    berlin = MAPPED.replace("[priority]", '[time]\nformat = "%Y-%m-%d %H:%M"\ntimezone = "Europe/Berlin"\n[priority]')
    times = (("Open", "02:50"), ("Take", "02:55"), ("Close", "02:10"))
    rows = [("1", step, "Ann", f"2025-10-26 {at}", "Screen", "1", "web") for step, at in times]
    _import(log_url, tmp_path, *rows, mapping=berlin)
    before = recorded_events(log_url)
    assert [event[9] for event in before][-1] == "task.completed"
    assert _import(log_url, tmp_path, rows[2], rows[0], rows[1], mapping=berlin).events == 0
    assert recorded_events(log_url) == before


def test_identical_rows_are_counted(log_url: str, tmp_path: Path) -> None:
    _import(log_url, tmp_path, *MARCH, _row("1", "Note", 5))
    assert _import(log_url, tmp_path, *MARCH, *[_row("1", "Note", 5)] * 3).events == 2
    assert _import(log_url, tmp_path, *MARCH, *[_row("1", "Note", 5)] * 3).events == 0
