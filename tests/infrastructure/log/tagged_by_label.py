"""A derivation of tags for tests: a task's labels at its creation, and a label that is added, are the tags of those events."""

from uuid import UUID

import pytest

from domain.task.events import TaskCreated, TaskEvent, TaskLabelAdded
from infrastructure.log import tags


def tags_of_labels(event: TaskEvent, stream_id: UUID, workspace_id: UUID) -> tuple[str, ...]:
    """As `domain.tags.tags_of`, made of labels."""
    if isinstance(event, TaskCreated):
        return event.labels
    return (event.label,) if isinstance(event, TaskLabelAdded) else ()


@pytest.fixture
def _tagged_by_label(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything in this process derives tags so."""
    monkeypatch.setattr(tags, "tags_of", tags_of_labels)
