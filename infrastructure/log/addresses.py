"""Names that lead to streams: a project's key, and a task's number in a project (`PRJ-123`).

Both are looked up in the log itself, so that whoever wrote sees them at once. What a name leads to never changes: a key belongs
to whoever took it first in its workspace, a number of a project is given once. So what was found is remembered.
"""

from collections import OrderedDict
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
    "SELECT e.originator_id FROM (SELECT position FROM event_tags WHERE tag = %(tag)s ORDER BY position LIMIT 1) t "
    "JOIN events e ON e.notification_id = t.position WHERE e.workspace_id = %(workspace)s"
)
_TASK: LiteralString = (
    f"SELECT e.originator_id FROM event_numbers n JOIN events e ON e.notification_id = n.position "
    f"WHERE n.scope = ({PROJECT_OF_KEY}) AND n.number = %(number)s AND e.workspace_id = %(workspace)s"
)

# Under the tags of another release every key would lead nowhere.
_WITH_SCHEME: LiteralString = (
    "SELECT l.tag_scheme, f.originator_id FROM (SELECT tag_scheme FROM log LIMIT 1) l LEFT JOIN ({}) f ON true"
)
_LOOK_UP: Final = {False: _WITH_SCHEME.format(PROJECT_OF_KEY), True: _WITH_SCHEME.format(_TASK)}

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

    async def look_up(self, connection: psycopg.AsyncConnection[Any], name: Name) -> UUID:
        """What the name leads to in the log; NOBODY where it leads nowhere. Raises OtherTagScheme."""
        workspace_id, key, number = name
        places = {"tag": tag_id(key_tag(workspace_id, key)), "workspace": workspace_id, "number": number}
        cursor = connection.cursor(binary=True)
        await cursor.execute(_LOOK_UP[number > 0], places, prepare=True)
        scheme, found = await cursor.fetchone() or (tags.TAG_SCHEME, None)
        if scheme != tags.TAG_SCHEME:
            raise OtherTagScheme
        if not isinstance(found, UUID):
            return NOBODY
        self._found[name] = found
        if len(self._found) > MOST_REMEMBERED:
            self._found.popitem(last=False)
        return found
