"""What the import tests stand on: a user with a workspace, histories made up by a seed, and what a log holds."""

import csv
import io
import random
import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

from application.importing.history import TicketHistory
from application.importing.ids import ImportSource
from application.importing.mapping import TicketMapping
from application.importing.people import People
from application.importing.rows import TicketRow
from domain.boundaries import Seen
from domain.project.boundaries import Openness
from domain.project.values import first_project_of
from infrastructure.servers.postgres import connect_sync

EMAIL = "Olga.Owner@Example.org"
OWNER = UUID("00000000-0000-4000-8000-00000000000a")
WORKSPACE = UUID("00000000-0000-4000-8000-00000000000b")
SECRET = b"the same in every test database."
PROJECT = first_project_of(WORKSPACE)

HEADER = ("Ticket", "Step", "Who", "When", "Kind", "Severity", "Kind")
MAPPING = """
name = "sample"
title = "Ticket {Ticket}"
labels = ["ticket:{Ticket}"]

[columns]
case = "Ticket"
activity = ["Step"]
resource = "Who"
time = "When"

[priority]
column = "Severity"
values = { "1" = "low", "2" = "high" }

[activities]
"Open" = ["log_activity"]
"Rate" = ["set_priority"]
"Take" = ["reopen", "assign", "start", { remove_label = "waiting" }]
"Wait" = [{ add_label = "waiting" }]
"Note" = []
"Close" = ["reopen", "complete"]
"Drop" = ["cancel"]
"""

FIRST_PROJECT = 1
"""Events that an import into an empty workspace adds before its own."""

OF_TASKS = "starts_with(topic, 'task.')"

COLUMNS = (
    "notification_id, originator_id, originator_version, effective_at, workspace_id, principal_id, command_id, "
    "correlation_id, causation_id, topic, convert_from(state, 'UTF8')"
)


def as_csv(rows: Iterable[Sequence[str]], header: Sequence[str] = HEADER) -> bytes:
    """The rows under a header; a row may be shorter than the header, to be wrong."""
    text = io.StringIO()
    csv.writer(text).writerows([header, *rows])
    return text.getvalue().encode()


def row(case: str, step: str, when: str, who: str = "Ann", severity: str = "") -> tuple[str, ...]:
    """One row under HEADER."""
    return (case, step, who, when, "k", severity, "k")


def made_up_history(cases: int, seed: int = 1) -> list[tuple[str, ...]]:
    """About nine rows a case, many of them close in time to those of other cases; the file goes case by case."""
    chance = random.Random(seed)
    rows = []
    for case in range(cases):
        at = datetime(2020, 1, 1) + timedelta(minutes=chance.randrange(cases * 10))
        for step in ["Open", *chance.choices(["Rate", "Take", "Wait", "Note", "Close"], k=8)]:
            severity = chance.choice(["", "1", "2"])
            rows.append(row(f"T{case}", step, at.isoformat(), f"Agent {chance.randrange(9)}", severity))
            at += timedelta(minutes=chance.choice([0, 1, 5, 60]))
    return rows


def decider(source: ImportSource, people: People, mapping: TicketMapping, rows: Sequence[TicketRow]) -> TicketHistory:
    """What decides the rows, where the log has the import's project, open, and nothing else."""
    history = TicketHistory(source, people, mapping, rows)
    history.learn_openness({source.project_id: Seen(Openness(exists=True), FIRST_PROJECT)})
    return history


def files(folder: Path, content: bytes, mapping: str = MAPPING) -> tuple[Path, str]:
    """A history and its mapping as files: the path of the one, the name of the other."""
    folder.mkdir(exist_ok=True)
    history, named = folder / "history.csv", folder / "sample.toml"
    history.write_bytes(content)
    named.write_text(mapping)
    return history, str(named)


def add_owner(database_url: str, log_name: str = "main") -> None:
    """EMAIL with a workspace in the log."""
    with connect_sync(database_url, "taskmaster") as connection:
        connection.execute("INSERT INTO logs VALUES (%s) ON CONFLICT DO NOTHING", (log_name,))
        connection.execute("INSERT INTO workspaces VALUES (%s, 'Olga', %s, now(), %s)", (WORKSPACE, log_name, SECRET))
        connection.execute("INSERT INTO users VALUES (%s, %s, %s, 'Olga', 'x', now())", (OWNER, EMAIL, EMAIL.casefold()))
        connection.execute("INSERT INTO members VALUES (%s, %s, 'owner', 'Olga')", (WORKSPACE, OWNER))


def log_rows(database_url: str, query: str, *parameters: object) -> list[tuple[Any, ...]]:
    """What a query over the log `main` returns, in which `events` are those of tasks."""
    with connect_sync(database_url, "log_main") as connection:
        connection.execute(f"CREATE TEMPORARY VIEW events AS SELECT * FROM log_main.events WHERE {OF_TASKS}".encode())
        return connection.execute(query.encode(), parameters).fetchall()


def recorded_events(database_url: str) -> list[tuple[Any, ...]]:
    """Every event by position, without what differs from run to run: recording time and hash."""
    return log_rows(database_url, f"SELECT {COLUMNS} FROM events ORDER BY notification_id")


def recorded_by_names(database_url: str) -> list[tuple[Any, ...]]:
    """The same with the names of imported people in the place of their ids, which are others in every database."""
    kept = log_rows(database_url, "SELECT principal_id, imported_as FROM taskmaster.members WHERE imported_as IS NOT NULL")
    names = {str(each): name for each, name in kept}
    ids = re.compile("|".join(names) or "$^")

    def named(value: object) -> object:
        return ids.sub(lambda found: names[found[0]], str(value)) if isinstance(value, UUID | str) else value

    return [tuple(map(named, event)) for event in recorded_events(database_url)]


def rename(connection: psycopg.Connection[Any], task_id: UUID, title: str) -> None:
    """Another writer renames the task."""
    _append(connection, task_id, "task.renamed", f'{{"type":"task.renamed","title":"{title}"}}')


def delete(connection: psycopg.Connection[Any], task_id: UUID) -> None:
    """Another writer deletes the task."""
    _append(connection, task_id, "task.deleted", '{"type":"task.deleted"}')


def _append(connection: psycopg.Connection[Any], task_id: UUID, topic: str, state: str) -> None:
    connection.execute(
        "SELECT append_events(ARRAY[1], ARRAY[%(w)s], ARRAY[%(p)s], ARRAY[gen_random_uuid()], ARRAY[gen_random_uuid()], "
        "ARRAY[NULL::uuid], ARRAY[0::bigint], ARRAY[NULL], ARRAY[NULL::bytea], ARRAY['{'], ARRAY[1], ARRAY[%(t)s], "
        "ARRAY[(SELECT max(originator_version) + 1 FROM events WHERE originator_id = %(t)s)], ARRAY[NULL::timestamptz], "
        "ARRAY[1], ARRAY[%(topic)s], ARRAY[uuid_send(gen_random_uuid()) || convert_to(%(state)s, 'UTF8')], "
        "'{}', '{}', '{}', '{}', '{}', '{}', 1)",
        {"w": WORKSPACE, "p": OWNER, "t": task_id, "topic": topic, "state": state},
    )
