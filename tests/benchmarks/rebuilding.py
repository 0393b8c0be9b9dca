"""Rebuilding every read model from the whole log, in one process."""

import time
from uuid import uuid4

from infrastructure.read_models.rebuild import rebuild_all
from infrastructure.settings import Settings
from projections import ALL
from tests.benchmarks.figures import Figure, NotMeasured
from tests.benchmarks.filling import fill, mixed_appends
from tests.benchmarks.load import LoadGenerator
from tests.benchmarks.plan import Plan
from tests.benchmarks.progress import Progress
from tests.benchmarks.servers import Bench

KEYS = ("rebuild_events_per_s",)
WORKSPACES = 20


def measure(bench: Bench, generator: LoadGenerator, plan: Plan) -> list[Figure]:
    """All read models at once, in this process, while nothing else runs."""
    with bench.stage() as settings:
        places = [(uuid4(), uuid4()) for _ in range(WORKSPACES)]
        events = fill(settings, mixed_appends(plan.rebuild_tasks, lambda number: places[number % WORKSPACES]))
        seconds = _rebuild(settings, events)
        with Progress(settings) as progress:
            if progress.slowest() != events:
                raise NotMeasured("a read model that was rebuilt is not at the log's head")
    log = f"{events:,} events of {plan.rebuild_tasks:,} tasks mixed with each other"
    how = f"all {len(ALL)} read models at once, in one process, from {log}: {seconds:.2f} s"
    return [Figure("rebuild_events_per_s", events / seconds, how)]


def _rebuild(settings: Settings, events: int) -> float:
    begun = time.perf_counter()
    position = rebuild_all(settings.database_url, settings.redis_url, settings.log_name)
    if position != events:
        raise NotMeasured(f"a read model was rebuilt up to {position} of {events}")
    return time.perf_counter() - begun
