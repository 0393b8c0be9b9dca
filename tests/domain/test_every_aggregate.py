"""What holds for the commands of every aggregate on a stream that is not there, that is there, and that is deleted."""

from functools import reduce
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.aggregates import ALL
from domain.errors import DomainError, InvalidValue
from tests.domain.samples import COMMANDS_OF, EVENTS_OF
from tests.specification import NOW

# The machine may be busy; how long one example takes says nothing about the rules.
patiently = settings(deadline=None)
each_aggregate = pytest.mark.parametrize("aggregate", ALL, ids=lambda each: str(each.name))


def refusal(aggregate: Any, state: Any, command: Any) -> str:
    """The code of the refusal; `invalid` where the command itself is to blame, empty where there is none."""
    try:
        aggregate.decide(state, command, NOW)
    except InvalidValue:
        return "invalid"
    except DomainError as refused:
        return refused.code
    return ""


@each_aggregate
@patiently
@given(st.data())
def test_only_creating_begins_a_stream_and_everything_else_finds_none(aggregate: Any, data: st.DataObject) -> None:
    command = data.draw(COMMANDS_OF[aggregate.name])
    allowed = {"", "invalid"} if type(command) in aggregate.creates else {aggregate.missing().code, "invalid"}
    assert refusal(aggregate, None, command) in allowed


@each_aggregate
@patiently
@given(st.data())
def test_what_is_there_is_not_created_again(aggregate: Any, data: st.DataObject) -> None:
    history = data.draw(st.lists(EVENTS_OF[aggregate.name], min_size=1, max_size=4))
    command = data.draw(COMMANDS_OF[aggregate.name].filter(lambda each: type(each) in aggregate.creates))
    assert refusal(aggregate, reduce(aggregate.evolve, history, None), command) in {aggregate.exists().code, "invalid"}


@each_aggregate
@patiently
@given(st.data())
def test_what_is_deleted_takes_nothing_but_being_restored_or_deleted_again(aggregate: Any, data: st.DataObject) -> None:
    history = data.draw(st.lists(EVENTS_OF[aggregate.name], min_size=1, max_size=4))
    deleted = msgspec.structs.replace(reduce(aggregate.evolve, history, None), deleted=True)
    command = data.draw(COMMANDS_OF[aggregate.name].filter(lambda each: type(each) not in aggregate.creates))
    lifts = aggregate.command_fields(command) == {"deleted"}
    assert refusal(aggregate, deleted, command) in ({""} if lifts else {f"{aggregate.name}_deleted"}) | {"invalid"}
