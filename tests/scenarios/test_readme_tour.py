"""The README's tour, run as it stands there against the whole system, with a small ticket file in place of the large one."""

import gzip
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.faults.whole import Dev

ROOT = Path(__file__).parents[2]
HEADER = "Case ID,Activity,Resource,Complete Timestamp,product,seriousness_2"
ROWS = """\
Case 1534,Assign seriousness,Value 1,2010/01/13 13:09:31.000,Value 3,Value 1
Case 1534,Take in charge ticket,Value 1,2010/01/26 09:50:48.000,Value 3,Value 1
Case 7,Assign seriousness,Value 2,2010/01/27 10:00:00.000,Value 1,Value 2
Case 1534,Resolve ticket,Value 1,2010/02/01 00:00:01.000,Value 3,Value 1
Case 1534,Closed,Value 1,2010/02/13 13:10:27.000,Value 3,Value 1
"""


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


def test_the_tour_gives_what_the_readme_shows(system: tuple[Dev, Path]) -> None:
    dev, folder = system
    (folder / "helpdesk.csv.gz").write_bytes(gzip.compress(f"{HEADER}\n{ROWS}".encode()))
    programs = folder / "bin"
    programs.mkdir()
    (programs / "taskmaster").write_text(f'#!/bin/sh\ncd {ROOT} && exec {sys.executable} -m infrastructure.cli "$@"\n')
    if not shutil.which("curl"):
        (programs / "curl").write_text(f'#!/bin/sh\nexec {sys.executable} {ROOT}/tests/scenarios/small_curl.py "$@"\n')
    for program in programs.iterdir():
        program.chmod(0o755)
    script = "\n".join(tour())
    assert script.count("curl") > 8
    script = script.replace("http://127.0.0.1:8000", dev.address).replace("$PWD/.venv/bin", str(programs))
    # Three events of the task, and what the small file brings.
    script = script.replace("helpdesk.csv.gz", str(folder / "helpdesk.csv.gz")).replace("min_position=26875", "min_position=9")
    environ = {**os.environ, "TASKMASTER_DATA_DIR": str(folder)}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        check=False,
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    said = done.stdout
    for line in (
        "HTTP/1.1 201 Created",
        '"version":1,"position":1}',
        '"version":3,"position":3}',
        "completed",
        '"reason": "approved by the board"',
        "open\nin_progress\ncompleted",
        "2010-01-13T13:09:31Z task.created | Assign seriousness",
        "2010-01-26T09:50:48Z task.started | Take in charge ticket",
        "2010-02-13T13:10:27Z task.completed | Closed",
        "lead_time 2 p50 ",
        "is as it was appended",
    ):
        assert line in said, f"{line!r} is missing in:\n{said}"
