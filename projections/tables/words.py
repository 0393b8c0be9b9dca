"""Words as people type them: how text is cut into what it is found by, and how a search is cut into what it asks for.

Letters are compared in one Unicode form, case-folded, without accents. What is separated by spaces is a word; everything else
that is neither letter nor digit only parts a word, so no sign has a meaning. A word is found by each of its parts
(`alpha/beta`, `PRJ-123`, `ada@example.org`, `readme.md`, `getUserName`, `v2`), by what follows from a part on (`username`,
`prj123`), and by the beginning of either while it is typed. Scripts without spaces are found by any two neighbouring signs.
PostgreSQL's own parser takes no part: it has its own ideas of what a host, a path or a number is.
"""

import re
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import pairwise
from typing import Final, NamedTuple
from unicodedata import category, combining, normalize
from uuid import UUID

LEXEME_CHARACTERS: Final = 64
"""Of a lexeme; a longer part is known by so many of its first characters."""
LEXEMES_MAX: Final = 8_000
LEXEME_BYTES_MAX: Final = 400_000
"""Of one task, below the 1 MiB that a tsvector holds. Title and labels come first and are always within."""
TERMS_MAX: Final = 32
"""Of one search; a search of more is to be refused."""
_JOINED_PARTS: Final = 16

_BORDER, _SEPARATOR = "\x01", "\x02"
_LOWER, _UPPER = "a-zß-öø-ÿα-ωа-я", "A-ZÀ-ÖØ-ÞΑ-ΩА-Я"
_INNER: Final = re.compile(
    rf"(?<=[{_LOWER}])(?=[{_UPPER}])|(?<=[{_UPPER}])(?=[{_UPPER}][{_LOWER}])"
    r"|(?<=\d)(?=[^\W\d_])|(?<=[^\W\d_])(?=\d)"
)
# Han, Kana, Bopomofo, Thai, Lao, Myanmar, Khmer: what is written without spaces.
_UNSPACED: Final = "\u3005-\u3007\u3040-\u312f\u31a0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_UNSPACED_RUN: Final = re.compile(f"[{_UNSPACED}\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]+")
_NO_ACCENTS: Final = {
    "ø": "o", "ł": "l", "đ": "d", "ħ": "h", "ŧ": "t", "\u0131": "i", "æ": "ae", "œ": "oe", "ð": "d", "þ": "th", "ŋ": "n",
}  # fmt: skip


class Term(NamedTuple):
    """What a search asks for: a lexeme, or the beginning of one."""

    lexeme: str
    is_beginning: bool


class _Folding(dict[int, str]):
    """What becomes of each character of case-folded, decomposed text; worked out when it is first met."""

    def __missing__(self, code: int) -> str:
        found = self[code] = _folded_character(chr(code))
        return found


def _folded_character(character: str) -> str:  # noqa: PLR0911 - one table
    kind = category(character)
    if character == _BORDER:
        return character
    if character.isspace() or kind[0] == "Z":
        return " "
    if kind == "Lm" and "\u02b0" <= character <= "\u02ff":
        return _SEPARATOR
    if kind[0] in "LN":
        return _NO_ACCENTS.get(character, character)
    if kind[0] == "M":
        return "" if _is_accent(character) else character
    if kind == "Cf":
        return _SEPARATOR if character == "\u200b" else ""
    if kind == "So":
        return f"{_SEPARATOR}{character}{_SEPARATOR}"
    return _SEPARATOR


def _is_accent(mark: str) -> bool:
    """Accents and vowel points. Other marks are letters of their scripts: signs of Indic vowels, voicing of Kana."""
    place = combining(mark)
    return category(mark) == "Me" or place == 1 or place >= 200 or 10 <= place <= 36 or "\ufe00" <= mark <= "\ufe0f"


_FOLDING: Final = _Folding()


def _folded(text: str) -> str:
    if text.isascii():
        return text.lower().translate(_FOLDING)
    folded = normalize("NFC", normalize("NFKD", text.casefold()).translate(_FOLDING))
    return _UNSPACED_RUN.sub(rf"{_SEPARATOR}\g<0>{_SEPARATOR}", folded)


def _runs(word: str) -> list[str]:
    return [run for run in word.split(_SEPARATOR) if run.strip(_BORDER)] if _SEPARATOR in word else [word]


def lexemes(title: str, labels: Iterable[str], description: str) -> list[str]:
    """What a task is found by, each once, the title's first; bounded in number and size."""
    found: dict[str, None] = {}
    for text in (title, *labels, description):
        found.update(_of_frequent_text(text) if len(text) <= _FREQUENT_TEXT_CHARACTERS else _of_text(text))
    kept = list(found)[:LEXEMES_MAX]
    return kept if len(kept) < LEXEME_BYTES_MAX // (4 * LEXEME_CHARACTERS) else _within_bytes(kept)


def _of_text(text: str) -> dict[str, None]:
    found: dict[str, None] = {}
    for word in dict.fromkeys(text.split()):
        found.update(_of_frequent_word(word) if len(word) <= _FREQUENT_CHARACTERS else _of_raw_word(word))
        if len(found) > LEXEMES_MAX:
            break
    return found


_FREQUENT_TEXT_CHARACTERS: Final = 2_048
# A task is stored again and again, and of its texts at most one is another one then.
_of_frequent_text: Final = lru_cache(maxsize=2_000)(_of_text)


def _of_raw_word(word: str) -> dict[str, None]:
    composed = word if word.isascii() else normalize("NFKC", word)
    parts = _folded(_INNER.sub(_BORDER, composed)).split(" ")
    return dict.fromkeys(lexeme for part in parts if part for lexeme in _of_word(part))


_FREQUENT_CHARACTERS: Final = 32
# People's words come again and again: what they are found by is worked out once.
_of_frequent_word: Final = lru_cache(maxsize=10_000)(_of_raw_word)


def _within_bytes(found: list[str]) -> list[str]:
    size = 0
    for number, lexeme in enumerate(found):
        size += len(lexeme.encode())
        if size > LEXEME_BYTES_MAX:
            return found[:number]
    return found


def _of_word(word: str) -> Iterator[str]:
    if word.isalnum():
        yield word[:LEXEME_CHARACTERS]
        if word.isascii() or not _UNSPACED_RUN.match(word):
            return
    parts: list[str] = []
    ends: list[int] = []
    for run in _runs(word):
        if _UNSPACED_RUN.match(run):
            yield from _neighbours(run)
            yield run[-1]
            continue
        parts += [part for part in run.split(_BORDER) if part]
        ends += [len(parts)] * (len(parts) - len(ends))
    yield from (part[:LEXEME_CHARACTERS] for part in parts)
    for start, end in enumerate(ends):
        yield "".join(parts[start : min(end, start + LEXEME_CHARACTERS)])[:LEXEME_CHARACTERS]
    for start in range(min(len(parts), _JOINED_PARTS)):
        yield "".join(parts[start : start + LEXEME_CHARACTERS])[:LEXEME_CHARACTERS]


def _neighbours(run: str) -> Iterator[str]:
    return (first + second for first, second in pairwise(run))


def terms(text: str) -> list[Term]:
    """What a search asks for, all of it: every part of its words, the last as a beginning. Empty where it holds no word at all.

    A run of letters and digits stays whole, however it is written: it is found in what follows from a part on.
    """
    runs = [run for word in _folded(normalize("NFKC", text)).split(" ") if word for run in _runs(word) if run]
    found: dict[Term, None] = {}
    for number, run in enumerate(runs):
        if _UNSPACED_RUN.match(run):
            asked = [Term(pair, False) for pair in _neighbours(run)] or [Term(run, True)]
            found.update(dict.fromkeys(asked))
        else:
            found[Term(run[:LEXEME_CHARACTERS], number == len(runs) - 1)] = None
    return list(found)


def forget_words() -> None:
    """Keep nothing of what texts were found by."""
    _of_frequent_text.cache_clear()
    _of_frequent_word.cache_clear()


@lru_cache(maxsize=10_000)
def scope_of(workspace_id: UUID) -> str:
    """What a workspace's lexemes begin with in the index, so that a search does not work through the words of all others."""
    return urlsafe_b64encode(workspace_id.bytes[-3:]).decode()


def tsquery(asked: Iterable[Term], scope: str = "") -> str:
    """The terms as PostgreSQL reads a tsquery. They hold letters, digits, marks and symbols only, nothing that ends a quote."""
    return " & ".join(f"'{scope}{term.lexeme}':*" if term.is_beginning else f"'{scope}{term.lexeme}'" for term in asked)
