"""Lists, searches and the largest answers at 100,000 tasks: what the worst of them costs, not the usual one."""

import random
from itertools import product
from urllib.parse import quote
from uuid import uuid4

import msgspec
import psycopg

from infrastructure.servers.postgres import connect_sync, log_schema
from tests.benchmarks.figures import Figure, NotMeasured, percentile
from tests.benchmarks.filling import fill, task_appends
from tests.benchmarks.http_client import Connection, Request
from tests.benchmarks.load import LoadGenerator
from tests.benchmarks.plan import Plan
from tests.benchmarks.progress import Progress
from tests.benchmarks.servers import Bench, User, register

KEYS = ("search_100k_ms", "filter_worst_ms")
PROJECTING_SECONDS = 300.0
SORTS = ("-added", "created", "due", "-due", "-priority")
FILTERS = (
    "",
    "status=open",
    "status=in_progress",
    "status=cancelled",
    "status=open&status=in_progress",
    "priority=urgent",
    "label=billing",
    "label=billing&status=open",
    "label=billing&label=login",
    "label=billing&priority=urgent&status=cancelled",
    "status=completed&label=search&due_from=2026-03-01T00:00:00Z",
    "due_from=2026-02-01T00:00:00Z&due_before=2026-02-02T00:00:00Z",
    "due_before=2026-01-06T00:00:00Z&status=open",
    "created_before=2026-01-01T00:00:00Z",
    "created_from=2020-01-01T00:00:00Z&status=open&priority=high",
    "q=billing",
    "q=billing&status=open",
    "q=part",
    "q=part+12",
    "q=mondays+part+7777",
    "q=nosuchword",
    "label=nosuchlabel",
    "deleted=true",
)
_WORDS = (
    "fix",
    "review",
    "describe",
    "measure",
    "replace",
    "agree",
    "billing",
    "login",
    "search",
    "export",
    "mobile",
    "reports",
)


def measure(bench: Bench, generator: LoadGenerator, plan: Plan) -> list[Figure]:
    """One workspace with so many tasks, one API process, one request at a time, without relay or worker."""
    with bench.stage() as settings, bench.api(settings) as api:
        user = register(api)
        with bench.background(settings), Progress(settings) as progress:
            fill(settings, task_appends(plan.listed_tasks, lambda _: (user.workspace_id, user.principal_id)))
            progress.wait(PROJECTING_SECONDS)
        with connect_sync(settings.database_url, log_schema(settings.log_name)) as connection:
            connection.execute("VACUUM (ANALYZE)")
            connection.execute("CHECKPOINT")
            sizes = _sizes(connection)
        with api.connect() as client:
            return [_search(client, user, plan, sizes), _filters(client, user, plan)]


def _search(client: Connection, user: User, plan: Plan, sizes: str) -> Figure:
    chance = random.Random(uuid4().int)
    taken = []
    for number in range(plan.searches + 10):
        words = f"{chance.choice(_WORDS)} {chance.choice(_WORDS)[: chance.randint(3, 9)]}"
        milliseconds = client.timed(Request("GET", f"/api/v1/tasks?q={quote(words)}", user.headers))
        if number >= 10:
            taken.append(milliseconds)
    how = (
        f"GET /api/v1/tasks?q=two words, the second often a beginning, {len(taken)} random pairs among "
        f"{plan.listed_tasks:,} tasks; "
        f"p50, p99 {percentile(taken, 0.99):.1f} ms; {sizes}"
    )
    return Figure("search_100k_ms", percentile(taken, 0.5), how)


def _filters(client: Connection, user: User, plan: Plan) -> Figure:
    worst: dict[str, float] = {}
    for chosen, sort in product(FILTERS, SORTS):
        request = Request("GET", f"/api/v1/tasks?{chosen}{'&' if chosen else ''}sort={sort}", user.headers)
        answer = client.send(request)
        if answer.status != 200 or not isinstance(msgspec.json.decode(answer.body)["items"], list):
            raise NotMeasured(f"{request.path} was answered {answer.status}")
        worst[request.path] = percentile([client.timed(request) for _ in range(plan.filter_runs)], 0.99)
    name = max(worst, key=lambda path: worst[path])
    slowest = sorted(worst.items(), key=lambda item: -item[1])[1:4]
    how = (
        f"p99 of {plan.filter_runs} runs of each of {len(worst)} combinations of filters and orders among "
        f"{plan.listed_tasks:,} "
        f"tasks, the worst of them: {name}; then {', '.join(f'{path} {taken:.1f}' for path, taken in slowest)}"
    )
    return Figure("filter_worst_ms", worst[name], how)


def _sizes(connection: psycopg.Connection[tuple[int, int]]) -> str:
    row = connection.execute(
        "SELECT pg_relation_size(i.indexrelid), pg_table_size('task_list') FROM pg_index i JOIN pg_attribute a "
        "ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey) WHERE i.indrelid = 'task_list'::regclass AND a.attname = "
        "'words'"
    ).fetchone()
    if row is None:
        raise NotMeasured("there is no index over words")
    return f"the index over words takes {row[0] / 1e6:.1f} MB, the table {row[1] / 1e6:.0f} MB"
