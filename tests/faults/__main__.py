"""The long run: `python -m tests.faults [--seed N] [--kills N] [--minutes N] [--only NAME]`.

Prints seed, revision and what was done; exit code 1 if anything was lost, doubled, reordered or untrue.
"""

import argparse
import asyncio
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.faults.killing import kill_everywhere
from tests.faults.laboratory import Laboratory
from tests.faults.limit_bursts import limit_bursts
from tests.faults.losses import without_read_model, without_relay
from tests.faults.outages import postgres_restarts, redis_outages
from tests.faults.skew_of_tags import DEPLOYMENTS
from tests.faults.trial import Verdict
from tests.faults.truths import TRIALS
from tests.faults.whole import Dev, dev_folder, kill_real_processes, kill_the_whole
from tests.faults.zombies import STOPS, wake_zombies
from tests.faults.zygotes import PROJECT

KILLS_A_ROUND = 250
ORDERED_EVENTS = 200_000


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**31))
    parser.add_argument("--kills", type=int, default=2000)
    parser.add_argument("--minutes", type=float, default=15, help="no further round of kills starts after this")
    parser.add_argument("--only", help="the name of one trial")
    chosen = parser.parse_args()
    console = Console()
    console.print(f"seed {chosen.seed}, revision {_revision()}, options {vars(chosen)}", highlight=False)
    # Also where it runs in the background, an interruption takes everything down that was started here.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    begun = time.monotonic()
    verdicts = list(_trials(chosen, begun, console))
    console.print(_table(verdicts))
    ordered = True if chosen.only else _order_holds(chosen.seed, console)
    for verdict in verdicts:
        for violation in verdict.violations[:20]:
            console.print(f"{verdict.name}: {violation}", markup=False, highlight=False)
        if verdict.violations:
            console.print(f"repeat with: python -m tests.faults --only {verdict.name!r} --seed {verdict.seed}", markup=False)
    console.print(f"seed {chosen.seed}, {time.monotonic() - begun:.0f} s", highlight=False)
    return int(not ordered or any(verdict.violations for verdict in verdicts))


def _trials(chosen: argparse.Namespace, begun: float, console: Console) -> list[Verdict]:
    seed, verdicts = chosen.seed, []

    def run(name: str, trial: Callable[[], Verdict]) -> None:
        if chosen.only in (None, name):
            verdicts.append(trial())
            done = verdicts[-1]
            console.print(
                f"{name}: {sum(done.kills.values())} faults, {len(done.violations)} violations, {done.seconds:.0f} s",
                highlight=False,
            )

    with Laboratory() as laboratory:
        run("redis", lambda: redis_outages(laboratory, seed, rounds=2, pause=10))
        run("postgres", lambda: postgres_restarts(laboratory, seed, restarts=12))
        run("limits", lambda: limit_bursts(laboratory, seed, bursts=300))
        run("zombies", lambda: asyncio.run(wake_zombies(laboratory, seed, STOPS)))
        run("without relay", lambda: asyncio.run(without_relay(laboratory, seed)))
        run("without read model", lambda: asyncio.run(without_read_model(laboratory, seed)))
        for name, trial in TRIALS.items():
            run(name, lambda trial=trial: trial(laboratory, seed))
        for name, trial in DEPLOYMENTS.items():
            run(name, lambda trial=trial: trial(laboratory, seed))
        run("real processes", lambda: _in_dev(lambda dev: kill_real_processes(dev, seed, kills=15)))
        run("the whole", lambda: _in_dev(lambda dev: kill_the_whole(dev, seed, kills=4)))
        left, rounds = chosen.kills, 0
        while left > 0 and chosen.only in (None, "kills") and _in_time(begun, chosen.minutes, rounds, verdicts):
            number = min(KILLS_A_ROUND, left)
            run("kills", lambda number=number, at=seed + rounds: asyncio.run(kill_everywhere(laboratory, at, number)))
            left -= sum(verdicts[-1].kills.values())
            rounds += 1
        if any(verdict.violations for verdict in verdicts):
            console.print(laboratory.log_tail(), markup=False, highlight=False)
    return verdicts


def _in_dev(trial: Callable[[Dev], Coroutine[Any, Any, Verdict]]) -> Verdict:
    with dev_folder() as dev:
        return asyncio.run(trial(dev))


def _in_time(begun: float, minutes: float, rounds: int, verdicts: list[Verdict]) -> bool:
    """Whether another round of kills, as long as the last one, and the ordering test still fit."""
    last = verdicts[-1].seconds if rounds else 60.0
    return time.monotonic() - begun + last < (minutes - 2) * 60


def _order_holds(seed: int, console: Console) -> bool:
    """Concurrent appends against readers of the tail, where that test is installed."""
    if find_spec("tests.faults.log_order") is None:
        console.print("the ordering test is not there")
        return True
    module = import_module("tests.faults.log_order").__name__
    command = [sys.executable, "-m", module, "--events", str(ORDERED_EVENTS), "--seed", str(seed)]
    return subprocess.run(command, cwd=PROJECT, check=False).returncode == 0


def _table(verdicts: list[Verdict]) -> Table:
    table = Table("trial", "seed", "fault", "times", title="Faults")
    for verdict in verdicts:
        for fault, times in sorted(verdict.kills.items()):
            table.add_row(verdict.name, str(verdict.seed), fault, str(times))
        for what, number in verdict.numbers.items():
            table.add_row(verdict.name, str(verdict.seed), what, f"{number:g}" if number == int(number) else f"{number:.2f}")
        kills = sum(verdict.kills.values())
        rate = f"{kills / verdict.seconds:.1f} a second" if verdict.seconds else ""
        table.add_row(verdict.name, str(verdict.seed), "all faults", f"{kills}, {rate}")
        table.add_row(verdict.name, str(verdict.seed), "violations", str(len(verdict.violations)), end_section=True)
    return table


def _revision() -> str:
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=PROJECT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


if __name__ == "__main__":
    sys.exit(main())
