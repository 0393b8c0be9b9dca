"""One laboratory for all fault tests of a run."""

from collections.abc import Iterator

import pytest

from tests.faults.laboratory import Laboratory


@pytest.fixture(scope="session")
def laboratory() -> Iterator[Laboratory]:
    """Servers and a zygote of the fault tests' own: other tests' servers are not restarted under them."""
    with Laboratory() as opened:
        yield opened
