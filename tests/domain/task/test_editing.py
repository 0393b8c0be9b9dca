"""Changing the fields of a task, one by one or several at once: one scenario a test."""

from datetime import timedelta, timezone

import pytest

from domain.errors import RuleViolated
from domain.task.commands import (
    AddLabel,
    AssignTask,
    ChangeTask,
    ClearDueDate,
    ClearEstimate,
    CreateTask,
    DescribeTask,
    ReassignTask,
    RemoveLabel,
    RenameTask,
    SetDueDate,
    SetEstimate,
    SetPriority,
    UnassignTask,
)
from domain.task.events import (
    TaskAssigned,
    TaskCancelled,
    TaskCompleted,
    TaskCreated,
    TaskDescribed,
    TaskDueDateCleared,
    TaskDueDateSet,
    TaskEstimateCleared,
    TaskEstimateSet,
    TaskEvent,
    TaskLabelAdded,
    TaskLabelRemoved,
    TaskPrioritySet,
    TaskRenamed,
    TaskUnassigned,
)
from domain.task.rules import Task
from domain.task.values import ASSIGNEES_MAX, LABELS_MAX
from tests.domain.samples import ANA, BEN, NOON, people
from tests.specification import folded, given

CREATED = TaskCreated("Ship it")
FULL = TaskCreated("Ship it", "Mind the step", "high", NOON, (ANA,), ("paint",))


class TestRenameTask:
    def test_a_new_title_is_recorded(self) -> None:
        given(CREATED).when(RenameTask("Sail it", reason="r")).then(TaskRenamed("Sail it", reason="r"))

    def test_the_same_title_records_nothing(self) -> None:
        given(CREATED).when(RenameTask("Ship it")).then_nothing()

    def test_only_whitespace_around_it_records_nothing(self) -> None:
        given(CREATED).when(RenameTask(" Ship it\n")).then_nothing()

    @pytest.mark.parametrize("closing", [TaskCompleted(), TaskCancelled()], ids=["completed", "cancelled"])
    def test_a_closed_task_is_renamed(self, closing: TaskEvent) -> None:
        given(CREATED, closing).when(RenameTask("Sail it")).then(TaskRenamed("Sail it"))


class TestDescribeTask:
    def test_a_new_description_is_recorded(self) -> None:
        given(CREATED).when(DescribeTask("a", reason="r")).then(TaskDescribed("a", reason="r"))

    def test_an_empty_description_is_one(self) -> None:
        given(FULL).when(DescribeTask("")).then(TaskDescribed(""))

    def test_the_same_description_records_nothing(self) -> None:
        given(FULL).when(DescribeTask("Mind the step")).then_nothing()

    def test_its_whitespace_is_kept(self) -> None:
        given(CREATED).when(DescribeTask("  code\n")).then(TaskDescribed("  code\n"))


class TestSetPriority:
    def test_a_new_priority_is_recorded(self) -> None:
        given(CREATED).when(SetPriority("urgent", reason="r")).then(TaskPrioritySet("urgent", reason="r"))

    def test_the_same_priority_records_nothing(self) -> None:
        given(FULL).when(SetPriority("high")).then_nothing()


class TestSetDueDate:
    def test_a_due_date_is_recorded(self) -> None:
        given(CREATED).when(SetDueDate(NOON, reason="r")).then(TaskDueDateSet(NOON, reason="r"))

    def test_the_same_moment_elsewhere_records_nothing(self) -> None:
        elsewhere = NOON.astimezone(timezone(timedelta(hours=9)))
        given(FULL).when(SetDueDate(elsewhere)).then_nothing()


class TestClearDueDate:
    def test_a_due_date_is_cleared(self) -> None:
        given(FULL).when(ClearDueDate(reason="r")).then(TaskDueDateCleared(reason="r"))

    def test_clearing_none_records_nothing(self) -> None:
        given(CREATED).when(ClearDueDate()).then_nothing()


class TestEstimate:
    def test_an_estimate_is_recorded_0_as_well(self) -> None:
        given(CREATED).when(SetEstimate(0.0, reason="r")).then(TaskEstimateSet(0.0, reason="r"))

    def test_the_same_estimate_records_nothing(self) -> None:
        given(CREATED, TaskEstimateSet(2.0)).when(SetEstimate(2)).then_nothing()

    def test_an_estimate_is_cleared(self) -> None:
        given(CREATED, TaskEstimateSet(0.0)).when(ClearEstimate(reason="r")).then(TaskEstimateCleared(reason="r"))

    def test_clearing_none_records_nothing(self) -> None:
        given(CREATED).when(ClearEstimate()).then_nothing()

    def test_a_new_task_may_have_one(self) -> None:
        given().when(CreateTask("Ship it", estimate=2)).then(TaskCreated("Ship it", estimate=2.0))

    def test_a_change_sets_and_clears_it(self) -> None:
        given(CREATED).when(ChangeTask(estimate=0.5)).then(TaskEstimateSet(0.5))
        given(CREATED, TaskEstimateSet(0.5)).when(ChangeTask(estimate=None)).then(TaskEstimateCleared())


class TestAssignTask:
    def test_an_assignee_is_recorded(self) -> None:
        given(CREATED).when(AssignTask(ANA, reason="r")).then(TaskAssigned(ANA, reason="r"))

    def test_assigning_twice_records_nothing(self) -> None:
        given(FULL).when(AssignTask(ANA)).then_nothing()

    def test_the_last_free_place_is_taken(self) -> None:
        history = given(TaskCreated("Ship it", assignees=people(ASSIGNEES_MAX - 1)))
        history.when(AssignTask(ANA)).then(TaskAssigned(ANA))

    def test_a_full_task_takes_no_more(self) -> None:
        history = given(TaskCreated("Ship it", assignees=people(ASSIGNEES_MAX)))
        history.when(AssignTask(ANA)).then_rejected("assignees_full", RuleViolated, "assignee")

    def test_assignees_keep_the_order_of_assignment(self) -> None:
        assert folded([CREATED, TaskAssigned(BEN), TaskAssigned(ANA)]) == Task(title="Ship it", assignees=(BEN, ANA))

    def test_a_history_that_assigns_twice_still_makes_one_assignee(self) -> None:
        assert folded([CREATED, TaskAssigned(ANA), TaskAssigned(ANA)]) == Task(title="Ship it", assignees=(ANA,))


class TestReassignTask:
    def test_everybody_else_is_taken_off_it_first(self) -> None:
        history = given(TaskCreated("Ship it", assignees=people(2)))
        one, two = people(2)
        history.when(ReassignTask(ANA, reason="r")).then(
            TaskUnassigned(one, reason="r"), TaskUnassigned(two, reason="r"), TaskAssigned(ANA, reason="r")
        )

    def test_one_of_several_stays_alone(self) -> None:
        given(TaskCreated("Ship it", assignees=(ANA, BEN))).when(ReassignTask(BEN)).then(TaskUnassigned(ANA))

    def test_the_only_assignee_records_nothing(self) -> None:
        given(FULL).when(ReassignTask(ANA)).then_nothing()

    def test_a_full_task_is_reassigned(self) -> None:
        history = given(TaskCreated("Ship it", assignees=people(ASSIGNEES_MAX)))
        removed = (TaskUnassigned(each) for each in people(ASSIGNEES_MAX))
        history.when(ReassignTask(ANA)).then(*removed, TaskAssigned(ANA))


class TestUnassignTask:
    def test_an_assignee_is_removed(self) -> None:
        given(FULL).when(UnassignTask(ANA, reason="r")).then(TaskUnassigned(ANA, reason="r"))

    def test_removing_a_stranger_records_nothing(self) -> None:
        given(FULL).when(UnassignTask(BEN)).then_nothing()


class TestAddLabel:
    def test_a_label_is_recorded_without_whitespace_around_it(self) -> None:
        given(CREATED).when(AddLabel(" paint ", reason="r")).then(TaskLabelAdded("paint", reason="r"))

    def test_a_label_that_is_there_records_nothing(self) -> None:
        given(FULL).when(AddLabel("paint")).then_nothing()

    def test_upper_and_lower_case_differ(self) -> None:
        given(FULL).when(AddLabel("Paint")).then(TaskLabelAdded("Paint"))

    def test_the_last_free_place_is_taken(self) -> None:
        history = given(TaskCreated("Ship it", labels=tuple(f"l{n}" for n in range(LABELS_MAX - 1))))
        history.when(AddLabel("paint")).then(TaskLabelAdded("paint"))

    def test_a_full_task_takes_no_more(self) -> None:
        history = given(TaskCreated("Ship it", labels=tuple(f"l{n}" for n in range(LABELS_MAX))))
        history.when(AddLabel("paint")).then_rejected("labels_full", RuleViolated, "label")

    def test_labels_keep_the_order_of_addition(self) -> None:
        assert folded([CREATED, TaskLabelAdded("b"), TaskLabelAdded("a")]) == Task(title="Ship it", labels=("b", "a"))

    def test_a_history_that_adds_twice_still_makes_one_label(self) -> None:
        assert folded([CREATED, TaskLabelAdded("a"), TaskLabelAdded("a")]) == Task(title="Ship it", labels=("a",))


class TestRemoveLabel:
    def test_a_label_is_removed(self) -> None:
        given(FULL).when(RemoveLabel(" paint", reason="r")).then(TaskLabelRemoved("paint", reason="r"))

    def test_removing_one_that_is_not_there_records_nothing(self) -> None:
        given(FULL).when(RemoveLabel("Paint")).then_nothing()


class TestChangeTask:
    def test_an_empty_change_records_nothing(self) -> None:
        given(FULL).when(ChangeTask(reason="r")).then_nothing()

    def test_what_is_the_same_is_not_recorded(self) -> None:
        given(FULL).when(
            ChangeTask(
                title="Ship it", description="Mind the step", priority="high", due_at=NOON, assignees=(ANA,), labels=("paint",)
            )
        ).then_nothing()

    def test_each_changed_field_is_an_event_with_the_reason(self) -> None:
        later = NOON + timedelta(days=1)
        given(FULL).when(
            ChangeTask(
                title="Sail it", description="", priority="low", due_at=later, assignees=(BEN,), labels=("wood",), reason="r"
            )
        ).then(
            TaskRenamed("Sail it", reason="r"),
            TaskDescribed("", reason="r"),
            TaskPrioritySet("low", reason="r"),
            TaskDueDateSet(later, reason="r"),
            TaskUnassigned(ANA, reason="r"),
            TaskAssigned(BEN, reason="r"),
            TaskLabelRemoved("paint", reason="r"),
            TaskLabelAdded("wood", reason="r"),
        )

    def test_only_the_changed_field_is_recorded(self) -> None:
        given(FULL).when(ChangeTask(title="Ship it", priority="low")).then(TaskPrioritySet("low"))

    def test_a_due_date_of_null_clears_it(self) -> None:
        given(FULL).when(ChangeTask(due_at=None)).then(TaskDueDateCleared())

    def test_those_who_stay_are_not_recorded(self) -> None:
        given(FULL).when(ChangeTask(assignees=(BEN, ANA))).then(TaskAssigned(BEN))

    def test_another_order_of_labels_records_nothing(self) -> None:
        given(TaskCreated("Ship it", labels=("a", "b"))).when(ChangeTask(labels=("b", "a"))).then_nothing()

    def test_full_assignees_are_exchanged_for_as_many(self) -> None:
        before, after = people(ASSIGNEES_MAX), people(ASSIGNEES_MAX, first=100)
        given(TaskCreated("Ship it", assignees=before)).when(ChangeTask(assignees=after)).then(
            *(TaskUnassigned(each) for each in before), *(TaskAssigned(each) for each in after)
        )

    def test_one_bad_field_refuses_the_whole_change(self) -> None:
        given(FULL).when(ChangeTask(title="Sail it", labels=("",))).then_rejected("text_empty", field="labels")


def test_what_a_history_holds_twice_is_removed_once() -> None:
    twice = TaskCreated("Ship it", assignees=(ANA, ANA), labels=("a", "a"))
    command = ChangeTask(assignees=(), labels=())
    given(twice).when(command).then(TaskUnassigned(ANA), TaskLabelRemoved("a"))
