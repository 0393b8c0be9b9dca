"""What a row of a ticket history becomes: pure, without a database."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import pytest

from application.ports import Append
from application.ticket_import import Chunk, ImportSource, TicketHistory
from application.ticket_mapping import read_mapping
from application.ticket_rows import Rejection, RowReader, TicketRow
from domain.task_events import (
    TaskActivityLogged,
    TaskAssigned,
    TaskCancelled,
    TaskCompleted,
    TaskCreated,
    TaskEvent,
    TaskLabelAdded,
    TaskLabelRemoved,
    TaskPrioritySet,
    TaskReopened,
    TaskStarted,
)
from tests.importing import HEADER, MAPPING, OWNER, WORKSPACE, made_up_history, row

SOURCE = ImportSource(WORKSPACE, OWNER, "sample", b"m", b"f")
ANN = SOURCE.principal_id("Ann")


def _read(*rows: Sequence[str], mapping: str = MAPPING) -> tuple[list[TicketRow], list[Rejection]]:
    return RowReader(read_mapping(mapping.encode()), HEADER).rows(enumerate(rows, 2))


def _decided(*rows: Sequence[str], mapping: str = MAPPING, source: ImportSource = SOURCE) -> Chunk:
    accepted, rejected = _read(*rows, mapping=mapping)
    assert not rejected
    return TicketHistory(source, read_mapping(mapping.encode())).decide_chunk(0, accepted)


def _events(append: Append) -> list[TaskEvent]:
    return [new.event for new in append.events]


def test_the_first_row_creates_the_task_and_then_does_what_it_says() -> None:
    (append,) = _decided(row("7", "Take", "2020-01-01 10:00", "Ann", "2")).appends
    assert _events(append) == [
        TaskCreated("Ticket 7", priority="high", labels=("Ann",), reason="Take"),
        TaskAssigned(ANN, reason="Take"),
        TaskStarted(reason="Take"),
    ]
    assert [new.version for new in append.events] == [1, 2, 3]


def test_a_row_is_one_command_by_its_resource_at_its_own_time() -> None:
    _, append = _decided(row("7", "Open", "2020-01-01 10:00"), row("7", "Close", "2020-01-02 10:00+01:00", "Bo")).appends
    assert append.principal_id == SOURCE.principal_id("Bo") != ANN
    assert append.workspace_id == WORKSPACE
    assert append.correlation_id == SOURCE.import_id
    assert {new.effective_at for new in append.events} == {datetime(2020, 1, 2, 9, tzinfo=UTC)}
    assert {new.stream_id for new in append.events} == {SOURCE.task_id("7")}


def test_commands_that_change_nothing_are_dropped() -> None:
    rows = [row("7", "Take", "2020-01-01"), row("7", "Take", "2020-01-02", "Bo")]
    assert _events(_decided(*rows).appends[1]) == [TaskAssigned(SOURCE.principal_id("Bo"), reason="Take")]


def test_a_row_that_would_leave_no_event_is_logged_as_an_activity() -> None:
    rows = [row("7", "Take", "2020-01-01"), row("7", "Take", "2020-01-02"), row("7", "Note", "2020-01-03")]
    _, take, note = _decided(*rows).appends
    assert _events(take) == [TaskActivityLogged("Take", reason="Take")]
    assert _events(note) == [TaskActivityLogged("Note", reason="Note")]


def test_a_first_row_needs_no_logged_activity_beside_the_creation() -> None:
    (append,) = _decided(row("7", "Note", "2020-01-01")).appends
    assert [type(event) for event in _events(append)] == [TaskCreated]


def test_labels_come_and_go_and_priorities_follow_their_column() -> None:
    rows = [
        row("7", "Open", "2020-01-01", severity="1"),
        row("7", "Wait", "2020-01-02"),
        row("7", "Rate", "2020-01-03", severity="2"),
        row("7", "Take", "2020-01-04"),
    ]
    _, wait, rate, take = _decided(*rows).appends
    assert _events(wait) == [TaskLabelAdded("waiting", reason="Wait")]
    assert _events(rate) == [TaskPrioritySet("high", reason="Rate")]
    assert TaskLabelRemoved("waiting", reason="Take") in _events(take)


def test_a_second_closing_is_a_completion_of_its_own() -> None:
    rows = [row("7", "Close", "2020-01-01"), row("7", "Close", "2020-01-02")]
    assert _events(_decided(*rows).appends[1]) == [TaskReopened(reason="Close"), TaskCompleted(reason="Close")]


def test_a_row_that_the_rules_refuse_is_rejected_whole_and_the_next_goes_on() -> None:
    # "Drop" cancels without reopening first, which a completed task does not allow.
    rows = [row("7", "Close", "2020-01-01"), row("7", "Drop", "2020-01-02"), row("7", "Take", "2020-01-03")]
    chunk = _decided(*rows)
    assert [rejection.line for rejection in chunk.rejected] == [3]
    assert "reopen it first" in chunk.rejected[0].reason
    assert [append.events[0].version for append in chunk.appends] == [1, 3]


def test_where_the_first_row_is_refused_the_next_one_creates_the_task() -> None:
    long = MAPPING.replace('title = "Ticket {Ticket}"', 'title = "{Kind1}"')
    header = (*HEADER[:4], "Kind1", "Severity", "Kind2")
    good, bad = row("7", "Drop", "2020-01-02"), list(row("7", "Open", "2020-01-01"))
    bad[4] = "x" * 256
    mapping = read_mapping(long.encode())
    accepted, _ = RowReader(mapping, header).rows(enumerate([bad, good], 2))
    chunk = TicketHistory(SOURCE, mapping).decide_chunk(0, accepted)
    assert [(each.line, each.reason) for each in chunk.rejected] == [(2, "The title may have 255 characters.")]
    assert [type(event) for event in _events(chunk.appends[0])] == [TaskCreated, TaskCancelled]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (row("", "Open", "2020-01-01"), "no case"),
        (row("7", "Open", ""), "no time"),
        (row("7", "Open", "yesterday"), "'yesterday' is not a time as the mapping describes it"),
        (row("7", "Open", "0001-01-01T00:00+05:00"), "'0001-01-01T00:00+05:00' is not a time as the mapping describes it"),
        (row("7", "Open", "1869-01-01"), "the time '1869-01-01' is not between 1970 and 2100"),
        (row("7", "Open", "2100-01-01"), "the time '2100-01-01' is not between 1970 and 2100"),
        (row("7", "Shut", "2020-01-01"), "unknown activity 'Shut'"),
        (row("7", "Open", "2020-01-01", severity="9"), "unknown priority '9'"),
        (row("7", "Open", "2020-01-01")[:6], "6 columns instead of 7"),
        ((*row("7", "Open", "2020-01-01"), "x"), "8 columns instead of 7"),
        (row("x" * 256, "Open", "2020-01-01"), "the case has more than 255 characters"),
        (row("\0", "Open", "2020-01-01"), "the case holds the character U+0000"),
        (row("7", "Open", "2020-01-01", "\udce4"), "the resource is not text in UTF-8"),
        (row("7", "Open", "2020-01-01", "x" * 201), "the resource has more than 200 characters"),
    ],
)
def test_a_row_that_cannot_be_read_is_rejected_with_its_line_and_the_reason(bad: Sequence[str], reason: str) -> None:
    accepted, rejected = _read(row("1", "Open", "2020-01-01"), bad, row("2", "Open", "2020-01-01"))
    assert rejected == [Rejection(3, reason)]
    assert [accepted_row.line for accepted_row in accepted] == [2, 4]


def test_rows_go_by_time_over_all_cases_and_by_the_file_within_one_moment() -> None:
    accepted, _ = _read(
        row("1", "Open", "2020-01-01 10:00"),
        row("1", "Close", "2020-01-01 12:00"),
        row("2", "Open", "2020-01-01 11:00"),
        row("2", "Take", "2020-01-01 12:00"),
        row("2", "Close", "2020-01-01 12:00"),
    )
    assert [each.line for each in accepted] == [2, 4, 3, 5, 6]


def test_times_without_a_zone_are_of_the_mappings_zone() -> None:
    mapping = MAPPING.replace("[priority]", '[time]\nformat = "%d.%m.%Y %H:%M"\ntimezone = "Europe/Rome"\n[priority]')
    accepted, _ = _read(row("1", "Open", "01.07.2020 10:00"), mapping=mapping)
    assert accepted[0].at == datetime(2020, 7, 1, 8, tzinfo=UTC)


def test_a_row_without_a_resource_is_the_importing_users_and_assigns_nobody() -> None:
    (append,) = _decided(row("7", "Take", "2020-01-01", "")).appends
    assert append.principal_id == OWNER
    assert [type(event) for event in _events(append)] == [TaskCreated, TaskStarted]


def test_several_columns_make_one_activity() -> None:
    mapping = MAPPING.replace('activity = ["Step"]', 'activity = ["Step", "Severity"]').replace('"Drop"', '"Drop/2"')
    accepted, rejected = _read(row("1", "Drop", "2020-01-01", severity="2"), row("1", "Drop", "2020-01-01"), mapping=mapping)
    assert [each.activity for each in accepted] == ["Drop/2"]
    assert [each.reason for each in rejected] == ["unknown activity 'Drop/'"]


def test_every_accepted_row_counts_once_under_its_activity() -> None:
    rows = made_up_history(60)
    chunk = _decided(*rows)
    commands = {(append.command_id, new.event.reason) for append in chunk.appends for new in append.events}
    assert Counter(reason for _, reason in commands) == Counter(each[1] for each in rows) == chunk.activities


def test_ids_follow_from_what_is_imported_and_into_where() -> None:
    rows = [row("7", "Open", "2020-01-01"), row("7", "Close", "2020-01-02")]
    elsewhere = ImportSource(UUID(int=5), OWNER, "sample", b"m", b"f")
    other_file = ImportSource(WORKSPACE, OWNER, "sample", b"m", b"g")
    first, again = _decided(*rows), _decided(*rows)
    assert first == again
    assert len({append.command_id for append in first.appends}) == 2
    assert {elsewhere.task_id("7"), SOURCE.task_id("7"), SOURCE.task_id("8")} == {
        other_file.task_id("7"),
        elsewhere.task_id("7"),
        SOURCE.task_id("8"),
    }
    assert len({SOURCE.import_id, elsewhere.import_id, other_file.import_id}) == 3
