"""Who acts: the one shape in which every layer above the domain knows the signed-in user."""

from typing import Literal
from uuid import UUID

import msgspec

Role = Literal["owner", "member", "imported"]


class Principal(msgspec.Struct, frozen=True, gc=False):
    """The holder of a verified access token. `log` is the workspace's log, `expires_at` in epoch seconds."""

    principal_id: UUID
    session_id: UUID
    workspace_id: UUID
    log: str
    role: Role
    expires_at: int
