"""What an event of a task still says after its payload was erased. Decided here, for everything that folds or counts.

That it happened stays, with its type: what was started, completed or deleted is so, on that day and by whom. What only the
payload said is unknown. Where it set a value, the value is empty: the title of a task becomes the empty text, which nobody can
write, and never again the one before it. Where it added to a set or took from it, the set stays as it was. In which project
the task got its number, the log itself knows.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from domain.envelope import Erased
from domain.task.events import (
    TaskActivityLogged,
    TaskAssigned,
    TaskCancelled,
    TaskCompleted,
    TaskCreated,
    TaskDeleted,
    TaskDescribed,
    TaskDueDateCleared,
    TaskDueDateSet,
    TaskEstimateCleared,
    TaskEstimateSet,
    TaskEvent,
    TaskLabelAdded,
    TaskLabelRemoved,
    TaskMoved,
    TaskPrioritySet,
    TaskRenamed,
    TaskReopened,
    TaskRestored,
    TaskStarted,
    TaskStopped,
    TaskUnassigned,
)

_NOTHING: Final = TaskActivityLogged("")

LEFT: Final[Mapping[type[TaskEvent], TaskEvent]] = MappingProxyType(
    {
        TaskCreated: TaskCreated(""),
        TaskRenamed: TaskRenamed(""),
        TaskDescribed: TaskDescribed(""),
        TaskPrioritySet: TaskPrioritySet("none"),
        TaskDueDateSet: TaskDueDateCleared(),
        TaskDueDateCleared: TaskDueDateCleared(),
        TaskAssigned: _NOTHING,
        TaskUnassigned: _NOTHING,
        TaskLabelAdded: _NOTHING,
        TaskLabelRemoved: _NOTHING,
        TaskEstimateSet: TaskEstimateCleared(),
        TaskEstimateCleared: TaskEstimateCleared(),
        TaskStarted: TaskStarted(),
        TaskStopped: TaskStopped(),
        TaskCompleted: TaskCompleted(),
        TaskReopened: TaskReopened(),
        TaskCancelled: TaskCancelled(),
        TaskDeleted: TaskDeleted(),
        TaskRestored: TaskRestored(),
        TaskMoved: _NOTHING,
        TaskActivityLogged: _NOTHING,
    }
)
"""Of each kind of event what its type alone says, as an event."""

_CREATED: Final = str(TaskCreated.__struct_config__.tag)
_BY_TOPIC: Final = {str(kind.__struct_config__.tag): left for kind, left in LEFT.items()}


def known(event: TaskEvent | Erased) -> TaskEvent:
    """The event; of an erased one what is left of it. Never raises."""
    if not isinstance(event, Erased):
        return event
    if event.scope is None:
        return _BY_TOPIC.get(event.topic, _NOTHING)
    if event.topic == _CREATED:
        return TaskCreated("", project_id=event.scope)
    return TaskMoved(None, event.scope)
