"""What holds for every event, every command and every history of a project."""

from functools import reduce

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import DomainError
from domain.project.aggregate import PROJECT
from domain.project.commands import ProjectCommand
from domain.project.events import ProjectEvent, ProjectRestored
from domain.project.rules import Project
from tests.domain.samples import PROJECT_COMMANDS, PROJECT_EVENTS
from tests.specification import NOW

HISTORIES = st.lists(PROJECT_EVENTS, max_size=6)
DECODER = msgspec.json.Decoder(ProjectEvent)

# The machine may be busy; how long one example takes says nothing about the rules.
patiently = settings(deadline=None)


def folded(history: list[ProjectEvent], state: Project | None = None) -> Project | None:
    return reduce(PROJECT.evolve, history, state)


def recorded(state: Project | None, command: ProjectCommand) -> tuple[ProjectEvent, ...]:
    """What the command leaves in the log: nothing where it is refused."""
    try:
        return PROJECT.decide(state, command, NOW)
    except DomainError as refusal:
        assert refusal.code  # noqa: PT017 - a refusal is one of the two right outcomes, not the expected one
        return ()


@patiently
@given(HISTORIES, PROJECT_COMMANDS)
def test_a_command_is_decided_or_refused_and_is_spent_after_its_own_events(
    history: list[ProjectEvent], command: ProjectCommand
) -> None:
    state = folded(history)
    assert recorded(folded(list(recorded(state, command)), state), command) == ()


@patiently
@given(HISTORIES, PROJECT_COMMANDS)
def test_every_decided_event_changes_the_state_and_can_be_stored(history: list[ProjectEvent], command: ProjectCommand) -> None:
    state = folded(history)
    for event in recorded(state, command):
        stored = msgspec.json.encode(event)
        assert b"\\u0000" not in stored
        assert DECODER.decode(stored) == event
        assert PROJECT.touched[type(event)] <= PROJECT.command_fields(command)
        before, state = state, PROJECT.evolve(state, event)
        assert state != before


@patiently
@given(HISTORIES, PROJECT_EVENTS)
def test_an_event_changes_no_field_it_does_not_name(history: list[ProjectEvent], event: ProjectEvent) -> None:
    before = folded([ProjectRestored(), *history])
    after = PROJECT.evolve(before, event)
    changed = {field for field in PROJECT.fields if getattr(before, field) != getattr(after, field)}
    assert changed <= PROJECT.touched[type(event)]
