"""The README's tour, run as it stands there against the whole system, and then once more."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.faults.whole import Dev

ROOT = Path(__file__).parents[2]


def answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def tour() -> list[str]:
    section = (ROOT / "README.md").read_text().split("## Five minutes", 1)[1].split("\n## ", 1)[0]
    return re.findall(r"```sh\n(.*?)```", section, re.DOTALL)


@pytest.fixture
def system() -> Iterator[tuple[Dev, Path]]:
    folder = Path(tempfile.mkdtemp(prefix="taskmaster-tour-"))
    folder.chmod(0o755)
    dev = Dev(folder)
    dev.start()
    try:
        deadline = time.monotonic() + 60
        while not answers(dev.address):
            assert time.monotonic() < deadline, (folder / "dev.log").read_text()
            time.sleep(0.1)
        yield dev, folder
    finally:
        dev.stop()
        shutil.rmtree(folder)


@pytest.fixture
def walk(system: tuple[Dev, Path]) -> Callable[[], str]:
    """Runs the tour's commands; returns what they said."""
    dev, folder = system
    programs = folder / "bin"
    programs.mkdir()
    (programs / "taskmaster").write_text(
        f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m infrastructure.cli.main "$@"\n'
    )
    if not shutil.which("curl"):
        (programs / "curl").write_text(f'#!/bin/sh\nexec {sys.executable} {ROOT}/tests/scenarios/small_curl.py "$@"\n')
    for program in programs.iterdir():
        program.chmod(0o755)
    script = "\n".join(tour())
    assert script.count("curl") > 8
    script = script.replace("http://127.0.0.1:8000", dev.address).replace("$PWD/.venv/bin", str(programs))

    def run() -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            check=False,
            env={**os.environ, "TASKMASTER_DATA_DIR": str(folder)},
            capture_output=True,
            text=True,
            timeout=120,
            cwd=folder,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    return run


SHOWN = (
    "HTTP/1.1 201 Created",
    '"version":1,"number":1,"hash":"',
    '"version":3,"hash":"',
    "completed",
    '"reason": "approved by the board"',
    "open\nin_progress\nopen\ncompleted",
    "2025-09-12T15:05:00Z task.created | Received | counter",
    "2025-09-13T14:12:00Z task.stopped | Back to the queue | workshop",
    "2025-09-17T06:16:00Z task.completed | Finished | workshop",
    "lead_time 27 p50 2.6 days p85 4.6 days p95 6.9 days",
    "every event up to position 166 is as it was appended",
)


def test_the_tour_gives_what_the_readme_shows_and_can_be_taken_again(walk: Callable[[], str]) -> None:
    said = walk()
    readme = (ROOT / "README.md").read_text()
    for line in SHOWN:
        assert line in said, f"{line!r} is missing in:\n{said}"
        assert line in readme or line.startswith('"version"'), f"the README does not show {line!r}"
    # The second time there is one more report, and nothing of the import is added again.
    again = walk()
    assert "HTTP/1.1 201 Created" in again
    assert "lead_time 28 " in again
    assert "every event up to position 169 is as it was appended" in again
