"""A mapping that cannot be used is refused with the field that is wrong."""

from datetime import UTC, datetime

import pytest

from application.importing.mapping import MappingError
from application.importing.mapping_file import read_mapping
from application.importing.rows import RowReader
from domain.task.commands import AddLabel, CompleteTask, ReopenTask
from tests.importing import HEADER, MAPPING

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def _mapping(*changes: tuple[str, str]) -> str:
    text = MAPPING
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text


def test_steps_become_commands_that_name_the_activity_as_their_reason() -> None:
    activities = read_mapping(MAPPING.encode()).activities
    assert activities["Close"] == (ReopenTask(reason="Close"), CompleteTask(reason="Close"))
    assert activities["Wait"] == (AddLabel(label="waiting", reason="Wait"),)
    assert activities["Rate"] == ("set_priority",)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('name = "sample"', 'name = "Sam ple"', "$.name"),
        ('title = "Ticket {Ticket}"', "", "`title`"),
        (
            'title = "Ticket {Ticket}"',
            'title = "x"\ncolour = "red"',
            "'colour' is no field of a mapping; its fields are name, ",
        ),
        ('title = "Ticket {Ticket}"', 'title = "{Ticket"', "title: a brace without its other half"),
        ('title = "Ticket {Ticket}"', 'title = "{}"', "title: braces that name no column"),
        ('time = "When"', 'time = "When"\nzone = "x"', "'zone' is no field of columns; its fields are case, "),
        (
            'title = "Ticket {Ticket}"',
            'title = "x"\nencoding = "utf-9"',
            "encoding: 'utf-9' is none of those that are read: utf-8, ",
        ),
        ('title = "Ticket {Ticket}"', 'title = "x"\nencoding = "hex"', "encoding: 'hex' is none of those"),
        ('title = "Ticket {Ticket}"', 'title = "x"\ndelimiter = \'"\'', "delimiter: "),
        ('time = "When"', "time = 3", "$.columns.time"),
        ('case = "Ticket"\n', "", "`case`"),
        ('activity = ["Step"]', "activity = []", "$.columns.activity"),
        (
            '"1" = "low"',
            '"1" = "lowest"',
            "priority.values.'1': 'lowest' is no priority; the priorities are none, low, medium, high, urgent",
        ),
        ('["cancel"]', '["abandon"]', "activities.'Drop': 'abandon' is no step; the steps are start, stop, complete, "),
        ('["cancel"]', '"cancel"', "activities.'Drop': its steps stand in a list"),
        (
            '["cancel"]',
            '[{ confirm = "shut" }]',
            "'shut' is no status; the statuses are open, in_progress, completed, cancelled",
        ),
        ('["cancel"]', '[{ add_label = "a", remove_label = "b" }]', "activities.'Drop'"),
        ('["cancel"]', '[{ add_label = "" }]', "activities.'Drop'"),
        ('["cancel"]', '[{ paint = "a" }]', "activities.'Drop'"),
        ('"Drop" =', '"" =', "activities.''"),
        ('resource = "Who"\n', "", "columns.resource"),
        (
            "[priority]",
            '[time]\ntimezone = "Mars/Olympus"\n[priority]',
            "time.timezone: there is no time zone 'Mars/Olympus'; zones are named as in",
        ),
        ("[priority]", "[priority", "line"),
        ("[priority]", f"wide = {'9' * 5_000}\n[priority]", "the mapping is not valid TOML: Exceeds the limit"),
    ],
)
def test_a_wrong_field_is_named(old: str, new: str, named: str) -> None:
    with pytest.raises(MappingError) as refusal:
        read_mapping(_mapping((old, new)).encode())
    assert named in str(refusal.value)


def test_setting_a_priority_needs_the_column_that_tells_it() -> None:
    start = MAPPING.index("[priority]")
    text = MAPPING[:start] + MAPPING[MAPPING.index("[activities]") :]
    with pytest.raises(MappingError, match=r"^priority: "):
        read_mapping(text.encode())


def test_a_column_that_the_file_lacks_is_named() -> None:
    mapping = read_mapping(_mapping(('"Severity"', '"Urgency"')).encode())
    with pytest.raises(MappingError, match="'Urgency' is not in the file"):
        RowReader(mapping, HEADER, NOW)


def test_a_repeated_column_is_refused_only_where_the_mapping_names_it() -> None:
    RowReader(read_mapping(MAPPING.encode()), HEADER, NOW)
    mapping = read_mapping(_mapping(("{Ticket}", "{Kind}")).encode())
    with pytest.raises(MappingError, match="'Kind' stands 2 times"):
        RowReader(mapping, HEADER, NOW)


def test_a_file_whose_columns_another_character_separates_is_told_so() -> None:
    with pytest.raises(MappingError, match="is its delimiter ';'"):
        RowReader(read_mapping(MAPPING.encode()), [";".join(HEADER)], NOW)


def test_the_files_own_words_are_told_without_what_a_terminal_would_obey() -> None:
    with pytest.raises(MappingError) as refusal:
        RowReader(read_mapping(MAPPING.encode()), ["\x1b[2J", "x" * 9_000] * 500, NOW)
    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) < 4_000


@pytest.mark.parametrize(
    ("form", "why"),
    [
        ("%d.%m.%y %H:%M", "a year of two digits may be of any century"),
        ("%Y-%m-%d %H:%M %Z", "name it in time.timezone"),
        ("%Y-%j %H:%M %G", "cannot be honoured"),
        ("%c", "cannot be honoured"),
        ("%Y-%m-%d %-H:%M", "cannot be honoured"),
        ("%Y-%m-%d %", "cannot be honoured"),
        ("%j %H:%M", "has no year"),
        ("%d.%m. %H:%M", "has no year"),
        ("%Y-%m", "has no month (%m, %b or %B) with a day"),
        ("%Y %d", "has no month (%m, %b or %B) with a day"),
        ("%Y-%j-%d", "both a day of the year"),
        ("%Y-%m-%b-%d", "in two ways"),
        ("%Y-%m-%d %H %I %p", "in two ways"),
        ("%Y-%m-%d %I:%M", "needs the half of the day"),
        ("%Y-%m-%d %H:%M %p", "needs the half of the day"),
        ("%Y-%m-%d %M", "a smaller part of the time of day"),
        ("%Y-%m-%d %H:%S", "a smaller part of the time of day"),
        ("%Y-%m-%d %Y", "%Y stands twice"),
    ],
)
def test_a_format_that_leaves_something_open_is_refused_when_the_mapping_is_read(form: str, why: str) -> None:
    with pytest.raises(MappingError) as refusal:
        read_mapping(_mapping(("[priority]", f'[time]\nformat = "{form}"\n[priority]')).encode())
    assert str(refusal.value).startswith("time.format: ")
    assert why in str(refusal.value)


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("iso", "2020-03-02T08:05:00+01:00"),
        ("%d.%m.%Y %H:%M", "02.03.2020 07:05"),
        ("%Y-%j %H:%M", "2020-062 07:05"),
        ("%a, %d %b %Y %I:%M %p %z", "Mon, 02 Mar 2020 08:05 AM +0100"),
        ("%Y/%m/%d %H:%M:%S.%f", "2020/03/02 07:05:00.000"),
        ("100%% %Y-%m-%d %H:%M", "100% 2020-03-02 07:05"),
    ],
)
def test_a_format_that_says_everything_is_read(form: str, text: str) -> None:
    mapping = read_mapping(_mapping(("[priority]", f'[time]\nformat = "{form}"\n[priority]')).encode())
    assert mapping.readings(text) == (datetime(2020, 3, 2, 7, 5, tzinfo=UTC),) * 2


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("%a %d.%m.%Y", "Tue 02.03.2020"),
        ("%d.%m.%Y", "31.02.2020"),
        ("%d.%m.%Y", "\uff10\uff12.03.2020"),
        ("%d.%m.%Y", "02.03.2020 "),
    ],
)
def test_a_time_that_is_not_what_the_format_says_is_refused(form: str, text: str) -> None:
    mapping = read_mapping(_mapping(("[priority]", f'[time]\nformat = "{form}"\n[priority]')).encode())
    with pytest.raises(ValueError, match="is not a time as the mapping describes it"):
        mapping.readings(text)
