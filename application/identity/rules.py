"""The rules for accounts that need no database: what is admitted, and what a refresh token is worth."""

import re
import unicodedata
from datetime import datetime
from typing import Literal

from domain.errors import InvalidValue
from domain.text import line, unstorable

EMAIL_MAX = 254
PASSWORD_MIN = 10
PASSWORD_MAX = 1024
DISPLAY_NAME_MAX = 200
CLIENT_TEXT_MAX = 400

_ADDRESS = re.compile(r"[^@\s]{1,64}@[^@\s.]+(?:\.[^@\s.]+)*")

RefreshVerdict = Literal["rotate", "reused", "invalid"]


def _storable(text: str, field: str) -> str:
    """Refuse what PostgreSQL cannot store as text: U+0000 and lone surrogates."""
    if unstorable(text):
        raise InvalidValue(f"{field}_characters", "U+0000 and lone surrogates are not allowed.", field)
    return text


def email_key(email: str) -> str:
    """The form in which an address is unique: NFKC, casefolded. Raises `InvalidValue` (`email_invalid`).

    The syntax is judged on this form as well, since normalising can bring forth an `@` or a space.
    """
    invalid = InvalidValue("email_invalid", f"An e-mail address of at most {EMAIL_MAX} characters is needed.", "email")
    if not 3 <= len(email) <= EMAIL_MAX:
        raise invalid
    _storable(email, "email")
    key = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", email).casefold())
    well_formed = len(key) <= EMAIL_MAX and all(form.isprintable() and _ADDRESS.fullmatch(form) for form in (email, key))
    if not well_formed:
        raise invalid
    return key


def presented_password(password: str, field: str = "password") -> str:
    """A password as it is hashed and compared: NFC (RFC 8265), never truncated. Raises `InvalidValue`.

    The upper bound comes before any hashing, so that a huge password costs nothing.
    """
    if len(password) > PASSWORD_MAX:
        raise InvalidValue("password_too_long", f"A password has at most {PASSWORD_MAX} characters.", field)
    return unicodedata.normalize("NFC", _storable(password, field))


def chosen_password(password: str, field: str = "password") -> str:
    """A password as it is set: `presented_password` and the lower bound. Raises `InvalidValue` naming `field`."""
    presented = presented_password(password, field)
    if len(presented) < PASSWORD_MIN:
        raise InvalidValue("password_too_short", f"A password has at least {PASSWORD_MIN} characters.", field)
    return presented


def checked_display_name(display_name: str) -> str:
    """A name for people: one line of 1 to 200 characters, outer spaces dropped. Raises `InvalidValue`."""
    _storable(display_name, "display_name")
    try:
        return line(display_name, "display_name", DISPLAY_NAME_MAX)
    except InvalidValue as error:
        wanted = f"One line of 1 to {DISPLAY_NAME_MAX} characters is needed: {error.message}"
        raise InvalidValue("display_name_invalid", wanted, "display_name") from None


def shortened(text: str) -> str:
    """What a client says about itself, made fit to store and to show: printable, at most 400 characters."""
    return "".join(character for character in text[:CLIENT_TEXT_MAX] if character.isprintable())


def refresh_verdict(
    *, rotated: bool, token_expires_at: datetime, revoked: bool, session_expires_at: datetime, now: datetime
) -> RefreshVerdict:
    """What a known refresh token is worth. A rotated one is a replay, whatever else (RFC 9700, 4.14)."""
    if rotated:
        return "reused"
    if revoked or now >= token_expires_at or now >= session_expires_at:
        return "invalid"
    return "rotate"
