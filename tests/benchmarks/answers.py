"""How large an answer can be made: everything that is written is as long as it may be, and every list is asked for all of
it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID, uuid4

from uuid_utils.compat import uuid7

from application.log import Append, NewEvent
from domain.task.events import TaskCreated, TaskDescribed, TaskEvent
from domain.task.values import (
    ASSIGNEES_MAX,
    LABEL_MAX_CHARACTERS,
    LABELS_MAX,
    TITLE_MAX_CHARACTERS,
)
from domain.text import DESCRIPTION_MAX_BYTES, REASON_MAX_CHARACTERS
from tests.benchmarks.figures import Figure, NotMeasured
from tests.benchmarks.filling import fill
from tests.benchmarks.http_client import Connection, Request
from tests.benchmarks.load import LoadGenerator
from tests.benchmarks.plan import Plan
from tests.benchmarks.progress import Progress
from tests.benchmarks.servers import Bench, User, register, resident_mb

KEYS = ("largest_answer_mb",)
LONG_AGO = datetime(2007, 1, 1, tzinfo=UTC)
_FOUR_BYTES = "\U0001f6a2"


def measure(bench: Bench, generator: LoadGenerator, plan: Plan) -> list[Figure]:
    """One user's worst tasks; each list read to its end with the greatest limit."""
    with bench.stage() as settings, bench.api(settings) as api:
        user, task_id = register(api), uuid7()
        place = (user.workspace_id, user.principal_id)
        with bench.background(settings), Progress(settings) as progress:
            fill(settings, _worst_tasks(place, plan.wide_tasks))
            fill(settings, _worst_history(task_id, place, plan.long_events))
            progress.wait(300.0)
        before = resident_mb(api.working_pid)
        with api.connect() as client:
            sizes = {
                name: _largest(client, user, path)
                for name, path in (
                    ("list", "/api/v1/tasks?limit=100"),
                    ("first page", "/api/v1/tasks"),
                    ("history", f"/api/v1/tasks/{task_id}/history?limit=1000"),
                    ("changes", "/api/v1/changes?limit=1000"),
                    ("changes with tasks", "/api/v1/changes?limit=1000&include=task"),
                    ("flow", "/api/v1/analytics/flow"),
                )
            }
        grown = resident_mb(api.working_pid) - before
    told = ", ".join(f"{name} {size / 1e6:.2f}" for name, size in sizes.items())
    how = (
        f"the largest answer of each list, read to its end, over {plan.wide_tasks} tasks with the longest of everything "
        "and one "
        f"with {plan.long_events} descriptions of 64 KiB in signs that JSON spells with six characters: {told} MB; "
        f"the process grew by {grown:.0f} MB"
    )
    return [Figure("largest_answer_mb", max(sizes.values()) / 1e6, how)]


def _largest(client: Connection, user: User, path: str) -> int:
    largest, target = 0, path
    for _ in range(2_000):
        answer = client.send(Request("GET", target, user.headers))
        if answer.status != 200:
            raise NotMeasured(f"{target} was answered {answer.status}: {answer.body[:200]!r}")
        largest = max(largest, len(answer.body))
        link = answer.headers.get(b"link")
        if link is None:
            return largest
        target = link.decode().partition("<")[2].partition(">")[0]
    raise NotMeasured(f"{path} has no end")


def _worst_tasks(place: tuple[UUID, UUID], tasks: int) -> Iterator[Append]:
    for number in range(tasks):
        labels = tuple(f"{each:02}{'|' * (LABEL_MAX_CHARACTERS - 2)}".replace("|", _FOUR_BYTES) for each in range(LABELS_MAX))
        created = TaskCreated(
            title='"' * TITLE_MAX_CHARACTERS,
            description=_FOUR_BYTES * (DESCRIPTION_MAX_BYTES // 4),
            assignees=tuple(uuid4() for _ in range(ASSIGNEES_MAX)),
            labels=labels,
            reason='"' * REASON_MAX_CHARACTERS,
        )
        yield _append(uuid7(), 1, (created,), place, None if number else LONG_AGO)


def _worst_history(task_id: UUID, place: tuple[UUID, UUID], events: int) -> Iterator[Append]:
    yield _append(task_id, 1, (TaskCreated(title="long"),), place, None)
    for version in range(2, events + 2):
        # Today's admission takes no control characters; a log may hold them all the same.
        text = ("\x01" if version % 2 else "\x02") * DESCRIPTION_MAX_BYTES
        yield _append(task_id, version, (TaskDescribed(description=text),), place, None)


def _append(
    task_id: UUID, version: int, events: tuple[TaskEvent, ...], place: tuple[UUID, UUID], at: datetime | None
) -> Append:
    command = uuid4()
    new = tuple(NewEvent(task_id, version + number, event, at) for number, event in enumerate(events))
    return Append(
        workspace_id=place[0],
        principal_id=place[1],
        command_id=command,
        correlation_id=command,
        causation_id=None,
        events=new,
        receipt_start="{",
    )
