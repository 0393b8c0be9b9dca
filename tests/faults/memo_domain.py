"""An aggregate that only a later release has: a memo, which is written once. Stands as `domain/memo.py` there."""

from datetime import datetime
from typing import Final

import msgspec

from domain.aggregate import Aggregate
from domain.envelope import Erased
from domain.errors import DomainError, NotFound, RuleViolated


class MemoWritten(msgspec.Struct, frozen=True, gc=False, tag="memo.written", tag_field="type"):
    """Somebody wrote it."""

    text: str
    reason: str | None = None


class WriteMemo(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True, tag="write_memo", tag_field="command"):
    """A new memo."""

    text: str
    reason: str | None = None


class Memo(msgspec.Struct, frozen=True, gc=False):
    """As it was written."""

    text: str = ""


def decide(state: Memo | None, command: WriteMemo, now: datetime) -> tuple[MemoWritten, ...]:
    """What was written stays as it is."""
    if state is not None:
        raise memo_exists()
    return (MemoWritten(command.text, command.reason),)


def evolve(state: Memo | None, event: MemoWritten | Erased) -> Memo:
    """The memo after the event."""
    return Memo(event.text) if isinstance(event, MemoWritten) else state or Memo()


def no_such_memo() -> DomainError:
    """There is none."""
    return NotFound("memo_not_found", "There is no such memo.")


def memo_exists() -> DomainError:
    """There is one."""
    return RuleViolated("memo_exists", "There is a memo with this id already.")


MEMO: Final[Aggregate[Memo, MemoWritten, WriteMemo]] = Aggregate(
    name="memo",
    events=frozenset({MemoWritten}),
    commands=frozenset({WriteMemo}),
    decide=decide,
    evolve=evolve,
    creates=frozenset({WriteMemo}),
    missing=no_such_memo,
    exists=memo_exists,
    fields=frozenset({"text"}),
    touched={MemoWritten: frozenset({"text"})},
    command_fields=lambda _: frozenset({"text"}),
    state_size=lambda memo: len(memo.text),
    personal={MemoWritten: ("text", "reason")},
)
