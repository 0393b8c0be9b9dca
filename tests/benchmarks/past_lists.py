"""Lists as they were and comparisons of two moments, at 100,000 tasks whose changes lie spread over the whole log."""

import random
from collections.abc import Callable
from itertools import product
from typing import get_args
from uuid import UUID, uuid4

import msgspec

from infrastructure.servers.postgres import connect_sync, log_schema
from infrastructure.settings import Settings
from projections.task.list_query import Sort
from tests.benchmarks.figures import Figure, NotMeasured, percentile
from tests.benchmarks.filling import EVENTS_A_TASK, fill, spread_appends
from tests.benchmarks.http_client import Connection, Request
from tests.benchmarks.load import LoadGenerator
from tests.benchmarks.plan import Plan
from tests.benchmarks.progress import Progress
from tests.benchmarks.reading import FILTERS
from tests.benchmarks.servers import Bench, User, register

KEYS = ("as_of_list_worst_ms", "diff_1k_ms")
PROJECTING_SECONDS = 600.0
OTHER_WORKSPACES = 4
ONE_IN_OTHERS = 6
"""Of so many tasks one is another workspace's."""

APART = 1_000
BANDS = {"recent": 0.99, "middle": 0.5, "early": 0.1}
"""Where positions are drawn from: so far into the log, and up to a hundredth of it further on."""

COMPARED = ("", "status=open", "label=billing&status=completed", "q=billing")
Ask = Callable[[], Request]


def measure(bench: Bench, generator: LoadGenerator, plan: Plan) -> list[Figure]:
    """One API process, one request at a time, without relay or worker."""
    with bench.stage() as settings, bench.api(settings) as api:
        user = register(api)
        with bench.background(settings), Progress(settings) as progress:
            fill(settings, spread_appends(plan.listed_tasks * ONE_IN_OTHERS // (ONE_IN_OTHERS - 1), _places(user)))
            progress.wait(PROJECTING_SECONDS)
            head = progress.head()
        assignee = _prepare(settings, user)
        with api.connect() as client:
            asking = _Asking(client, user, head)
            filters = (*FILTERS, f"created_by={user.principal_id}", f"assignee={assignee}")
            return [_lists(asking, filters, plan), _differences(asking, plan)]


def _places(user: User) -> Callable[[int], tuple[UUID, UUID]]:
    others = [(uuid4(), uuid4()) for _ in range(OTHER_WORKSPACES)]
    own = (user.workspace_id, user.principal_id)
    return lambda number: own if number % ONE_IN_OTHERS else others[number // ONE_IN_OTHERS % OTHER_WORKSPACES]


def _prepare(settings: Settings, user: User) -> UUID:
    """What autovacuum does in its own time; and somebody who is on a task."""
    with connect_sync(settings.database_url, log_schema(settings.log_name)) as connection:
        connection.execute("VACUUM (ANALYZE)")
        connection.execute("CHECKPOINT")
        row = connection.execute(
            "SELECT convert_from(detail, 'UTF8')::jsonb #>> '{assignees,0}' AS assignee FROM task_list "
            "WHERE workspace_id = %s ORDER BY assignee NULLS LAST LIMIT 1",
            (user.workspace_id,),
        ).fetchone()
    if row is None or row[0] is None:
        raise NotMeasured("nobody is on any task")
    return UUID(row[0])


class _Asking:
    """One user asking for random moments, one request at a time."""

    def __init__(self, client: Connection, user: User, head: int) -> None:
        self._client = client
        self._user = user
        self._head = head
        self._chance = random.Random(uuid4().int)

    def moment(self, band: str, room: int = 0) -> int:
        """A position of the band, at least `room` before the head."""
        first, last = int(self._head * BANDS[band]), self._head - room
        return self._chance.randint(min(first, last), min(first + self._head // 100, last))

    def median(self, path: Callable[[], str], runs: int) -> tuple[float, float]:
        """p50 and p99 in milliseconds, each time of what `path` gives. The first answers prepare statements and plans."""
        for _ in range(6):
            self.answer(path())
        taken = [self._client.timed(Request("GET", path(), self._user.headers)) for _ in range(runs)]
        return percentile(taken, 0.5), percentile(taken, 0.99)

    def answer(self, path: str) -> list[object]:
        """The items of the answer."""
        answer = self._client.send(Request("GET", path, self._user.headers))
        if answer.status != 200:
            raise NotMeasured(f"{path} was answered {answer.status}: {answer.body[:200]!r}")
        items: list[object] = msgspec.json.decode(answer.body)["items"]
        return items


def _lists(asking: _Asking, filters: tuple[str, ...], plan: Plan) -> Figure:
    found: dict[str, float] = {}
    orders = get_args(Sort)
    for band, chosen, sort in product(BANDS, filters, orders):
        query = f"{chosen}{'&' if chosen else ''}sort={sort}"
        found[f"{query} ({band})"], _ = asking.median(
            lambda band=band, query=query: f"/api/v1/tasks?{query}&as_of={asking.moment(band)}",  # type: ignore[misc]  # bound now
            plan.past_runs,
        )
    worst, *next_ones = sorted(found, key=lambda name: -found[name])[:4]
    how = (
        f"GET /api/v1/tasks?as_of=, p50 of {plan.past_runs} random positions of each of {len(found)} combinations of "
        f"{len(filters)} filters, {len(orders)} orders and {len(BANDS)} parts of the log (from "
        f"{', '.join(f'{share:.0%}' for share in BANDS.values())} of it on), among {plan.listed_tasks:,} tasks of the "
        f"asker's with {EVENTS_A_TASK} events each, spread over the log, beside {OTHER_WORKSPACES} other workspaces; the "
        f"worst: {worst}; then {', '.join(f'{name} {found[name]:.1f}' for name in next_ones)}"
    )
    return Figure("as_of_list_worst_ms", found[worst], how)


def _differences(asking: _Asking, plan: Plan) -> Figure:
    found: dict[str, tuple[float, float]] = {}
    for band, query in product(BANDS, COMPARED):
        found[f"{query or 'no filter'} ({band})"] = asking.median(
            lambda band=band, query=query: _difference(asking.moment(band, APART), query),  # type: ignore[misc]  # bound now
            plan.differences,
        )
    if not asking.answer(_difference(asking.moment("middle", APART), "")):
        raise NotMeasured("nothing had changed within so many positions")
    worst, *next_ones = sorted(found, key=lambda name: -found[name][0])
    how = (
        f"GET /api/v1/tasks/diff?from=P&to=P+{APART}, p50 of {plan.differences} random positions of each of {len(found)} "
        f"combinations of filters and parts of the log, same data; the worst: {worst}, p99 {found[worst][1]:.1f} ms; "
        f"then {', '.join(f'{name} {found[name][0]:.1f}' for name in next_ones[:3])}"
    )
    return Figure("diff_1k_ms", found[worst][0], how)


def _difference(position: int, query: str) -> str:
    return f"/api/v1/tasks/diff?from={position}&to={position + APART}{'&' if query else ''}{query}"
