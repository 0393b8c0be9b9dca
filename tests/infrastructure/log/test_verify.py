"""Whoever changes the log behind the program's back is found out, whatever he changes."""

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from infrastructure.cli import operations
from infrastructure.importing.tickets import ImportRequest, import_tickets
from infrastructure.log.hash_chain import COLUMNS, GENESIS, ChainedRow, chain_hash
from infrastructure.log.verify import BadEvent, verify_log
from infrastructure.servers.postgres import connect_sync
from infrastructure.settings import ConfigurationError, Settings
from tests.importing import EMAIL, OWNER, add_owner, as_csv, files, made_up_history, rename

Connection = psycopg.Connection[Any]

CHANGES = {
    "originator_id": "gen_random_uuid()",
    "originator_version": "originator_version + 1000",
    "notification_id": "notification_id + 1000",
    "recorded_at": "recorded_at + interval '1 microsecond'",
    "effective_at": "effective_at - interval '1 microsecond'",
    "workspace_id": "gen_random_uuid()",
    "principal_id": "gen_random_uuid()",
    "command_id": "gen_random_uuid()",
    "correlation_id": "gen_random_uuid()",
    "causation_id": "gen_random_uuid()",
    "epoch": "epoch + 1",
    "authority": "authority + 1",
    "scope": "gen_random_uuid()",
    "number": "1",
    "schema_version": "schema_version + 1",
    "topic": "topic || ' '",
    "state": "state || ' '::bytea",
    "salt": "sha256(salt)",
    "commitment": "sha256(commitment)",
    "hash": "sha256(hash)",
}
"""For every column, a value that is not the one there."""
_NULLABLE = ("effective_at", "causation_id", "scope", "number", "state", "salt")


@pytest.fixture
def log_url(database_url: str, tmp_path: Path) -> str:
    """A database whose log holds some hundred events of a few dozen tasks."""
    add_owner(database_url)
    history, named = files(tmp_path, as_csv(made_up_history(30)))
    import_tickets(database_url, "", "main", ImportRequest(history, named, EMAIL))
    return database_url


def _tamper(log_url: str, *statements: str) -> None:
    with connect_sync(log_url, "log_main") as connection, connection.transaction():
        for statement in statements:
            connection.execute(statement.encode())


def _bad(log_url: str) -> BadEvent:
    found = verify_log(log_url, "main").first_bad
    assert found is not None
    return found


def _head(log_url: str) -> int:
    return verify_log(log_url, "main").head


def test_a_log_that_nobody_touched_is_right(log_url: str) -> None:
    found = verify_log(log_url, "main")
    # Thirty tickets, and the project that they belong to.
    assert (found.first_bad, found.streams) == (None, 31)
    assert found.events == found.head > 300
    assert found.events_per_second > 0


def test_an_empty_log_is_right(database_url: str) -> None:
    found = verify_log(database_url, "main")
    assert (found.first_bad, found.events, found.streams, found.head) == (None, 0, 0, 0)


def test_every_column_is_among_the_changes(log_url: str) -> None:
    with connect_sync(log_url, "log_main") as connection:
        cursor = connection.execute("SELECT * FROM events LIMIT 0")
        assert [column.name for column in cursor.description or ()] == list(CHANGES)


@pytest.mark.parametrize("column", list(CHANGES))
def test_a_changed_column_is_found_at_its_event(log_url: str, column: str) -> None:
    _tamper(log_url, f"UPDATE events SET {column} = {CHANGES[column]} WHERE notification_id = 100")
    bad = _bad(log_url)
    moved = {"notification_id": "position_missing", "originator_version": "version_out_of_place"}
    moved["originator_id"] = "version_out_of_place"
    assert (bad.position, bad.problem) == (100, moved.get(column, "changed"))


@pytest.mark.parametrize("column", ["effective_at", "causation_id"])
def test_a_value_that_was_added_or_taken_away_is_found(log_url: str, column: str) -> None:
    value = "NULL" if column == "effective_at" else "command_id"
    _tamper(log_url, f"UPDATE events SET {column} = {value} WHERE notification_id = 100")
    assert (_bad(log_url).position, _bad(log_url).problem) == (100, "changed")


@pytest.mark.parametrize("column", [name for name in CHANGES if name not in ("originator_id", "originator_version")])
def test_a_value_that_no_event_can_have_is_found(log_url: str, column: str) -> None:
    impossible = {"recorded_at": "'infinity'", "effective_at": "'-infinity'", "notification_id": "-notification_id"}
    impossible |= {"causation_id": "gen_random_uuid()", "scope": "gen_random_uuid()", "number": "-1"}
    _tamper(
        log_url,
        *([] if column in _NULLABLE else [f"ALTER TABLE events ALTER {column} DROP NOT NULL"]),
        f"UPDATE events SET {column} = {impossible.get(column, 'NULL')} WHERE notification_id = 100",
    )
    bad = _bad(log_url)
    if column == "notification_id":
        assert (bad.position, bad.problem) == (100, "position_missing")
    else:
        problem = "unreadable" if column in ("recorded_at", "effective_at") else "changed"
        assert (bad.position, bad.problem) == (100, problem)


def test_a_position_that_was_taken_away_is_found(log_url: str) -> None:
    _tamper(
        log_url,
        "ALTER TABLE events ALTER notification_id DROP NOT NULL",
        "UPDATE events SET notification_id = NULL WHERE notification_id = 100",
    )
    assert (_bad(log_url).position, _bad(log_url).problem) == (100, "position_missing")


@pytest.mark.parametrize("value", ["-notification_id", "0", "NULL"])
def test_an_event_outside_of_the_positions_is_found_where_nothing_else_is_amiss(log_url: str, value: str) -> None:
    head = _head(log_url)
    _tamper(
        log_url,
        "ALTER TABLE events ALTER notification_id DROP NOT NULL",
        f"UPDATE events SET notification_id = {value} WHERE notification_id = {head}",
    )
    assert (_bad(log_url).position, _bad(log_url).problem) == (head, "position_out_of_range")


def test_the_lowest_of_several_faults_is_named(log_url: str) -> None:
    _tamper(
        log_url,
        "UPDATE events SET notification_id = -notification_id WHERE notification_id = 200",
        "UPDATE events SET state = state || ' '::bytea WHERE notification_id = 150",
    )
    assert (_bad(log_url).position, _bad(log_url).problem) == (150, "changed")


def test_a_deleted_event_is_missed_at_its_position(log_url: str) -> None:
    _tamper(log_url, "DELETE FROM events WHERE notification_id = 100")
    assert (_bad(log_url).position, _bad(log_url).problem) == (100, "position_missing")


def test_the_first_event_is_missed_as_well(log_url: str) -> None:
    _tamper(log_url, "DELETE FROM events WHERE notification_id = 1")
    assert (_bad(log_url).position, _bad(log_url).problem) == (1, "position_missing")


def test_closing_the_gap_by_renumbering_does_not_help(log_url: str) -> None:
    _tamper(
        log_url,
        "DELETE FROM events WHERE notification_id = 100",
        "UPDATE events SET notification_id = -notification_id WHERE notification_id > 100",
        "UPDATE events SET notification_id = -notification_id - 1 WHERE notification_id < 0",
    )
    assert _bad(log_url).position == 100


_COPY = (
    "INSERT INTO events SELECT originator_id, {version}, {position}, recorded_at, effective_at, workspace_id, principal_id, "
    "command_id, correlation_id, causation_id, epoch, authority, scope, number, schema_version, topic, state, salt, "
    "commitment, hash FROM events WHERE notification_id = 100"
)


def test_a_forged_event_at_the_end_is_found(log_url: str) -> None:
    head = _head(log_url)
    version = "(SELECT max(v.originator_version) + 1 FROM events v WHERE v.originator_id = events.originator_id)"
    _tamper(log_url, _COPY.format(version=version, position=head + 1))
    assert (_bad(log_url).position, _bad(log_url).problem) == (head + 1, "changed")


def test_an_event_copied_to_another_stream_is_found(log_url: str) -> None:
    head = _head(log_url)
    copy = _COPY.format(version="1", position=head + 1).replace("SELECT originator_id", "SELECT gen_random_uuid()")
    _tamper(log_url, copy)
    assert (_bad(log_url).position, _bad(log_url).problem) == (head + 1, "changed")


@pytest.mark.parametrize("position", [100, 2000])
def test_a_second_event_at_a_position_is_found(log_url: str, position: int) -> None:
    with connect_sync(log_url, "log_main") as connection:
        while (connection.execute("SELECT max(notification_id) FROM events").fetchone() or (0,))[0] <= position:
            task = connection.execute("SELECT originator_id FROM events WHERE notification_id = 1").fetchone()
            assert task
            with connection.transaction():
                for number in range(200):
                    rename(connection, task[0], f"title {number}")
    _tamper(
        log_url,
        "DROP INDEX events_notification_id",
        _COPY.format(version="originator_version + 5000", position=position),
    )
    bad = _bad(log_url)
    # Whichever of the two is read first is compared first.
    assert bad.position == position
    assert bad.problem in ("position_repeated", "version_out_of_place")


@pytest.mark.parametrize("column", ["notification_id", "originator_version", "state", "hash", "originator_id"])
def test_two_events_that_changed_places_are_found_at_the_first(log_url: str, column: str) -> None:
    # In one stream, and for the stream itself in two.
    other = "b.originator_id <> a.originator_id AND b.originator_version <> a.originator_version"
    one = "b.originator_id = a.originator_id AND b.originator_version = a.originator_version + 1"
    together = f"{other if column == 'originator_id' else one} AND b.state <> a.state"
    with connect_sync(log_url, "log_main") as connection:
        pair = connection.execute(
            f"SELECT a.notification_id, b.notification_id FROM events a JOIN events b ON {together} "
            "WHERE a.notification_id >= 100 AND b.notification_id > a.notification_id ORDER BY 1, 2 LIMIT 1"
        ).fetchone()
    assert pair is not None
    first, second = pair
    _tamper(log_url, *_swap(column, first, second))
    assert _bad(log_url).position == first


def _swap(column: str, first: int, second: int) -> list[str]:
    return [
        "ALTER TABLE events DROP CONSTRAINT IF EXISTS events_pkey",
        "DROP INDEX IF EXISTS events_notification_id",
        f"UPDATE events e SET {column} = o.{column} FROM events o WHERE (e.notification_id, o.notification_id) IN "
        f"(({first}, {second}), ({second}, {first}))",
    ]


def test_an_event_that_stands_there_twice_is_found(log_url: str) -> None:
    copy = _COPY.format(version="originator_version", position=100)
    _tamper(log_url, "ALTER TABLE events DROP CONSTRAINT events_pkey", "DROP INDEX events_notification_id", copy)
    assert (_bad(log_url).position, _bad(log_url).problem) == (100, "position_repeated")


_PAIR = (
    "SELECT a.notification_id, b.notification_id, a.originator_id FROM events a JOIN events b "
    "ON b.originator_id = a.originator_id AND b.originator_version = a.originator_version + 1 "
    "WHERE a.originator_version = 1 AND a.notification_id > 50 ORDER BY 1 LIMIT 1"
)


def _rehash(connection: Connection, stream_id: UUID, events: int) -> None:
    """Make the hashes of a stream's first events fit what is stored there now."""
    identity = connection.execute("SELECT log_id FROM log").fetchone()
    rows = connection.execute(
        f"SELECT {COLUMNS} FROM events WHERE originator_id = %s ORDER BY originator_version LIMIT %s".encode(),
        (stream_id, events),
    ).fetchall()
    assert identity is not None
    previous = GENESIS
    for row in rows:
        previous = chain_hash(*identity, ChainedRow(*row), previous)
        connection.execute("UPDATE events SET hash = %s WHERE notification_id = %s", (previous, row[0]))


@pytest.mark.parametrize("made_anew", [1, 1000])
def test_a_change_with_its_hash_made_anew_is_found_at_the_next_event_unless_all_of_its_stream_were(
    log_url: str, made_anew: int
) -> None:
    with connect_sync(log_url, "log_main") as connection:
        changed, following, stream_id = connection.execute(_PAIR).fetchone() or ()
        connection.execute("UPDATE events SET principal_id = %s WHERE notification_id = %s", (UUID(int=9), changed))
        _rehash(connection, stream_id, made_anew)
    first_bad = verify_log(log_url, "main").first_bad
    assert (first_bad.position if first_bad else None) == (following if made_anew == 1 else None)


def test_an_event_before_the_one_it_follows_is_found_even_with_fitting_hashes(log_url: str) -> None:
    with connect_sync(log_url, "log_main") as connection:
        first, second, stream_id = connection.execute(_PAIR).fetchone() or ()
        _tamper(log_url, *_swap("notification_id", first, second))
        _rehash(connection, stream_id, 1000)
    assert (_bad(log_url).position, _bad(log_url).problem) == (first, "version_out_of_place")


def test_another_logs_identity_fits_no_event(log_url: str) -> None:
    _tamper(log_url, "UPDATE log SET log_id = gen_random_uuid()")
    assert (_bad(log_url).position, _bad(log_url).problem) == (1, "identity_changed")


def test_a_first_event_that_was_changed_is_not_taken_for_another_identity(log_url: str) -> None:
    _tamper(log_url, "UPDATE events SET state = state || ' '::bytea WHERE notification_id = 1")
    assert (_bad(log_url).position, _bad(log_url).problem) == (1, "changed")


def test_a_lost_identity_is_told_apart_from_lost_events(log_url: str) -> None:
    _tamper(log_url, "DELETE FROM log")
    assert (_bad(log_url).position, _bad(log_url).problem) == (1, "identity_missing")


def test_an_epoch_that_was_lowered_is_told_apart_from_changed_events(log_url: str) -> None:
    head = _head(log_url)
    with connect_sync(log_url, "log_main") as connection:
        connection.execute("UPDATE log SET epoch = 4")
        (task_id,) = connection.execute("SELECT originator_id FROM events WHERE notification_id = 1").fetchone() or (None,)
        rename(connection, task_id, "after the restore")
        connection.execute("UPDATE log SET epoch = 2")
    assert (_bad(log_url).position, _bad(log_url).problem) == (head + 1, "epoch_lowered")


def test_an_epoch_that_was_raised_is_told_and_is_no_fault(log_url: str) -> None:
    _tamper(log_url, "UPDATE log SET epoch = 7")
    found = verify_log(log_url, "main")
    assert (found.first_bad, found.epoch, found.event_epoch) == (None, 7, 1)


def test_events_of_earlier_epochs_are_right_and_a_step_back_is_not(log_url: str) -> None:
    head = _head(log_url)
    _tamper(log_url, "UPDATE log SET epoch = 3")
    assert verify_log(log_url, "main").first_bad is None
    with connect_sync(log_url, "log_main") as connection:
        (task_id,) = connection.execute("SELECT originator_id FROM events WHERE notification_id = 1").fetchone() or (None,)
        rename(connection, task_id, "after the restore")
        assert verify_log(log_url, "main").first_bad is None
        connection.execute("UPDATE log SET epoch = 2")
        rename(connection, task_id, "by a log that was left behind")
        connection.execute("UPDATE log SET epoch = 3")
    assert (_bad(log_url).position, _bad(log_url).problem) == (head + 2, "epoch_out_of_order")


def test_the_newest_events_can_be_taken_away_unseen(log_url: str) -> None:
    head = _head(log_url)
    _tamper(log_url, f"DELETE FROM events WHERE notification_id > {head - 5}")
    found = verify_log(log_url, "main")
    assert (found.first_bad, found.head) == (None, head - 5)


def test_a_log_that_is_not_there_is_said(database_url: str) -> None:
    with pytest.raises(ConfigurationError, match="there is no log 'other' in this database"):
        verify_log(database_url, "other")


def test_the_command_says_it_with_its_exit_code(log_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    settings = Settings(database_url=log_url)
    assert operations.verify(settings, as_json=True) == 0
    right = json.loads(capsys.readouterr().out)
    assert (right["first_bad"], right["events"], right["streams"]) == (None, right["head"], 31)
    _tamper(log_url, f"UPDATE events SET principal_id = '{OWNER}' WHERE notification_id = 100")
    assert operations.verify(settings, as_json=True) == 1
    assert json.loads(capsys.readouterr().out)["first_bad"]["position"] == 100
    assert operations.verify(settings, as_json=False) == 1
    assert "position 100" in capsys.readouterr().out
