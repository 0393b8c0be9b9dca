"""A mapping that cannot be used is refused with the field that is wrong."""

import pytest

from application.ticket_mapping import MappingError, read_mapping
from application.ticket_rows import RowReader
from domain.task_commands import AddLabel, CompleteTask, ReopenTask
from tests.importing import HEADER, MAPPING


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
        ('title = "Ticket {Ticket}"', 'title = "x"\ncolour = "red"', "`colour`"),
        ('time = "When"', "time = 3", "$.columns.time"),
        ('case = "Ticket"\n', "", "`case`"),
        ('activity = ["Step"]', "activity = []", "$.columns.activity"),
        ('"1" = "low"', '"1" = "lowest"', "$.priority.values"),
        ('["cancel"]', '["abandon"]', "activities.'Drop'"),
        ('["cancel"]', '[{ add_label = "a", remove_label = "b" }]', "activities.'Drop'"),
        ('["cancel"]', '[{ add_label = "" }]', "activities.'Drop'"),
        ('["cancel"]', '[{ paint = "a" }]', "activities.'Drop'"),
        ('"Drop" =', '"" =', "activities.''"),
        ('resource = "Who"\n', "", "columns.resource"),
        ("[priority]", '[time]\ntimezone = "Mars/Olympus"\n[priority]', "time.timezone"),
        ("[priority]", "[priority", "line"),
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
        RowReader(mapping, HEADER)


def test_a_repeated_column_is_refused_only_where_the_mapping_names_it() -> None:
    RowReader(read_mapping(MAPPING.encode()), HEADER)
    mapping = read_mapping(_mapping(("{Ticket}", "{Kind}")).encode())
    with pytest.raises(MappingError, match="'Kind' stands 2 times"):
        RowReader(mapping, HEADER)
