"""The one rule for text that people write: what may be recorded, whoever sends it and whatever it is called.

The repertoire is RFC 9839's "Unicode Assignables" (no surrogates, no C0 and C1 controls but tab and line ends, no
noncharacters) without the controls that make text look like other text: bidirectional embeddings, overrides and isolates
(U+202A to U+202E, U+2066 to U+206F) and interlinear annotations. Private-use and unassigned characters are accepted: which ones
are assigned depends on the release of Unicode that a process was built with, and a history must not.
"""

import re
import unicodedata
from typing import Annotated, Final

from msgspec import Meta

from domain.errors import InvalidValue

DESCRIPTION_MAX_BYTES: Final = 65_536
REASON_MAX_CHARACTERS: Final = 1_000

# A character takes at least one byte, so the byte bound is also a true bound on characters.
Description = Annotated[str, Meta(max_length=DESCRIPTION_MAX_BYTES)]
Reason = Annotated[str, Meta(max_length=REASON_MAX_CHARACTERS)]

_NONCHARACTERS: Final = "\ufdd0-\ufdef" + "".join(
    f"{chr(plane + 0xFFFE)}{chr(plane + 0xFFFF)}" for plane in range(0, 0x110000, 0x10000)
)
_DISGUISES: Final = "\u202a-\u202e\u2066-\u206f\ufff9-\ufffb"
_IN_A_LINE: Final = re.compile(f"[\x00-\x1f\x7f-\x9f\u2028\u2029{_DISGUISES}{_NONCHARACTERS}]")
_IN_PROSE: Final = re.compile(f"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f{_DISGUISES}{_NONCHARACTERS}]")
# Letters and symbols of nothing: Hangul fillers, the blank Braille pattern, the null note head.
_BLANK: Final = frozenset("\u115f\u1160\u2800\u3164\uffa0\U0001d159")
# Unassigned, but for ever shown as nothing (Default_Ignorable_Code_Point): so this depends on no release of Unicode.
_IGNORABLE: Final = re.compile("[\u2065\ufff0-\ufff8\U000e0000-\U000e0fff]").fullmatch
_NO_INK: Final = frozenset(("Zs", "Zl", "Zp", "Cc", "Cf", "Mn", "Me", "Mc"))


def line(text: str, field: str, longest: int) -> str:
    """One line without surrounding whitespace: 1 to `longest` characters of which one can be seen.

    Raises InvalidValue `text_empty`, `text_too_long`, `control_character` or `text_not_storable`.
    """
    stripped = text.strip()
    if not stripped:
        raise InvalidValue("text_empty", f"The {field} may not be blank.", field)
    if len(stripped) > longest:
        raise InvalidValue("text_too_long", f"The {field} may have {longest} characters.", field)
    if stripped.isascii() and stripped.isprintable():
        return stripped
    _require_storable(stripped, field)
    _refuse(_IN_A_LINE.search(stripped), field)
    if is_invisible(stripped):
        raise InvalidValue("text_empty", f"The {field} has no character that can be seen.", field)
    return stripped


def prose(text: str, field: str) -> int:
    """How many bytes the text takes in UTF-8; line ends and tabs are welcome in it.

    Raises InvalidValue `control_character` or `text_not_storable`.
    """
    if text.isascii() and text.isprintable():
        return len(text)
    size = _require_storable(text, field)
    _refuse(_IN_PROSE.search(text), field)
    return size


def accepted_description(description: str) -> str:
    """The description as it came: its whitespace may be meant."""
    if prose(description, "description") > DESCRIPTION_MAX_BYTES:
        raise InvalidValue("text_too_long", f"The description may take {DESCRIPTION_MAX_BYTES} bytes.", "description")
    return description


def accepted_reason(reason: str | None) -> str | None:
    """The reason without surrounding whitespace, in as many lines as it takes; a blank one is none."""
    if reason is None or not (stripped := reason.strip()):
        return None
    if len(stripped) > REASON_MAX_CHARACTERS:
        raise InvalidValue("text_too_long", f"The reason may have {REASON_MAX_CHARACTERS} characters.", "reason")
    prose(stripped, "reason")
    return None if is_invisible(stripped) else stripped


def is_invisible(text: str) -> bool:
    """Whether nobody would see anything of it: blanks, joiners, fillers, marks without a letter."""
    if text.isascii():
        return not text.strip()
    return all(unicodedata.category(each) in _NO_INK or each in _BLANK or _IGNORABLE(each) for each in text)


def unstorable(text: str) -> str | None:
    """What of the text nothing can store: U+0000 (PostgreSQL) or a lone surrogate (UTF-8); None where all is well."""
    if "\0" in text:
        return "the character U+0000"
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return "a lone surrogate"
    return None


def _require_storable(text: str, field: str) -> int:
    if found := unstorable(text):
        raise InvalidValue("text_not_storable", f"The {field} holds {found}.", field)
    return len(text.encode())


def _refuse(found: re.Match[str] | None, field: str) -> None:
    if found:
        raise InvalidValue("control_character", f"The {field} may not hold the character U+{ord(found[0]):04X}.", field)
