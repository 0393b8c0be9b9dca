"""Programs of ours that tests start, watch and kill, each by its own process id."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

PROJECT = Path(__file__).parents[2]
WAIT_SECONDS = 30.0


@contextmanager
def holding_services(data_dir: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, int]]]:
    """A separate program that runs both servers on `data_dir`, and the servers' process ids by name."""
    with started("tests.infrastructure.hold_services", str(data_dir)) as holder:
        assert holder.stdout is not None
        line = holder.stdout.readline()
        assert line, "the program ended before its servers were ready"
        yield holder, json.loads(line)


@contextmanager
def started(module: str, *arguments: str, environ: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """`python -m module …` from the project's folder, killed at the end if it still runs."""
    with subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=PROJECT,
        env=None if environ is None else {**os.environ, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        try:
            yield program
        finally:
            if program.poll() is None:
                program.kill()


def wait_until(happened: Callable[[], bool]) -> None:
    """Ask again and again until it has happened; AssertionError when it does not within 30 s."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not happened():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Whether the process exists and has not ended (a zombie has)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def kill(*pids: int) -> None:
    """SIGKILL for each, and wait until they are gone."""
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(is_alive(pid) for pid in pids))
