"""What a row of a ticket history becomes: pure, without a database."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import pytest
from msgspec.structs import replace

from application.importing.history import Chunk
from application.importing.ids import ImportSource
from application.importing.mapping_file import read_mapping
from application.importing.people import People
from application.importing.rows import Rejection, RowReader, TicketRow
from application.log import Append
from domain.task.events import (
    TaskActivityLogged,
    TaskAssigned,
    TaskCancelled,
    TaskCompleted,
    TaskCreated,
    TaskDescribed,
    TaskEvent,
    TaskLabelAdded,
    TaskLabelRemoved,
    TaskPrioritySet,
    TaskRenamed,
    TaskReopened,
    TaskStarted,
    TaskStopped,
    TaskUnassigned,
)
from tests.importing import HEADER, MAPPING, OWNER, PROJECT, SECRET, WORKSPACE, decider, made_up_history, row

NOW = datetime(2026, 11, 1, tzinfo=UTC)
SOURCE = ImportSource(WORKSPACE, OWNER, SECRET, "sample", b"f", PROJECT)
PEOPLE = People(OWNER)
ANN = PEOPLE.id_of("Ann")


def _read(*rows: Sequence[str], mapping: str = MAPPING) -> tuple[list[TicketRow], list[Rejection]]:
    return RowReader(read_mapping(mapping.encode()), HEADER, NOW).rows(enumerate(rows, 2))


def _decided(*rows: Sequence[str], mapping: str = MAPPING, source: ImportSource = SOURCE) -> Chunk:
    accepted, rejected = _read(*rows, mapping=mapping)
    assert not rejected
    return decider(source, PEOPLE, read_mapping(mapping.encode()), accepted).decide_chunk(0, accepted)


def _events(append: Append) -> list[TaskEvent]:
    """Without the project that the import adds."""
    return [replace(new.event, project_id=None) if isinstance(new.event, TaskCreated) else new.event for new in append.events]


def test_the_first_row_creates_the_task_and_then_does_what_it_says() -> None:
    (append,) = _decided(row("7", "Take", "2020-01-01 10:00", "Ann", "2")).appends
    assert _events(append) == [
        TaskCreated("Ticket 7", priority="high", labels=("ticket:7",), reason="Take"),
        TaskAssigned(ANN, reason="Take"),
        TaskStarted(reason="Take"),
    ]
    assert [new.version for new in append.events] == [1, 2, 3]


def test_a_row_is_one_command_by_its_resource_at_its_own_time() -> None:
    _, append = _decided(row("7", "Open", "2020-01-01 10:00"), row("7", "Close", "2020-01-02 10:00+01:00", "Bo")).appends
    assert append.principal_id == PEOPLE.id_of("Bo") != ANN
    assert append.workspace_id == WORKSPACE
    assert append.correlation_id == SOURCE.import_id
    assert {new.effective_at for new in append.events} == {datetime(2020, 1, 2, 9, tzinfo=UTC)}
    assert {new.stream_id for new in append.events} == {SOURCE.task_id("7")}


def test_commands_that_change_nothing_are_dropped() -> None:
    rows = [row("7", "Take", "2020-01-01"), row("7", "Take", "2020-01-02", "Bo")]
    assert _events(_decided(*rows).appends[1]) == [TaskAssigned(PEOPLE.id_of("Bo"), reason="Take")]


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
    accepted, _ = RowReader(mapping, header, NOW).rows(enumerate([bad, good], 2))
    chunk = decider(SOURCE, PEOPLE, mapping, accepted).decide_chunk(0, accepted)
    assert [(each.line, each.reason) for each in chunk.rejected] == [(2, "The title may have 255 characters.")]
    assert [type(event) for event in _events(chunk.appends[0])] == [TaskCreated, TaskCancelled]


@pytest.mark.parametrize(
    ("bad", "column", "reason"),
    [
        (row("", "Open", "2020-01-01"), "Ticket", "The ticket may not be blank."),
        (row("7", "Open", ""), "When", "no time"),
        (row("7", "Open", "yesterday"), "When", "'yesterday' is not a time as the mapping describes it"),
        (row("7", "Open", "\x1b[31m" + "x" * 99), "When", f"'\\x1b[31m{'x' * 55}'… is not a time as the mapping describes it"),
        (row("7", "Open", "0001-01-01T00:00+05:00"), "When", "'0001-01-01T00:00+05:00' is outside the calendar"),
        (row("7", "Open", "1869-01-01"), "When", "the time '1869-01-01' is before 1970"),
        (row("7", "Open", "2026-11-01T00:05:01Z"), "When", "the time '2026-11-01T00:05:01Z' lies in the future"),
        (row("7", "Shut", "2020-01-01"), "Step", "unknown activity 'Shut'"),
        (row("7", "Open", "2020-01-01", severity="9"), "Severity", "unknown priority '9'; the mapping knows '1', '2'"),
        (row("x" * 256, "Open", "2020-01-01"), "Ticket", "The ticket may have 255 characters."),
        (row("7", "Open", "2020-01-01", "\udce4"), "Who", "The resource holds a lone surrogate."),
        (row("7", "Open", "2020-01-01", "Ann\u202e"), "Who", "The resource may not hold the character U+202E."),
        (row("7", "Open", "2020-01-01", "x" * 201), "Who", "The resource may have 200 characters."),
    ],
)
def test_a_row_that_cannot_be_read_is_rejected_with_its_line_column_and_reason(
    bad: Sequence[str], column: str, reason: str
) -> None:
    accepted, rejected = _read(row("1", "Open", "2020-01-01"), bad, row("2", "Open", "2020-01-01"))
    assert rejected == [Rejection(3, column, reason)]
    assert [accepted_row.line for accepted_row in accepted] == [2, 4]


def test_an_exporting_clock_may_be_some_minutes_ahead() -> None:
    accepted, _ = _read(row("1", "Open", "2026-11-01T00:05:00Z"))
    assert len(accepted) == 1


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
    elsewhere = ImportSource(UUID(int=5), OWNER, SECRET, "sample", b"f", PROJECT)
    other_file = ImportSource(WORKSPACE, OWNER, SECRET, "sample", b"g", PROJECT)
    other_secret = ImportSource(WORKSPACE, OWNER, b"another", "sample", b"f", PROJECT)
    first, again = _decided(*rows), _decided(*rows)
    assert first == again
    assert len({append.command_id for append in first.appends}) == 2
    from_another = _decided(*rows, source=other_file)
    assert [each.command_id for each in from_another.appends] == [each.command_id for each in first.appends]
    assert SOURCE.task_id("7") == other_file.task_id("7")
    assert len({each.task_id("7") for each in (SOURCE, elsewhere, other_secret)} | {SOURCE.task_id("8")}) == 4
    assert len({source.import_id for source in (SOURCE, elsewhere, other_file, other_secret)}) == 4


def test_people_get_ids_that_do_not_follow_from_their_names() -> None:
    assert People(OWNER).id_of("Ann") != People(OWNER).id_of("Ann")
    assert PEOPLE.id_of("Ann") == ANN
    assert PEOPLE.id_of("") == OWNER


def test_people_whose_ids_were_kept_are_found_again() -> None:
    assert People(OWNER, {"Ann": ANN}).id_of("Ann") == ANN


def test_identical_rows_are_rows_of_their_own() -> None:
    appends = _decided(*[row("7", "Note", "2020-01-01")] * 3).appends
    assert len({append.command_id for append in appends}) == 3


VALUED = MAPPING.replace('"Ticket {Ticket}"', '"{Title}"\ndescription = "{Text}"').replace("ticket:{Ticket}", "area:{Area}")
VALUED += '[attributes]\nteam = "Team"\n'
VALUED_HEADER = ("Ticket", "Step", "Who", "When", "Title", "Text", "Severity", "Area", "Team")


def _valued(*rows: Sequence[str]) -> Chunk:
    mapping = read_mapping(VALUED.encode())
    accepted, rejected = RowReader(mapping, VALUED_HEADER, NOW).rows(enumerate(rows, 2))
    assert not rejected
    return decider(SOURCE, PEOPLE, mapping, accepted).decide_chunk(0, accepted)


def test_a_column_that_changes_becomes_its_event_whatever_the_step_is() -> None:
    _, second = _valued(
        ("7", "Open", "Ann", "2020-01-01", "Screen", "dark", "1", "web", ""),
        ("7", "Note", "Ann", "2020-01-02", "Display", "flickers", "2", "desk", ""),
    ).appends
    assert _events(second) == [
        TaskRenamed("Display", reason="Note"),
        TaskDescribed("flickers", reason="Note"),
        TaskPrioritySet("high", reason="Note"),
        TaskLabelRemoved("area:web", reason="Note"),
        TaskLabelAdded("area:desk", reason="Note"),
    ]


def test_a_blank_column_says_nothing() -> None:
    _, second, third = _valued(
        ("7", "Open", "Ann", "2020-01-01", "Screen", "dark", "1", "web", ""),
        ("7", "Note", "Ann", "2020-01-02", "", "", "", "", ""),
        ("7", "Note", "Ann", "2020-01-03", "Screen", "dark", "1", "desk", ""),
    ).appends
    assert [type(event) for event in _events(second)] == [TaskActivityLogged]
    assert [type(event) for event in _events(third)] == [TaskLabelRemoved, TaskLabelAdded]


def test_a_change_in_a_row_that_is_refused_is_made_by_the_next_one() -> None:
    chunk = _valued(
        ("7", "Close", "Ann", "2020-01-01", "Screen", "", "1", "", ""),
        ("7", "Drop", "Ann", "2020-01-02", "Screen", "", "2", "", ""),
        ("7", "Note", "Ann", "2020-01-03", "Screen", "", "2", "", ""),
    )
    assert [each.line for each in chunk.rejected] == [3]
    assert _events(chunk.appends[1]) == [TaskPrioritySet("high", reason="Note")]


def test_attributes_are_kept_with_every_event_of_the_row() -> None:
    first, second = _valued(
        ("7", "Take", "Ann", "2020-01-01", "Screen", "", "", "", "blue"),
        ("7", "Note", "Ann", "2020-01-02", "Screen", "", "", "", " "),
    ).appends
    assert [event.attributes for event in _events(first)] == [{"team": "blue"}] * 3
    assert [event.attributes for event in _events(second)] == [{}]


def _statuses(*steps: str, first: str = "Open") -> list[type[TaskEvent]]:
    """The events of the last row, the steps of which stand in a mapping of their own."""
    activities = "".join(f'"S{n}" = {step}\n' for n, step in enumerate(steps))
    mapping = MAPPING[: MAPPING.index("[activities]")] + f'[activities]\n"{first}" = []\n{activities}'
    rows = [row("7", first, "2020-01-01"), *(row("7", f"S{n}", f"2020-01-{n + 2:02}") for n in range(len(steps)))]
    return [type(event) for event in _events(_decided(*rows, mapping=mapping).appends[-1])]


@pytest.mark.parametrize(
    ("before", "step", "events"),
    [
        ("[]", '"confirm"', [TaskCompleted]),
        ('["start"]', '"confirm"', [TaskCompleted]),
        ('["complete"]', '"confirm"', [TaskActivityLogged]),
        ('["cancel"]', '"confirm"', [TaskReopened, TaskCompleted]),
        ('["complete"]', '{ confirm = "cancelled" }', [TaskReopened, TaskCancelled]),
        ('["cancel"]', '{ confirm = "cancelled" }', [TaskActivityLogged]),
        ('["complete"]', '{ confirm = "in_progress" }', [TaskReopened, TaskStarted]),
        ('["start"]', '{ confirm = "open" }', [TaskStopped]),
        ('["complete"]', '{ confirm = "open" }', [TaskReopened]),
        ('["start"]', '"stop"', [TaskStopped]),
        ("[]", '"stop"', [TaskActivityLogged]),
    ],
)
def test_a_step_leads_to_a_status_and_does_nothing_where_it_is_so_already(
    before: str, step: str, events: list[type[TaskEvent]]
) -> None:
    assert _statuses(before, f"[{step}]") == events


def test_reassigning_makes_the_resource_the_only_assignee() -> None:
    mapping = MAPPING.replace('"assign", "start"', '"reassign", "start"')
    rows = [row("7", "Take", f"2020-01-{day:02}", f"Agent {day}") for day in range(1, 29)]
    last = _decided(*rows, mapping=mapping).appends[-1]
    assert _events(last) == [
        TaskUnassigned(PEOPLE.id_of("Agent 27"), reason="Take"),
        TaskAssigned(PEOPLE.id_of("Agent 28"), reason="Take"),
    ]
