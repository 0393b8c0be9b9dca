"""What several of these tests run."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.infrastructure.command_line import Run, command_line


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Iterator[Run]:
    """Runs a command line; its data folder is one that does not exist and shall not come to be."""
    yield command_line(monkeypatch, capfd, tmp_path / "none")
    assert not (tmp_path / "none").exists(), "a short command made an installation"
