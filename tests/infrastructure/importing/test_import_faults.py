"""An import that is killed goes on where it was: nothing lost, nothing doubled."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from infrastructure.importing.tickets import ImportRequest, import_tickets
from infrastructure.log.verify import verify_log
from infrastructure.servers.migrate import migrate
from infrastructure.servers.postgres import connect_sync
from tests.importing import EMAIL, add_owner, as_csv, files, log_rows, made_up_history, recorded_by_names, rename
from tests.infrastructure.processes_under_test import PROJECT

CASES = 220
ROWS = CASES * 9


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A history of four chunks and its mapping."""
    return files(tmp_path_factory.mktemp("history"), as_csv(made_up_history(CASES)))


@pytest.fixture
def uninterrupted(empty_database_url: str, history: tuple[Path, str]) -> list[tuple[Any, ...]]:
    """The events of the same import in a database of its own, where nothing happened to it."""
    migrate(empty_database_url, ["main"])
    add_owner(empty_database_url)
    import_tickets(empty_database_url, "", "main", ImportRequest(*history, EMAIL))
    return recorded_by_names(empty_database_url)


def _run(database_url: str, redis_url: str, history: tuple[Path, str], failpoint: str = "") -> int:
    file, mapping = history
    arguments = ["import", "tickets", str(file), "--mapping", mapping, "--as", EMAIL]
    environ = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "TASKMASTER_FAILPOINT": failpoint}
    done = subprocess.run(
        [sys.executable, "-m", "infrastructure.cli.main", *arguments],
        cwd=PROJECT,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode


@pytest.mark.parametrize(
    "point",
    [
        "import.after_chunk:1",
        "import.after_chunk:3",
        "import.after_chunk:4",
        "import.in_flight:1",
        "import.in_flight:2",
        "import.in_flight:3",
        "import.in_flight:4",
    ],
)
def test_a_killed_import_goes_on_to_the_same_events(
    database_url: str, redis_url: str, history: tuple[Path, str], uninterrupted: list[tuple[Any, ...]], point: str
) -> None:
    add_owner(database_url)
    assert _run(database_url, redis_url, history, point) == -signal.SIGKILL
    left = recorded_by_names(database_url)
    if point.startswith("import.after_chunk"):
        assert len({event[6] for event in left}) == min(600 * int(point[-1]), ROWS)
    assert left == uninterrupted[: len(left)]
    assert _run(database_url, redis_url, history) == 0
    assert recorded_by_names(database_url) == uninterrupted
    assert verify_log(database_url, "main").first_bad is None


def test_after_a_kill_tasks_that_others_changed_meanwhile_are_read_from_the_log(
    database_url: str, redis_url: str, history: tuple[Path, str]
) -> None:
    add_owner(database_url)
    assert _run(database_url, redis_url, history, "import.after_chunk:2") == -signal.SIGKILL
    tasks = log_rows(database_url, "SELECT DISTINCT originator_id FROM events ORDER BY 1")
    with connect_sync(database_url, "log_main") as other:
        for (task_id,) in tasks:
            rename(other, task_id, "renamed in between")
    request = ImportRequest(*history, EMAIL)
    summary = import_tickets(database_url, redis_url, "main", request)
    assert (summary.rows, summary.rows_before, summary.rejected) == (ROWS, 1200, [])
    commands = "SELECT count(DISTINCT command_id) FROM events WHERE correlation_id = %s"
    assert log_rows(database_url, commands, summary.import_id) == [(ROWS,)]
    assert log_rows(database_url, "SELECT count(*) FROM events WHERE topic = 'task.renamed'") == [(len(tasks),)]
    assert verify_log(database_url, "main").first_bad is None
