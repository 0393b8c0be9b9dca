"""The bounds of every value: the last one accepted and the first one refused."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import cast
from uuid import UUID

import msgspec
import pytest

from domain.errors import InvalidValue
from domain.task.commands import (
    AddLabel,
    ChangeTask,
    CreateTask,
    DescribeTask,
    LogActivity,
    RenameTask,
    SetDueDate,
    SetEstimate,
    SetPriority,
    StartTask,
    TaskCommand,
)
from domain.task.events import (
    TaskActivityLogged,
    TaskCreated,
    TaskDescribed,
    TaskDueDateSet,
    TaskEstimateSet,
    TaskLabelAdded,
    TaskRenamed,
    TaskStarted,
)
from domain.task.rules import decide
from domain.task.values import Priority, accepted_attributes
from tests.domain.samples import ANA, NOON, people
from tests.specification import NOW, folded, given

CREATED = TaskCreated("Ship it")


def rejected(command: TaskCommand, code: str, field: str) -> None:
    given(CREATED).when(command).then_rejected(code, InvalidValue, field)


class TestTitle:
    def test_255_characters_are_accepted_whatever_surrounds_them(self) -> None:
        given(CREATED).when(RenameTask(f" {'é' * 255} ")).then(TaskRenamed("é" * 255))

    def test_256_characters_are_refused(self) -> None:
        rejected(RenameTask("x" * 256), "text_too_long", "title")

    @pytest.mark.parametrize("blank", ["", " \t\n"])
    def test_a_blank_title_is_refused(self, blank: str) -> None:
        rejected(RenameTask(blank), "text_empty", "title")

    @pytest.mark.parametrize("text", ["a\0b", "a\ud800b"])
    def test_what_cannot_be_stored_is_refused(self, text: str) -> None:
        rejected(RenameTask(text), "text_not_storable", "title")

    def test_a_new_task_obeys_too(self) -> None:
        given().when(CreateTask(" ")).then_rejected("text_empty", InvalidValue, "title")


class TestDescription:
    def test_65536_bytes_are_accepted(self) -> None:
        given(CREATED).when(DescribeTask("é" * 32_768)).then(TaskDescribed("é" * 32_768))

    def test_65537_bytes_are_refused(self) -> None:
        rejected(DescribeTask("é" * 32_768 + "x"), "text_too_long", "description")

    @pytest.mark.parametrize("text", ["\0", "\ud800"])
    def test_what_cannot_be_stored_is_refused(self, text: str) -> None:
        rejected(DescribeTask(text), "text_not_storable", "description")

    def test_a_new_task_obeys_too(self) -> None:
        command = CreateTask("Ship it", "x" * 65_537)
        given().when(command).then_rejected("text_too_long", InvalidValue, "description")


# Everything that is read as one line, by the command that sets it.
LINES = [
    (RenameTask, "title"),
    (AddLabel, "label"),
    (LogActivity, "activity"),
]
CONTROLS = ["\x1b", "\x07", "\x7f", "\x85", "\x9b", "\u202a", "\u202e", "\u2066", "\u2069", "\u206a", "\ufff9", "\ufdd0"]
CONTROLS += ["\ufffe", "\uffff", "\U0010ffff"]
INVISIBLE = [
    "\u200b",
    "\u200d\u2060",
    "\ufeff",
    "\u00ad",
    "\u3164",
    "\u2800",
    "\u034f",
    "\ufe0f",
    "\u115f \u1160",
    "\u00a0",
    "\u200f",
    "\u2065",
    "\ufff0\U000e0080",
]


class TestText:
    @pytest.mark.parametrize(("kind", "field"), LINES)
    @pytest.mark.parametrize("control", [*CONTROLS, "\t", "\n", "\r", "\u2028", "\u2029"], ids=ascii)
    def test_no_line_holds_a_control_character(self, kind: Callable[[str], TaskCommand], field: str, control: str) -> None:
        rejected(kind(f"a{control}b"), "control_character", field)

    @pytest.mark.parametrize("control", CONTROLS, ids=ascii)
    def test_neither_does_a_text_of_several_lines(self, control: str) -> None:
        rejected(DescribeTask(f"a{control}b"), "control_character", "description")
        rejected(StartTask(reason=f"a{control}b"), "control_character", "reason")

    @pytest.mark.parametrize(("kind", "field"), LINES)
    @pytest.mark.parametrize("text", INVISIBLE, ids=ascii)
    def test_a_line_of_which_nothing_can_be_seen_is_empty(
        self, kind: Callable[[str], TaskCommand], field: str, text: str
    ) -> None:
        rejected(kind(text), "text_empty", field)

    @pytest.mark.parametrize("text", INVISIBLE, ids=ascii)
    def test_a_reason_of_which_nothing_can_be_seen_is_none(self, text: str) -> None:
        given(CREATED).when(StartTask(reason=text)).then(TaskStarted())

    def test_lines_and_tabs_are_part_of_longer_texts(self) -> None:
        given(CREATED).when(DescribeTask("a\r\n\tb\n")).then(TaskDescribed("a\r\n\tb\n"))
        given(CREATED).when(StartTask(reason="a\n\tb")).then(TaskStarted(reason="a\n\tb"))

    @pytest.mark.parametrize(
        "text",
        [
            "\u05e9\u05dc\u05d5\u05dd \u200f",
            "\u0645\u06cc\u200c\u062e\u0648",
            "👩\u200d🚀",
            "❤\ufe0f",
            "e\u0301",
            "\ue000",
            "\U000dfffd",
            "漢字",
            "✓",
            "a\u200bb",
            "1",
            "𐌀",
        ],
        ids=ascii,
    )
    def test_what_people_write_is_accepted_as_it_is(self, text: str) -> None:
        given(CREATED).when(RenameTask(text)).then(TaskRenamed(text))


class TestTaskId:
    @pytest.mark.parametrize("version", range(1, 9))
    def test_a_client_may_choose_a_uuid_of_any_version(self, version: int) -> None:
        chosen = UUID(f"0195a000-0000-{version}000-8000-0000000000aa")
        given().when(CreateTask("Ship it", task_id=chosen)).then(CREATED)

    @pytest.mark.parametrize(
        "chosen",
        [UUID(int=0), UUID(int=2**128 - 1), UUID(int=7), UUID("0195a000-0000-0000-8000-0000000000aa")]
        + [UUID(f"0195a000-0000-{version}000-8000-0000000000aa") for version in "9f"]
        + [UUID(f"0195a000-0000-4000-{variant}000-0000000000aa") for variant in "07cf"],
        ids=str,
    )
    def test_what_only_looks_like_one_is_refused(self, chosen: UUID) -> None:
        given().when(CreateTask("Ship it", task_id=chosen)).then_rejected("task_id_invalid", InvalidValue, "task_id")


class TestPriority:
    def test_an_unknown_priority_is_refused(self) -> None:
        rejected(SetPriority(cast(Priority, "huge")), "unknown_priority", "priority")

    def test_a_new_task_obeys_too(self) -> None:
        command = CreateTask("Ship it", priority=cast(Priority, "huge"))
        given().when(command).then_rejected("unknown_priority", InvalidValue, "priority")


class TestDueDate:
    def test_it_is_recorded_in_utc(self) -> None:
        # Equal moments are equal in every zone; only the stored form tells them apart.
        elsewhere = SetDueDate(NOON.astimezone(timezone(timedelta(hours=9))))
        stored = msgspec.json.encode(decide(folded([CREATED]), elsewhere, NOW))
        assert stored == b'[{"type":"task.due_date_set","due_at":"2026-04-01T12:00:00Z"}]'

    def test_a_due_date_without_time_zone_is_refused(self) -> None:
        rejected(SetDueDate(NOON.replace(tzinfo=None)), "due_at_without_timezone", "due_at")

    @pytest.mark.parametrize("moment", [datetime(1970, 1, 1, tzinfo=UTC), NOW + timedelta(days=36_525)])
    def test_both_ends_of_the_range_are_accepted(self, moment: datetime) -> None:
        given(CREATED).when(SetDueDate(moment)).then(TaskDueDateSet(moment))

    @pytest.mark.parametrize(
        "moment",
        [
            datetime(1970, 1, 1, tzinfo=UTC) - timedelta(microseconds=1),
            NOW + timedelta(days=36_525, microseconds=1),
            datetime.min.replace(tzinfo=timezone(timedelta(hours=14))),
            datetime.max.replace(tzinfo=timezone(timedelta(hours=-14))),
        ],
    )
    def test_what_lies_outside_is_refused(self, moment: datetime) -> None:
        rejected(SetDueDate(moment), "due_at_out_of_range", "due_at")

    def test_a_new_task_obeys_too(self) -> None:
        command = CreateTask("Ship it", due_at=NOON.replace(tzinfo=None))
        given().when(command).then_rejected("due_at_without_timezone", InvalidValue, "due_at")


class TestEstimate:
    @pytest.mark.parametrize("points", [0.0, 0.1, 0.3, 2.5, 999.9, 1000.0])
    def test_a_number_with_one_decimal_is_accepted(self, points: float) -> None:
        given(CREATED).when(SetEstimate(points)).then(TaskEstimateSet(points))

    @pytest.mark.parametrize("points", [-0.1, 1000.1, 1e300, float("inf"), -float("inf"), float("nan"), True])
    def test_what_lies_outside_is_refused(self, points: float) -> None:
        rejected(SetEstimate(points), "estimate_out_of_range", "estimate")

    @pytest.mark.parametrize("points", [0.05, 0.25, 1 / 3, 5e-324, 0.1 + 0.2, 999.99])
    def test_what_is_finer_is_refused(self, points: float) -> None:
        rejected(SetEstimate(points), "estimate_too_fine", "estimate")

    def test_a_new_task_obeys_too(self) -> None:
        given().when(CreateTask("Ship it", estimate=0.25)).then_rejected("estimate_too_fine", InvalidValue, "estimate")

    def test_every_tenth_is_stored_as_it_is_written_and_read_back_as_that(self) -> None:
        for tenths in range(10_001):
            text = f"{tenths // 10}.{tenths % 10}"
            (event,) = decide(folded([CREATED]), SetEstimate(msgspec.json.decode(text, type=float)), NOW)
            assert msgspec.json.encode(event).decode() == f'{{"type":"task.estimate_set","estimate":{text}}}'

    @pytest.mark.parametrize("points", [0, -0.0, 2, 1000])
    def test_equal_numbers_are_stored_as_the_same_bytes(self, points: float) -> None:
        (event,) = decide(folded([CREATED]), SetEstimate(points), NOW)
        assert msgspec.json.encode(event).decode() == f'{{"type":"task.estimate_set","estimate":{abs(points):.1f}}}'


class TestLabels:
    def test_64_characters_are_accepted(self) -> None:
        given(CREATED).when(AddLabel("x" * 64)).then(TaskLabelAdded("x" * 64))

    def test_65_characters_are_refused(self) -> None:
        rejected(AddLabel("x" * 65), "text_too_long", "label")

    def test_a_blank_label_is_refused(self) -> None:
        rejected(AddLabel(" "), "text_empty", "label")

    @pytest.mark.parametrize("label", ["a\tb", "a\nb", "a\x7fb", "a\x9fb"])
    def test_a_control_character_is_refused(self, label: str) -> None:
        rejected(AddLabel(label), "control_character", "label")

    @pytest.mark.parametrize("label", ["a\0b", "a\ud800b"])
    def test_what_cannot_be_stored_is_refused(self, label: str) -> None:
        rejected(AddLabel(label), "text_not_storable", "label")

    def test_50_labels_are_accepted(self) -> None:
        labels = tuple(f"l{n}" for n in range(50))
        given().when(CreateTask("Ship it", labels=labels)).then(TaskCreated("Ship it", labels=labels))

    def test_51_labels_are_refused(self) -> None:
        rejected(ChangeTask(labels=tuple(f"l{n}" for n in range(51))), "too_many_items", "labels")

    def test_the_same_label_twice_is_refused(self) -> None:
        rejected(ChangeTask(labels=("paint", " paint")), "repeated_item", "labels")


class TestAssignees:
    def test_20_assignees_are_accepted(self) -> None:
        command = CreateTask("Ship it", assignees=people(20))
        given().when(command).then(TaskCreated("Ship it", assignees=people(20)))

    def test_21_assignees_are_refused(self) -> None:
        rejected(ChangeTask(assignees=people(21)), "too_many_items", "assignees")

    def test_the_same_assignee_twice_is_refused(self) -> None:
        rejected(ChangeTask(assignees=(ANA, UUID(str(ANA)))), "repeated_item", "assignees")


class TestReason:
    def test_1000_characters_are_accepted(self) -> None:
        given(CREATED).when(StartTask(reason="x" * 1_000)).then(TaskStarted(reason="x" * 1_000))

    def test_1001_characters_are_refused(self) -> None:
        rejected(StartTask(reason="x" * 1_001), "text_too_long", "reason")

    def test_a_blank_reason_is_none(self) -> None:
        given(CREATED).when(StartTask(reason=" ")).then(TaskStarted())

    def test_what_cannot_be_stored_is_refused(self) -> None:
        rejected(StartTask(reason="\0"), "text_not_storable", "reason")

    def test_a_new_task_obeys_too(self) -> None:
        command = CreateTask("Ship it", reason="x" * 1_001)
        given().when(command).then_rejected("text_too_long", InvalidValue, "reason")


class TestAttributes:
    def test_whitespace_goes_and_a_blank_value_is_none(self) -> None:
        assert accepted_attributes({" team": "web ", "channel": " "}) == {"team": "web"}

    def test_20_of_64_and_1000_characters_are_accepted(self) -> None:
        attributes = {f"{n:064}": "x" * 1_000 for n in range(20)}
        assert accepted_attributes(attributes) == attributes

    @pytest.mark.parametrize(
        ("attributes", "code"),
        [
            ({str(n): "x" for n in range(21)}, "too_many_items"),
            ({"x" * 65: "x"}, "text_too_long"),
            ({"x": "x" * 1_001}, "text_too_long"),
            ({" ": "x"}, "text_empty"),
            ({"x": "a\0b"}, "text_not_storable"),
            ({"a\ud800b": "x"}, "text_not_storable"),
        ],
    )
    def test_what_lies_outside_is_refused(self, attributes: dict[str, str], code: str) -> None:
        with pytest.raises(InvalidValue) as refusal:
            accepted_attributes(attributes)
        assert refusal.value.code == code


class TestActivity:
    def test_255_characters_are_accepted(self) -> None:
        given(CREATED).when(LogActivity("x" * 255)).then(TaskActivityLogged("x" * 255))

    def test_256_characters_are_refused(self) -> None:
        rejected(LogActivity("x" * 256), "text_too_long", "activity")

    def test_a_blank_activity_is_refused(self) -> None:
        rejected(LogActivity(" "), "text_empty", "activity")


class TestDecodingCommands:
    """What msgspec refuses by itself, before any rule is asked."""

    DECODER = msgspec.json.Decoder(TaskCommand)

    @pytest.mark.parametrize(
        "body",
        [
            {"command": "rename", "title": "x" * 256},
            {"command": "rename", "title": ""},
            {"command": "rename", "title": "x", "colour": "red"},
            {"command": "rename", "title": None},
            {"command": "set_priority", "priority": "huge"},
            {"command": "set_due_date", "due_at": "2026-04-01T12:00:00"},
            {"command": "change", "labels": [""]},
            {"command": "change", "labels": [str(n) for n in range(51)]},
            {"command": "change", "assignees": [str(each) for each in people(21)]},
            {"command": "start", "reason": "x" * 1_001},
            {"command": "explode"},
        ],
        ids=str,
    )
    def test_a_value_out_of_bounds_is_refused(self, body: dict[str, object]) -> None:
        with pytest.raises(msgspec.ValidationError):
            self.DECODER.decode(msgspec.json.encode(body))

    def test_a_body_for_one_command_needs_no_tag(self) -> None:
        assert msgspec.json.decode(b'{"title":"x"}', type=RenameTask) == RenameTask("x")

    def test_a_field_left_out_differs_from_null(self) -> None:
        assert msgspec.json.decode(b'{"due_at":null}', type=ChangeTask) == ChangeTask(due_at=None)
        assert msgspec.json.decode(b"{}", type=ChangeTask) == ChangeTask()
