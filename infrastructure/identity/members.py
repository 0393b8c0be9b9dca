"""Who is in a workspace, as the lists of members and the rules of commands ask for it."""

from typing import Any, Final
from uuid import UUID

import msgspec
import psycopg

Connection = psycopg.AsyncConnection[Any]


class Member(msgspec.Struct, frozen=True):
    """Somebody in the workspace. Imported members stand for people named in imported histories; they cannot log in."""

    principal_id: UUID
    display_name: str
    role: str


# A name that is changed while somebody turns pages moves its member, as in any list that is ordered by it.
_PAGE: Final = """
SELECT principal_id, display_name, role FROM members
WHERE workspace_id = %(workspace)s
  AND (%(after)s::uuid IS NULL OR (display_name, principal_id) >
       (SELECT display_name, principal_id FROM members WHERE workspace_id = %(workspace)s AND principal_id = %(after)s))
ORDER BY display_name, principal_id LIMIT %(limit)s
"""

_IS_MEMBER: Final = "SELECT 1 FROM members WHERE workspace_id = %(workspace)s AND principal_id = %(after)s"

_ALL: Final = "SELECT principal_id FROM members WHERE workspace_id = %s"


async def page_of_members(
    connection: Connection, workspace_id: UUID, after: UUID | None, limit: int
) -> tuple[list[Member], bool] | None:
    """Up to `limit` members by name, behind the one named `after`, and whether there are more.

    None where nobody of that id is here: behind him nothing would ever come, which must not pass for the end of the list.
    """
    named = {"workspace": workspace_id, "after": after, "limit": limit + 1}
    members = [Member(*row) for row in await (await connection.execute(_PAGE, named)).fetchall()]
    if after and not members and not await (await connection.execute(_IS_MEMBER, named)).fetchone():
        return None
    return members[:limit], len(members) > limit


async def members_of(connection: Connection, workspace_id: UUID) -> frozenset[UUID]:
    """Everybody in the workspace, imported people included."""
    return frozenset(row[0] for row in await (await connection.execute(_ALL, (workspace_id,))).fetchall())
