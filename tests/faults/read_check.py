"""Every answer to a read must be exactly the fold of the log at the position that it claims, and not before what was asked."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

import psycopg

from infrastructure.settings import Settings
from projections.task.document import TaskRecord, fold
from tests.faults.load import Client, Seen
from tests.faults.view_check import Documents, counted, full, line, of_tasks, plain, read_log

PAGE = 20
STATUSES = ("open", "in_progress", "completed", "cancelled", "deleted")


def read_violations(settings: Settings, clients: Sequence[Client]) -> list[str]:
    """Every answer that was not true."""
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        connection.execute("SET timezone = 'UTC'")
        records = read_log(connection)
    events: dict[UUID, list[TaskRecord]] = defaultdict(list)
    for record in of_tasks(records):
        events[record.workspace_id].append(record)
    return [
        violation
        for client in clients
        for violation in _of_one(events[client.workspace], sorted(client.seen, key=lambda seen: seen.position), len(records))
    ]


def _of_one(records: Sequence[TaskRecord], answers: Sequence[Seen], head: int) -> Iterable[str]:
    documents: Documents = {}
    upcoming = iter(records)
    record = next(upcoming, None)
    for seen in answers:
        while record is not None and record.position <= seen.position:
            documents[record.stream_id] = fold(documents.get(record.stream_id), record)
            record = next(upcoming, None)
        if seen.position > head:
            yield f"{seen.kind} claims position {seen.position}, the log ends at {head}"
        if seen.position < seen.least:
            yield f"{seen.kind} was asked for at least {seen.least} and answered with {seen.position}"
        wanted, found = _wanted(seen, documents), _found(seen)
        if wanted != found:
            yield (
                f"{seen.kind} at {seen.position} (min_position={seen.least}) of {seen.workspace}: "
                f"{json.dumps(found)[:300]} instead of {json.dumps(wanted)[:300]}"
            )


def _found(seen: Seen) -> Any:
    if seen.kind == "list":
        return [plain(item) for item in seen.body["items"]]
    return plain(seen.body) if seen.kind == "task" else seen.body


def _wanted(seen: Seen, documents: Documents) -> Any:
    if seen.kind == "task":
        document = documents.get(UUID(seen.task or ""))
        return full(document) if document else None
    if seen.kind == "counts":
        counts = counted(documents.values())
        return {status: counts.get(status, 0) for status in STATUSES}
    shown = sorted((d for d in documents.values() if not d.task.deleted), key=lambda d: -d.created_position)
    return [line(document) for document in shown[:PAGE]]
