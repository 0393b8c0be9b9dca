"""Numbers stay without gaps and doubles: two processes of 64 writers, one of them killed at each point of the append."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from infrastructure.log.verify import verify_log
from tests.infrastructure.log_under_test import log_connection

ROOT = Path(__file__).parents[3]
POINTS = ("append.before_begin", "append.in_flight", "append.after_commit", "append.before_wake_up")
EVENTS = 400


def numbering(database_url: str, scope: UUID, failpoint: str = "") -> subprocess.Popen[str]:
    environment = os.environ | {"TASKMASTER_FAILPOINT": failpoint, "PYTHONPATH": str(ROOT)}
    program = [sys.executable, "-m", "tests.infrastructure.numbering_process", database_url, str(scope), str(EVENTS)]
    return subprocess.Popen(program, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT)


@pytest.mark.parametrize("point", POINTS)
def test_numbers_have_no_gaps_and_no_doubles_though_a_process_is_killed(database_url: str, point: str) -> None:
    scope = uuid4()
    killed, other = numbering(database_url, scope, f"{point}:4"), numbering(database_url, scope)
    answered = [int(line) for program in (killed, other) for line in program.communicate(timeout=60)[0].split()]
    assert (killed.returncode, other.returncode) == (-signal.SIGKILL, 0)
    with log_connection(database_url) as connection:
        rows = connection.execute("SELECT number FROM events WHERE scope = %s ORDER BY notification_id", (scope,)).fetchall()
    assert [number for (number,) in rows] == list(range(1, len(rows) + 1))
    assert len(rows) >= EVENTS
    assert len(set(answered)) == len(answered)
    assert set(answered) <= {number for (number,) in rows}
    assert verify_log(database_url, "main").is_clean
