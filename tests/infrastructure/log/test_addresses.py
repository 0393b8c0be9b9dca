"""Names that lead to streams: looked up once, and forgotten with everything else that may be another log's."""

from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID, uuid4

import pytest

from application.first_project import FirstProjects
from domain.project.values import FIRST_KEY, first_project_of
from infrastructure.log.addresses import NOBODY, Addresses, Name
from infrastructure.log.event_store import PostgresEventStore
from tests.infrastructure.log_under_test import ANA, WORKSPACE, log_connection, open_store

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[PostgresEventStore]:
    async with open_store(database_url) as opened:
        yield opened


async def test_a_name_is_looked_up_once_until_the_store_forgets(store: PostgresEventStore, database_url: str) -> None:
    await FirstProjects(store).make(WORKSPACE, ANA)
    assert await store.addressed(WORKSPACE, FIRST_KEY) == first_project_of(WORKSPACE)
    with log_connection(database_url) as log:
        log.execute("DELETE FROM event_tags")
    assert await store.addressed(WORKSPACE, FIRST_KEY) == first_project_of(WORKSPACE)
    store.forget()
    assert await store.addressed(WORKSPACE, FIRST_KEY) == NOBODY


async def test_what_leads_nowhere_is_not_remembered(store: PostgresEventStore) -> None:
    assert await store.addressed(WORKSPACE, FIRST_KEY) == NOBODY
    await FirstProjects(store).make(WORKSPACE, ANA)
    assert await store.addressed(WORKSPACE, FIRST_KEY) == first_project_of(WORKSPACE)


async def test_many_names_are_looked_up_in_one_statement_and_what_is_remembered_not_again(
    store: PostgresEventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await FirstProjects(store).make(WORKSPACE, ANA)
    asked: list[int] = []
    look_up = Addresses.look_up

    async def counted(self: Addresses, connection: Any, workspace_id: UUID, names: Sequence[Name]) -> dict[Name, UUID]:
        asked.append(len(names))
        return await look_up(self, connection, workspace_id, names)

    monkeypatch.setattr(Addresses, "look_up", counted)
    names = [(FIRST_KEY, 0), (FIRST_KEY, 1), ("NONE", 0), ("NONE", 1)]
    found = dict.fromkeys(names, NOBODY) | {(FIRST_KEY, 0): first_project_of(WORKSPACE)}
    assert await store.all_addressed(WORKSPACE, names) == found
    assert await store.all_addressed(WORKSPACE, names) == found
    assert await store.all_addressed(uuid4(), names) == dict.fromkeys(names, NOBODY)
    assert asked == [4, 3, 4]
