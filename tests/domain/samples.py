"""People and moments that several tests speak of, and strategies for every event and command."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final, get_args
from uuid import UUID

from hypothesis import strategies as st
from msgspec import UNSET

from domain.project import commands as project_commands
from domain.project import events as project_events
from domain.task import commands, events
from domain.task.values import Priority

ANA = UUID("0195a000-0000-7000-8000-0000000000aa")
BEN = UUID("0195a000-0000-7000-8000-0000000000bb")
NOON = datetime(2026, 4, 1, 12, tzinfo=UTC)


def people(count: int, first: int = 1) -> tuple[UUID, ...]:
    """So many distinct persons."""
    return tuple(UUID(int=number) for number in range(first, first + count))


# Few distinct values, so that a later command often meets what an earlier event left.
STORED_TEXT = st.sampled_from(["a", "b", "Ship it", "naïve ✓ 漢字"]) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=20
)
SENT_TEXT = STORED_TEXT | st.sampled_from(["", "  ", " a ", "\0", "x\0y", "\ud800", "a\tb", "x" * 65, "x" * 256])
WHY = st.none() | STORED_TEXT
ATTRIBUTES = st.dictionaries(STORED_TEXT, STORED_TEXT, max_size=2)
PRIORITIES = st.sampled_from(get_args(Priority))
PROJECTS = st.sampled_from(people(3, 0x70))
PERSONS = st.sampled_from(people(3))
STORED_DATES = st.datetimes(datetime(1970, 1, 1), datetime(2126, 1, 1), timezones=st.just(UTC))
STORED_ESTIMATES = st.integers(0, 10_000).map(lambda tenths: tenths / 10)
SENT_ESTIMATES = STORED_ESTIMATES | st.floats()
SENT_DATES = (
    st.sampled_from([NOON, NOON.astimezone(timezone(timedelta(hours=9))), NOON.replace(tzinfo=None)])
    | STORED_DATES
    | st.datetimes(timezones=st.sampled_from([timezone(timedelta(hours=-14)), timezone(timedelta(hours=14))]))
)


def several(items: st.SearchStrategy[object], most: int = 4) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(items, max_size=most).map(tuple)


EVENTS: st.SearchStrategy[events.TaskEvent] = st.one_of(
    st.builds(
        events.TaskCreated,
        STORED_TEXT,
        STORED_TEXT,
        PRIORITIES,
        st.none() | STORED_DATES,
        several(PERSONS),
        several(STORED_TEXT),
        project_id=st.none() | PROJECTS,
        estimate=st.none() | STORED_ESTIMATES,
        reason=WHY,
        attributes=ATTRIBUTES,
    ),
    st.builds(events.TaskMoved, st.none() | PROJECTS, PROJECTS, reason=WHY, attributes=ATTRIBUTES),
    st.builds(events.TaskRenamed, STORED_TEXT, reason=WHY, attributes=ATTRIBUTES),
    st.builds(events.TaskDescribed, STORED_TEXT, reason=WHY, attributes=ATTRIBUTES),
    st.builds(events.TaskPrioritySet, PRIORITIES, reason=WHY, attributes=ATTRIBUTES),
    st.builds(events.TaskDueDateSet, STORED_DATES, reason=WHY, attributes=ATTRIBUTES),
    st.builds(events.TaskAssigned, PERSONS, reason=WHY, attributes=ATTRIBUTES),
    st.builds(events.TaskUnassigned, PERSONS, reason=WHY, attributes=ATTRIBUTES),
    st.builds(events.TaskLabelAdded, STORED_TEXT, reason=WHY, attributes=ATTRIBUTES),
    st.builds(events.TaskLabelRemoved, STORED_TEXT, reason=WHY, attributes=ATTRIBUTES),
    st.builds(events.TaskEstimateSet, STORED_ESTIMATES, reason=WHY, attributes=ATTRIBUTES),
    st.builds(events.TaskActivityLogged, STORED_TEXT, reason=WHY, attributes=ATTRIBUTES),
    *(
        st.builds(bare, reason=WHY, attributes=ATTRIBUTES)
        for bare in (
            events.TaskDueDateCleared,
            events.TaskEstimateCleared,
            events.TaskStarted,
            events.TaskStopped,
            events.TaskCompleted,
            events.TaskReopened,
            events.TaskCancelled,
            events.TaskDeleted,
            events.TaskRestored,
        )
    ),
)

COMMANDS: st.SearchStrategy[commands.TaskCommand] = st.one_of(
    st.builds(
        commands.CreateTask,
        SENT_TEXT,
        SENT_TEXT,
        PRIORITIES,
        st.none() | SENT_DATES,
        several(PERSONS),
        several(SENT_TEXT),
        task_id=st.none(),
        project_id=st.none() | PROJECTS,
        estimate=st.none() | SENT_ESTIMATES,
        reason=WHY,
    ),
    st.builds(
        commands.ChangeTask,
        title=st.just(UNSET) | SENT_TEXT,
        description=st.just(UNSET) | SENT_TEXT,
        priority=st.just(UNSET) | PRIORITIES,
        due_at=st.just(UNSET) | st.none() | SENT_DATES,
        assignees=st.just(UNSET) | several(PERSONS),
        labels=st.just(UNSET) | several(SENT_TEXT),
        estimate=st.just(UNSET) | st.none() | SENT_ESTIMATES,
        reason=WHY,
    ),
    st.builds(commands.MoveTask, PROJECTS, reason=WHY),
    st.builds(commands.RenameTask, SENT_TEXT, reason=WHY),
    st.builds(commands.DescribeTask, SENT_TEXT, reason=WHY),
    st.builds(commands.SetPriority, PRIORITIES, reason=WHY),
    st.builds(commands.SetDueDate, SENT_DATES, reason=WHY),
    st.builds(commands.AssignTask, PERSONS, reason=WHY),
    st.builds(commands.ReassignTask, PERSONS, reason=WHY),
    st.builds(commands.UnassignTask, PERSONS, reason=WHY),
    st.builds(commands.AddLabel, SENT_TEXT, reason=WHY),
    st.builds(commands.RemoveLabel, SENT_TEXT, reason=WHY),
    st.builds(commands.SetEstimate, SENT_ESTIMATES, reason=WHY),
    st.builds(commands.LogActivity, SENT_TEXT, reason=WHY),
    *(
        st.builds(bare, reason=WHY)
        for bare in (
            commands.ClearDueDate,
            commands.ClearEstimate,
            commands.StartTask,
            commands.StopTask,
            commands.CompleteTask,
            commands.ReopenTask,
            commands.CancelTask,
            commands.DeleteTask,
            commands.RestoreTask,
        )
    ),
)

STORED_KEYS = st.sampled_from(["WEB", "APP", "T1"])
SENT_KEYS = STORED_KEYS | st.sampled_from(["", "w", "web", "1A", "ABCDEFGHIJK"])

PROJECT_EVENTS: st.SearchStrategy[project_events.ProjectEvent] = st.one_of(
    st.builds(project_events.ProjectCreated, STORED_KEYS, STORED_TEXT, STORED_TEXT, reason=WHY),
    st.builds(project_events.ProjectRenamed, STORED_TEXT, reason=WHY),
    st.builds(project_events.ProjectDescribed, STORED_TEXT, reason=WHY),
    st.builds(project_events.ProjectKeyChanged, STORED_KEYS, STORED_KEYS, reason=WHY),
    *(
        st.builds(bare, reason=WHY)
        for bare in (
            project_events.ProjectArchived,
            project_events.ProjectUnarchived,
            project_events.ProjectDeleted,
            project_events.ProjectRestored,
        )
    ),
)

PROJECT_COMMANDS: st.SearchStrategy[project_commands.ProjectCommand] = st.one_of(
    st.builds(project_commands.CreateProject, SENT_KEYS, SENT_TEXT, SENT_TEXT, reason=WHY),
    st.builds(
        project_commands.ChangeProject,
        st.just(UNSET) | SENT_KEYS,
        st.just(UNSET) | SENT_TEXT,
        st.just(UNSET) | SENT_TEXT,
        reason=WHY,
    ),
    *(
        st.builds(bare, reason=WHY)
        for bare in (
            project_commands.ArchiveProject,
            project_commands.UnarchiveProject,
            project_commands.DeleteProject,
            project_commands.RestoreProject,
        )
    ),
)

EVENTS_OF: Final[dict[str, st.SearchStrategy[Any]]] = {"task": EVENTS, "project": PROJECT_EVENTS}
COMMANDS_OF: Final[dict[str, st.SearchStrategy[Any]]] = {"task": COMMANDS, "project": PROJECT_COMMANDS}
"""By the name of the aggregate."""
