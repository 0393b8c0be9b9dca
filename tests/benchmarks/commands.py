"""Commands and queries against bare Litestar, and the memory of the processes after that load."""

from collections.abc import Callable

import msgspec

from infrastructure.settings import Settings
from tests.benchmarks.figures import Figure, NotMeasured, median_ratio
from tests.benchmarks.http_client import Request
from tests.benchmarks.load import CONNECTIONS, LoadGenerator
from tests.benchmarks.plan import Plan
from tests.benchmarks.progress import Progress, watching_backlog
from tests.benchmarks.servers import HOST, Bench, Server, User, creation, register, resident_mb

KEYS = ("command_alone_vs_bare", "command_vs_bare", "query_vs_bare", "api_rss_mb", "worker_rss_mb")
TASKS_ON_THE_LIST = 50
BACKLOG_SHARE = 0.1
"""A round counts only if the read models keep up: towards its end they may lack at most this share of its events."""


def measure(bench: Bench, generator: LoadGenerator, plan: Plan) -> list[Figure]:
    """All five on one API process and one bare one."""
    with bench.stage() as settings, bench.api(settings) as api:
        user, reader = register(api), register(api)
        with bench.background(settings):
            page = fill_list(settings, api, reader)
        with bench.bare(settings, page) as bare:
            compare = _Comparison(generator, plan, api, bare)
            figures = [compare.commands("command_alone_vs_bare", user, "no relay, no worker")]
            with bench.background(settings) as background, Progress(settings) as progress:
                progress.wait()
                figures += [
                    compare.commands("command_vs_bare", user, "relay and worker keep up", settings),
                    *_memory(api, background["workers"]),
                    compare.queries(reader, page),
                ]
    return figures


class _Comparison:
    """Rounds of the same requests at both servers by turns."""

    def __init__(self, generator: LoadGenerator, plan: Plan, api: Server, bare: Server) -> None:
        self._generator = generator
        self._plan = plan
        self._api = api
        self._bare = bare

    def commands(self, key: str, user: User, circumstances: str, keeping_up: Settings | None = None) -> Figure:
        """POST /api/v1/tasks; with `keeping_up` the read models must follow."""
        request, said = creation(user), []

        def ours(seconds: float) -> float:
            if keeping_up is None:
                return self._rate(self._api, request, seconds)
            with watching_backlog(keeping_up) as backlog:
                result = self._generator.run(HOST, self._api.port, request, seconds)
            with Progress(keeping_up) as progress:
                took = progress.wait()
            said.append(f"{backlog.at_end} (peak {backlog.peak}, applied {took:.2f} s later)")
            if seconds > 1 and backlog.at_end > BACKLOG_SHARE * result.requests:
                raise NotMeasured(f"the read models did not keep up: backlog {said[-1]} of {result.requests} commands")
            return result.per_second

        figure = self._compare(key, request, ours, f"POST /api/v1/tasks, a new key each, {circumstances}")
        if keeping_up is None:
            return figure
        rule = (
            f"a round counts if its backlog at the end is at most {BACKLOG_SHARE:.0%} of its events; it was {', '.join(said)}"
        )
        return msgspec.structs.replace(figure, how=f"{figure.how}; {rule}")

    def queries(self, reader: User, page: bytes) -> Figure:
        """GET /api/v1/tasks."""
        request = Request("GET", "/api/v1/tasks", reader.headers)
        what = f"GET /api/v1/tasks, 20 of {TASKS_ON_THE_LIST} tasks from Redis ({len(page)} bytes)"
        return self._compare("query_vs_bare", request, lambda seconds: self._rate(self._api, request, seconds), what)

    def _compare(self, key: str, request: Request, ours: Callable[[float], float], what: str) -> Figure:
        ours(1.0)
        self._rate(self._bare, request, 1.0)
        rates = [
            (ours(self._plan.round_seconds), self._rate(self._bare, request, self._plan.round_seconds))
            for _ in range(self._plan.rounds)
        ]
        ratio, mine, theirs = median_ratio([pair[0] for pair in rates], [pair[1] for pair in rates])
        how = (
            f"{what}; {self._generator.name}, {CONNECTIONS} connections, the same requests to bare Litestar by turns, "
            f"medians of {len(rates)} rounds of {self._plan.round_seconds:g} s"
        )
        return Figure(key, ratio, how, f"{mine:,.0f} / {theirs:,.0f} per s")

    def _rate(self, server: Server, request: Request, seconds: float) -> float:
        return self._generator.run(HOST, server.port, request, seconds).per_second


def fill_list(settings: Settings, api: Server, reader: User) -> bytes:
    """Create the reader's tasks and return the page that is served from Redis then."""
    with api.connect() as connection, Progress(settings) as progress:
        for number in range(TASKS_ON_THE_LIST):
            connection.timed(creation(reader), f"list-{number}")
        progress.wait()
        answer = connection.send(Request("GET", "/api/v1/tasks", reader.headers))
    page = msgspec.json.decode(answer.body)
    if len(page["items"]) != 20 or page["next_cursor"] is None:
        raise NotMeasured("the list is not a full page with more behind it")
    return answer.body


def _memory(api: Server, workers: Server) -> list[Figure]:
    how = "resident memory of the {} process after all rounds of commands, read from the operating system"
    return [
        Figure("api_rss_mb", resident_mb(api.working_pid), how.format("granian worker")),
        Figure("worker_rss_mb", resident_mb(workers.working_pid), how.format("Dramatiq worker")),
    ]
