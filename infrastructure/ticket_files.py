"""Ticket histories and mappings as files: CSV, plain or gzip, and TOML."""

import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import msgspec

from application.ticket_mapping import TicketMapping, read_mapping
from application.ticket_rows import Cells
from infrastructure.settings import ConfigurationError

SHIPPED_MAPPINGS = Path(__file__).parent / "ticket_mappings"
_GZIP = b"\x1f\x8b"


class TicketFile(msgspec.Struct, frozen=True):
    """A file's text, unpacked, and the SHA-256 of it: packed or not, it is the same history."""

    text: bytes
    digest: bytes


def load_mapping(name_or_path: str) -> TicketMapping:
    """A mapping that ships, by its name, or one in a file; raises ConfigurationError or MappingError."""
    shipped = {path.stem: path for path in SHIPPED_MAPPINGS.glob("*.toml")}
    path = shipped.get(name_or_path, Path(name_or_path))
    try:
        return read_mapping(path.read_bytes())
    except OSError as error:
        names = ", ".join(sorted(shipped))
        raise ConfigurationError(f"no mapping {name_or_path!r}: {error.strerror}; the mappings that ship are {names}") from None


def read_ticket_file(path: Path) -> TicketFile:
    """The file, unpacked if it is packed with gzip whatever its name says; raises ConfigurationError."""
    try:
        content = path.read_bytes()
        text = gzip.decompress(content) if content.startswith(_GZIP) else content
    except (OSError, EOFError, zlib.error) as error:
        raise ConfigurationError(f"cannot read {path}: {error}") from None
    return TicketFile(text, sha256(text).digest())


def read_cells(file: TicketFile, delimiter: str) -> Iterator[Cells]:
    """The header and then every row, each with the number of the line it starts on; blank lines are left out.

    Bytes that are no UTF-8 become lone surrogates and a field beyond the reader's limit an empty row, so that
    only their own row is refused.
    """
    text = io.TextIOWrapper(io.BytesIO(file.text), "utf-8-sig", errors="surrogateescape", newline="")
    reader = csv.reader(text, delimiter=delimiter)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield line, ()
            continue
        if cells:
            yield line, cells
