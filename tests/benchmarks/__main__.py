"""`python -m tests.benchmarks`: every figure, a table, and bench.json in the current folder."""

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from rich.console import Console

from infrastructure.embedded.services import LocalServices
from infrastructure.settings import Settings
from tests.benchmarks import (
    answers,
    appends,
    boundaries,
    commands,
    compressing,
    contending,
    crowd,
    growth,
    imports,
    lag,
    limiting,
    neighbours,
    past_lists,
    reading,
    rebuilding,
    starting,
    time_travel,
)
from tests.benchmarks.figures import TARGETS, Figure, NotMeasured, complete_values
from tests.benchmarks.load import LoadGenerator, load_generator
from tests.benchmarks.plan import FULL, QUICK, Plan
from tests.benchmarks.servers import Bench
from tests.benchmarks.table import figures_table, print_methods

RESULT = Path("bench.json")
Measure = Callable[[Bench, LoadGenerator, Plan], list[Figure]]
GROUPS: Sequence[tuple[tuple[str, ...], Measure]] = (
    (starting.KEYS, starting.measure),
    (appends.KEYS, appends.measure),
    (boundaries.KEYS, boundaries.measure),
    (contending.KEYS, contending.measure),
    (commands.KEYS, commands.measure),
    (compressing.KEYS, compressing.measure),
    (lag.KEYS, lag.measure),
    (limiting.KEYS, limiting.measure),
    (rebuilding.KEYS, rebuilding.measure),
    (imports.KEYS, imports.measure),
    (time_travel.KEYS, time_travel.measure),
    (reading.KEYS, reading.measure),
    (past_lists.KEYS, past_lists.measure),
    (answers.KEYS, answers.measure),
    (crowd.KEYS, crowd.measure),
    (growth.KEYS, growth.measure),
    (neighbours.KEYS, neighbours.measure),
)


def main() -> int:
    """Run; 0 when everything that was asked for was measured, whether or not its target was met."""
    chosen = _arguments()
    wanted = set(chosen.only.split(",")) if chosen.only else set(TARGETS)
    if unknown := wanted - set(TARGETS):
        print(f"no such figure: {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}", file=sys.stderr)
        return 2
    console = Console(width=None if sys.stdout.isatty() else 180)
    started = time.monotonic()
    with _interruptible(), _bench() as bench:
        generator = load_generator(bench.folder)
        console.print(f"load generator: {generator.name}")
        figures, failures = _measure(bench, generator, QUICK if chosen.quick else FULL, wanted, console)
    console.print(figures_table(figures))
    print_methods(console, figures)
    console.print(f"\n{time.monotonic() - started:.0f} s")
    return _conclude(console, figures, failures, is_whole=not chosen.only and not chosen.quick)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--only", metavar="KEY[,KEY]", help="measure only these figures; writes no bench.json")
    parser.add_argument("--quick", action="store_true", help="short rounds and small logs; writes no bench.json")
    return parser.parse_args()


def _measure(
    bench: Bench, generator: LoadGenerator, plan: Plan, wanted: set[str], console: Console
) -> tuple[list[Figure], list[str]]:
    """Every wanted group. One that fails does not keep the others from being measured, but the run from succeeding."""
    figures: list[Figure] = []
    failures: list[str] = []
    for keys, measure in GROUPS:
        if wanted.isdisjoint(keys):
            continue
        began = time.monotonic()
        console.print(f"measuring {', '.join(keys)} …")
        try:
            found = measure(bench, generator, plan)
        except Exception as error:  # noqa: BLE001 - whatever it was, it is shown and fails the run
            if not isinstance(error, NotMeasured):
                traceback.print_exc()
            notes = " ".join(getattr(error, "__notes__", ()))
            failures.append(f"{', '.join(keys)}: {error} {notes}".strip())
            console.print(f"  FAILED: {failures[-1]}", markup=False, style="red")
            continue
        figures += [figure for figure in found if figure.key in wanted]
        console.print(f"  {time.monotonic() - began:.0f} s")
    return figures, failures


def _conclude(console: Console, figures: list[Figure], failures: list[str], *, is_whole: bool) -> int:
    for failure in failures:
        console.print(f"not measured: {failure}", markup=False, style="bold red")
    if failures:
        return 1
    if not is_whole:
        console.print(f"a part of the figures, or a short run: {RESULT} is left as it is")
        return 0
    RESULT.write_text(json.dumps(complete_values(figures), indent=2) + "\n", encoding="utf-8")
    console.print(f"written to {RESULT}")
    return 0


@contextmanager
def _bench() -> Iterator[Bench]:
    folder = Path(tempfile.mkdtemp(prefix="taskmaster-bench-"))
    # The embedded PostgreSQL may run as another user and has to get in.
    folder.chmod(0o711)
    try:
        with LocalServices(Settings(data_dir=str(folder / "servers"))) as services:
            yield Bench(services, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM stops everything that was started, as Ctrl-C does."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main())
