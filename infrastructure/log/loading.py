"""A stream folded from the log, whatever its kind: from its newest snapshot, where its kind has any."""

from typing import Any, Final
from uuid import UUID

import psycopg

from application.log import Loaded
from domain.aggregate import Aggregate
from infrastructure.log.codec import owner
from infrastructure.log.rows import OF_STREAM, own_events
from projections import DOCUMENTS

ANY_VERSION: Final = 2**62


async def load_stream(
    connection: psycopg.AsyncConnection[Any], aggregate: Aggregate[Any, Any, Any], stream_id: UUID
) -> Loaded[Any] | None:
    """The stream as it is now, most likely one of `aggregate`; None where it has no event of ours.

    Raises UnknownEventType.
    """
    loaded = await _snapshot(connection, aggregate, stream_id)
    cursor = connection.cursor(binary=True)
    await cursor.execute(OF_STREAM, (stream_id, loaded.version if loaded else 0, ANY_VERSION), prepare=True)
    records = own_events(await cursor.fetchall())
    if not records:
        return loaded
    aggregate = loaded.aggregate if loaded else owner(records[0].event)
    state = loaded.state if loaded else None
    for record in records:
        state = aggregate.evolve(state, record.event)
    last = records[-1]
    return Loaded(aggregate, state, last.version, last.position, last.workspace_id, last.happened_at)


async def _snapshot(
    connection: psycopg.AsyncConnection[Any], aggregate: Aggregate[Any, Any, Any], stream_id: UUID
) -> Loaded[Any] | None:
    documents = DOCUMENTS.get(aggregate.name)
    if documents is None or documents.snapshots is None:
        return None
    found = await documents.snapshots.latest(connection, stream_id, ANY_VERSION)
    if found is None:
        return None
    state = documents.state(found)
    return Loaded(aggregate, state, found.version, found.position, found.workspace_id, found.happened_at)
