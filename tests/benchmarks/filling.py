"""Logs to measure on: realistic task histories, written through the log's own append function as fast as it takes them."""

import queue
import random
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from itertools import islice
from typing import Any
from uuid import UUID, uuid4

from uuid_utils.compat import uuid7

from application.log import Append, NewEvent
from domain.task.events import (
    TaskAssigned,
    TaskCancelled,
    TaskCompleted,
    TaskCreated,
    TaskDescribed,
    TaskDueDateSet,
    TaskEvent,
    TaskLabelAdded,
    TaskPrioritySet,
    TaskRenamed,
    TaskReopened,
    TaskStarted,
)
from infrastructure.log.append_function import append_parameters, append_statement
from infrastructure.servers.postgres import connect_sync, log_schema
from infrastructure.settings import Settings
from tests.benchmarks.figures import NotMeasured

EVENTS_A_CALL = 2_000
TASKS_AT_A_TIME = 500
"""So many tasks live side by side: their events lie mixed in the log, as those of people at work do."""
EVENTS_A_TASK = 5

_AREAS = ("billing", "login", "search", "export", "mobile", "reports", "invoices", "onboarding")
_WORK = ("Fix", "Review", "Describe", "Measure", "Replace", "Clean up", "Agree on", "Plan")
_BEGIN = datetime(2026, 1, 5, 8, tzinfo=UTC)
Progress = Callable[[int], None]


def history(chance: random.Random, number: int) -> list[TaskEvent]:
    """The events of one task, EVENTS_A_TASK of them: created, worked on, and in most cases closed."""
    area = chance.choice(_AREAS)
    work: list[TaskEvent] = [
        TaskAssigned(assignee=UUID(int=chance.getrandbits(128))),
        TaskStarted(),
        TaskLabelAdded(label=chance.choice(_AREAS)),
        TaskDescribed(
            description=f"Seen in {area}. " + "It happens again and again, mostly on Mondays. " * chance.randint(1, 6)
        ),
        TaskPrioritySet(priority=chance.choice(("low", "medium", "urgent"))),
        TaskDueDateSet(due_at=_BEGIN + timedelta(hours=chance.randint(1, 4_000))),
        TaskRenamed(title=f"{chance.choice(_WORK)} {area} once more, part {number}"),
    ]
    closed: list[list[TaskEvent]] = [
        [],
        [TaskCompleted()],
        [TaskCompleted()],
        [TaskCancelled()],
        [TaskCompleted(), TaskReopened()],
    ]
    ending = chance.choice(closed)
    middle = chance.sample(work, EVENTS_A_TASK - 1 - len(ending))
    created = TaskCreated(
        title=f"{chance.choice(_WORK)} {area}, part {number}",
        priority=chance.choice(("none", "medium", "high")),
        due_at=_BEGIN + timedelta(hours=chance.randint(1, 4_000)) if chance.random() < 0.5 else None,
        labels=(area,),
    )
    return [created, *middle, *ending]


Places = Callable[[int], tuple[UUID, UUID]]
"""Workspace and principal of the task of a number."""


def mixed_appends(tasks: int, places: Places, seed: int = 1) -> Iterator[Append]:
    """One append an event, of so many tasks mixed with each other."""
    chance = random.Random(seed)
    numbers = iter(range(tasks))
    living: list[tuple[UUID, int, list[TaskEvent], tuple[UUID, UUID]]] = []
    while True:
        begun = islice(numbers, TASKS_AT_A_TIME - len(living))
        living += [(uuid7(), 1, history(chance, number), places(number)) for number in begun]
        if not living:
            return
        going_on = []
        for task_id, version, (event, *later), place in living:
            yield _append(task_id, version, (event,), place)
            if later:
                going_on.append((task_id, version + 1, later, place))
        living = going_on


def task_appends(tasks: int, places: Places, seed: int = 1) -> Iterator[Append]:
    """One append a task, with all its events."""
    chance = random.Random(seed)
    for number in range(tasks):
        yield _append(uuid7(), 1, tuple(history(chance, number)), places(number))


def spread_appends(tasks: int, places: Places, seed: int = 3) -> Iterator[Append]:
    """One append an event: tasks begin one after the other, what becomes of each lies spread over the rest of the log."""
    chance = random.Random(seed)
    living: list[tuple[float, int, UUID, int, list[TaskEvent]]] = []
    for number in range(tasks + 1):
        while living and (living[0][0] < number or number == tasks):
            _, whose, task_id, version, later = heappop(living)
            yield _append(task_id, version, (later[version - 2],), places(whose))
        if number == tasks:
            return
        task_id, (event, *later) = uuid7(), history(chance, number)
        yield _append(task_id, 1, (event,), places(number))
        moments = sorted(chance.uniform(number, tasks) for _ in later)
        for version, moment in enumerate(moments, 2):
            heappush(living, (moment, number, task_id, version, later))


def stream_appends(task_id: UUID, events: int, place: tuple[UUID, UUID], seed: int = 2) -> Iterator[Append]:
    """One task of so many events, in appends of a hundred."""
    chance = random.Random(seed)
    made: list[TaskEvent] = [TaskCreated(title="A task with a long history", labels=("history",))]
    while len(made) < events:
        number = len(made)
        made.append(
            chance.choice(
                (
                    TaskRenamed(title=f"A task with a history of {number}"),
                    TaskPrioritySet(priority=chance.choice(("low", "medium", "high", "urgent"))),
                    TaskDescribed(description=f"What was known at step {number}. " * chance.randint(1, 5)),
                    TaskDueDateSet(due_at=_BEGIN + timedelta(hours=number)),
                )
            )
        )
    for start in range(0, events, 100):
        yield _append(task_id, start + 1, tuple(made[start : start + 100]), place)


def _append(task_id: UUID, version: int, events: tuple[TaskEvent, ...], place: tuple[UUID, UUID]) -> Append:
    command = uuid4()
    new = tuple(NewEvent(task_id, version + number, event) for number, event in enumerate(events))
    return Append(
        workspace_id=place[0],
        principal_id=place[1],
        command_id=command,
        correlation_id=command,
        causation_id=None,
        events=new,
        receipt_start="{",
    )


def fill(settings: Settings, appends: Iterable[Append], progress: Progress = lambda _: None) -> int:
    """Append them all in calls of about 2,000 events; returns how many events there were. Raises NotMeasured for a refused one.

    A call holds no stream twice, as the function demands; the next call is prepared while one is under way.
    """
    ready: queue.Queue[tuple[int, tuple[list[Any], ...]] | BaseException | None] = queue.Queue(maxsize=4)
    stop = threading.Event()

    def prepare() -> None:
        last: BaseException | None = None
        try:
            for call in _calls(appends):
                ready.put((sum(len(append.events) for append in call), append_parameters(call)))
                if stop.is_set():
                    return
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that waits
            last = error
        ready.put(last)

    preparing = threading.Thread(target=prepare, name="filling", daemon=True)
    preparing.start()
    schema, done = log_schema(settings.log_name), 0
    try:
        with connect_sync(settings.database_url, schema, "benchmark filling") as connection:
            statement = append_statement(schema)
            while isinstance(item := ready.get(), tuple):
                row = connection.cursor(binary=True).execute(statement, item[1], prepare=True).fetchone()
                if row is None or any(row[0]):
                    raise NotMeasured("the log refused an append while it was filled")
                done += item[0]
                progress(done)
            if item is not None:
                raise item
    finally:
        stop.set()
        while not ready.empty():
            ready.get_nowait()
        preparing.join(timeout=10)
    return done


def _calls(appends: Iterable[Append]) -> Iterator[list[Append]]:
    call: list[Append] = []
    streams: set[UUID] = set()
    events = 0
    for append in appends:
        stream = append.events[0].stream_id
        if stream in streams or events + len(append.events) > EVENTS_A_CALL:
            yield call
            call, streams, events = [], set(), 0
        call.append(append)
        streams.add(stream)
        events += len(append.events)
    if call:
        yield call
