"""Another scheme of tags, for tests: what `tags_of` returned before is returned no more, and the scheme has the next number."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import domain.tags
import infrastructure.log.tags
from domain.task.events import TaskCreated, TaskEvent, TaskLabelAdded

NEXT = domain.tags.TAG_SCHEME + 1


def tags_of_labels_and_streams(event: TaskEvent, stream_id: UUID, workspace_id: UUID) -> tuple[str, ...]:
    """The labels of an event, and its stream."""
    labels = event.labels if isinstance(event, TaskCreated) else (event.label,) if isinstance(event, TaskLabelAdded) else ()
    return (*(f"label:{label}" for label in labels), f"stream:{stream_id}")


def take_next_scheme(put: Callable[[Any, str, Any], None] = setattr) -> None:
    """This process is of the next release: for good, or by a monkeypatch's `setattr`."""
    put(domain.tags, "TAG_SCHEME", NEXT)
    put(infrastructure.log.tags, "tags_of", tags_of_labels_and_streams)
