"""Ticket histories and mappings as files: text in a known encoding, plain or gzip, and TOML."""

import codecs
import gzip
import io
import re
import zlib
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Final

import msgspec

from application.importing.csv_files import FileRefused
from application.importing.mapping import MappingError, TicketMapping
from application.importing.mapping_file import read_mapping
from application.importing.text import printable
from infrastructure.settings import ConfigurationError

SHIPPED: Final = Path(__file__).parent / "mappings"
SAMPLE: Final = "sample"
"""The history that ships with the program, and its mapping."""

MOST_BYTES: Final = 1 << 30

_GZIP: Final = b"\x1f\x8b"
_OTHER_FORMATS: Final = (
    (_GZIP, "packed with gzip twice"),
    (b"PK\x03\x04", "a workbook or another ZIP archive"),
    (b"\xd0\xcf\x11\xe0", "an old workbook (.xls) or another OLE file"),
    (b"%PDF-", "a PDF"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"\xfd7zXZ", "packed with xz"),
    (b"\x28\xb5\x2f\xfd", "packed with zstd"),
    (b"7z\xbc\xaf", "a 7-Zip archive"),
    (b"{\\rtf", "a document in RTF"),
)
# What a header may begin with as well is told by more than its first letters.
_LIKE_TEXT: Final = (
    (re.compile(rb"BZh[1-9](1AY&SY|\x17\x72\x45\x38)"), "packed with bzip2"),
    (re.compile(rb"PAR1.*PAR1\Z", re.DOTALL), "a Parquet file"),
    (re.compile(rb".{257}ustar", re.DOTALL), "a tar archive"),
)
_PAGES: Final = (
    ("<?xml", "XML"),
    ("<!doctype html", "a page in HTML, perhaps one that asks to sign in"),
    ("<html", "a page in HTML, perhaps one that asks to sign in"),
)
# UTF-32's little-endian mark begins with UTF-16's.
_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class TicketFile(msgspec.Struct, frozen=True):
    """A file's text, unpacked, and the SHA-256 of it in UTF-8: packed or not, it is the same history."""

    text: str
    digest: bytes


def named_history(file: Path, mapping: str | None) -> tuple[Path, str]:
    """The file and the mapping that are meant: `sample` ships, with its mapping; raises ConfigurationError without one."""
    if str(file) == SAMPLE:
        return SHIPPED / f"{SAMPLE}.csv", mapping or SAMPLE
    if mapping is None:
        raise ConfigurationError("--mapping is missing: what the columns and activities of the file mean")
    return file, mapping


def load_mapping(name_or_path: str) -> TicketMapping:
    """A mapping that ships, by its name, or one in a file; raises ConfigurationError."""
    shipped = {path.stem: path for path in SHIPPED.glob("*.toml")}
    path = shipped.get(name_or_path, Path(name_or_path))
    try:
        return read_mapping(path.read_bytes())
    except (OSError, ValueError) as error:
        names, why = ", ".join(sorted(shipped)), getattr(error, "strerror", None) or "no such file"
        raise ConfigurationError(printable(f"no mapping {name_or_path!r}: {why}; the mappings that ship are {names}")) from None
    except MappingError as error:
        raise ConfigurationError(printable(f"mapping {name_or_path!r}: {error}")) from None


def read_ticket_file(path: Path, encoding: str) -> TicketFile:
    """The file's text, unpacked if it is packed with gzip whatever its name says; raises ConfigurationError."""
    content = _content(path)
    if other := _other_format(content):
        raise ConfigurationError(printable(f"{path} is no CSV file: it is {other}; export the tickets as CSV"))
    try:
        text = _decoded(content, encoding)
    except FileRefused as refused:
        raise ConfigurationError(printable(f"{path}: {refused}")) from None
    return TicketFile(text, sha256(text.encode("utf-8", "surrogatepass")).digest())


def _content(path: Path) -> bytes:
    try:
        # Opened once: it may be a pipe.
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if content.startswith(_GZIP):
            content = gzip.GzipFile(fileobj=io.BytesIO(content)).read(MOST_BYTES + 1)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigurationError(printable(f"cannot read {path}: {why}")) from None
    if len(content) > MOST_BYTES:
        raise ConfigurationError(printable(f"{path} has more than {MOST_BYTES:,} bytes; import it in parts"))
    return content


def _other_format(content: bytes) -> str | None:
    """What the file is instead of a CSV file, if that shows."""
    found = (name for mark, name in _OTHER_FORMATS if content.startswith(mark))
    alike = (name for pattern, name in _LIKE_TEXT if pattern.match(content))
    start = content[:256].decode(_marked(content) or "utf-8", "ignore").lstrip("\ufeff \t\r\n").lower()
    pages = (name for mark, name in _PAGES if start.startswith(mark))
    return next(chain(found, alike, pages), None)


def _marked(content: bytes) -> str | None:
    return next((name for mark, name in _MARKS if content.startswith(mark)), None)


def _decoded(content: bytes, encoding: str) -> str:
    marked = _marked(content)
    if marked and codecs.lookup(marked).name != codecs.lookup(encoding).name:
        raise FileRefused(1, 1, f'the byte order mark of {marked}, but the mapping says {encoding}; set encoding = "{marked}"')
    if not marked and codecs.lookup(encoding).name == "utf-8" and b"\0" in content[:4]:
        raise FileRefused(1, 1, 'a NUL byte, as in UTF-16 or UTF-32 text; name it in the mapping, as in encoding = "utf-16"')
    try:
        return content.decode("utf-8-sig" if marked == "utf-8" else encoding)
    except UnicodeDecodeError as error:
        before = content[: error.start].decode(encoding, "replace")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        found = content[error.start : error.start + 1].hex().upper()
        named = "name the file's encoding in the mapping" if codecs.lookup(encoding).name == "utf-8" else "it has another one"
        example = "windows-1250" if codecs.lookup(encoding).name == "cp1252" else "windows-1252"
        raise FileRefused(
            line, column, f'the byte 0x{found} is no text in {encoding}; {named}, as in encoding = "{example}"'
        ) from None
