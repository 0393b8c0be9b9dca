"""The append when PostgreSQL or the way to it fails: nothing acknowledged is lost, no conflict is false."""

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import msgspec
import psycopg
import pytest
from eventsourcing.persistence import StoredEvent
from uuid_utils.compat import uuid7

from application.log import Append, Appended, LogUnavailable, VersionConflict
from application.receipts import completed
from infrastructure.embedded.services import LocalServices
from infrastructure.log import append_connection
from infrastructure.log.append_function import append_parameters
from infrastructure.log.appender import GroupCommitAppender
from infrastructure.servers.postgres import connect
from projections.tables.binary_arrays import Array
from tests.faults.proxy import PostgresProxy
from tests.infrastructure.log_under_test import (
    SCHEMA,
    an_append,
    created,
    key,
    log_connection,
    positions,
    recorder_on,
    renamed,
    stored,
    streams,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def log(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with log_connection(database_url) as connection:
        yield connection


@asynccontextmanager
async def an_appender(database_url: str) -> AsyncIterator[GroupCommitAppender]:
    appender = GroupCommitAppender(lambda: connect(database_url, SCHEMA), SCHEMA)
    await appender.start()
    try:
        yield appender
    finally:
        await appender.stop()


@asynccontextmanager
async def an_appender_behind_a_proxy(
    database_url: str,
) -> AsyncIterator[tuple[GroupCommitAppender, PostgresProxy]]:
    async with PostgresProxy(database_url) as proxy, an_appender(proxy.url) as appender:
        yield appender, proxy


class TestLostReply:
    @pytest.mark.parametrize("name", [None, "k"], ids=["unkeyed", "keyed"])
    async def test_it_is_a_success_and_stored_once(
        self, database_url: str, log: psycopg.Connection[Any], name: str | None
    ) -> None:
        before, task = streams(2)
        async with an_appender_behind_a_proxy(database_url) as (appender, proxy):
            await appender.append(an_append(created(before)))
            proxy.cut_replies()
            asked = an_append(created(task), renamed(task, 2), idempotency=key(name) if name else None)
            answer = await appender.append(asked)
        assert proxy.cuts == 1
        assert (answer.position, answer.receipt) == (3, completed(asked.receipt_start, 3, stored(log)[-1].hash))
        assert [row.stream_id for row in stored(log)] == [before, task, task]

    async def test_again_and_again_it_is_a_success_and_stored_once(
        self, database_url: str, log: psycopg.Connection[Any]
    ) -> None:
        (task,) = streams(1)
        async with an_appender_behind_a_proxy(database_url) as (appender, proxy):
            proxy.cut_replies(4)
            answer = await appender.append(an_append(created(task)))
        assert (proxy.cuts, answer.position) == (4, 1)
        assert positions(log) == [1]

    async def test_in_a_batch_every_append_gets_the_answer_it_had_earned(self, database_url: str) -> None:
        taken, first, second = streams(3)
        async with an_appender_behind_a_proxy(database_url) as (appender, proxy):
            await appender.append(an_append(created(taken)))
            proxy.cut_replies()
            answers = await asyncio.gather(
                appender.append(an_append(created(first))),
                appender.append(an_append(created(taken))),
                appender.append(an_append(created(second), idempotency=key("k"))),
                return_exceptions=True,
            )
        assert proxy.cuts == 1
        assert isinstance(answers[1], VersionConflict)
        assert [a.position for a in answers if isinstance(a, Appended)] == [2, 3]

    async def test_a_lost_request_is_sent_again_and_stored_once(self, database_url: str, log: psycopg.Connection[Any]) -> None:
        first, second = streams(2)
        async with an_appender_behind_a_proxy(database_url) as (appender, proxy):
            await appender.append(an_append(created(first)))
            proxy.cut_requests()
            answer = await appender.append(an_append(created(second)))
        assert (proxy.cuts, answer.position, answer.replayed) == (1, 2, False)
        assert positions(log) == [1, 2]

    async def test_without_the_command_id_it_would_be_a_false_conflict(
        self, database_url: str, log: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The control: the cut really falls between the commit and its reply."""

        def anonymous(appends: Sequence[Append]) -> tuple[Array, ...]:
            return append_parameters([msgspec.structs.replace(a, command_id=uuid7()) for a in appends])

        monkeypatch.setattr(append_connection, "append_parameters", anonymous)
        async with an_appender_behind_a_proxy(database_url) as (appender, proxy):
            proxy.cut_replies()
            with pytest.raises(VersionConflict):
                await appender.append(an_append(created(streams(1)[0])))
        assert positions(log) == [1]


class TestLostReplyToTheLibrary:
    async def test_its_recorder_stores_once_and_reports_no_conflict(
        self, database_url: str, log: psycopg.Connection[Any]
    ) -> None:
        (task,) = streams(1)
        async with PostgresProxy(database_url) as proxy:

            def insert() -> Sequence[int] | None:
                with recorder_on(proxy.url, connections=1) as recorder:
                    recorder.max_notification_id()
                    proxy.cut_replies()
                    return recorder.insert_events([StoredEvent(task, n, "topic", b"") for n in (1, 2)])

            assert await asyncio.to_thread(insert) == [1, 2]
        assert proxy.cuts == 1
        assert positions(log) == [1, 2]


class TestServerAway:
    async def test_an_append_is_told_so_at_its_deadline_and_the_next_one_works_again(
        self, services: LocalServices, database_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first, second = streams(2)
        async with an_appender(database_url) as appender:
            await appender.append(an_append(created(first)))
            monkeypatch.setattr("infrastructure.log.appender.DEADLINE_SECONDS", 0.3)
            services.kill_postgres()
            try:
                with pytest.raises(LogUnavailable):
                    await asyncio.wait_for(appender.append(an_append(created(second))), 60)
            finally:
                services.start_postgres()
            monkeypatch.setattr("infrastructure.log.appender.DEADLINE_SECONDS", 60.0)
            assert (await appender.append(an_append(created(second)))).position == 2

    async def test_a_server_that_does_not_answer_is_away_as_well(
        self, database_url: str, log: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first, second = streams(2)
        async with an_appender(database_url) as appender:
            await appender.append(an_append(created(first)))
            monkeypatch.setattr("infrastructure.log.appender.DEADLINE_SECONDS", 0.3)
            with log.transaction():
                log.execute("LOCK TABLE events IN SHARE MODE")
                with pytest.raises(LogUnavailable):
                    await asyncio.wait_for(appender.append(an_append(created(second))), 60)
            monkeypatch.setattr("infrastructure.log.appender.DEADLINE_SECONDS", 60.0)
            assert isinstance(await appender.append(an_append(renamed(first, 2))), Appended)


class Load:
    """Appends from several callers until `enough` are acknowledged and the connection was lost in between."""

    def __init__(self, database_url: str, enough: int) -> None:
        self._database_url = database_url
        self._enough = enough
        self.acknowledged: list[tuple[UUID, int]] = []
        self.refused: list[BaseException] = []
        self.reconnects = 0
        self.under_way = threading.Event()

    def run(self) -> None:
        asyncio.run(self._all())

    async def _all(self) -> None:
        appender = GroupCommitAppender(lambda: connect(self._database_url, SCHEMA), SCHEMA, on_reconnect=self._reconnected)
        await appender.start()
        try:
            await asyncio.gather(*(self._caller(appender, number) for number in range(8)))
        except Exception as error:
            self.refused.append(error)
            raise
        finally:
            self.under_way.set()
            await appender.stop()

    def _reconnected(self) -> None:
        self.reconnects += 1

    async def _caller(self, appender: GroupCommitAppender, number: int) -> None:
        (task,) = streams(1)
        version = 0
        while len(self.acknowledged) < self._enough or not self.reconnects:
            version += 1
            event = created(task) if version == 1 else renamed(task, version)
            name = key(f"{task} {version}") if number % 2 else None
            await appender.append(an_append(event, idempotency=name))
            self.acknowledged.append((task, version))
            if len(self.acknowledged) >= self._enough // 4:
                self.under_way.set()


def test_an_immediate_restart_under_load_loses_nothing_and_reports_no_false_conflict(
    services: LocalServices, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infrastructure.log.appender.DEADLINE_SECONDS", 120.0)
    load = Load(database_url, enough=200)
    # The load has the thread: the server must be started by one that outlives it.
    thread = threading.Thread(target=load.run)
    thread.start()
    load.under_way.wait()
    services.restart_postgres(immediate=True)
    thread.join()
    assert load.refused == []
    assert load.reconnects >= 1
    with log_connection(database_url) as log:
        kept = Counter((row.stream_id, row.version) for row in stored(log))
        assert positions(log) == list(range(1, len(kept) + 1))
    assert set(load.acknowledged) == set(kept)
    assert set(kept.values()) == {1}
