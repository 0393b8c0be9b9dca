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
from itertools import pairwise
from pathlib import Path
from statistics import median_low
from uuid import UUID

import msgspec
import psycopg
import pytest

from infrastructure.importing.files import SHIPPED
from infrastructure.importing.tickets import ImportRequest, ImportSummary, import_tickets
from infrastructure.log.source import PostgresLogSource, Reconnecting
from infrastructure.log.verify import verify_log
from infrastructure.read_models.table_store import TableStore
from infrastructure.servers.postgres import connect, log_schema
from projections import DOCUMENTS
from projections.engine.changes import ChangeReader
from projections.engine.projector import Projector
from projections.flow import Flow, FlowMetrics, FlowQuery, flow_metrics
from tests.importing import EMAIL, WORKSPACE, add_owner, log_rows

FOLDER = Path(os.environ.get("TASKMASTER_HISTORIES", Path(__file__).parents[3] / "../shared/data"))


class RealHistory(msgspec.Struct, frozen=True):
    """A file and how this module reads it, apart from the mapping that the import uses."""

    mapping: str
    file: str
    case: str
    activity: tuple[str, ...]
    time: str
    moment: Callable[[str], datetime]
    resource: str
    priority: str
    assigning: frozenset[str]
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
        "Resource",
        "seriousness_2",
        frozenset(["Take in charge ticket"]),
        frozenset(["Closed"]),
        frozenset(
            [
                *(
                    "Take in charge ticket",
                    "Wait",
                    "Require upgrade",
                    "Create SW anomaly",
                    "Resolve SW anomaly",
                    "Resolve ticket",
                ),
                *("Schedule intervention", "VERIFIED", "RESOLVED", "INVALID", "DUPLICATE"),
            ]
        ),
    ),
    RealHistory(
        "bpi2013",
        "bpi2013_closed_problems.csv.gz",
        "case:concept:name",
        ("concept:name", "lifecycle:transition"),
        "time:timestamp",
        datetime.fromisoformat,
        "org:resource",
        "impact",
        frozenset(["Accepted/In Progress", "Accepted/Assigned"]),
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
    completions: int
    reopenings: int
    priority_changes: int
    last_resources: dict[str, str]


def expected(history: RealHistory) -> Expected:
    """Read straight from the file."""
    steps: dict[str, list[tuple[datetime, str]]] = defaultdict(list)
    told: dict[str, list[tuple[datetime, str]]] = defaultdict(list)
    taken: dict[str, tuple[datetime, str]] = {}
    with gzip.open(FOLDER / history.file, "rt", encoding="utf-8", newline="") as text:
        for row in csv.DictReader(text):
            activity = "/".join(row[column] for column in history.activity)
            case, at = row[history.case], history.moment(row[history.time])
            steps[case].append((at, activity))
            told[case].append((at, row[history.priority]))
            if activity in history.assigning and (case not in taken or at >= taken[case][0]):
                taken[case] = (at, row[history.resource])
    states: Counter[str] = Counter()
    lead, completions, reopenings = [], 0, 0
    for each in steps.values():
        each.sort(key=lambda step: step[0])
        state, closed_at = "open", each[0][0]
        for at, activity in each:
            before = state
            if activity in history.closing:
                state = "completed"
            elif activity in history.cancelling:
                state = "cancelled"
            elif activity in history.reopening:
                state = "open"
            if state != before:
                reopenings += before != "open"
                completions += state == "completed"
                closed_at = at
        states[state] += 1
        if state == "completed":
            lead.append((closed_at - each[0][0]).total_seconds())
    activities = Counter(activity for each in steps.values() for _, activity in each)
    changes = sum(
        one[1] != next_one[1] for each in told.values() for one, next_one in pairwise(sorted(each, key=lambda step: step[0]))
    )
    last = {case: resource for case, (_, resource) in taken.items()}
    return Expected(len(steps), activities, states, sorted(lead), completions, reopenings, changes, last)


def imported(database_url: str, history: RealHistory) -> ImportSummary:
    add_owner(database_url)
    return import_tickets(database_url, "", "main", ImportRequest(FOLDER / history.file, history.mapping, EMAIL))


# An empty parameter list would leave a skipped test behind; without files there is no test at all.
if PRESENT:
    with_each_file = pytest.mark.parametrize("history", PRESENT, ids=lambda history: history.mapping)

    @with_each_file
    def test_the_log_holds_what_the_file_says(database_url: str, history: RealHistory) -> None:
        truth = expected(history)
        summary = imported(database_url, history)
        assert (summary.tickets, summary.rows, summary.rejected) == (truth.tickets, truth.activities.total(), [])
        by_reason = log_rows(
            database_url,
            "SELECT convert_from(state, 'UTF8')::jsonb ->> 'reason', count(DISTINCT command_id) FROM events GROUP BY 1",
        )
        assert dict(by_reason) == summary.activities == dict(truth.activities)
        checked = verify_log(database_url, "main")
        # One more than what the file says: the first project of the workspace, which the tickets rest on.
        assert (checked.events, checked.streams, checked.first_bad) == (summary.events + 1, truth.tickets + 1, None)

    @with_each_file
    def test_endings_changes_of_priority_and_assignees_are_those_of_the_file(database_url: str, history: RealHistory) -> None:
        truth = expected(history)
        imported(database_url, history)
        counted = Counter(dict(log_rows(database_url, "SELECT topic, count(*) FROM events GROUP BY 1")))
        assert counted["task.completed"] == truth.completions
        assert counted["task.reopened"] == truth.reopenings
        assert counted["task.priority_set"] == truth.priority_changes
        titles, assigned = {}, {}
        for task_id, state in log_rows(
            database_url,
            "SELECT originator_id, convert_from(state, 'UTF8')::jsonb FROM events "
            "WHERE topic IN ('task.created', 'task.assigned', 'task.unassigned') ORDER BY notification_id",
        ):
            if state["type"] == "task.created":
                titles[task_id] = state["title"]
            elif state["type"] == "task.assigned":
                assigned.setdefault(task_id, []).append(state["assignee"])
            else:
                assigned[task_id].remove(state["assignee"])
        names = dict(log_rows(database_url, "SELECT principal_id::text, display_name FROM taskmaster.members"))
        found = {titles[task_id]: [names[each] for each in who] for task_id, who in assigned.items()}
        assert found == {case: [resource] for case, resource in truth.last_resources.items()}

    @with_each_file
    def test_adding_the_file_again_from_another_order_adds_nothing(
        database_url: str, tmp_path: Path, history: RealHistory
    ) -> None:
        first = imported(database_url, history)
        with gzip.open(FOLDER / history.file, "rt", encoding="utf-8") as text:
            header, *lines = text.read().splitlines()
        # Ticket by ticket the other way round, each in its own order.
        lines.sort(key=lambda line: next(csv.reader([line]))[header.split(",").index(history.case)], reverse=True)
        other = tmp_path / "other.csv"
        other.write_bytes("\r\n".join([header, *lines]).encode("utf-16"))
        mapping = tmp_path / "other.toml"
        shipped = (SHIPPED / f"{history.mapping}.toml").read_text()
        mapping.write_text('encoding = "utf-16" # another comment\n' + shipped)
        second = import_tickets(database_url, "", "main", ImportRequest(other, str(mapping), EMAIL))
        assert (second.events, second.rejected, second.rows_before) == (0, [], first.rows)

    @with_each_file
    def test_states_and_lead_times_are_those_of_the_file(database_url: str, history: RealHistory) -> None:
        truth = expected(history)
        imported(database_url, history)
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
        imported(database_url, history)
        metrics = _flow(database_url, WORKSPACE)
        assert metrics.lead_time.count == len(truth.lead_seconds)
        for percent, value in ((50, metrics.lead_time.p50), (85, metrics.lead_time.p85), (95, metrics.lead_time.p95)):
            # The smallest observed value that at least so many percent do not exceed.
            rank = -(-len(truth.lead_seconds) * percent // 100)
            assert value == truth.lead_seconds[rank - 1]
        assert sum(day.created for day in metrics.days) == truth.tickets
        assert sum(day.reopened for day in metrics.days) == truth.reopenings
        assert metrics.days[-1].open == truth.states["open"]


def _flow(database_url: str, workspace_id: UUID) -> FlowMetrics:
    source = PostgresLogSource(database_url, "main")
    connection = Reconnecting(database_url, log_schema("main"), "taskmaster test")
    try:
        Projector(TableStore(connection, [Flow()]), ChangeReader(source, DOCUMENTS)).catch_up()
    finally:
        source.close()
        connection.close()

    async def ask() -> FlowMetrics:
        reader: psycopg.AsyncConnection[tuple[object, ...]] = await connect(database_url, log_schema("main"))
        async with reader:
            return await flow_metrics(
                reader,
                FlowQuery(workspace_id=workspace_id, first_day=date(2005, 1, 1), last_day=date(2015, 1, 1)),
                date(2015, 1, 1),
            )

    return asyncio.run(ask())
