"""What every aggregate has to say of its events and its state; whoever adds one is told here what is missing."""

import ast
from importlib import import_module
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

from domain.aggregates import ALL
from tests.architecture.source_tree import parsed
from tests.generated_history import writes

FOLLOWING = {"project": {"keys": "those that it ever had follow from the changes of its key"}}
"""What of a state nobody gives: it follows from other fields."""

each_aggregate = pytest.mark.parametrize("aggregate", ALL, ids=lambda each: str(each.name))
each_event = pytest.mark.parametrize(
    ("aggregate", "event"),
    [(aggregate, event) for aggregate in ALL for event in sorted(aggregate.events, key=lambda event: event.__name__)],
    ids=lambda each: str(getattr(each, "name", getattr(each, "__name__", each))),
)


def state_of(aggregate: Any) -> type:
    """The struct of its states."""
    found = get_type_hints(aggregate.evolve)["return"]
    assert isinstance(found, type)
    return found


def holds_free_text(kind: object) -> bool:
    """Whether a `str` stands anywhere in a type; a choice of given words is none."""
    return kind is str or (get_origin(kind) is not Literal and any(map(holds_free_text, get_args(kind))))


@each_aggregate
def test_the_wire_tags_of_its_events_begin_with_its_name(aggregate: Any) -> None:
    assert {event.__struct_config__.tag.partition(".")[0] for event in aggregate.events} == {aggregate.name}


@each_aggregate
def test_its_fields_are_those_of_its_state(aggregate: Any) -> None:
    fields = set(state_of(aggregate).__struct_fields__)  # type: ignore[attr-defined]  # all are structs
    assert fields - FOLLOWING.get(aggregate.name, {}).keys() == aggregate.fields


@each_aggregate
def test_it_knows_what_its_events_touch_and_some_event_beside_the_creation_changes_each_field(aggregate: Any) -> None:
    assert set(aggregate.touched) == aggregate.events
    later = [fields for event, fields in aggregate.touched.items() if not event.__struct_config__.tag.endswith(".created")]
    assert frozenset().union(*later) == aggregate.fields


@each_aggregate
def test_every_event_and_command_is_among_the_generated_samples(aggregate: Any) -> None:
    named = {node.attr for node in ast.walk(parsed("tests/domain/samples.py")) if isinstance(node, ast.Attribute)}
    assert {kind.__name__ for kind in aggregate.events | aggregate.commands} - named == set()


@each_aggregate
def test_every_event_has_a_stored_form_that_is_fixed(aggregate: Any) -> None:
    stored = import_module(f"tests.domain.{aggregate.name}.test_storage").STORED
    assert {type(event) for event, _ in stored} == aggregate.events


@each_event
def test_every_free_text_is_declared_personal_or_structural_and_nothing_else_is(aggregate: Any, event: type) -> None:
    texts = {field for field, kind in get_type_hints(event).items() if holds_free_text(kind)}
    assert event in aggregate.personal, f"say which fields of {event.__name__} are personal: `personal` of {aggregate.name}"
    personal = set(aggregate.personal[event])
    structural = aggregate.structural & set(event.__struct_fields__)  # type: ignore[attr-defined]  # all are structs
    assert personal | structural == texts
    assert not personal & structural


def test_free_text_is_found_inside_other_types_and_a_choice_of_words_is_none() -> None:
    assert all(map(holds_free_text, (str, str | None, dict[str, int], tuple[int | str, ...])))
    assert not any(map(holds_free_text, (int, tuple[int, ...], Literal["low", "high"], Literal["low"] | None)))


def test_every_event_happens_in_the_generated_history() -> None:
    happened = {type(event) for *_, events, _ in writes(1, 3000) for event in events}
    assert happened == {event for aggregate in ALL for event in aggregate.events}
