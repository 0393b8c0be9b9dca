"""Rebuilding every read model from the whole log, in one process; and what remembering how lists were costs it."""

import time
from uuid import uuid4

import pytest

from infrastructure.read_models.rebuild import rebuild_all
from infrastructure.settings import Settings
from projections import ALL
from projections.task import list as task_list
from tests.benchmarks.figures import Figure, NotMeasured, median_ratio
from tests.benchmarks.filling import fill, mixed_appends
from tests.benchmarks.load import LoadGenerator
from tests.benchmarks.plan import Plan
from tests.benchmarks.progress import Progress
from tests.benchmarks.servers import Bench

KEYS = ("rebuild_events_per_s", "temporal_cost_ratio")
WORKSPACES = 20


def measure(bench: Bench, generator: LoadGenerator, plan: Plan) -> list[Figure]:
    """All read models at once, in this process, while nothing else runs; then with and without the past sides by turns."""
    with bench.stage() as settings:
        places = [(uuid4(), uuid4()) for _ in range(WORKSPACES)]
        events = fill(settings, mixed_appends(plan.rebuild_tasks, lambda number: places[number % WORKSPACES]))
        seconds = _rebuild(settings, events)
        with Progress(settings) as progress:
            if progress.slowest() != events:
                raise NotMeasured("a read model that was rebuilt is not at the log's head")
        whole, present = _by_turns(settings, events, plan.past_rebuilds)
    log = f"{events:,} events of {plan.rebuild_tasks:,} tasks mixed with each other"
    how = f"all {len(ALL)} read models at once, in one process, from {log}: {seconds:.2f} s"
    ratio, ours, theirs = median_ratio(whole, present)
    cost = (
        f"the same rebuild as it is / with a list that writes no past (ranges, spans, texts, counts); its tables are there, "
        f"and empty; medians of {plan.past_rebuilds} rebuilds each, by turns"
    )
    return [
        Figure("rebuild_events_per_s", events / seconds, how),
        Figure("temporal_cost_ratio", ratio, cost, f"{ours:,.0f} / {theirs:,.0f} events/s"),
    ]


def _by_turns(settings: Settings, events: int, times: int) -> tuple[list[float], list[float]]:
    """Events a second with the past sides and without."""
    rates: dict[bool, list[float]] = {True: [], False: []}
    for turn in range(times):
        for with_past in (True, False) if turn % 2 else (False, True):
            with pytest.MonkeyPatch.context() as patch:
                if not with_past:
                    patch.setattr(task_list, "write_past", lambda _connection, _changes: None)
                rates[with_past].append(events / _rebuild(settings, events))
    return rates[True], rates[False]


def _rebuild(settings: Settings, events: int) -> float:
    begun = time.perf_counter()
    position = rebuild_all(settings.database_url, settings.redis_url, settings.log_name)
    if position != events:
        raise NotMeasured(f"a read model was rebuilt up to {position} of {events}")
    return time.perf_counter() - begun
