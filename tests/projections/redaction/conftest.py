"""What tests of redaction share."""

from collections.abc import Iterator

import pytest

from infrastructure.read_models.projecting import LogProjecting
from tests.log_world import LOG, World


@pytest.fixture
def projecting(world: World) -> Iterator[LogProjecting]:
    """A worker that goes on with what it remembers."""
    running = LogProjecting(world.database_url, world.redis_url, LOG)
    yield running
    running.close()
