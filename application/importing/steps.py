"""The steps that a mapping may name for an activity, each with what it does, and how they are read from the mapping."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Literal, get_args

import msgspec

from application.importing.text import shown
from domain.errors import DomainError
from domain.task.commands import (
    AddLabel,
    CancelTask,
    CompleteTask,
    LogActivity,
    RemoveLabel,
    ReopenTask,
    StartTask,
    StopTask,
    TaskCommand,
)
from domain.task.values import Status, accepted_label

RowStep = Literal["assign", "reassign", "set_priority"]
"""Steps whose command depends on the row: its resource, the priority that it names."""


class Confirm(msgspec.Struct, frozen=True):
    """The task is in this status: brought there if it is in another one, left alone if it is."""

    status: Status
    reason: str

    def commands(self, present: Status) -> tuple[TaskCommand, ...]:
        """What leads there from the present status."""
        if present == self.status:
            return ()
        # Only a closed task is changed by reopening.
        return (ReopenTask(reason=self.reason), _LEADS_TO[self.status](self.reason))


Step = TaskCommand | RowStep | Confirm

_LEADS_TO: Final[Mapping[Status, Callable[[str], TaskCommand]]] = {
    "open": lambda reason: StopTask(reason=reason),
    "in_progress": lambda reason: StartTask(reason=reason),
    "completed": lambda reason: CompleteTask(reason=reason),
    "cancelled": lambda reason: CancelTask(reason=reason),
}
_PLAIN: Final[Mapping[str, Callable[[str], Step]]] = {
    "start": lambda activity: StartTask(reason=activity),
    "stop": lambda activity: StopTask(reason=activity),
    "complete": lambda activity: CompleteTask(reason=activity),
    "reopen": lambda activity: ReopenTask(reason=activity),
    "cancel": lambda activity: CancelTask(reason=activity),
    "confirm": lambda activity: Confirm("completed", activity),
    "assign": lambda _: "assign",
    "reassign": lambda _: "reassign",
    "set_priority": lambda _: "set_priority",
    "log_activity": lambda activity: LogActivity(activity=activity, reason=activity),
}

MEANINGS: Final[Mapping[str, str]] = {
    "start": "open becomes in progress; refused where the task is closed",
    "stop": "in progress becomes open; refused where the task is closed",
    "complete": "becomes completed; refused where it is cancelled",
    "cancel": "becomes cancelled; refused where it is completed",
    "reopen": "completed or cancelled becomes open; otherwise nothing",
    "confirm": "becomes completed from whatever it is; nothing if it is completed already",
    "confirm = STATUS": "becomes open, in_progress, completed or cancelled from whatever it is; nothing if it is already",
    "assign": "the row's resource becomes one more assignee",
    "reassign": "the row's resource becomes the only assignee",
    "set_priority": "the priority becomes what the row's priority column says",
    "add_label = LABEL": "the label is added",
    "remove_label = LABEL": "the label is removed",
    "log_activity": "is recorded as a step that changes nothing",
}
"""Every step, as it is written, with what it does."""


def read_steps(activity: str, given: Any) -> tuple[Step, ...]:
    """The steps in a mapping's list; raises ValueError with what is wrong and what is allowed."""
    if not isinstance(given, list):
        raise ValueError('its steps stand in a list, as in ["reopen", "start"]')
    return tuple(_step(activity, each) for each in given)


def _step(activity: str, given: Any) -> Step:
    if isinstance(given, str):
        if given not in _PLAIN:
            raise ValueError(f"{shown(given)} is no step; {allowed_steps()}")
        return _PLAIN[given](activity)
    if isinstance(given, dict) and len(given) == 1:
        ((word, value),) = given.items()
        if word == "confirm":
            if value not in get_args(Status):
                raise ValueError(f"confirm: {shown(str(value))} is no status; the statuses are {', '.join(get_args(Status))}")
            return Confirm(value, activity)
        if word in ("add_label", "remove_label") and isinstance(value, str):
            return _label_step(word, value, activity)
    raise ValueError(f"{shown(str(given))} is no step; {allowed_steps()}")


def _label_step(word: str, label: str, activity: str) -> Step:
    try:
        accepted = accepted_label(label)
    except DomainError as refusal:
        raise ValueError(f"{word}: {refusal.message}") from None
    return AddLabel(label=accepted, reason=activity) if word == "add_label" else RemoveLabel(label=accepted, reason=activity)


def allowed_steps() -> str:
    """The sentence that names every step as it is written."""
    tables = "{ confirm = STATUS }, { add_label = LABEL } and { remove_label = LABEL }"
    return f"the steps are {', '.join(_PLAIN)}, {tables}"


def written(steps: Sequence[Step]) -> str:
    """The steps as a mapping writes them."""
    return ", ".join(" = ".join(filter(None, _word_and_value(step))) for step in steps)


def meanings_of(steps: Iterable[Step]) -> dict[str, str]:
    """Those of MEANINGS that these steps have."""
    words = {_word_and_value(step)[0] for step in steps}
    return {step: meaning for step, meaning in MEANINGS.items() if step.split(" = ")[0] in words}


def _word_and_value(step: Step) -> tuple[str, str]:
    match step:
        case str():
            return step, ""
        case Confirm(status):
            return "confirm", status
        case AddLabel(label):
            return "add_label", label
        case RemoveLabel(label):
            return "remove_label", label
        case _:
            return str(step.__struct_config__.tag), ""
