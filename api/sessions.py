"""Routes for the user's sessions."""

from datetime import datetime
from uuid import UUID

import msgspec
from litestar import Router, delete, get

from api.edge.requests import AnyRequest, principal, query_of, resources, uuid_of
from api.openapi.documentation import PathParameter, QueryParameter, documented
from application.identity.records import Session
from application.principal import Principal
from domain.errors import InvalidValue, NotFound


class ListedSession(msgspec.Struct, frozen=True, kw_only=True):
    """A live session; `current` marks the one that asks."""

    session_id: UUID
    current: bool
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    user_agent: str
    ip: str


class Sessions(msgspec.Struct, frozen=True):
    """The user's live sessions, last used first: at most 200, always on one page."""

    items: list[ListedSession]
    next_cursor: str | None
    has_more: bool


@get(
    "/auth/sessions",
    **documented(
        operation_id="listSessions",
        summary="List the live sessions",
        responses={200: Sessions},
    ),
)
async def list_sessions(request: AnyRequest) -> Sessions:
    """List the user's live sessions."""
    asking = principal(request)
    found = await resources(request).accounts.sessions(asking)
    return Sessions([_listed(session, asking) for session in found], next_cursor=None, has_more=False)


@delete(
    "/auth/sessions/{session_id:str}",
    status_code=204,
    **documented(
        operation_id="revokeSession",
        summary="Revoke a session",
        description="Signs out one of the user's own sessions, the current one included.",
        parameters=[PathParameter("session_id", UUID, "The session, as `GET /auth/sessions` lists it.")],
        errors={404: ["session_not_found"]},
    ),
)
async def revoke_session(request: AnyRequest) -> None:
    """Revoke one session."""
    session_id = uuid_of(request.scope["path_params"]["session_id"])
    if session_id is None:
        raise NotFound("session_not_found", "There is no such live session.")
    await resources(request).accounts.revoke_session(principal(request), session_id)


@delete(
    "/auth/sessions",
    status_code=204,
    **documented(
        operation_id="revokeAllSessions",
        summary="Revoke all sessions",
        description="Signs out everywhere.",
        parameters=[
            QueryParameter("current", bool, "`false` keeps the session that asks.", default=True),
        ],
        errors={422: ["current_invalid"]},
    ),
)
async def revoke_all_sessions(request: AnyRequest) -> None:
    """Revoke all sessions, or all but the current one."""
    current = query_of(request, "current").get("current", ["true"])
    if current not in (["true"], ["false"]):
        raise InvalidValue("current_invalid", "`current` is `true` or `false`, once.", "current")
    await resources(request).accounts.revoke_all_sessions(principal(request), keep_current=current == ["false"])


def _listed(session: Session, asking: Principal) -> ListedSession:
    current = session.session_id == asking.session_id
    return ListedSession(current=current, **msgspec.structs.asdict(session))


session_routes = Router("/", route_handlers=[list_sessions, revoke_session, revoke_all_sessions], tags=["Accounts"])
