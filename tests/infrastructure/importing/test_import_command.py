"""`taskmaster import …` as an operator meets it: exit codes, one line on stderr, nothing raw on the terminal."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.importing import EMAIL, MAPPING, add_owner, as_csv, files, log_rows, row
from tests.infrastructure.processes_under_test import PROJECT

GOOD = [row("1", "Open", "2020-01-01"), row("1", "Take", "2020-01-02")]
UNCLOSED = as_csv(GOOD) + b'2,Open,"Ann,2020-01-01,k,,k\n'


@pytest.fixture
def log_url(database_url: str) -> str:
    """A database whose log `main` is empty and where EMAIL owns a workspace."""
    add_owner(database_url)
    return database_url


def _taskmaster(*arguments: str, database_url: str = "") -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "DATABASE_URL": database_url, "REDIS_URL": "", "COLUMNS": "200"}
    command = [sys.executable, "-m", "infrastructure.cli.main", "import", *arguments]
    return subprocess.run(command, cwd=PROJECT, env=environ, capture_output=True, text=True, check=False)


def _tickets(log_url: str, file: Path | str, mapping: str, *options: str) -> subprocess.CompletedProcess[str]:
    return _taskmaster("tickets", str(file), "--mapping", mapping, "--as", EMAIL, *options, database_url=log_url)


def _events(log_url: str) -> int:
    return int(log_rows(log_url, "SELECT count(*) FROM events")[0][0])


def test_all_in_is_0_and_some_refused_is_3(log_url: str, tmp_path: Path) -> None:
    assert _tickets(log_url, *files(tmp_path, as_csv(GOOD))).returncode == 0
    done = _tickets(log_url, *files(tmp_path, as_csv([*GOOD, row("3", "\x1b]0;x\x07", "2020-01-03")])))
    assert done.returncode == 3
    assert "refused: line 4, column Step: unknown activity '\\x1b]0;x\\x07'" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("content", "mapping", "said"),
    [
        (UNCLOSED, MAPPING, "line 4, column 8: a quote that is opened here and never closed"),
        (as_csv(GOOD) + b"2,Open\n", MAPPING, "line 4, column 7: 2 cells where the header has 7"),
        (as_csv(GOOD).replace(b"Ann", b"J\xf6rn"), MAPPING, "line 2, column 9: the byte 0xF6 is no text in utf-8"),
        (as_csv(GOOD), MAPPING.replace('["cancel"]', '["abandon"]'), "'abandon' is no step; the steps are start, stop"),
        (b"PK\x03\x04\x1b[2J", MAPPING, "it is a workbook or another ZIP archive"),
    ],
)
def test_what_cannot_be_read_is_2_in_one_line_and_writes_nothing(
    log_url: str, tmp_path: Path, content: bytes, mapping: str, said: str
) -> None:
    done = _tickets(log_url, *files(tmp_path, content, mapping))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("error: ")
    assert said in done.stderr
    assert _events(log_url) == 0


def test_rows_that_two_stray_quotes_made_text_of_are_pointed_out_and_refused_by_strict(log_url: str, tmp_path: Path) -> None:
    history, named = files(tmp_path, b"")
    history.write_bytes(b'Ticket,Step,When,Who,Kind,Severity,Kind\n1,Open,2020-01-01,Ann,"k\n2,Take,2020-01-02,Bo",,k\n')
    strict = _tickets(log_url, history, named, "--strict")
    assert (strict.returncode, _events(log_url)) == (2, 0)
    assert "line 2, column Kind: a line inside this field reads as a row of its own, '2,Take,2020-01-02,Bo'" in strict.stderr
    lenient = _tickets(log_url, history, named)
    assert lenient.returncode == 0
    assert "looks wrong: line 2, column Kind: a line inside this field" in lenient.stdout


def test_a_history_may_come_through_a_pipe(log_url: str, tmp_path: Path) -> None:
    history, named = files(tmp_path, gzip.compress(as_csv(GOOD)))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cp", str(history), str(pipe)]):
        assert _tickets(log_url, pipe, named).returncode == 0
    assert _events(log_url) == 4


@pytest.mark.parametrize(
    "bad", [row("1", "Open", "soon"), row("1", "Drop", "2020-01-09")], ids=["unreadable", "against the rules"]
)
def test_strict_stops_at_the_first_refusal_before_anything_is_written(
    log_url: str, tmp_path: Path, bad: tuple[str, ...]
) -> None:
    rows = [*GOOD, row("1", "Close", "2020-01-03"), bad]
    done = _tickets(log_url, *files(tmp_path, as_csv(rows)), "--strict")
    assert done.returncode == 2
    assert "line 5" in done.stderr
    assert _events(log_url) == 0
    assert _tickets(log_url, *files(tmp_path, as_csv(rows[:-1])), "--strict").returncode == 0
    assert _events(log_url) == 5


def test_a_report_that_cannot_be_written_is_told_before_anything_is_imported(log_url: str, tmp_path: Path) -> None:
    done = _tickets(log_url, *files(tmp_path, as_csv(GOOD)), "--report", str(tmp_path / "none" / "report.json"))
    assert (done.returncode, _events(log_url)) == (2, 0)


def test_the_sample_ships_and_is_imported_twice_without_doubling(log_url: str, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    arguments = ("tickets", "sample", "--as", EMAIL, "--report", str(report))
    assert _taskmaster(*arguments, database_url=log_url).returncode == 0
    first = json.loads(report.read_bytes())
    assert (first["tickets"], first["rows"], first["rows_before"], first["rejected"]) == (30, 118, 0, [])
    assert _taskmaster(*arguments, database_url=log_url).returncode == 0
    second = json.loads(report.read_bytes())
    assert (second["rows"], second["rows_before"], second["events"]) == (118, 118, 0)
    assert _events(log_url) == first["events"]


def test_a_mapping_is_explained_without_a_database() -> None:
    done = _taskmaster("--explain", "helpdesk", database_url="postgresql://127.0.0.1:1/none")
    assert done.returncode == 0
    for words in ("Complete Timestamp", "reopen, reassign, start, remove_label = waiting", "becomes the only assignee"):
        assert words in done.stdout
    assert "becomes cancelled" not in done.stdout


def test_an_unknown_mapping_is_not_explained() -> None:
    done = _taskmaster("--explain", "helpdsk\x1b[2J")
    assert (done.returncode, done.stdout) == (2, "")
    assert "the mappings that ship are bpi2013, helpdesk, sample" in done.stderr
    assert "\x1b" not in done.stderr


def test_a_history_without_a_mapping_says_what_is_missing(tmp_path: Path) -> None:
    done = _taskmaster("tickets", str(tmp_path / "x.csv"), "--as", EMAIL)
    assert done.returncode == 2
    assert "--mapping is missing" in done.stderr
