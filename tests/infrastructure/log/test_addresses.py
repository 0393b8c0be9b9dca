"""Names that lead to streams: looked up once, and forgotten with everything else that may be another log's."""

from collections.abc import AsyncIterator

import pytest

from application.first_project import FirstProjects
from domain.project.values import FIRST_KEY, first_project_of
from infrastructure.log.addresses import NOBODY
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
