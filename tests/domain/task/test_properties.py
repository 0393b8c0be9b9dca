"""What holds for every event, every command and every history, not only for examples someone thought of."""

from collections.abc import Sequence
from typing import get_args

import msgspec
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from domain.errors import DomainError
from domain.task.commands import LogActivity, TaskCommand, command_fields
from domain.task.events import TASK_FIELDS, TaskActivityLogged, TaskEvent, TaskReopened, touched_fields
from domain.task.rules import Task, decide, evolve
from tests.domain.samples import COMMANDS, EVENTS
from tests.specification import NOW, folded

HISTORIES = st.lists(EVENTS, max_size=6)
DECODER = msgspec.json.Decoder(TaskEvent)


# The machine may be busy; how long one example takes says nothing about the rules.
patiently = settings(deadline=None)


def recorded(state: Task | None, command: TaskCommand) -> Sequence[TaskEvent]:
    """What the command leaves in the log: nothing where it is refused."""
    try:
        return decide(state, command, NOW)
    except DomainError:
        return ()


def changed_fields(before: Task | None, after: Task) -> set[str]:
    return {field for field in TASK_FIELDS if before is None or getattr(before, field) != getattr(after, field)}


@patiently
@given(HISTORIES)
@example([TaskReopened()])
def test_evolve_accepts_every_event_in_every_state(history: list[TaskEvent]) -> None:
    assert not history or isinstance(folded(history), Task)


@patiently
@given(HISTORIES, COMMANDS)
def test_decide_answers_or_refuses_and_never_breaks(history: list[TaskEvent], command: TaskCommand) -> None:
    try:
        outcome = decide(folded(history), command, NOW)
    except DomainError as refusal:
        assert refusal.code  # noqa: PT017 - a refusal is one of the two right outcomes, not the expected one
    else:
        assert all(isinstance(event, get_args(TaskEvent)) for event in outcome)


@patiently
@given(HISTORIES, COMMANDS)
def test_an_accepted_command_is_spent_after_its_own_events(history: list[TaskEvent], command: TaskCommand) -> None:
    # Logging is the exception: an activity is itself the fact, so doing it twice is two steps of the history.
    assume(not isinstance(command, LogActivity))
    state = folded(history)
    after = folded([*history, *recorded(state, command)])
    assert recorded(after, command) == ()


@patiently
@given(HISTORIES, COMMANDS)
def test_every_decided_event_changes_the_state(history: list[TaskEvent], command: TaskCommand) -> None:
    state = folded(history)
    for event in recorded(state, command):
        after = evolve(state, event)
        assert after != state or isinstance(event, TaskActivityLogged)
        state = after


@patiently
@given(HISTORIES, EVENTS)
def test_an_event_changes_no_field_it_does_not_name(history: list[TaskEvent], event: TaskEvent) -> None:
    before = folded([TaskReopened(), *history])
    assert changed_fields(before, evolve(before, event)) <= touched_fields(event)


@patiently
@given(HISTORIES, COMMANDS)
def test_a_command_touches_no_field_it_does_not_name(history: list[TaskEvent], command: TaskCommand) -> None:
    for event in recorded(folded(history), command):
        assert touched_fields(event) <= command_fields(command)


@patiently
@given(EVENTS)
def test_every_event_survives_being_stored(event: TaskEvent) -> None:
    assert DECODER.decode(msgspec.json.encode(event)) == event


@patiently
@given(HISTORIES, COMMANDS)
def test_every_decided_event_can_be_stored_as_text(history: list[TaskEvent], command: TaskCommand) -> None:
    for event in recorded(folded(history), command):
        assert b"\\u0000" not in msgspec.json.encode(event)
        assert DECODER.decode(msgspec.json.encode(event)) == event
