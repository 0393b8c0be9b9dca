"""A third aggregate, for tests, whose rules lie between streams: cards in columns that hold five at most, cards that precede
one another without a cycle, and names of which each is taken once. `register` makes it known in this process."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

import domain.tags
import infrastructure.log.codec
import infrastructure.log.tags
from application.authorization import MAY_ISSUE, MEMBER, OWNER
from domain.aggregate import Aggregate
from domain.aggregates import ALL
from domain.boundaries import Boundary, Rule
from domain.errors import NotFound, RuleViolated
from infrastructure.log.codec import Codec

LIMIT: Final = 5
Edges = frozenset[tuple[str, str]]


class CardMoved(msgspec.Struct, frozen=True, tag="card.moved", tag_field="type"):
    card: UUID
    source: str
    target: str


class CardLinked(msgspec.Struct, frozen=True, tag="card.linked", tag_field="type"):
    before: str
    after: str


class CardUnlinked(msgspec.Struct, frozen=True, tag="card.unlinked", tag_field="type"):
    before: str
    after: str


class CardNamed(msgspec.Struct, frozen=True, tag="card.named", tag_field="type"):
    card: UUID
    name: str


class CardFreed(msgspec.Struct, frozen=True, tag="card.freed", tag_field="type"):
    name: str


class CardNoted(msgspec.Struct, frozen=True, tag="card.noted", tag_field="type"):
    text: str


CardEvent = CardMoved | CardLinked | CardUnlinked | CardNamed | CardFreed | CardNoted


class Move(msgspec.Struct, frozen=True):
    """To a column; "" is none."""

    card: UUID
    target: str


class Link(msgspec.Struct, frozen=True):
    """Link two cards, or undo that where they are linked."""

    before: str
    after: str
    undo: bool = False


class Name(msgspec.Struct, frozen=True):
    card: UUID
    name: str


class Free(msgspec.Struct, frozen=True):
    """Give a name up."""

    card: UUID
    name: str


class NoteWhileFree(msgspec.Struct, frozen=True):
    """Write something down as long as nobody has the name: rests on a boundary and does not change it."""

    name: str


CardCommand = Move | Link | Name | Free | NoteWhileFree


class Card(msgspec.Struct, frozen=True):
    column: str = ""
    notes: int = 0


def decide(state: Card | None, command: CardCommand, now: datetime) -> tuple[CardEvent, ...]:
    card = state or Card()
    match command:
        case Move(identity, target):
            return () if target == card.column else (CardMoved(identity, card.column, target),)
        case Link(before, after, undo):
            return (CardUnlinked(before, after),) if undo else (CardLinked(before, after),)
        case Name(identity, name):
            return (CardNamed(identity, name),)
        case Free(_, name):
            return (CardFreed(name),)
        case NoteWhileFree(name):
            return (CardNoted(name),)


def evolve(state: Card | None, event: CardEvent) -> Card:
    card = state or Card()
    match event:
        case CardMoved(_, _, target):
            return msgspec.structs.replace(card, column=target)
        case CardNoted():
            return msgspec.structs.replace(card, notes=card.notes + 1)
    return card


def tags_of(event: Any, stream_id: UUID, workspace_id: UUID) -> tuple[str, ...]:
    match event:
        case CardMoved(_, source, target):
            return tuple(f"column:{name}" for name in (source, target) if name)
        case CardLinked() | CardUnlinked():
            return ("links",)
        case CardNamed(_, name) | CardFreed(name):
            return (f"name:{name}",)
    return () if type(event) in CARD.events else domain.tags.tags_of(event, stream_id, workspace_id)


def column(name: str) -> Boundary[frozenset[UUID]]:
    """The cards in a column."""

    def after(inside: frozenset[UUID], event: CardMoved) -> frozenset[UUID]:
        return inside | {event.card} if event.target == name else inside - {event.card}

    return Boundary(f"column:{name}", frozenset(), after)


def links() -> Boundary[Edges]:
    """What precedes what."""

    def after(edges: Edges, event: CardLinked | CardUnlinked) -> Edges:
        edge = (event.before, event.after)
        return edges | {edge} if isinstance(event, CardLinked) else edges - {edge}

    return Boundary("links", frozenset(), after)


def holder(name: str) -> Boundary[UUID | None]:
    """Who has a name."""
    return Boundary(f"name:{name}", None, lambda _, event: event.card if isinstance(event, CardNamed) else None)


def require(code: str, holds: Callable[[Any], bool]) -> Callable[[Any], None]:
    def check(state: Any) -> None:
        if not holds(state):
            raise RuleViolated(code, "The boundary does not allow it.")

    return check


def reaches(edges: Edges, start: str, goal: str) -> bool:
    """Whether a way leads from one card to the other."""
    seen, todo = set(), [start]
    while todo:
        node = todo.pop()
        if node == goal:
            return True
        if node not in seen:
            seen.add(node)
            todo += [after for before, after in edges if before == node]
    return False


def rules(state: Card | None, command: CardCommand, stream_id: UUID, workspace_id: UUID) -> tuple[Rule[Any], ...]:
    match command:
        case Move(_, target):
            return (Rule(column(target), require("column_full", lambda inside: len(inside) < LIMIT)),) if target else ()
        case Link(before, after, undo):
            edge = (before, after)
            if undo:
                return (Rule(links(), require("not_linked", lambda edges: edge in edges)),)
            return (Rule(links(), require("cycle", lambda edges: edge not in edges and not reaches(edges, after, before))),)
        case Name(_, name):
            return (Rule(holder(name), require("name_taken", lambda card: card is None)),)
        case Free(identity, name):
            return (Rule(holder(name), require("not_yours", lambda card: card == identity)),)
        case NoteWhileFree(name):
            return (Rule(holder(name), require("name_taken", lambda card: card is None)),)


_EVENTS: Final = frozenset({CardMoved, CardLinked, CardUnlinked, CardNamed, CardFreed, CardNoted})
_COMMANDS: Final = frozenset({Move, Link, Name, Free, NoteWhileFree})

CARD: Final[Aggregate[Card, CardEvent, CardCommand]] = Aggregate(
    name="card",
    events=_EVENTS,
    commands=_COMMANDS,
    decide=decide,
    evolve=evolve,
    # Any command may be a card's first.
    creates=_COMMANDS,
    missing=lambda: NotFound("card_not_found", "There is no such card."),
    exists=lambda: RuleViolated("card_exists", "There is a card with this id already."),
    fields=frozenset({"column", "notes"}),
    touched=dict.fromkeys(_EVENTS, frozenset({"column"})),
    command_fields=lambda _: frozenset({"column"}),
    state_size=lambda _: 100,
    rules=rules,
    scope=lambda event: event.card if isinstance(event, CardNamed) else None,
)


def register(put: Callable[[Any, str, Any], None] = setattr) -> None:
    """Make it known: for good, or by a monkeypatch's `setattr`."""
    put(infrastructure.log.codec, "KNOWN", Codec((*ALL, CARD)))
    put(infrastructure.log.tags, "tags_of", tags_of)
    for command in CARD.commands:
        MAY_ISSUE[command] = frozenset({OWNER, MEMBER})
