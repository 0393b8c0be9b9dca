"""given / when / then: one way to state a rule, whatever level it is checked at.

    given(TaskCreated("Ship it")).when(CompleteTask()).then(TaskCompleted())

A *level* is anything that takes a history, a command and the time, and answers with the new events or raises
a DomainError. The pure rules are the level used by default; `at_level` puts another in their place, so the
same tests also run through the command handler or over HTTP: import the test classes into a module there and
let an autouse fixture enter `at_level(...)`.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import reduce
from typing import Any

import pytest

from domain.aggregates import ALL
from domain.errors import DomainError
from domain.task.events import TaskEvent
from domain.task.rules import Task, evolve

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)

Level = Callable[[Sequence[Any], Any, datetime], Sequence[Any]]


def folded(history: Sequence[TaskEvent]) -> Task | None:
    """The state a history leads to, None where nothing happened."""
    start: Task | None = None
    return reduce(evolve, history, start)


def pure_rules(history: Sequence[Any], command: Any, now: datetime) -> Sequence[Any]:
    """The level without any machinery: fold the history, decide."""
    (aggregate,) = (each for each in ALL if type(command) in each.commands)
    return aggregate.decide(reduce(aggregate.evolve, history, None), command, now)


_level: ContextVar[Level] = ContextVar("level", default=pure_rules)


@contextmanager
def at_level(level: Level) -> Iterator[None]:
    """Within it, every specification is checked at that level."""
    token = _level.set(level)
    try:
        yield
    finally:
        _level.reset(token)


@dataclass(frozen=True)
class Specification:
    """A history, the command given on top of it and when. Each `then…` runs it once, at the current level."""

    history: tuple[Any, ...]
    command: Any
    now: datetime

    def then(self, *events: Any) -> None:
        """Exactly these events are recorded, in this order."""
        assert tuple(self._outcome()) == events

    def then_nothing(self) -> None:
        """The command is accepted and records nothing."""
        assert tuple(self._outcome()) == ()

    def then_rejected(self, code: str, kind: type[DomainError] = DomainError, field: str | None = None) -> None:
        """The command is refused with this code; with `kind` and `field` where they are given."""
        with pytest.raises(kind) as refusal:
            self._outcome()
        assert refusal.value.code == code
        if field is not None:
            assert refusal.value.field == field

    def _outcome(self) -> Sequence[Any]:
        return _level.get()(self.history, self.command, self.now)


@dataclass(frozen=True)
class History:
    """What has happened before."""

    events: tuple[Any, ...]

    def when(self, command: Any, at: datetime = NOW) -> Specification:
        """The command under test."""
        return Specification(self.events, command, at)


def given(*events: Any) -> History:
    """A stream with these events, in this order; without any, a stream that does not exist."""
    return History(events)
