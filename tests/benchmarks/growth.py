"""Whether requests grow slower while the log grows: the same ones on a small log and on a large one, by turns."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple
from uuid import UUID, uuid4

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as ProgressBar

from infrastructure.read_models.projecting import PROJECTORS
from infrastructure.servers.postgres import connect_sync, log_schema
from infrastructure.settings import Settings, settings_environ
from tests.benchmarks.figures import Figure, NotMeasured, percentile
from tests.benchmarks.filling import EVENTS_A_TASK, fill, task_appends
from tests.benchmarks.http_client import Connection, Request
from tests.benchmarks.load import LoadGenerator
from tests.benchmarks.plan import Plan
from tests.benchmarks.progress import Progress
from tests.benchmarks.servers import Bench, Server, User, creation, register

KEYS = ("growth_command", "growth_query")
SMALL_EVENTS = 1_000
OWN_TASKS = 1_000
OTHER_WORKSPACES = 200
BLOCK = 20
PROJECTING_SECONDS = 300.0
_LISTS = {"default list": "/api/v1/tasks", "filtered list": "/api/v1/tasks?status=open&sort=due"}


class _Side(NamedTuple):
    """One log with its API process and the user who asks."""

    settings: Settings
    api: Server
    user: User
    events: int


def measure(bench: Bench, generator: LoadGenerator, plan: Plan) -> list[Figure]:
    """Two logs in one database, each with an API process; filled and projected by the code that serves."""
    with bench.stage(("small", "large")) as settings, ExitStack() as stack:
        small = _side(bench, stack, settings, "small", SMALL_EVENTS)
        large = _side(bench, stack, settings, "large", plan.growth_events)
        for side in (small, large):
            _fill(bench, side)
            _require_list(side)
        with connect_sync(settings.database_url, log_schema("large")) as connection:
            # What autovacuum does in its own time, so that it does not start between two requests.
            connection.execute("VACUUM (ANALYZE)")
            connection.execute("CHECKPOINT")
        lists = {
            name: _compare((small, _query(small, path)), (large, _query(large, path)), plan=plan)
            for name, path in _LISTS.items()
        }
        command = _compare((small, creation(small.user)), (large, creation(large.user)), plan=plan)
    size = f"{large.events:,} events ({large.events // EVENTS_A_TASK:,} tasks, {_own_tasks(large.events):,} of them the user's)"
    turns = f"by turns in blocks of {BLOCK}"
    how = f"p50 of {plan.growth_requests} requests a side, one at a time, at {size} and at {small.events:,}, {turns}"
    worse = max(lists, key=lambda name: lists[name].ratio)
    return [
        Figure("growth_command", command.ratio, f"POST /api/v1/tasks, {how}; no relay, no worker", command.text),
        Figure(
            "growth_query",
            lists[worse].ratio,
            f"GET /api/v1/tasks, {how}; the worse of {'; '.join(f'{name} {each.ratio:.2f}' for name, each in lists.items())}",
            "; ".join(f"{name} {each.text}" for name, each in lists.items()),
        ),
    ]


def _side(bench: Bench, stack: ExitStack, settings: Settings, log_name: str, events: int) -> _Side:
    chosen = msgspec.structs.replace(settings, log_name=log_name)
    api = stack.enter_context(bench.api(chosen))
    return _Side(chosen, api, register(api), events)


def _own_tasks(events: int) -> int:
    return min(OWN_TASKS, events // EVENTS_A_TASK)


def _fill(bench: Bench, side: _Side) -> None:
    """Append the events while two processes project them, one a projector: the code of the worker, with a core for each."""
    others = [(uuid4(), uuid4()) for _ in range(OTHER_WORKSPACES)]
    tasks, own = side.events // EVENTS_A_TASK, (side.user.workspace_id, side.user.principal_id)
    every = tasks // _own_tasks(side.events)

    def place(number: int) -> tuple[UUID, UUID]:
        # The user's tasks lie spread over the whole log.
        return own if number % every == 0 and number // every < OWN_TASKS else others[number % OTHER_WORKSPACES]

    environ = settings_environ(side.settings)
    with ExitStack() as stack:
        for projector in PROJECTORS:
            stack.enter_context(bench.program("tests.benchmarks.project", projector, str(side.events), environ=environ))
        with _bar(side.events) as (filled, projected):
            fill(side.settings, task_appends(tasks, place), filled)
            with Progress(side.settings) as progress:
                progress.wait(PROJECTING_SECONDS, projected)


@contextmanager
def _bar(events: int) -> Iterator[tuple[Callable[[int], None], Callable[[int], None]]]:
    """Two bars on the terminal: filled and projected."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with ProgressBar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        filled, projected = (bar.add_task(f"{doing} {events:,} events", total=events) for doing in ("appending", "projecting"))
        yield (
            lambda done: bar.update(filled, completed=done),
            lambda position: bar.update(projected, completed=position),
        )


class _Compared(NamedTuple):
    """p50 at the large log over p50 at the small one."""

    ratio: float
    text: str


def _compare(small: tuple[_Side, Request], large: tuple[_Side, Request], *, plan: Plan) -> _Compared:
    run, at_small, at_large = uuid4().hex, list[float](), list[float]()
    with small[0].api.connect() as one, large[0].api.connect() as other:
        sides: list[tuple[Connection, Request, list[float]]] = [
            (one, small[1], at_small),
            (other, large[1], at_large),
        ]
        for connection, request, _ in sides:
            for number in range(BLOCK):
                connection.timed(request, f"{run}-warm-{number}")
        for block in range(-(-plan.growth_requests // BLOCK)):
            for connection, request, milliseconds in sides:
                milliseconds += [connection.timed(request, f"{run}-{block}-{number}") for number in range(BLOCK)]
    before, after = percentile(at_small, 0.5), percentile(at_large, 0.5)
    return _Compared(after / before, f"{after:.2f} / {before:.2f} ms")


def _query(side: _Side, path: str) -> Request:
    return Request("GET", path, side.user.headers)


def _require_list(side: _Side) -> None:
    """The asking user's list must be what the figure says."""
    with side.api.connect() as connection:
        counts = msgspec.json.decode(connection.send(Request("GET", "/api/v1/tasks/counts", side.user.headers)).body)
    if sum(counts.values()) != _own_tasks(side.events):
        raise NotMeasured(f"the user has {counts} instead of {_own_tasks(side.events)} tasks")
