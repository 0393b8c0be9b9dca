"""Imports into a real log: what is in it afterwards, and what is not."""

import gzip
import json
import threading
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
import redis

from application.importing.ids import ImportSource
from application.importing.mapping_file import read_mapping
from application.importing.people import People
from application.importing.rows import RowReader
from infrastructure.cli import operations
from infrastructure.importing.files import read_ticket_file
from infrastructure.importing.tickets import ImportRequest, ImportSummary, import_tickets
from infrastructure.log.codec import encode
from infrastructure.log.verify import verify_log
from infrastructure.servers.migrate import migrate
from infrastructure.servers.postgres import connect_sync
from infrastructure.servers.redis_client import head_channel
from infrastructure.settings import ConfigurationError, Settings
from tests.importing import (
    EMAIL,
    FIRST_PROJECT,
    HEADER,
    MAPPING,
    OF_TASKS,
    OWNER,
    PROJECT,
    SECRET,
    WORKSPACE,
    add_owner,
    as_csv,
    decider,
    delete,
    files,
    log_rows,
    made_up_history,
    recorded_events,
    rename,
    row,
)

CASES = 220  # more than three chunks


@pytest.fixture
def log_url(database_url: str) -> str:
    """A database whose log `main` is empty and where EMAIL owns a workspace."""
    add_owner(database_url)
    return database_url


def _import(log_url: str, history: Path, mapping: str, *, dry_run: bool = False) -> ImportSummary:
    return import_tickets(log_url, "", "main", ImportRequest(history, mapping, EMAIL, dry_run))


def test_every_row_is_in_the_log_as_it_was_decided_in_the_order_of_time(log_url: str, tmp_path: Path) -> None:
    rows = made_up_history(CASES)
    history, named = files(tmp_path, as_csv(rows))
    summary = _import(log_url, history, named)

    mapping = read_mapping(MAPPING.encode())
    source = ImportSource(WORKSPACE, OWNER, SECRET, "sample", read_ticket_file(history, "utf-8").digest, PROJECT)
    accepted, _ = RowReader(mapping, HEADER, datetime.now(UTC)).rows(enumerate(rows, 2))
    kept = log_rows(log_url, "SELECT imported_as, principal_id FROM taskmaster.members WHERE imported_as IS NOT NULL")
    appends = decider(source, People(OWNER, dict(kept)), mapping, accepted).decide_chunk(0, accepted).appends
    expected = []
    for append in appends:
        envelope = (WORKSPACE, append.principal_id, append.command_id, source.import_id, None)
        for new in append.events:
            stored = encode(new.event, OWNER)
            payload = (stored.topic, stored.state.decode())
            expected.append((new.stream_id, new.version, new.effective_at, *envelope, *payload))
    assert [event[1:] for event in recorded_events(log_url)] == expected
    times = [event[3] for event in recorded_events(log_url)]
    assert times == sorted(times)
    assert verify_log(log_url, "main").first_bad is None
    assert (summary.tickets, summary.rows, summary.events) == (CASES, len(rows), len(expected))
    assert (summary.rejected, summary.rows_before, summary.position) == ([], 0, FIRST_PROJECT + len(expected))


def test_a_chunk_is_one_transaction(log_url: str, tmp_path: Path) -> None:
    _import(log_url, *files(tmp_path, as_csv(made_up_history(CASES))))
    transactions = log_rows(log_url, f"SELECT count(DISTINCT xmin::text) FROM log_main.events WHERE {OF_TASKS}")[0][0]
    assert transactions == -(-CASES * 9 // 600)


def test_commands_by_reason_are_the_files_rows_by_activity(log_url: str, tmp_path: Path) -> None:
    rows = made_up_history(40)
    summary = _import(log_url, *files(tmp_path, as_csv(rows)))
    by_reason = log_rows(
        log_url,
        "SELECT convert_from(state, 'UTF8')::jsonb ->> 'reason', count(DISTINCT command_id) FROM events GROUP BY 1",
    )
    assert dict(by_reason) == summary.activities == Counter(each[1] for each in rows)


def test_resources_become_placeholder_members(log_url: str, tmp_path: Path) -> None:
    rows = [row("1", "Open", "2020-01-01", "Ann"), row("1", "Take", "2020-01-02", "Bo"), row("1", "Note", "2020-01-03", "")]
    _import(log_url, *files(tmp_path, as_csv([*rows, row("2", "Shut", "2020-01-01", "Eve")])))
    members = log_rows(log_url, "SELECT principal_id, role, display_name FROM taskmaster.members WHERE role = 'imported'")
    assert sorted(member[1:] for member in members) == [("imported", "Ann"), ("imported", "Bo")]
    principals = log_rows(log_url, "SELECT DISTINCT principal_id FROM events")
    assert {each[0] for each in principals} == {member[0] for member in members} | {OWNER}


def test_rows_that_are_rejected_leave_nothing_behind(log_url: str, tmp_path: Path) -> None:
    rows = [
        row("1", "Close", "2020-01-01"),
        row("1", "Drop", "2020-01-02"),
        row("1", "Open", "soon"),
        row("2", "Shut", "2020-01-02"),
        row("2", "Open", "2091-01-02"),
    ]
    summary = _import(log_url, *files(tmp_path, as_csv(rows)))
    assert [(each.line, each.column, each.reason) for each in summary.rejected] == [
        (3, "", "The task is completed; reopen it first."),
        (4, "When", "'soon' is not a time as the mapping describes it"),
        (5, "Step", "unknown activity 'Shut'"),
        (6, "When", "the time '2091-01-02' lies in the future"),
    ]
    assert [event[9] for event in recorded_events(log_url)] == ["task.created", "task.completed"]
    assert (summary.tickets, summary.rows, summary.events) == (1, 1, 2)


def test_the_same_import_again_adds_nothing(log_url: str, tmp_path: Path) -> None:
    history, named = files(tmp_path, as_csv(made_up_history(CASES)))
    first = _import(log_url, history, named)
    before = recorded_events(log_url)
    packed = tmp_path / "history.gz"
    packed.write_bytes(gzip.compress(history.read_bytes()))
    second = _import(log_url, packed, named)
    assert recorded_events(log_url) == before
    assert (second.events, second.rows_before, second.rows) == (0, first.rows, first.rows)
    assert (second.activities, second.position) == (first.activities, first.position)


def test_a_dry_run_says_the_same_and_writes_nothing(log_url: str, tmp_path: Path) -> None:
    history, named = files(tmp_path, as_csv([*made_up_history(CASES), row("x", "Shut", "2020-01-01")]))
    rehearsed = _import(log_url, history, named, dry_run=True)
    written = log_rows(log_url, "SELECT (SELECT count(*) FROM events), (SELECT count(*) FROM taskmaster.members)")
    assert written == [(0, 1)]
    assert log_rows(log_url, "SELECT count(*) FROM idempotency") == [(0,)]
    done = _import(log_url, history, named)
    for number in ("tickets", "rows", "events", "activities", "rejected", "import_id"):
        assert getattr(rehearsed, number) == getattr(done, number)


def test_a_task_that_changes_during_the_import_is_read_again(log_url: str, tmp_path: Path) -> None:
    history, named = files(tmp_path, as_csv(made_up_history(CASES)))
    started = "SELECT originator_id FROM events WHERE topic = 'task.created' ORDER BY notification_id DESC LIMIT 1"
    renamed = []
    with connect_sync(log_url, "log_main") as other:

        def interfere(done: int, total: int) -> None:
            # The newest task has rows in the chunk that is decided by now but not sent yet.
            found = other.execute(started).fetchone()
            if found and done < total:
                rename(other, found[0], f"renamed after {done} rows")
                renamed.append(found[0])

        request = ImportRequest(history, named, EMAIL)
        summary = import_tickets(log_url, "", "main", request, interfere)
    assert len(renamed) >= 3
    assert (summary.rows, summary.rows_before, summary.rejected) == (CASES * 9, 0, [])
    commands = "SELECT count(DISTINCT command_id) FROM events WHERE correlation_id = %s"
    assert log_rows(log_url, commands, summary.import_id) == [(CASES * 9,)]
    assert verify_log(log_url, "main").first_bad is None
    # Decided on what it read again, a later step of the task does not bring the old title back or start it twice.
    repeated = (
        "SELECT count(*) FROM (SELECT topic, lag(topic) OVER (PARTITION BY originator_id ORDER BY originator_version) AS last "
        "FROM events WHERE topic IN ('task.started', 'task.completed', 'task.reopened')) t WHERE topic = last"
    )
    assert log_rows(log_url, repeated) == [(0,)]


class _Stopped(Exception):
    """The run ends here."""


@pytest.mark.parametrize("meanwhile", ["the run stops and is repeated", "another run gets there first"])
def test_what_is_appended_rests_on_the_log_and_not_on_versions_that_happen_to_fit(
    log_url: str, tmp_path: Path, meanwhile: str
) -> None:
    # One step of the ticket stands in each of three chunks. It is deleted after the first, so the second is refused; the
    # deletion has then the version that the second step would have had.
    rows = [row("T" if n % 600 == 0 else f"F{n}", "Note", f"2020-01-01 {n // 60:02}:{n % 60:02}") for n in range(1440)]
    history, named = files(tmp_path, as_csv(rows))
    request = ImportRequest(history, named, EMAIL)

    def stop(done: int, total: int) -> None:
        if done == 1200:
            raise _Stopped

    def interfere(done: int, total: int) -> None:
        if done == 600:
            with connect_sync(log_url, "log_main") as other:
                (task_id,) = other.execute("SELECT originator_id FROM events WHERE notification_id = 2").fetchone() or ()
                delete(other, task_id)
            if meanwhile == "another run gets there first":
                with pytest.raises(_Stopped):
                    import_tickets(log_url, "", "main", request, stop)
        elif meanwhile == "the run stops and is repeated":
            stop(done, total)

    try:
        import_tickets(log_url, "", "main", request, interfere)
    except _Stopped:
        _import(log_url, history, named)
    ticket = "originator_id = (SELECT originator_id FROM events WHERE notification_id = 2)"
    assert log_rows(log_url, f"SELECT topic FROM events WHERE {ticket} ORDER BY originator_version") == [
        ("task.created",),
        ("task.deleted",),
    ]
    assert log_rows(log_url, "SELECT count(*) FROM events") == [(1440 - 2 + 1,)]


def test_two_runs_of_one_import_at_once_append_it_once(log_url: str, tmp_path: Path) -> None:
    history, named = files(tmp_path, as_csv(made_up_history(CASES)))
    alone = _import(log_url, history, named, dry_run=True)
    runs = [threading.Thread(target=_import, args=(log_url, history, named)) for _ in range(2)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert len(recorded_events(log_url)) == alone.events
    assert log_rows(log_url, "SELECT count(DISTINCT command_id) FROM events") == [(alone.rows,)]


def test_the_workers_hear_of_every_chunk(log_url: str, redis_url: str, tmp_path: Path) -> None:
    history, named = files(tmp_path, as_csv(made_up_history(CASES)))
    with redis.Redis.from_url(redis_url) as client, client.pubsub(ignore_subscribe_messages=True) as heard:
        heard.subscribe(head_channel("main"))
        heard.get_message(timeout=5)
        summary = import_tickets(log_url, redis_url, "main", ImportRequest(history, named, EMAIL))
        heads = []
        while not heads or heads[-1] < summary.position:
            message = heard.get_message(timeout=5)
            assert message is not None
            heads.append(int(message["data"]))
    assert len(heads) == 4
    assert heads == sorted(heads)


def test_an_import_does_without_redis(log_url: str, tmp_path: Path) -> None:
    history, named = files(tmp_path, as_csv(made_up_history(CASES)))
    summary = import_tickets(log_url, "redis://127.0.0.1:1", "main", ImportRequest(history, named, EMAIL))
    assert summary.rows == CASES * 9


def test_what_the_operator_can_mend_is_said(log_url: str, tmp_path: Path) -> None:
    history, named = files(tmp_path, as_csv([row("1", "Open", "2020-01-01")]))
    with pytest.raises(ConfigurationError, match=r"no user 'nobody@example\.org'"):
        import_tickets(log_url, "", "main", ImportRequest(history, named, "nobody@example.org"))
    with pytest.raises(ConfigurationError, match="the mappings that ship are bpi2013, helpdesk, sample"):
        import_tickets(log_url, "", "main", ImportRequest(history, "helpdsk", EMAIL))
    with pytest.raises(ConfigurationError, match="'Case ID' is not in the file"):
        import_tickets(log_url, "", "main", ImportRequest(history, "helpdesk", EMAIL))
    migrate(log_url, ["second"])
    with pytest.raises(ConfigurationError, match="lives in the log 'main', not in 'second'"):
        import_tickets(log_url, "", "second", ImportRequest(history, named, EMAIL))
    truncated = tmp_path / "cut.csv.gz"
    truncated.write_bytes(gzip.compress(history.read_bytes())[:-9])
    with pytest.raises(ConfigurationError, match=r"cannot read .*cut\.csv\.gz"):
        import_tickets(log_url, "", "main", ImportRequest(truncated, named, EMAIL))
    history.write_bytes(b"")
    with pytest.raises(ConfigurationError, match="has no header"):
        import_tickets(log_url, "", "main", ImportRequest(history, named, EMAIL))


def test_the_summary_can_be_written_as_json(log_url: str, tmp_path: Path) -> None:
    history, named = files(tmp_path, as_csv([row("1", "Open", "2020-01-01"), row("1", "Shut", "2020-01-01")]))
    report = tmp_path / "report.json"
    request = ImportRequest(history, named, EMAIL)
    assert operations.import_tickets(Settings(database_url=log_url), request=request, report=report) == 3
    written = json.loads(report.read_bytes())
    assert written["rejected"] == [{"line": 3, "column": "Step", "reason": "unknown activity 'Shut'"}]
    assert (written["rows"], written["activities"]) == (1, {"Open": 1})
