"""The default list to clients that read compressed answers, against the same list plain."""

from tests.benchmarks.commands import TASKS_ON_THE_LIST, fill_list
from tests.benchmarks.figures import Figure, NotMeasured, median_ratio
from tests.benchmarks.http_client import Request
from tests.benchmarks.load import CONNECTIONS, LoadGenerator
from tests.benchmarks.plan import Plan
from tests.benchmarks.servers import HOST, Bench, Server, User, register

KEYS = ("compressed_vs_plain",)
CODINGS = {"Accept-Encoding": "gzip, br"}


def measure(bench: Bench, generator: LoadGenerator, plan: Plan) -> list[Figure]:
    """One API process, the same list by turns."""
    with bench.stage() as settings, bench.api(settings) as api:
        reader = register(api)
        with bench.background(settings):
            page = fill_list(settings, api, reader)
            return [_compare(generator, plan, api, reader, page)]


def _compare(generator: LoadGenerator, plan: Plan, api: Server, reader: User, page: bytes) -> Figure:
    plain = Request("GET", "/api/v1/tasks", reader.headers)
    packed = Request("GET", "/api/v1/tasks", reader.headers | CODINGS)
    with api.connect() as connection:
        form = connection.send(packed).body
    if len(form) > len(page) / 2:
        raise NotMeasured("the list did not come compressed")

    def rate(request: Request, seconds: float) -> float:
        return generator.run(HOST, api.port, request, seconds).per_second

    rate(packed, 1.0)
    rate(plain, 1.0)
    rates = [(rate(packed, plan.round_seconds), rate(plain, plan.round_seconds)) for _ in range(plan.rounds)]
    ratio, with_coding, without = median_ratio([pair[0] for pair in rates], [pair[1] for pair in rates])
    how = (
        f"GET /api/v1/tasks, 20 of {TASKS_ON_THE_LIST} tasks, with Accept-Encoding: gzip, br ({len(form)} bytes) and without "
        f"({len(page)} bytes) by turns; {generator.name}, {CONNECTIONS} connections, medians of {len(rates)} rounds"
    )
    return Figure("compressed_vs_plain", ratio, how, f"{with_coding:,.0f} / {without:,.0f} per s")
