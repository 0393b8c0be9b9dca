"""Lists and counts of two public histories of real ticket systems, as of any moment, are what their files said by then.

What is expected is computed from the rows of the file alone, see `test_real_histories`.
"""

import asyncio
import csv
import gzip
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import psycopg
import pytest

from infrastructure.log.source import PostgresLogSource, Reconnecting
from infrastructure.read_models.past_reads import by_instant, find_as_of
from infrastructure.read_models.table_store import TableStore
from infrastructure.servers.postgres import connect, log_schema
from projections import DOCUMENTS
from projections.engine.changes import ChangeReader
from projections.engine.projector import Projector
from projections.tables.bounds import Room
from projections.tables.moments import AsOf
from projections.task.list import TaskList
from projections.task.list_as_of import count_tasks
from projections.task.list_query import TaskQuery
from tests.importing import WORKSPACE, log_rows
from tests.infrastructure.importing.test_real_histories import FOLDER, PRESENT, RealHistory, imported

Connection = psycopg.AsyncConnection[Any]
MOMENTS = 8
EVERYTHING = Room(100_000, 10**9)


class Ticket(msgspec.Struct):
    """What a file says of a ticket up to a moment."""

    state: str = "open"
    resource: str = ""


def told_by(history: RealHistory, moment: datetime) -> dict[str, Ticket]:
    """The tickets of which the file knew something at the moment, by their names."""
    tickets: dict[str, Ticket] = {}
    for at, case, activity, resource in steps(history):
        if at > moment:
            continue
        ticket = tickets.setdefault(case, Ticket())
        if activity in history.closing:
            ticket.state = "completed"
        elif activity in history.cancelling:
            ticket.state = "cancelled"
        elif activity in history.reopening:
            ticket.state = "open"
        if activity in history.assigning:
            ticket.resource = resource
    return tickets


def steps(history: RealHistory) -> list[tuple[datetime, str, str, str]]:
    """The rows of the file in the order of their times."""
    with gzip.open(FOLDER / history.file, "rt", encoding="utf-8", newline="") as text:
        found = [
            (
                history.moment(row[history.time]),
                row[history.case],
                "/".join(row[column] for column in history.activity),
                row[history.resource],
            )
            for row in csv.DictReader(text)
        ]
    return sorted(found, key=lambda step: step[0])


def moments(history: RealHistory) -> list[datetime]:
    """Before the first step, after the last one, and some between."""
    times = [at for at, *_ in steps(history)]
    return [times[0], *sorted(random.Random(8).sample(times, MOMENTS)), times[-1]]


def names_of(items: Iterable[bytes]) -> set[str]:
    return {msgspec.json.decode(item)["title"] for item in items}


def asked(database_url: str, question: Callable[[Connection], Awaitable[None]]) -> None:
    """Put a question to the list of tasks, which is as far as the log."""
    source = PostgresLogSource(database_url, "main")
    connection = Reconnecting(database_url, log_schema("main"), "taskmaster test")
    try:
        Projector(TableStore(connection, [TaskList()]), ChangeReader(source, DOCUMENTS)).catch_up()
    finally:
        source.close()
        connection.close()

    async def put() -> None:
        async with await connect(database_url, log_schema("main")) as reader:
            await question(reader)

    asyncio.run(put())


def position_at(database_url: str, moment: datetime) -> int:
    """How far the log had come with what had happened by then: an import appends in the order of time."""
    ((position,),) = log_rows(
        database_url, "SELECT coalesce(max(notification_id), 0) FROM events WHERE effective_at <= %s", moment
    )
    return int(position)


# An empty parameter list would leave a skipped test behind; without files there is no test at all.
if PRESENT:

    @pytest.mark.parametrize("history", PRESENT, ids=lambda history: history.mapping)
    def test_lists_and_counts_as_of_any_moment_are_what_the_file_said_by_then(database_url: str, history: RealHistory) -> None:
        imported(database_url, history)
        people = dict(log_rows(database_url, "SELECT display_name, principal_id FROM taskmaster.members"))

        async def compare(connection: Connection) -> None:
            for moment in moments(history):
                told = told_by(history, moment)
                for as_of in (await by_instant(connection, moment), AsOf(position_at(database_url, moment))):
                    await same_counts(connection, told, as_of)
                    await same_lists(connection, told, as_of, people)

        asked(database_url, compare)

    async def same_counts(connection: Connection, told: dict[str, Ticket], as_of: AsOf) -> None:
        counts, _ = await count_tasks(connection, WORKSPACE, as_of)
        found = Counter({"open": counts.pop("open", 0) + counts.pop("in_progress", 0)}) + Counter(counts)
        assert found == Counter(ticket.state for ticket in told.values()), as_of

    async def same_lists(connection: Connection, told: dict[str, Ticket], as_of: AsOf, people: dict[str, UUID]) -> None:
        for query, wanted in questions(told, people):
            page = await find_as_of(connection, WORKSPACE, query, None, EVERYTHING, as_of)
            assert names_of(page.items) == wanted, (query, as_of)
            assert page.after is None

    def questions(told: dict[str, Ticket], people: dict[str, UUID]) -> Iterable[tuple[TaskQuery, set[str]]]:
        """Queries and the tickets that they have to find."""

        def those(holds: Callable[[Ticket], bool]) -> set[str]:
            return {case for case, ticket in told.items() if holds(ticket)}

        yield TaskQuery(), set(told)
        yield TaskQuery(status=("open", "in_progress"), sort="priority"), those(lambda ticket: ticket.state == "open")
        yield TaskQuery(status=("completed",), sort="-created"), those(lambda ticket: ticket.state == "completed")
        yield TaskQuery(status=("cancelled",), sort="due"), those(lambda ticket: ticket.state == "cancelled")
        busiest = Counter(ticket.resource for ticket in told.values() if ticket.resource).most_common(3)
        for name, _ in busiest:
            yield TaskQuery(assignee=people[name]), those(lambda ticket, name=name: ticket.resource == name)  # type: ignore[misc]  # bound now
