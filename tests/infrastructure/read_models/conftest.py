"""What the tests of read models share."""

import pytest

from projections.task import list_as_of


@pytest.fixture
def few_rows_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that small lists are found in every way: by a look, by a deeper one, task by task, and by their columns."""
    monkeypatch.setattr(list_as_of, "LOOK", 2)
    monkeypatch.setattr(list_as_of, "DEEPER", 6)
    monkeypatch.setattr(list_as_of, "DEEPER_FOR_WORDS", 5)
    monkeypatch.setattr(list_as_of, "DEEPER_FOR_TERMS", 8)
    monkeypatch.setattr(list_as_of, "FEW_WITH_WORDS", 2)
    monkeypatch.setattr(list_as_of, "FEW", 1)
