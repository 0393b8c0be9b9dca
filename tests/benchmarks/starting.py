"""From `taskmaster dev` to the first answered query."""

import http.client
import os
import statistics
import time
from contextlib import suppress
from subprocess import Popen

from infrastructure.settings import VARIABLES
from tests.benchmarks.figures import Figure, NotMeasured
from tests.benchmarks.http_client import Request
from tests.benchmarks.load import LoadGenerator
from tests.benchmarks.plan import Plan
from tests.benchmarks.servers import HOST, READY_SECONDS, Bench, Server, free_port, register, wait_until_answered

KEYS = ("start_s",)


def measure(bench: Bench, generator: LoadGenerator, plan: Plan) -> list[Figure]:
    """A first start that initialises the data folder and registers a user, then starts that are timed."""
    port = free_port()
    ours = {"TASKMASTER_DATA_DIR": str(bench.folder / "start"), "TASKMASTER_PORT": str(port)}
    environ = {**{name: text for name, text in os.environ.items() if name not in VARIABLES.values()}, **ours}
    with bench.program("infrastructure.cli.main", "dev", environ=environ) as process:
        wait_until_answered(process, port, "/healthz")
        user = register(Server(process, port))
    request = Request("GET", "/api/v1/tasks", user.headers)
    seconds = []
    for _ in range(plan.starts):
        begun = time.perf_counter()
        with bench.program("infrastructure.cli.main", "dev", environ=environ) as process:
            _wait_until_served(process, port, request)
            seconds.append(time.perf_counter() - begun)
    how = (
        f"`taskmaster dev` on an initialised data folder to an authenticated GET /api/v1/tasks answered 200, median of "
        f"{len(seconds)}: {', '.join(f'{each:.2f}' for each in seconds)}"
    )
    return [Figure("start_s", statistics.median(seconds), how)]


def _wait_until_served(process: Popen[bytes], port: int, request: Request) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError):
            connection = http.client.HTTPConnection(HOST, port, timeout=2)
            try:
                connection.request(request.method, request.path, headers=request.headers)
                status = connection.getresponse().status
            finally:
                connection.close()
            if status == 200:
                return
            if status != 503:
                raise NotMeasured(f"the first query was answered {status}")
        time.sleep(0.01)
    raise NotMeasured("`taskmaster dev` did not answer a query")
