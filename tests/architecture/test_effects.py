"""Every field arrives where it is given, and every command and refusal can be seen among the samples: what is declared in all
places may still be forgotten in the one that does it."""

from collections.abc import Sequence
from contextlib import suppress
from functools import cache, reduce
from typing import Any, get_type_hints

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, find, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample
from msgspec import UNSET

from domain.aggregates import ALL
from domain.errors import DomainError
from tests.architecture.test_aggregates import state_of
from tests.architecture.test_catalogue import quoted, route, rows
from tests.architecture.test_places import ALSO_GIVEN, NOT_BY_PATCH, operations, part
from tests.domain.samples import COMMANDS_OF, EVENTS_OF
from tests.generated_history import writes
from tests.specification import NOW

HISTORIES, COMMANDS, OF_FIELDS = 250, 900, 150
"""How many samples are drawn: of the commands that give many fields at once as many more."""

STATES = 100
"""So many histories each command is tried on."""

IN_WORDS = {
    "task": {"task_not_found", "task_deleted"},
    "project": {"project_not_found", "project_deleted"},
}
"""Refusals that the README tells of all commands at once, above their table."""

BY_TYPE = {"text_not_storable", "due_at_without_timezone"}
"""What a request cannot ask for: its body is refused before it becomes a command."""

each_aggregate = pytest.mark.parametrize("aggregate", ALL, ids=lambda each: str(each.name))


def changeable(aggregate: Any) -> set[str]:
    return set(aggregate.fields) - NOT_BY_PATCH[aggregate.name].keys()


each_given = pytest.mark.parametrize(
    ("aggregate", "field"),
    [(each, field) for each in ALL for field in sorted(changeable(each) | ALSO_GIVEN[each.name])],
    ids=lambda each: str(getattr(each, "name", each)),
)
each_changeable = pytest.mark.parametrize(
    ("aggregate", "field"),
    [(each, field) for each in ALL for field in sorted(changeable(each))],
    ids=lambda each: str(getattr(each, "name", each)),
)


def drawn(strategy: st.SearchStrategy[Any], samples: int) -> list[Any]:
    """The same samples every time."""
    found: list[Any] = []
    with suppress(NoSuchExample):
        find(strategy, lambda example: bool(found.append(example)), settings=settings(_SETTINGS, max_examples=samples))
    return found


_SETTINGS = settings(
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


class Outcome(msgspec.Struct, frozen=True):
    """What became of a command: the state before, the state after or the code of the refusal."""

    command: Any
    before: Any
    after: Any
    code: str | None

    def changes(self, field: str) -> bool:
        return self.after is not None and getattr(self.before, field) != getattr(self.after, field)


@cache
def outcomes(name: str) -> Sequence[Outcome]:
    """Sampled commands on sampled states; where nothing is there yet, the state before is the blank one."""
    (aggregate,) = (each for each in ALL if each.name == name)
    histories = drawn(st.lists(EVENTS_OF[name], min_size=1, max_size=6), HISTORIES)
    states = [reduce(aggregate.evolve, history, None) for history in histories]
    found, place = list[Outcome](), 0
    kinds = aggregate.creates | {part(aggregate, "domain.{}.commands", "Change{}")}
    of_fields = COMMANDS_OF[name].filter(lambda command: type(command) in kinds)
    for command in [*drawn(COMMANDS_OF[name], COMMANDS), *drawn(of_fields, OF_FIELDS)]:
        place = (place + STATES) % len(states)
        tried = [None] if type(command) in aggregate.creates else (states * 2)[place : place + STATES]
        found += [_outcome(aggregate, state, command) for state in tried]
    return found


def _outcome(aggregate: Any, state: Any, command: Any) -> Outcome:
    before = state_of(aggregate)() if state is None else state
    try:
        return Outcome(command, before, reduce(aggregate.evolve, aggregate.decide(state, command, NOW), before), None)
    except DomainError as refused:
        return Outcome(command, before, None, refused.code)


@each_given
def test_what_a_creation_gives_is_in_the_state_that_it_leads_to(aggregate: Any, field: str) -> None:
    created = [each for each in outcomes(aggregate.name) if type(each.command) in aggregate.creates]
    assert any(each.changes(field) for each in created), (
        f"no sample of a creation leads to a {field}: give it in tests/domain/samples.py, take it over in decide and evolve"
    )


@each_changeable
def test_what_a_patch_gives_changes_the_state(aggregate: Any, field: str) -> None:
    change = part(aggregate, "domain.{}.commands", "Change{}")
    patched = [each for each in outcomes(aggregate.name) if type(each.command) is change]
    values = {repr(getattr(each.after, field)) for each in patched if each.changes(field)}
    assert len(values) > 1, f"no sample of a patch changes {field}: give it in tests/domain/samples.py, take it over in decide"
    if type(None) in getattr(get_type_hints(change)[field], "__args__", ()):
        cleared = [each for each in patched if getattr(each.command, field) is None and each.changes(field)]
        assert cleared, f"no sample of a patch clears {field}"


@each_aggregate
def test_a_patch_leaves_what_it_does_not_give(aggregate: Any) -> None:
    change = part(aggregate, "domain.{}.commands", "Change{}")
    for each in outcomes(aggregate.name):
        if type(each.command) is change:
            left = {field for field in changeable(aggregate) if getattr(each.command, field) is UNSET}
            assert not any(each.changes(field) for field in left)


@each_aggregate
def test_every_command_is_seen_changing_what_it_means_to_change(aggregate: Any) -> None:
    seen = {
        (type(each.command).__name__, field)
        for each in outcomes(aggregate.name)
        for field in aggregate.fields
        if each.changes(field)
    }
    meant = {
        (type(each.command).__name__, field)
        for each in outcomes(aggregate.name)
        for field in aggregate.command_fields(each.command)
        if type(each.command) not in aggregate.creates
    }
    assert meant - seen == set()


@each_aggregate
def test_every_refusal_is_in_the_catalogue_and_in_the_description_of_its_route(aggregate: Any) -> None:
    catalogue, described = rows(), dict(operations())
    told = {code for kind in aggregate.commands for code in quoted(catalogue[route(kind)][1])} | IN_WORDS[aggregate.name]
    refused = {(route(type(each.command)), each.code) for each in outcomes(aggregate.name) if each.code} - {
        (route(kind), code) for kind in aggregate.commands for code in BY_TYPE
    }
    declared = {
        (name, code)
        for name, _ in refused
        for status, response in described[name]["responses"].items()
        if status.startswith("4")
        for code in next(iter(response["content"].values()))["examples"]
    }
    assert {code for _, code in refused} - told == set()
    assert refused - declared == set()


@each_aggregate
def test_every_field_that_null_clears_is_named_where_a_patch_is_described(aggregate: Any) -> None:
    change = part(aggregate, "domain.{}.commands", "Change{}")
    clearable = {field for field, kind in get_type_hints(change).items() if type(None) in getattr(kind, "__args__", ())}
    description = dict(operations())[route(change)]["description"]
    for field in clearable - {"reason"}:
        assert f"`{field}" in description, f"say in the description of {route(change)} that null clears {field}"
        assert f"`{field}" in str(change.__doc__), f"say in {change.__name__} that null clears {field}"


@cache
def generated() -> list[Any]:
    return [event for *_, events, _ in writes(1, 3000) for event in events]


@each_given
def test_every_field_that_a_creation_gives_is_given_in_the_generated_history(aggregate: Any, field: str) -> None:
    created = part(aggregate, "domain.{}.events", "{}Created")
    blank = getattr(state_of(aggregate)(), field)
    given = {repr(getattr(event, field)) for event in generated() if type(event) is created}
    assert len(given - {repr(blank)}) > 1, f"give new streams different values of {field} in tests/generated_history.py"
