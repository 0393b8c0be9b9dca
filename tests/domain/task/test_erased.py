"""What is left of a task whose events were erased: that they happened, and nothing of what they said."""

from typing import get_args
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.envelope import Erased
from domain.task.erased import LEFT, known
from domain.task.events import TOUCHED, TaskCreated, TaskEvent, TaskRenamed, TaskStarted
from domain.task.rules import Task, evolve
from tests.domain.samples import EVENTS

KINDS = sorted(get_args(TaskEvent), key=lambda kind: str(kind.__name__))
HISTORIES = st.lists(EVENTS, min_size=1, max_size=8)


def erased(event: TaskEvent | type[TaskEvent]) -> Erased:
    return Erased(str(event.__struct_config__.tag))


def folded(history: list[TaskEvent | Erased]) -> Task:
    state: Task | None = None
    for event in history:
        state = evolve(state, event)
    assert state is not None
    return state


def test_every_kind_of_event_has_something_left() -> None:
    assert set(LEFT) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_left_touches_no_more_than_the_event_did(kind: type[TaskEvent]) -> None:
    left = known(erased(kind))
    assert TOUCHED[type(left)] <= TOUCHED[kind]
    if set(kind.__struct_fields__) == {"reason", "attributes"}:
        assert left == kind()


@settings(deadline=None)
@given(HISTORIES)
def test_what_happened_stays_and_what_was_said_is_gone(history: list[TaskEvent]) -> None:
    whole, left = folded([*history]), folded([erased(event) for event in history])
    assert (left.status, left.deleted) == (whole.status, whole.deleted)
    assert left == Task(status=whole.status, deleted=whole.deleted)


def test_the_project_in_which_it_was_numbered_stays() -> None:
    here, there = UUID(int=1), UUID(int=2)
    moved = [Erased("task.created", here), Erased("task.moved", there), Erased("task.renamed")]
    assert folded([*moved[:1]]) == Task(project_id=here)
    assert folded([*moved]) == Task(project_id=there)


def test_an_erased_title_is_not_the_one_before_it() -> None:
    assert folded([TaskCreated("before"), TaskStarted(), erased(TaskRenamed("secret"))]).title == ""
    assert folded([erased(TaskCreated("secret")), TaskRenamed("after")]).title == "after"


def test_an_event_that_was_not_erased_says_what_it_said() -> None:
    assert known(TaskRenamed("said")) == TaskRenamed("said")


def test_a_type_that_nobody_knows_changes_nothing() -> None:
    assert folded([TaskCreated("A"), Erased("task.teleported")]) == Task(title="A")
