"""Names that lead to streams: a project's key, and a task's number in a project (`PRJ-123`).

Both are looked up in the log itself, so that whoever wrote sees them at once. What a name leads to never changes: a key belongs
to whoever took it first in its workspace, a number of a project is given once. So what was found is remembered.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final, LiteralString
from uuid import UUID

import psycopg

from domain import tags
from domain.project.boundaries import key_tag
from domain.tags import tag_id
from infrastructure.log.tags import OtherTagScheme

NOBODY: Final = UUID(int=0)
"""The stream that no name leads to: going on with it costs what an id costs that is nobody's."""

MOST_REMEMBERED: Final = 20_000

PROJECT_OF_KEY: LiteralString = (
    "SELECT e.originator_id FROM (SELECT position FROM event_tags WHERE tag = {tag} ORDER BY position LIMIT 1) t "
    "JOIN events e ON e.notification_id = t.position WHERE e.workspace_id = %(workspace)s"
)
# Under the tags of another release every key would lead nowhere: so the scheme comes along.
_LOOK_UP: LiteralString = (
    "SELECT l.tag_scheme, CASE WHEN w.number = 0 THEN p.originator_id ELSE t.originator_id END "
    "FROM (SELECT tag_scheme FROM log LIMIT 1) l "
    "CROSS JOIN unnest(%(tags)s::uuid[], %(numbers)s::bigint[]) WITH ORDINALITY AS w(tag, number, place) "
    f"LEFT JOIN LATERAL ({PROJECT_OF_KEY.format(tag='w.tag')}) p ON true "
    "LEFT JOIN LATERAL (SELECT e.originator_id FROM event_numbers n JOIN events e ON e.notification_id = n.position "
    "WHERE n.scope = p.originator_id AND n.number = w.number AND e.workspace_id = %(workspace)s) t ON w.number > 0 "
    "ORDER BY w.place"
)

Name = tuple[UUID, str, int]
"""A workspace, a key, and a number in its project; 0 for the project itself."""


class Addresses:
    """What was found, the least recently used forgotten first."""

    def __init__(self) -> None:
        self._found: OrderedDict[Name, UUID] = OrderedDict()

    def clear(self) -> None:
        """Forget everything: the log may be another one."""
        self._found.clear()

    def recall(self, name: Name) -> UUID | None:
        """What the name leads to, if it was looked up before."""
        found = self._found.get(name)
        if found is not None:
            self._found.move_to_end(name)
        return found

    async def look_up(
        self, connection: psycopg.AsyncConnection[Any], workspace_id: UUID, names: Sequence[Name]
    ) -> dict[Name, UUID]:
        """What each of one workspace's names leads to in the log; NOBODY where it leads nowhere. Raises OtherTagScheme."""
        places = {
            "tags": [tag_id(key_tag(workspace_id, key)) for _, key, _ in names],
            "numbers": [number for *_, number in names],
            "workspace": workspace_id,
        }
        cursor = connection.cursor(binary=True)
        await cursor.execute(_LOOK_UP, places, prepare=True)
        rows = await cursor.fetchall()
        if any(scheme != tags.TAG_SCHEME for scheme, _ in rows):
            raise OtherTagScheme
        found = {name: stream_id for name, (_, stream_id) in zip(names, rows, strict=True) if stream_id is not None}
        self._found |= found
        while len(self._found) > MOST_REMEMBERED:
            self._found.popitem(last=False)
        return dict.fromkeys(names, NOBODY) | found
