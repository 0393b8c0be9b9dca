"""What an aggregate is: everything that the layers above need to know about one kind of stream, as a value."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

import msgspec

from domain.boundaries import Rule
from domain.envelope import Erased
from domain.errors import DomainError

S = TypeVar("S")
E = TypeVar("E", bound=msgspec.Struct)
C = TypeVar("C", bound=msgspec.Struct)


def no_rules(state: object, command: object, stream_id: UUID, workspace_id: UUID) -> tuple[Rule[Any], ...]:  # noqa: ARG001
    """Everything that decides is in the stream."""
    return ()


def no_number(event: object) -> UUID | None:  # noqa: ARG001
    """Nothing is numbered."""
    return None


def as_it_came(command: C, workspace_id: UUID) -> C:  # noqa: ARG001
    """Nothing is left to the workspace."""
    return command


class Aggregate(msgspec.Struct, Generic[S, E, C], frozen=True, kw_only=True):
    """One kind of stream: its state S, its events E, its commands C, and the rules between them.

    - `name`: the first word of the wire tags of its events, by which a stream is known to be of this kind.
    - `decide(state, command, now)`: the events that the command leads to, or a DomainError; None is the state of no stream.
    - `evolve(state, event)`: the state after the event; never raises. Of an erased one what its type alone says still counts,
      and what it set is empty or as it was.
    - `creates`: the commands that begin a stream. `missing` and `exists` make the refusals of a stream that is not there and
      of one that is: always in the same words, so that nobody learns from them whose it is.
    - `touched` by kind of event, and `command_fields`: the fields that it changes or means to change; `fields` are all of them.
    - `personal`: by kind of event the fields in which people wrote, which can be erased; nothing is derived from them.
      `structural`: its events' fields of text in which nobody did. A field of text that is neither fails a test.
    - `state_size`: what a state takes in memory beyond its fixed parts, in bytes, about.
    - `schema_versions`: of the payloads written now, for the kinds of event whose payload is not of version 1 any more.
    - `rules(state, command, stream_id, workspace_id)`: what the decision requires of boundaries, asked once `decide` has given
      events. `scope(event)`: the scope of which the log is to give the event the next number, None for none.
    - `completed(command, workspace_id)`: the command with what it leaves to its workspace.
    """

    name: str
    events: frozenset[type[E]]
    commands: frozenset[type[C]]
    decide: Callable[[S | None, C, datetime], tuple[E, ...]]
    evolve: Callable[[S | None, E | Erased], S]
    creates: frozenset[type[C]]
    missing: Callable[[], DomainError]
    exists: Callable[[], DomainError]
    fields: frozenset[str]
    touched: Mapping[type[E], frozenset[str]]
    command_fields: Callable[[C], frozenset[str]]
    state_size: Callable[[S], int]
    personal: Mapping[type[E], tuple[str, ...]] = {}
    structural: frozenset[str] = frozenset()
    schema_versions: Mapping[type[E], int] = {}
    rules: Callable[[S | None, C, UUID, UUID], tuple[Rule[Any], ...]] = no_rules
    scope: Callable[[E], UUID | None] = no_number
    completed: Callable[[C, UUID], C] = as_it_came
