"""Creating, moving through the statuses, deleting, logging: one scenario a test."""

import pytest

from domain.errors import NotFound, RuleViolated
from domain.task.aggregate import TASK
from domain.task.commands import (
    AddLabel,
    AssignTask,
    CancelTask,
    ChangeTask,
    ClearDueDate,
    ClearEstimate,
    CompleteTask,
    CreateTask,
    DeleteTask,
    DescribeTask,
    LogActivity,
    MoveTask,
    ReassignTask,
    RemoveLabel,
    RenameTask,
    ReopenTask,
    RestoreTask,
    SetDueDate,
    SetEstimate,
    SetPriority,
    StartTask,
    StopTask,
    TaskCommand,
    UnassignTask,
)
from domain.task.events import (
    TaskActivityLogged,
    TaskCancelled,
    TaskCompleted,
    TaskCreated,
    TaskDeleted,
    TaskEvent,
    TaskRenamed,
    TaskReopened,
    TaskRestored,
    TaskStarted,
    TaskStopped,
)
from domain.task.rules import Task
from tests.domain.samples import ANA, NOON
from tests.specification import folded, given

CREATED = TaskCreated("Ship it")

ALL_BUT_CREATE: tuple[TaskCommand, ...] = (
    ChangeTask(title="Sail it"),
    RenameTask("Sail it"),
    DescribeTask("Mind the step"),
    SetPriority("high"),
    SetDueDate(NOON),
    ClearDueDate(),
    AssignTask(ANA),
    ReassignTask(ANA),
    UnassignTask(ANA),
    AddLabel("paint"),
    RemoveLabel("paint"),
    SetEstimate(2.5),
    ClearEstimate(),
    StartTask(),
    StopTask(),
    CompleteTask(),
    ReopenTask(),
    CancelTask(),
    DeleteTask(),
    RestoreTask(),
    MoveTask(ANA),
    LogActivity("looked at it"),
)


def named(command: TaskCommand) -> str:
    return type(command).__name__


def test_every_command_but_the_creating_one_is_tried_here() -> None:
    assert sorted(map(named, ALL_BUT_CREATE)) == sorted(kind.__name__ for kind in TASK.commands - TASK.creates)


class TestCreateTask:
    def test_a_title_is_enough(self) -> None:
        given().when(CreateTask("Ship it")).then(TaskCreated("Ship it"))

    def test_every_field_is_recorded(self) -> None:
        command = CreateTask("Ship it", "Mind the step", "high", NOON, (ANA,), ("paint",), reason="asked for")
        event = TaskCreated("Ship it", "Mind the step", "high", NOON, (ANA,), ("paint",), reason="asked for")
        given().when(command).then(event)

    def test_an_existing_task_is_not_created_again(self) -> None:
        given(CREATED).when(CreateTask("Ship it")).then_rejected("task_exists", RuleViolated)

    def test_a_deleted_task_is_not_created_again(self) -> None:
        given(CREATED, TaskDeleted()).when(CreateTask("Ship it")).then_rejected("task_exists", RuleViolated)

    def test_a_created_task_is_open(self) -> None:
        assert folded([CREATED]) == Task(title="Ship it", status="open")


class TestMissingTask:
    @pytest.mark.parametrize("command", ALL_BUT_CREATE, ids=named)
    def test_everything_but_creating_finds_no_task(self, command: TaskCommand) -> None:
        given().when(command).then_rejected("task_not_found", NotFound)


class TestDeletedTask:
    @pytest.mark.parametrize("command", [c for c in ALL_BUT_CREATE if not isinstance(c, DeleteTask | RestoreTask)], ids=named)
    def test_everything_but_restoring_is_refused(self, command: TaskCommand) -> None:
        given(CREATED, TaskDeleted()).when(command).then_rejected("task_deleted", RuleViolated)


class TestStartTask:
    def test_an_open_task_is_started(self) -> None:
        given(CREATED).when(StartTask(reason="my turn")).then(TaskStarted(reason="my turn"))

    def test_starting_twice_records_nothing(self) -> None:
        given(CREATED, TaskStarted()).when(StartTask()).then_nothing()

    def test_a_completed_task_is_not_started(self) -> None:
        given(CREATED, TaskCompleted()).when(StartTask()).then_rejected("task_closed", RuleViolated)

    def test_a_cancelled_task_is_not_started(self) -> None:
        given(CREATED, TaskCancelled()).when(StartTask()).then_rejected("task_closed", RuleViolated)


class TestStopTask:
    def test_a_started_task_is_open_again(self) -> None:
        given(CREATED, TaskStarted()).when(StopTask(reason="parts missing")).then(TaskStopped(reason="parts missing"))
        assert folded([CREATED, TaskStarted(), TaskStopped()]) == Task(title="Ship it", status="open")

    def test_an_open_task_stays_as_it_is(self) -> None:
        given(CREATED).when(StopTask()).then_nothing()

    def test_stopping_twice_records_nothing(self) -> None:
        given(CREATED, TaskStarted(), TaskStopped()).when(StopTask()).then_nothing()

    def test_a_stopped_task_is_started_again(self) -> None:
        given(CREATED, TaskStarted(), TaskStopped()).when(StartTask()).then(TaskStarted())

    @pytest.mark.parametrize("closing", [TaskCompleted(), TaskCancelled()], ids=["completed", "cancelled"])
    def test_a_closed_task_is_not_stopped(self, closing: TaskEvent) -> None:
        given(CREATED, closing).when(StopTask()).then_rejected("task_closed", RuleViolated)


class TestCompleteTask:
    def test_an_open_task_is_completed(self) -> None:
        given(CREATED).when(CompleteTask(reason="done")).then(TaskCompleted(reason="done"))

    def test_a_started_task_is_completed(self) -> None:
        given(CREATED, TaskStarted()).when(CompleteTask()).then(TaskCompleted())

    def test_completing_twice_records_nothing(self) -> None:
        given(CREATED, TaskCompleted()).when(CompleteTask()).then_nothing()

    def test_a_cancelled_task_is_not_completed(self) -> None:
        given(CREATED, TaskCancelled()).when(CompleteTask()).then_rejected("task_closed", RuleViolated)

    def test_a_reopened_task_is_completed_again(self) -> None:
        given(CREATED, TaskCompleted(), TaskReopened()).when(CompleteTask()).then(TaskCompleted())


class TestReopenTask:
    def test_a_completed_task_is_reopened(self) -> None:
        given(CREATED, TaskCompleted()).when(ReopenTask(reason="leaks")).then(TaskReopened(reason="leaks"))

    def test_a_cancelled_task_is_reopened(self) -> None:
        given(CREATED, TaskCancelled()).when(ReopenTask()).then(TaskReopened())

    def test_reopening_an_open_task_records_nothing(self) -> None:
        given(CREATED).when(ReopenTask()).then_nothing()

    def test_reopening_a_started_task_records_nothing(self) -> None:
        given(CREATED, TaskStarted()).when(ReopenTask()).then_nothing()

    def test_a_reopened_task_is_open_not_in_progress(self) -> None:
        assert folded([CREATED, TaskStarted(), TaskCompleted(), TaskReopened()]) == Task(title="Ship it")


class TestCancelTask:
    def test_an_open_task_is_cancelled(self) -> None:
        given(CREATED).when(CancelTask(reason="moot")).then(TaskCancelled(reason="moot"))

    def test_a_started_task_is_cancelled(self) -> None:
        given(CREATED, TaskStarted()).when(CancelTask()).then(TaskCancelled())

    def test_cancelling_twice_records_nothing(self) -> None:
        given(CREATED, TaskCancelled()).when(CancelTask()).then_nothing()

    def test_a_completed_task_is_not_cancelled(self) -> None:
        given(CREATED, TaskCompleted()).when(CancelTask()).then_rejected("task_closed", RuleViolated)


class TestDeleteTask:
    def test_a_task_is_deleted(self) -> None:
        given(CREATED).when(DeleteTask(reason="twin")).then(TaskDeleted(reason="twin"))

    def test_a_completed_task_is_deleted(self) -> None:
        given(CREATED, TaskCompleted()).when(DeleteTask()).then(TaskDeleted())

    def test_deleting_twice_records_nothing(self) -> None:
        given(CREATED, TaskDeleted()).when(DeleteTask()).then_nothing()


class TestRestoreTask:
    def test_a_deleted_task_is_restored(self) -> None:
        given(CREATED, TaskDeleted()).when(RestoreTask(reason="sorry")).then(TaskRestored(reason="sorry"))

    def test_restoring_a_task_that_is_not_deleted_records_nothing(self) -> None:
        given(CREATED).when(RestoreTask()).then_nothing()

    def test_a_restored_task_keeps_its_status(self) -> None:
        given(CREATED, TaskCompleted(), TaskDeleted(), TaskRestored()).when(CompleteTask()).then_nothing()

    def test_a_restored_task_is_edited_again(self) -> None:
        history = given(CREATED, TaskDeleted(), TaskRestored())
        history.when(RenameTask("Sail it")).then(TaskRenamed("Sail it"))


class TestLogActivity:
    def test_an_activity_is_recorded(self) -> None:
        given(CREATED).when(LogActivity(" called ", reason="r")).then(TaskActivityLogged("called", reason="r"))

    def test_the_same_activity_twice_is_two_steps(self) -> None:
        history = given(CREATED, TaskActivityLogged("called"))
        history.when(LogActivity("called")).then(TaskActivityLogged("called"))

    def test_a_closed_task_takes_activities(self) -> None:
        given(CREATED, TaskCompleted()).when(LogActivity("called")).then(TaskActivityLogged("called"))

    def test_an_activity_changes_no_field(self) -> None:
        assert folded([CREATED, TaskActivityLogged("called")]) == folded([CREATED])
