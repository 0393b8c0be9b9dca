"""Routes for the user's sessions, and what the account routes share with them."""

from datetime import datetime
from uuid import UUID

import msgspec
from litestar import delete, get
from litestar.datastructures import Cookie

from api.edge.requests import AnyRequest, principal, query_of, uuid_of
from api.openapi.documentation import PathParameter, QueryParameter, documented
from application.identity.accounts import Accounts
from application.identity.records import Session
from application.principal import Principal
from domain.errors import InvalidValue, NotFound

REFRESH_COOKIE = "tm_refresh"
COOKIE_PATH = "/api/v1/auth"


class ListedSession(msgspec.Struct, frozen=True):
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


def accounts(request: AnyRequest) -> Accounts:
    """The account use cases of this process."""
    opened: Accounts = request.app.state.resources.accounts
    return opened


def refresh_cookie(request: AnyRequest, token: str, lasts: int) -> Cookie:
    """The cookie that carries a refresh token for `lasts` seconds; 0 removes it."""
    return Cookie(
        key=REFRESH_COOKIE,
        value=token,
        path=COOKIE_PATH,
        max_age=lasts,
        httponly=True,
        samesite="strict",
        # The scheme is what the client used, where a trusted proxy says so.
        secure=request.app.state.resources.settings.secure_cookies or request.scope["scheme"] == "https",
    )


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
    found = await accounts(request).sessions(asking)
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
    await accounts(request).revoke_session(principal(request), session_id)


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
    await accounts(request).revoke_all_sessions(principal(request), keep_current=current == ["false"])


def _listed(session: Session, asking: Principal) -> ListedSession:
    current = session.session_id == asking.session_id
    return ListedSession(current=current, **msgspec.structs.asdict(session))
