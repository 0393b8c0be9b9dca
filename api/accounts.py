"""Routes for accounts: registering, signing in and out, and /me."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from litestar import Response, Router, get, post

from api.edge.admission import allow_password
from api.edge.body import decode_body
from api.edge.refresh_cookie import REFRESH_COOKIE, refresh_cookie
from api.edge.requests import AnyRequest, principal, resources
from api.openapi.documentation import CookieParameter, documented
from application.identity.records import Client, Profile, TokenPair
from application.identity.rules import DISPLAY_NAME_MAX, EMAIL_MAX, PASSWORD_MAX, PASSWORD_MIN, email_key
from application.principal import Role
from domain.errors import NotAuthenticated

BODY_LIMIT = 16_384

_NO_STORE = {"Cache-Control": "no-store"}
_COOKIE_HEADER = {"Set-Cookie": f"`{REFRESH_COOKIE}`, if the refresh token goes into the cookie."}

Email = Annotated[str, msgspec.Meta(description=f"At most {EMAIL_MAX} characters.", examples=["ada@example.org"])]
Password = Annotated[
    str,
    msgspec.Meta(
        description=f"{PASSWORD_MIN} to {PASSWORD_MAX} characters, any Unicode but U+0000.",
        examples=["correct horse battery staple"],
    ),
]
UseCookie = Annotated[
    bool,
    msgspec.Meta(description=f"For browsers: the refresh token goes into the httpOnly cookie `{REFRESH_COOKIE}` only."),
]


class Registration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a new user says about himself."""

    email: Email
    password: Password
    display_name: Annotated[str, msgspec.Meta(description=f"1 to {DISPLAY_NAME_MAX} characters.", examples=["Ada"])]
    use_cookie: UseCookie = False


class Login(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Credentials."""

    email: Email
    password: Password
    use_cookie: UseCookie = False


class PasswordChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The present password, and the one that shall take its place."""

    old_password: Password
    new_password: Password


class PasswordChanged(msgspec.Struct, frozen=True):
    """How many other sessions were ended."""

    sessions_ended: int


class Refresh(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The refresh token; left out, it is taken from the cookie and its successor goes there."""

    refresh_token: str | None = None


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    """Send the access token as `Authorization: Bearer …`. The refresh token works once."""

    access_token: str
    expires_in: Annotated[int, msgspec.Meta(description="Seconds until the access token expires.")]
    access_expires_at: datetime
    refresh_expires_at: datetime
    session_id: UUID
    principal_id: UUID
    workspace_id: UUID
    role: Role
    refresh_token: Annotated[str, msgspec.Meta(description="Absent if it is in the cookie.")] | msgspec.UnsetType = (
        msgspec.UNSET
    )
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 (a scheme)


@post(
    "/auth/register",
    **documented(
        operation_id="register",
        summary="Register",
        description="Creates a user with a personal workspace and signs in.",
        body=Registration,
        example={
            "email": "ada@example.org",
            "password": "correct horse battery staple",
            "display_name": "Ada",
        },
        responses={201: Tokens},
        errors={
            409: ["email_taken"],
            422: ["email_invalid", "password_too_short", "password_too_long", "display_name_invalid"],
        },
        response_headers={201: _COOKIE_HEADER},
        public=True,
    ),
)
async def register(request: AnyRequest) -> Response[Tokens]:
    """Register and sign in."""
    body = await decode_body(request, Registration, BODY_LIMIT)
    pair = await resources(request).accounts.register(body.email, body.password, body.display_name, _client(request))
    return _signed_in(request, pair, in_cookie=body.use_cookie, status=201)


@post(
    "/auth/login",
    limited_as="sign_in_address",
    status_code=200,
    **documented(
        operation_id="login",
        summary="Sign in",
        description="Opens a session. The answer does not tell whether address or password was wrong.",
        body=Login,
        example={"email": "ada@example.org", "password": "correct horse battery staple"},
        responses={200: Tokens},
        errors={401: ["invalid_credentials"], 422: ["email_invalid", "password_too_long"]},
        response_headers={200: _COOKIE_HEADER},
        public=True,
    ),
)
async def log_in(request: AnyRequest) -> Response[Tokens]:
    """Open a session."""
    body = await decode_body(request, Login, BODY_LIMIT)
    await allow_password(request, email_key(body.email))
    pair = await resources(request).accounts.log_in(body.email, body.password, _client(request))
    return _signed_in(request, pair, in_cookie=body.use_cookie, status=200)


@post(
    "/auth/refresh",
    limited_as="refresh",
    status_code=200,
    **documented(
        operation_id="refreshTokens",
        summary="Refresh the tokens",
        description=(
            "Exchanges the refresh token, from the body or else from the cookie, for the next pair. It works "
            "once: presenting it again revokes its whole session, so never send one twice at a time. "
            "With the cookie, send `{}`: the JSON body keeps other sites' forms out."
        ),
        body=Refresh,
        example={"refresh_token": "Yx3b0sVQm0m2o1b9b0uK0m5y9mJ6h4wq2Zt8r7c1e0A"},
        responses={200: Tokens},
        errors={401: ["invalid_refresh_token", "refresh_token_reused"]},
        parameters=[CookieParameter(REFRESH_COOKIE, str, "The refresh token, if the body has none.")],
        response_headers={200: _COOKIE_HEADER},
        public=True,
    ),
)
async def refresh(request: AnyRequest) -> Response[Tokens]:
    """Exchange a refresh token."""
    body = await decode_body(request, Refresh, BODY_LIMIT)
    token = body.refresh_token
    in_cookie = token is None
    if token is None:
        token = request.cookies.get(REFRESH_COOKIE)
    if not token:
        raise NotAuthenticated("invalid_refresh_token", "There is no refresh token in the body or the cookie.")
    pair = await resources(request).accounts.refresh(token)
    return _signed_in(request, pair, in_cookie=in_cookie, status=200)


@post(
    "/auth/change-password",
    status_code=200,
    **documented(
        operation_id="changePassword",
        summary="Change the password",
        description="Sets another password and ends all other sessions, everywhere within a second. This one goes on.",
        body=PasswordChange,
        example={"old_password": "correct horse battery staple", "new_password": "battery staple correct horse"},
        responses={200: PasswordChanged},
        errors={403: ["wrong_password"], 422: ["password_too_short", "password_too_long"]},
    ),
)
async def change_password(request: AnyRequest) -> PasswordChanged:
    """Change the password."""
    body = await decode_body(request, PasswordChange, BODY_LIMIT)
    await allow_password(request, str(principal(request).principal_id))
    return PasswordChanged(
        await resources(request).accounts.change_password(principal(request), body.old_password, body.new_password)
    )


@post(
    "/auth/logout",
    status_code=204,
    **documented(
        operation_id="logout",
        summary="Sign out",
        description="Revokes the current session; its access tokens are refused everywhere within a second.",
    ),
)
async def log_out(request: AnyRequest) -> Response[None]:
    """Revoke the current session."""
    await resources(request).accounts.log_out(principal(request))
    return Response(None, status_code=204, cookies=[refresh_cookie(request, "", 0)])


@get(
    "/me",
    **documented(
        operation_id="getMe",
        summary="Show the signed-in user",
        responses={200: Profile},
        errors={404: ["account_not_found"]},
    ),
)
async def me(request: AnyRequest) -> Profile:
    """Show the signed-in user."""
    return await resources(request).accounts.profile(principal(request))


account_routes = Router(
    "/",
    route_handlers=[register, log_in, refresh, change_password, log_out, me],
    tags=["Accounts"],
)


def _client(request: AnyRequest) -> Client:
    return Client(user_agent=request.headers.get("user-agent", ""), ip=request.client.host if request.client else "")


def _signed_in(request: AnyRequest, pair: TokenPair, *, in_cookie: bool, status: int) -> Response[Tokens]:
    tokens = Tokens(
        access_token=pair.access_token,
        expires_in=int((pair.access_expires_at - pair.issued_at).total_seconds()),
        access_expires_at=pair.access_expires_at,
        refresh_expires_at=pair.refresh_expires_at,
        session_id=pair.session_id,
        principal_id=pair.principal.principal_id,
        workspace_id=pair.principal.workspace_id,
        role=pair.principal.role,
        refresh_token=msgspec.UNSET if in_cookie else pair.refresh_token,
    )
    lasts = int((pair.refresh_expires_at - pair.issued_at).total_seconds())
    cookies = [refresh_cookie(request, pair.refresh_token, lasts)] if in_cookie else []
    return Response(tokens, status_code=status, headers=_NO_STORE, cookies=cookies)
