"""Appends of events that are in their stored form already: those of the library's applications and of the log itself."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from application.log import Condition
from domain import tags
from domain.tags import tag_id
from infrastructure.log.append_function import salted
from infrastructure.log.tags import tags_of_stored


class StoredForm(msgspec.Struct, frozen=True):
    """One event, with the version that it shall have in its stream."""

    stream_id: UUID
    version: int
    topic: str
    schema_version: int
    state: bytes


class StoredAppend(msgspec.Struct, frozen=True, kw_only=True):
    """All these events or none, as `application.log.Append`, without a key."""

    workspace_id: UUID
    principal_id: UUID
    command_id: UUID
    correlation_id: UUID
    causation_id: UUID | None = None
    authority: int = 0
    events: Sequence[StoredForm]
    conditions: Sequence[Condition] = ()


def stored_parameters(append: StoredAppend) -> tuple[object, ...]:
    """The parameters of `append_events`. Events of ours get their tags, whoever writes them."""
    events, count = append.events, len(append.events)
    tagged = [
        tags_of_stored(event.topic, event.schema_version, event.state, event.stream_id, append.workspace_id) for event in events
    ]
    return (
        [count],
        [append.workspace_id],
        [append.principal_id],
        [append.command_id],
        [append.correlation_id],
        [append.causation_id],
        [append.authority],
        [None],
        [None],
        ["{"],
        [1] * count,
        [event.stream_id for event in events],
        [event.version for event in events],
        [None] * count,
        [event.schema_version for event in events],
        [event.topic for event in events],
        salted([event.state for event in events]),
        [],
        [number for number, each in enumerate(tagged, 1) for _ in each],
        [tag for each in tagged for tag in each],
        [1] * len(append.conditions),
        [tag_id(condition.tag) for condition in append.conditions],
        [condition.at for condition in append.conditions],
        tags.TAG_SCHEME,
    )
