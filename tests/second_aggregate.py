"""A second aggregate, for tests: a jar of marbles, which is opened once and filled up to ten. `jars_are_known` registers it
everywhere an aggregate is registered, and so says what that takes."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import NAMESPACE_URL, UUID, uuid5

import msgspec
import psycopg
import pytest

import infrastructure.log.codec
import infrastructure.log.tags
import projections
from application.authorization import MAY_ISSUE, MEMBER, OWNER
from domain.aggregate import Aggregate
from domain.aggregates import ALL
from domain.envelope import Erased, RecordedEvent
from domain.errors import DomainError, NotFound, RuleViolated
from domain.tags import tags_of
from infrastructure.log.codec import Codec
from projections.engine.changes import Change
from projections.engine.documents import Documents


class JarOpened(msgspec.Struct, frozen=True, tag="jar.opened", tag_field="type"):
    colour: str


class JarFilled(msgspec.Struct, frozen=True, tag="jar.filled", tag_field="type"):
    marbles: int


class JarPainted(msgspec.Struct, frozen=True, tag="jar.painted", tag_field="type"):
    colour: str


JarEvent = JarOpened | JarFilled | JarPainted


class OpenJar(msgspec.Struct, frozen=True):
    colour: str


class FillJar(msgspec.Struct, frozen=True):
    marbles: int


class PaintJar(msgspec.Struct, frozen=True):
    colour: str


JarCommand = OpenJar | FillJar | PaintJar


class Jar(msgspec.Struct, frozen=True):
    colour: str = ""
    marbles: int = 0


def decide(state: Jar | None, command: JarCommand, now: datetime) -> tuple[JarEvent, ...]:
    match command:
        case OpenJar(colour):
            if state is not None:
                raise jar_exists()
            return (JarOpened(colour),)
        case FillJar(marbles):
            jar = state or Jar()
            if jar.marbles + marbles > 10:
                raise RuleViolated("jar_full", "Ten marbles fit into the jar.", "marbles")
            return (JarFilled(marbles),)
        case PaintJar(colour):
            return () if state and state.colour == colour else (JarPainted(colour),)


def evolve(state: Jar | None, event: JarEvent | Erased) -> Jar:
    jar = state or Jar()
    match event:
        case JarOpened(colour) | JarPainted(colour):
            return msgspec.structs.replace(jar, colour=colour)
        case JarFilled(marbles):
            return msgspec.structs.replace(jar, marbles=jar.marbles + marbles)
        case Erased():
            return jar


def no_such_jar() -> DomainError:
    return NotFound("jar_not_found", "There is no such jar.")


def jar_exists() -> DomainError:
    return RuleViolated("jar_exists", "There is a jar with this id already.")


_FIELDS: Final = {OpenJar: ("colour", "marbles"), FillJar: ("marbles",), PaintJar: ("colour",)}

JAR: Final[Aggregate[Jar, JarEvent, JarCommand]] = Aggregate(
    name="jar",
    events=frozenset({JarOpened, JarFilled, JarPainted}),
    commands=frozenset({OpenJar, FillJar, PaintJar}),
    decide=decide,
    evolve=evolve,
    creates=frozenset({OpenJar}),
    missing=no_such_jar,
    exists=jar_exists,
    fields=frozenset({"colour", "marbles"}),
    touched={
        JarOpened: frozenset({"colour", "marbles"}),
        JarFilled: frozenset({"marbles"}),
        JarPainted: frozenset({"colour"}),
    },
    command_fields=lambda command: frozenset(_FIELDS[type(command)]),
    state_size=lambda jar: len(jar.colour),
    schema_versions={JarPainted: 3},
)


class JarDocument(msgspec.Struct, frozen=True):
    id: UUID
    workspace_id: UUID
    jar: Jar
    version: int
    position: int
    happened_at: datetime
    known_by: datetime


def fold(document: JarDocument | None, record: RecordedEvent[Any]) -> JarDocument:
    jar = evolve(document.jar if document else None, record.event)
    at = record.happened_at
    known_by = max(document.known_by, at) if document else at
    return JarDocument(record.stream_id, record.workspace_id, jar, record.version, record.position, at, known_by)


def shelf(colour: str) -> UUID | None:
    """Jars stand on shelves by colour; those without one stand on none."""
    return uuid5(NAMESPACE_URL, colour) if colour else None


JAR_DOCUMENTS: Final = Documents(
    aggregate=JAR,
    fold=fold,
    state=lambda document: document.jar,
    size=lambda document: 100 + len(document.jar.colour),
    scope=lambda document: shelf(document.jar.colour),
)


class Jars:
    """A read model of jars in the table `jars`."""

    name = "jars"
    tables = ("jars",)
    follows = frozenset({"jar"})

    def apply(self, connection: psycopg.Connection[Any], changes: Sequence[Change[JarDocument]]) -> None:
        for change in changes:
            before = change.before.jar.marbles if change.before else None
            row = (change.after.id, before, change.after.jar.marbles, change.after.jar.colour)
            connection.execute("INSERT INTO jars VALUES (%s, %s, %s, %s)", row)


def jars_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the jar."""
    monkeypatch.setattr(infrastructure.log.codec, "KNOWN", Codec((*ALL, JAR)))
    monkeypatch.setattr(infrastructure.log.tags, "tags_of", lambda e, *ids: () if type(e) in JAR.events else tags_of(e, *ids))
    monkeypatch.setitem(projections.DOCUMENTS, JAR.name, JAR_DOCUMENTS)
    for command in JAR.commands:
        monkeypatch.setitem(MAY_ISSUE, command, frozenset({OWNER, MEMBER}))
