"""The cookie in which a browser keeps its refresh token, out of its scripts' reach."""

from typing import Final

from litestar.datastructures import Cookie

from api.edge.requests import AnyRequest, resources

REFRESH_COOKIE: Final = "tm_refresh"
COOKIE_PATH: Final = "/api/v1/auth"


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
        secure=resources(request).settings.secure_cookies or request.scope["scheme"] == "https",
    )
