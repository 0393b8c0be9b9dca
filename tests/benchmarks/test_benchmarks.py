"""The benchmarks' own logic: what they count, compare and show. No speeds."""

import gzip
import http.server
import io
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import pytest
from rich.console import Console

from domain.task.rules import Task, evolve
from tests.architecture.source_tree import ROOT
from tests.benchmarks import __main__ as program
from tests.benchmarks import imports
from tests.benchmarks.figures import (
    TARGETS,
    Figure,
    NotMeasured,
    Target,
    complete_values,
    median_ratio,
    percentile,
)
from tests.benchmarks.filling import EVENTS_A_TASK, _calls, mixed_appends, stream_appends, task_appends
from tests.benchmarks.http_client import Connection, Request, content_length
from tests.benchmarks.load import OwnClient, read_wrk, wrk_script
from tests.benchmarks.page import HEADING, with_figures
from tests.benchmarks.plan import QUICK
from tests.benchmarks.progress import Backlog
from tests.benchmarks.table import figures_table, goal, number

WRK_OUTPUT = """Running 4s test @ http://127.0.0.1:40123
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     3.05ms    0.91ms  12.01ms   81.10%
    Req/Sec    10.49k     0.92k   11.75k    70.00%
  41812 requests in 4.01s, 8.21MB read
Requests/sec:  10434.50
Transfer/sec:      2.05MB
"""
POST = Request("POST", "/api/v1/tasks", {"Content-Type": "application/json"}, b'{"title":"x"}', keyed=True)


def test_a_percentile_is_a_value_that_so_many_samples_do_not_exceed() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert [percentile(values, share) for share in (0.5, 0.99, 1.0, 0.0)] == [50, 99, 100, 1]


def test_the_percentile_of_one_sample_is_that_sample() -> None:
    assert percentile([7.0], 0.99) == 7.0


def test_a_percentile_of_nothing_is_not_measured() -> None:
    with pytest.raises(NotMeasured):
        percentile([], 0.5)


@pytest.mark.parametrize(
    ("target", "met", "missed"), [(Target(10, "ms"), 10.0, 10.1), (Target(10, "x", at_least=True), 10.0, 9.9)]
)
def test_a_target_is_met_at_its_goal_and_missed_beyond_it(target: Target, met: float, missed: float) -> None:
    assert (target.is_met(met), target.is_met(missed)) == (True, False)


def test_a_ratio_is_that_of_the_medians() -> None:
    assert median_ratio([1.0, 4.0, 100.0], [2.0, 0.5, 3.0]) == (2.0, 4.0, 2.0)


def test_a_ratio_of_sides_measured_unequally_often_is_not_measured() -> None:
    with pytest.raises(NotMeasured):
        median_ratio([1.0, 2.0], [1.0])


def test_the_result_has_exactly_the_figures_of_the_targets() -> None:
    figures = [Figure(key, 1.23456, "somehow") for key in reversed(TARGETS)]
    assert list(complete_values(figures).items()) == [(key, 1.2346) for key in TARGETS]


@pytest.mark.parametrize("spoilt", [[], [Figure("start_s", float("nan"), "somehow")]])
def test_a_figure_that_is_missing_or_no_number_stops_the_result(spoilt: list[Figure]) -> None:
    figures = [Figure(key, 1.0, "somehow") for key in TARGETS if key != "start_s"] + spoilt
    with pytest.raises(NotMeasured, match="start_s"):
        complete_values(figures)


def test_the_groups_measure_every_figure_once() -> None:
    assert Counter(key for keys, _ in program.GROUPS for key in keys) == Counter(TARGETS.keys())


def test_a_group_that_fails_is_told_and_keeps_no_other_from_being_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> list[Figure]:
        raise NotMeasured("the server is gone")

    groups = ((("start_s",), fails), (("import_s",), lambda *_: [Figure("import_s", 1.0, "somehow")]))
    monkeypatch.setattr(program, "GROUPS", groups)
    figures, failures = program._measure(None, None, QUICK, set(TARGETS), Console(quiet=True))  # type: ignore[arg-type]  # nothing of them is used
    assert [figure.key for figure in figures] == ["import_s"]
    assert failures == ["start_s: the server is gone"]


def test_a_run_with_a_failure_writes_nothing_and_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    figures = [Figure(key, 1.0, "somehow") for key in TARGETS]
    assert program._conclude(Console(quiet=True), figures, ["start_s: gone"], is_whole=True) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_whole_run_writes_a_flat_object_of_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    figures = [Figure(key, 1.5, "somehow") for key in TARGETS]
    assert program._conclude(Console(quiet=True), figures, [], is_whole=True) == 0
    assert json.loads((tmp_path / "bench.json").read_text()) == dict.fromkeys(TARGETS, 1.5)


def test_a_partial_run_leaves_the_result_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bench.json").write_text("of yesterday")
    assert program._conclude(Console(quiet=True), [Figure("start_s", 1.0, "somehow")], [], is_whole=False) == 0
    assert (tmp_path / "bench.json").read_text() == "of yesterday"


def test_the_table_shows_value_target_verdict_and_sides() -> None:
    text = io.StringIO()
    console = Console(width=160, file=text)
    console.print(
        figures_table([Figure("start_s", 6.4, "somehow"), Figure("query_vs_bare", 0.7, "somehow", "7,000 / 10,000 per s")])
    )
    query, start = [line for line in text.getvalue().splitlines() if "query" in line or "start" in line]
    assert [part.strip() for part in query.strip("│").split("│")] == [
        "query_vs_bare", "0.7 x", "≥ 0.65 x", "met", "7,000 / 10,000 per s",
    ]  # fmt: skip
    assert "missed" in start


@pytest.mark.parametrize(("value", "shown"), [(12_345.6, "12,346"), (9.876, "9.88"), (10.0, "10"), (0.4567, "0.457")])
def test_numbers_are_shown_with_the_digits_that_say_something(value: float, shown: str) -> None:
    assert number(value) == shown


def test_wrks_output_is_read() -> None:
    result = read_wrk(WRK_OUTPUT)
    assert (result.requests, result.seconds) == (41_812, 4.01)
    assert result.per_second == pytest.approx(10_426.9, abs=0.1)


@pytest.mark.parametrize(
    "trouble", ["  Non-2xx or 3xx responses: 3\n", "  Socket errors: connect 0, read 4, write 0, timeout 0\n"]
)
def test_failures_that_wrk_reports_are_not_a_measurement(trouble: str) -> None:
    with pytest.raises(NotMeasured, match=trouble.strip()):
        read_wrk(WRK_OUTPUT.replace("Requests/sec", f"{trouble}Requests/sec"))


def test_output_without_requests_is_not_a_measurement() -> None:
    with pytest.raises(NotMeasured):
        read_wrk(WRK_OUTPUT.replace("41812 requests", "0 requests"))


def test_the_script_for_wrk_keeps_the_request_and_changes_its_key() -> None:
    script = wrk_script(POST, "127.0.0.1", 8000)
    assert r'Content-Length: 13\r\nIdempotency-Key: ", "\r\n\r\n{\"title\":\"x\"}"' in script
    assert "return before .. run .. n .. after" in script


@pytest.mark.parametrize(
    ("head", "length"), [(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\nA: b\r\n\r\n", 12), (b"HTTP/1.1 204 No\r\n\r\n", 0)]
)
def test_the_length_of_an_answer_is_read_from_its_head(head: bytes, length: int) -> None:
    assert content_length(head) == length


def test_the_own_client_sends_whole_requests_each_with_another_key() -> None:
    with _server() as (port, seen):
        result = OwnClient().run("127.0.0.1", port, POST, 0.2, connections=3)
    assert len(seen) == result.requests > 3
    assert {body for _, body in seen} == {POST.body}
    assert len({key for key, _ in seen}) == len(seen)


def test_the_own_client_does_not_count_failed_answers() -> None:
    with _server(status=503) as (port, _), pytest.raises(NotMeasured, match="503"):
        OwnClient().run("127.0.0.1", port, POST, 0.2, connections=2)


def test_a_timed_request_must_succeed() -> None:
    with _server(status=404) as (port, _), Connection("127.0.0.1", port) as connection, pytest.raises(NotMeasured, match="404"):
        connection.timed(POST, "key")


def test_one_connection_carries_many_requests() -> None:
    with _server() as (port, seen), Connection("127.0.0.1", port) as connection:
        assert [connection.send(POST, str(number)).body for number in range(3)] == [b'{"answered":true}'] * 3
    assert [key for key, _ in seen] == ["0", "1", "2"]


def test_the_backlog_at_the_end_is_that_of_the_last_fifth() -> None:
    backlog = Backlog()
    backlog.samples = [900, 900, 0, 0, 0, 0, 0, 0, 10, 30]
    assert (backlog.at_end, backlog.peak) == (20, 900)


PLACE = (UUID(int=1), UUID(int=2))


@pytest.mark.parametrize("make", [mixed_appends, task_appends])
def test_made_histories_are_whole_streams_that_the_domain_folds(make: type[object]) -> None:
    streams: dict[UUID, Task] = {}
    versions: Counter[UUID] = Counter()
    for append in make(700, lambda _: PLACE):  # type: ignore[call-arg, attr-defined]  # one of several makers
        for new in append.events:
            versions[new.stream_id] += 1
            assert new.version == versions[new.stream_id]
            streams[new.stream_id] = evolve(streams.get(new.stream_id), new.event)
    assert list(versions.values()) == [EVENTS_A_TASK] * 700
    assert {task.status for task in streams.values()} >= {"open", "in_progress", "completed", "cancelled"}


def test_a_call_holds_no_stream_twice_and_all_calls_hold_everything() -> None:
    appends = [*stream_appends(UUID(int=9), 250, PLACE), *task_appends(500, lambda _: PLACE)]
    calls = list(_calls(appends))
    assert [append for call in calls for append in call] == appends
    assert all(len({append.events[0].stream_id for append in call}) == len(call) for call in calls)


def test_the_synthetic_history_has_the_shape_of_the_real_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TASKMASTER_HISTORIES", raising=False)
    monkeypatch.setattr(imports, "PROJECT", tmp_path / "elsewhere")
    file, origin = imports.history_file(tmp_path)
    header, *rows = gzip.decompress(file.read_bytes()).decode().splitlines()
    assert "SYNTHETIC" in origin
    assert (len(rows), len({row.split(",")[0] for row in rows})) == (21_348, 4_580)
    assert {len(row.split(",")) for row in rows} == {len(header.split(","))}


@contextmanager
def _server(status: int = 201) -> Iterator[tuple[int, list[tuple[str | None, bytes]]]]:
    """A tiny server that notes the key and body of each request."""
    seen: list[tuple[str | None, bytes]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            seen.append((self.headers["Idempotency-Key"], self.rfile.read(int(self.headers["Content-Length"]))))
            body = b'{"answered":true}'
            self.wfile.write(b"HTTP/1.1 %d OK\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body))

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    serving.start()
    try:
        yield server.server_address[1], seen
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


def test_the_page_of_figures_has_a_row_for_each_with_its_target_and_the_right_verdict() -> None:
    page = (ROOT / "FIGURES.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.strip().strip("|").split("|")] for line in page.splitlines() if line.startswith("| `")
    ]
    assert [cells[0].strip("`") for cells in rows] == list(TARGETS)
    for key, what, measured, aim, verdict in rows:
        target = TARGETS[key.strip("`")]
        value = float(measured.split()[0].replace(",", ""))
        assert (what, aim) == (target.what, goal(target)), key
        assert what, key
        assert verdict == ("met" if target.is_met(value) else "**missed**"), key


def test_a_run_is_written_into_the_page_and_into_nothing_else_of_it() -> None:
    page = f"# Figures\n\n{HEADING}| `old` | a | b | c | d |\n\nbelow\n| `kept` |\n"
    values = {key: target.goal * (0.5 if target.at_least else 2) for key, target in TARGETS.items()} | {"import_s": 1.0}
    written = with_figures(page, values)
    assert written.startswith(f"# Figures\n\n{HEADING}| `append_per_s` |")
    assert written.endswith("\n\nbelow\n| `kept` |\n")
    assert "| 1 s | ≤ 8 s | met |" in written
    assert "`old`" not in written
    with pytest.raises(ValueError, match="no table"):
        with_figures("# Figures\n", values)
