"""Two hundred at once from four processes on one budget, with Redis lost in the middle of it, again and again."""

import time

from tests.faults.laboratory import Laboratory
from tests.faults.trial import Verdict
from tests.infrastructure.bursts import LOSSES, four_processes, run_bursts


def limit_bursts(laboratory: Laboratory, seed: int, bursts: int, sabotage: str = "") -> Verdict:
    """Whether ever one too many was let in. Call it from the thread that started the servers."""
    began = time.monotonic()
    verdict = Verdict("limits", seed)
    with four_processes() as processes:
        verdict.violations = run_bursts(laboratory.services, processes, seed, bursts, sabotage)
    for number in range(bursts):
        verdict.kills[f"redis {LOSSES[number % len(LOSSES)]} in a burst"] += 1
    verdict.numbers = {"bursts of 200 at once": float(bursts)}
    verdict.seconds = time.monotonic() - began
    return verdict
