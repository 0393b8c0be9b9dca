"""Two public histories of real ticket systems, imported, equal what their files say by themselves.

The files are no part of the project. TASKMASTER_HISTORIES names their folder; where they are not, nothing is collected here.
What is expected is computed by this module alone, from the rows of the file.
"""

import asyncio
import csv
import gzip
import os
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from statistics import median_low
from uuid import UUID

import msgspec
import psycopg
import pytest

from infrastructure.import_tickets import ImportRequest, ImportSummary, import_tickets
from infrastructure.log_source import PostgresLogSource, Reconnecting
from infrastructure.postgres import connect, log_schema
from infrastructure.table_store import TableStore
from infrastructure.verify_log import verify_log
from projections.changes import ChangeReader
from projections.engine import Projector
from projections.flow import Flow, FlowMetrics, flow_metrics
from tests.importing import EMAIL, WORKSPACE, add_owner, log_rows

FOLDER = Path(os.environ.get("TASKMASTER_HISTORIES", Path(__file__).parents[2] / "../shared/data"))


class RealHistory(msgspec.Struct, frozen=True):
    """A file and how this module reads it, apart from the mapping that the import uses."""

    mapping: str
    file: str
    case: str
    activity: tuple[str, ...]
    time: str
    moment: Callable[[str], datetime]
    closing: frozenset[str]
    reopening: frozenset[str]
    cancelling: frozenset[str] = frozenset()


HISTORIES = [
    RealHistory(
        "helpdesk",
        "helpdesk.csv.gz",
        "Case ID",
        ("Activity",),
        "Complete Timestamp",
        lambda text: datetime.strptime(text, "%Y/%m/%d %H:%M:%S.%f").replace(tzinfo=UTC),
        frozenset(["Closed"]),
        frozenset(["Take in charge ticket"]),
    ),
    RealHistory(
        "bpi2013",
        "bpi2013_closed_problems.csv.gz",
        "case:concept:name",
        ("concept:name", "lifecycle:transition"),
        "time:timestamp",
        datetime.fromisoformat,
        frozenset(["Completed/Closed"]),
        frozenset(["Accepted/In Progress", "Accepted/Assigned", "Accepted/Wait", "Queued/Awaiting Assignment"]),
        frozenset(["Completed/Cancelled"]),
    ),
]
PRESENT = [history for history in HISTORIES if (FOLDER / history.file).exists()]


class Expected(msgspec.Struct, frozen=True):
    """What a file says: lead times, in seconds, of the tickets whose last state is completed."""

    tickets: int
    activities: Counter[str]
    states: Counter[str]
    lead_seconds: list[float]


def expected(history: RealHistory) -> Expected:
    """Read straight from the file."""
    steps: dict[str, list[tuple[datetime, str]]] = defaultdict(list)
    with gzip.open(FOLDER / history.file, "rt", encoding="utf-8", newline="") as text:
        for row in csv.DictReader(text):
            activity = "/".join(row[column] for column in history.activity)
            steps[row[history.case]].append((history.moment(row[history.time]), activity))
    states: Counter[str] = Counter()
    lead = []
    for each in steps.values():
        each.sort(key=lambda step: step[0])
        state, closed_at = "open", each[0][0]
        for at, activity in each:
            if activity in history.closing:
                state, closed_at = "completed", at
            elif activity in history.cancelling:
                state = "cancelled"
            elif activity in history.reopening:
                state = "open"
        states[state] += 1
        if state == "completed":
            lead.append((closed_at - each[0][0]).total_seconds())
    activities = Counter(activity for each in steps.values() for _, activity in each)
    return Expected(len(steps), activities, states, sorted(lead))


def _imported(database_url: str, history: RealHistory) -> ImportSummary:
    add_owner(database_url)
    return import_tickets(database_url, "", "main", ImportRequest(FOLDER / history.file, history.mapping, EMAIL))


# An empty parameter list would leave a skipped test behind; without files there is no test at all.
if PRESENT:
    with_each_file = pytest.mark.parametrize("history", PRESENT, ids=lambda history: history.mapping)

    @with_each_file
    def test_the_log_holds_what_the_file_says(database_url: str, history: RealHistory) -> None:
        truth = expected(history)
        summary = _imported(database_url, history)
        assert (summary.tickets, summary.rows, summary.rejected) == (truth.tickets, truth.activities.total(), [])
        by_reason = log_rows(
            database_url,
            "SELECT convert_from(state, 'UTF8')::jsonb ->> 'reason', count(DISTINCT command_id) FROM events GROUP BY 1",
        )
        assert dict(by_reason) == summary.activities == dict(truth.activities)
        checked = verify_log(database_url, "main")
        assert (checked.events, checked.streams, checked.first_bad) == (summary.events, truth.tickets, None)

    @with_each_file
    def test_states_and_lead_times_are_those_of_the_file(database_url: str, history: RealHistory) -> None:
        truth = expected(history)
        _imported(database_url, history)
        tickets = log_rows(
            database_url,
            "SELECT (array_agg(topic ORDER BY originator_version DESC) FILTER (WHERE topic IN ('task.completed', "
            "'task.cancelled', 'task.reopened')))[1], min(effective_at) FILTER (WHERE topic = 'task.created'), "
            "max(effective_at) FILTER (WHERE topic = 'task.completed') FROM events GROUP BY originator_id",
        )
        names = {"task.completed": "completed", "task.cancelled": "cancelled"}
        assert Counter(names.get(last, "open") for last, _, _ in tickets) == truth.states
        lead = sorted((end - begin).total_seconds() for last, begin, end in tickets if last == "task.completed")
        assert lead == truth.lead_seconds
        assert median_low(lead) == median_low(truth.lead_seconds)

    @with_each_file
    def test_the_flow_metrics_are_those_of_the_file(database_url: str, history: RealHistory) -> None:
        truth = expected(history)
        _imported(database_url, history)
        metrics = _flow(database_url, WORKSPACE)
        assert metrics.lead_time.count == len(truth.lead_seconds)
        for percent, value in ((50, metrics.lead_time.p50), (85, metrics.lead_time.p85), (95, metrics.lead_time.p95)):
            # The smallest observed value that at least so many percent do not exceed.
            rank = -(-len(truth.lead_seconds) * percent // 100)
            assert value == truth.lead_seconds[rank - 1]
        assert sum(day.created for day in metrics.days) == truth.tickets
        assert sum(day.completed for day in metrics.days) == sum(truth.activities[name] for name in history.closing)
        assert metrics.days[-1].open == truth.states["open"]


def _flow(database_url: str, workspace_id: UUID) -> FlowMetrics:
    source = PostgresLogSource(database_url, "main")
    connection = Reconnecting(database_url, log_schema("main"), "taskmaster test")
    try:
        Projector(TableStore(connection, [Flow()]), ChangeReader(source)).catch_up()
    finally:
        source.close()
        connection.close()

    async def ask() -> FlowMetrics:
        reader: psycopg.AsyncConnection[tuple[object, ...]] = await connect(database_url, log_schema("main"))
        async with reader:
            return await flow_metrics(reader, workspace_id, date(2005, 1, 1), date(2015, 1, 1))

    return asyncio.run(ask())
