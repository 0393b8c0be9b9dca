"""A broker over the test's Redis, and the settings of the processes around it."""

from collections.abc import Iterator

import dramatiq
import pytest
from dramatiq.broker import get_broker, set_broker

from infrastructure.settings import Settings
from tests.log_world import World
from workers.bell import BellBroker
from workers.broker import make_broker


@pytest.fixture
def settings(world: World) -> Settings:
    return Settings(database_url=world.database_url, redis_url=world.redis_url, worker_threads=2)


@pytest.fixture
def broker(settings: Settings) -> Iterator[BellBroker]:
    before: dramatiq.Broker = get_broker()
    yield make_broker(settings)
    set_broker(before)
