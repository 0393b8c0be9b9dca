"""A task with a very long history, as of any of its versions."""

import random
from uuid import uuid4

import msgspec
from uuid_utils.compat import uuid7

from tests.benchmarks.figures import Figure, NotMeasured, percentile
from tests.benchmarks.filling import fill, stream_appends
from tests.benchmarks.http_client import Request
from tests.benchmarks.load import LoadGenerator
from tests.benchmarks.plan import Plan
from tests.benchmarks.progress import Progress
from tests.benchmarks.servers import Bench, register

KEYS = ("as_of_10k_ms",)


def measure(bench: Bench, generator: LoadGenerator, plan: Plan) -> list[Figure]:
    """GET /api/v1/tasks/{id}?version=N for random N, once the read models have followed."""
    with bench.stage() as settings, bench.api(settings) as api, bench.background(settings):
        user, task_id, chance = register(api), uuid7(), random.Random(uuid4().int)
        fill(settings, stream_appends(task_id, plan.stream_events, (user.workspace_id, user.principal_id)))
        with Progress(settings) as progress:
            progress.wait()
        milliseconds = []
        with api.connect() as connection:
            for number in range(plan.time_travels + 10):
                version = chance.randint(1, plan.stream_events)
                request = Request("GET", f"/api/v1/tasks/{task_id}?version={version}", user.headers)
                taken = connection.timed(request)
                if number >= 10:
                    milliseconds.append(taken)
            last = msgspec.json.decode(connection.send(request).body)
    if last["version"] != version:
        raise NotMeasured(f"asked for version {version}, got {last['version']}")
    how = (
        f"GET /api/v1/tasks/{{id}}?version=N, {len(milliseconds)} requests one at a time, random N in a stream of "
        f"{plan.stream_events:,} events; p50, p99 {percentile(milliseconds, 0.99):.1f} ms"
    )
    return [Figure("as_of_10k_ms", percentile(milliseconds, 0.5), how)]
