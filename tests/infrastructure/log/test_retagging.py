"""The tags of a log are derived anew beside the old ones while it goes on being written, and whoever derives the old ones is
refused from the switch on."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

import domain.tags
import infrastructure.log.tags
from application.log import NewEvent
from domain.boundaries import Boundary
from domain.task.events import TaskCreated
from infrastructure.cli.backup import backup
from infrastructure.cli.restore import restore
from infrastructure.log import retagging, verify
from infrastructure.log.append_function import OTHER_SCHEME
from infrastructure.log.retagging import Retagged, retag
from infrastructure.log.tags import OtherTagScheme
from infrastructure.log.verify import Verification, verify_log
from infrastructure.log.verify_derived import DerivedTables
from infrastructure.servers.migrate import migrate
from infrastructure.settings import ConfigurationError
from tests.infrastructure.log.another_scheme import NEXT, take_next_scheme
from tests.infrastructure.log.tagged_by_label import tags_of_labels
from tests.infrastructure.log_under_test import an_append, append, log_connection, open_store
from tests.log_world import World

ROOT = Path(__file__).parents[3]
PART = 10
TABLES = "SELECT count(*) FROM pg_class WHERE relname IN ('event_tags_next', 'event_tags_before', 'retagging')"


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retagging, "EVENTS_A_PART", PART)
    monkeypatch.setattr(infrastructure.log.tags, "tags_of", tags_of_labels)


@contextmanager
def release_before() -> Iterator[None]:
    """Within the block this process is of the release that made the old tags."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(domain.tags, "TAG_SCHEME", NEXT - 1)
        patch.setattr(infrastructure.log.tags, "tags_of", tags_of_labels)
        yield


def record(connection: psycopg.Connection[Any], count: int = 1) -> None:
    """New tasks with a label each, of the release before, one append each."""
    with release_before():
        for number in range(count):
            append(connection, an_append(NewEvent(uuid4(), 1, TaskCreated("A", labels=(f"label {number % 3}",)))))


@pytest.fixture
def filled(world: World) -> World:
    """A log with 35 events."""
    record(world.connection, 35)
    return world


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is of the next release."""
    take_next_scheme(monkeypatch.setattr)


def verified(world: World) -> Verification:
    """What the next release finds."""
    found = verify_log(world.database_url, "main")
    assert (found.first_bad, found.tags_not_compared) == (None, "")
    return found


def scheme(world: World) -> int:
    return world._number("SELECT tag_scheme FROM log")


def killed(world: World, point: str) -> None:
    """The next release's `taskmaster migrate`, which is killed there."""
    environment = os.environ | {"TASKMASTER_FAILPOINT": point, "PYTHONPATH": str(ROOT)}
    program = [sys.executable, "-m", "tests.infrastructure.log.retagging_process", world.database_url, str(PART)]
    assert subprocess.run(program, env=environment, cwd=ROOT, check=False).returncode == -signal.SIGKILL


@pytest.mark.usefixtures("newer")
class TestTheNewTags:
    def test_all_events_get_them_and_the_log_the_scheme(self, filled: World) -> None:
        assert retag(filled.database_url, "main") == Retagged(NEXT, 35, 5)
        assert (scheme(filled), filled._number("SELECT count(*) FROM event_tags"), filled._number(TABLES)) == (NEXT, 70, 0)
        assert verified(filled).is_clean

    def test_they_are_derived_once(self, filled: World) -> None:
        retag(filled.database_url, "main")
        assert retag(filled.database_url, "main") is None

    def test_the_next_release_appends_and_decides_on_them(self, filled: World) -> None:
        retag(filled.database_url, "main")
        stream = uuid4()
        append(filled.connection, an_append(NewEvent(stream, 1, TaskCreated("A", labels=("label 1",)))))
        count: Boundary[int] = Boundary("label:label 1", 0, lambda seen, _: seen + 1)

        async def read() -> tuple[int, int]:
            async with open_store(filled.database_url) as store:
                seen = await store.load_boundary(count)
            return seen.state, seen.at

        assert asyncio.run(read()) == (13, 36)
        assert verified(filled).is_clean

    def test_an_erased_event_has_none_any_more(self, filled: World) -> None:
        filled.connection.execute("UPDATE events SET state = NULL, salt = NULL WHERE notification_id IN (7, 34)")
        retag(filled.database_url, "main")
        assert filled._number("SELECT count(*) FROM event_tags WHERE position IN (7, 34)") == 0
        assert verified(filled).is_clean

    def test_events_of_a_later_release_are_told_in_one_line(self, filled: World) -> None:
        filled.connection.execute("UPDATE events SET topic = 'task.teleported' WHERE notification_id = 20")
        with pytest.raises(ConfigurationError, match="cannot be derived: event type 'task"):
            retag(filled.database_url, "main")
        assert scheme(filled) == NEXT - 1

    def test_a_log_without_events_begins_with_them(self, empty_database_url: str) -> None:
        migrate(empty_database_url, ["main"])
        with log_connection(empty_database_url) as connection:
            assert connection.execute("SELECT tag_scheme FROM log").fetchone() == (NEXT,)

    def test_a_backup_of_the_release_before_gets_them_when_it_is_restored(self, filled: World, tmp_path: Path) -> None:
        filled.connection.close()
        file = backup(filled.database_url, tmp_path / "before").file
        restore(filled.database_url, file, replace=True)
        found = verify_log(filled.database_url, "main")
        assert (found.head, found.is_clean, found.tags_not_compared) == (36, True, "")


@pytest.mark.usefixtures("newer")
class TestWhileTheLogGoesOn:
    def test_what_is_appended_between_the_parts_gets_them_as_well(self, filled: World) -> None:
        retag(filled.database_url, "main", lambda *_: record(filled.connection, 3))
        assert filled.head() > 35
        assert verified(filled).is_clean

    def test_control_without_catching_up_under_the_lock_their_tags_are_missing(
        self, filled: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        kept_out = retagging._Retagging._keeps_readers_out

        def without_the_last_part(self: Any) -> bool:
            # As if the part just made had been made before the lock: what came between is left out.
            self._connection.execute("DELETE FROM event_tags_next WHERE position > 35")
            return kept_out(self)

        monkeypatch.setattr(retagging._Retagging, "_keeps_readers_out", without_the_last_part)
        retag(filled.database_url, "main", lambda *_: record(filled.connection, 1))
        bad = verified(filled).derived_bad
        assert bad is not None
        assert (bad.table, bad.position) == ("event_tags", 36)
        assert "it lacks" in bad.reason

    def test_two_processes_append_all_the_while_and_nothing_is_left_out(self, filled: World) -> None:
        program = [sys.executable, "-m", "tests.infrastructure.log.appending_process", filled.database_url]
        writers = [subprocess.Popen(program, stdout=subprocess.PIPE, text=True, cwd=ROOT) for _ in range(2)]
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "going\n"
        done = retag(filled.database_url, "main")
        stored = [int(writer.communicate(timeout=60)[0]) for writer in writers]
        assert done is not None
        assert done.events == filled.head() == 35 + sum(stored)
        assert min(stored) > 0
        assert done.most_under_lock <= 8 * PART
        assert verified(filled).is_clean

    def test_a_log_that_grows_as_fast_as_its_tags_are_made_is_caught_up_with_under_the_lock_part_by_part(
        self, filled: World
    ) -> None:
        done = retag(filled.database_url, "main", lambda *_: record(filled.connection, 2 * PART))
        assert done is not None
        # 35 at first and 20 more each time that it looked: one part beside, then under the lock one, two, and what was left.
        assert (done.events, done.most_under_lock) == (75, 35)
        assert verified(filled).is_clean


@pytest.mark.usefixtures("newer")
class TestReadersOfTheOldTags:
    def test_one_that_takes_long_is_waited_for_without_the_lock(self, filled: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(retagging, "LONG_READ_SECONDS", 0.0)
        with log_connection(filled.database_url) as reader:
            reader.execute("BEGIN; SELECT FROM event_tags")

            def meanwhile(_: float) -> None:
                assert scheme(filled) == NEXT - 1
                record(filled.connection)
                reader.execute("COMMIT")

            monkeypatch.setattr(retagging.time, "sleep", meanwhile)
            assert retag(filled.database_url, "main") == Retagged(NEXT, 36, 6)
        assert verified(filled).is_clean

    def test_one_that_comes_at_the_wrong_moment_costs_another_try(self, filled: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(retagging, "LONG_READ_SECONDS", 1e6)
        passed: list[str] = []
        with log_connection(filled.database_url) as reader:
            reader.execute("BEGIN; SELECT FROM event_tags")

            def at(point: str) -> None:
                passed.append(point)
                if point == "retagging.before_another_try":
                    record(filled.connection)
                    reader.execute("COMMIT")

            monkeypatch.setattr(retagging, "failpoint", at)
            assert retag(filled.database_url, "main") == Retagged(NEXT, 36, 5)
        assert passed.count("retagging.before_another_try") == 1
        assert verified(filled).is_clean

    def test_a_verification_keeps_the_tags_that_it_compares_from_its_snapshot_on(
        self, filled: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tried: list[bool] = []

        def compare(connection: psycopg.Connection[Any]) -> DerivedTables:
            with log_connection(filled.database_url) as other:
                try:
                    other.execute("BEGIN; LOCK TABLE event_tags IN ACCESS EXCLUSIVE MODE NOWAIT")
                except psycopg.errors.LockNotAvailable:
                    tried.append(True)
            return DerivedTables(connection)

        monkeypatch.setattr(verify, "DerivedTables", compare)
        with release_before():
            assert verify_log(filled.database_url, "main").is_clean
        assert tried == [True]


class TestKills:
    @pytest.mark.parametrize(
        ("point", "left"),
        [
            ("retagging.after_part:1", 25),
            ("retagging.after_part:3", 5),
            ("retagging.before_switch:1", 5),
            ("retagging.after_switch:1", None),
        ],
    )
    def test_after_a_kill_anywhere_it_goes_on_where_it_was(
        self, filled: World, point: str, left: int | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        killed(filled, point)
        if left is not None:
            # Nothing has happened yet for the release before.
            record(filled.connection)
            assert verify_log(filled.database_url, "main").is_clean
            left += 1
        take_next_scheme(monkeypatch.setattr)
        done = retag(filled.database_url, "main")
        assert (done and done.events) == left
        assert (scheme(filled), filled._number(TABLES)) == (NEXT, 0)
        assert verified(filled).is_clean

    def test_what_a_release_in_between_has_left_is_not_gone_on_with(
        self, filled: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        killed(filled, "retagging.after_part:2")
        take_next_scheme(monkeypatch.setattr)
        monkeypatch.setattr(domain.tags, "TAG_SCHEME", NEXT + 1)
        assert retag(filled.database_url, "main") == Retagged(NEXT + 1, 35, 5)
        assert verified(filled).is_clean

    def test_one_that_is_stopped_under_the_lock_loses_it(self, filled: World) -> None:
        environment = os.environ | {"TASKMASTER_FAILPOINT": "retagging.before_switch:1:stop", "PYTHONPATH": str(ROOT)}
        program = [sys.executable, "-m", "tests.infrastructure.log.retagging_process", filled.database_url, str(PART)]
        with subprocess.Popen(program, env=environment, cwd=ROOT, stderr=subprocess.DEVNULL) as stopped:
            try:
                os.waitid(os.P_PID, stopped.pid, os.WSTOPPED)
                # Waits for the lock until the server takes it away from the one who does not come back.
                record(filled.connection)
            finally:
                stopped.send_signal(signal.SIGCONT)
            assert stopped.wait(30) != 0
        assert (scheme(filled), filled.head()) == (NEXT - 1, 36)


class TestTheReleaseBefore:
    @pytest.fixture(autouse=True)
    def _left_behind(self, filled: World) -> None:
        with pytest.MonkeyPatch.context() as patch:
            take_next_scheme(patch.setattr)
            retag(filled.database_url, "main")

    def test_it_appends_nothing(self, filled: World) -> None:
        with pytest.raises(psycopg.DatabaseError) as refused:
            record(filled.connection)
        assert refused.value.sqlstate == OTHER_SCHEME
        assert filled.head() == 35

    @pytest.mark.parametrize("tag", ["label 1", "never seen"])
    def test_it_decides_on_no_boundary(self, filled: World, tag: str) -> None:
        nothing: Callable[[None, Any], None] = lambda *_: None  # noqa: E731

        async def read() -> None:
            async with open_store(filled.database_url) as store:
                await store.load_boundary(Boundary(tag, None, nothing))

        with pytest.raises(OtherTagScheme):
            asyncio.run(read())

    @pytest.mark.parametrize("number", [0, 1])
    def test_it_follows_no_address(self, filled: World, number: int) -> None:
        async def follow() -> UUID:
            async with open_store(filled.database_url) as store:
                return await store.addressed(uuid4(), "TASK", number)

        with pytest.raises(OtherTagScheme):
            asyncio.run(follow())

    def test_it_says_that_it_cannot_compare_the_tags(self, filled: World) -> None:
        found = verify_log(filled.database_url, "main")
        assert found.tags_not_compared == f"the log derives them by scheme {NEXT}, this release by {NEXT - 1}"
        assert found.is_clean

    def test_it_derives_nothing_back(self, filled: World) -> None:
        with pytest.raises(ConfigurationError, match=f"a newer release derives the tags of log 'main' \\(by scheme {NEXT}"):
            retag(filled.database_url, "main")
        assert scheme(filled) == NEXT
