"""Strict CSV: RFC 4180 and nothing beside it. What is not that ends the reading; no row is ever guessed.

Lines end in LF or CR LF, in a file without any LF in CR. A field that holds a quote, a delimiter or a line end is quoted as a
whole, and a quote inside it is doubled. Every row has as many cells as the header; empty lines are left out.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

FIELD_MAX_CHARACTERS: Final = 131_072
FIELD_MAX_LINES: Final = 2_000
"""A quoted field beyond these is taken for a quote that was never closed where it should have been."""

Cells = tuple[int, Sequence[str]]
"""A line number (from 1, the header's) and the cells of the row that starts there."""


class FileRefused(Exception):
    """The file cannot be read: where (line and column, in characters from 1) and why."""

    def __init__(self, line: int, column: int, reason: str) -> None:
        super().__init__(f"line {line}, column {column}: {reason}")
        self.line = line
        self.column = column
        self.reason = reason


def read_rows(text: str, delimiter: str = ",") -> Iterator[Cells]:
    """The header and then every row; raises FileRefused where the text is not strict CSV."""
    return _Reader(text, delimiter).rows()


class _Reader:
    def __init__(self, text: str, delimiter: str) -> None:
        self._text = text
        self._delimiter = delimiter
        self._newline = "\n" if "\n" in text else "\r"
        # Where an unquoted cell ends.
        self._plain = re.compile(f'[^{re.escape(delimiter)}"\r\n]*')
        self._width = 0

    def rows(self) -> Iterator[Cells]:
        nul = self._text.find("\0")
        if nul >= 0:
            raise self._refused(nul, "the character U+0000; a file of text has none")
        at, line, size = 0, 1, len(self._text)
        while at < size:
            end = self._text.find(self._newline, at)
            after = end + 1
            if end < 0:
                end, after = size, size
            elif end > at and self._text[end - 1] == "\r":
                end -= 1
            if self._text.find('"', at, end) < 0:
                cells = self._plain_row(at, end)
                following = line + 1
            else:
                cells, after = self._quoted_row(at)
                following = line + self._text.count(self._newline, at, after)
            if cells:
                yield line, cells
            at, line = after, following

    def _plain_row(self, at: int, end: int) -> Sequence[str]:
        if at == end:
            return ()
        row = self._text[at:end]
        if "\r" in row and self._newline == "\n":
            raise self._refused(at + row.index("\r"), "a carriage return that ends no line")
        cells = row.split(self._delimiter)
        if len(row) > FIELD_MAX_CHARACTERS and max(map(len, cells)) > FIELD_MAX_CHARACTERS:
            raise self._refused(at, f"a field of more than {FIELD_MAX_CHARACTERS:,} characters")
        surplus = len(self._delimiter.join(cells[: self._width])) + 1 if len(cells) > self._width else len(row)
        return self._of_width(cells, at + surplus)

    def _quoted_row(self, at: int) -> tuple[Sequence[str], int]:
        """The cells of the row that starts at `at`, and where the next one starts."""
        text, surplus = self._text, 0
        cells: list[str] = []
        while True:
            if len(cells) == self._width:
                surplus = at
            cell, at = self._quoted(at) if text.startswith('"', at) else self._unquoted(at)
            cells.append(cell)
            if text.startswith(self._delimiter, at):
                at += 1
            elif (after := self._line_end(at)) is not None:
                return self._of_width(cells, surplus if len(cells) > self._width else at), after
            elif text[at] == '"':
                raise self._refused(at, "a quote inside a field that does not begin with one")
            elif text[at] == "\r":
                raise self._refused(at, "a carriage return that ends no line")
            else:
                raise self._refused(at, "text behind a closing quote; a quote inside a quoted field is doubled")

    def _quoted(self, opened: int) -> tuple[str, int]:
        text, at = self._text, opened + 1
        while True:
            closed = text.find('"', at)
            if closed < 0:
                raise self._refused(opened, "a quote that is opened here and never closed")
            if closed - opened > FIELD_MAX_CHARACTERS:
                raise self._refused(
                    opened, f"a quoted field of more than {FIELD_MAX_CHARACTERS:,} characters, or a quote that is not closed"
                )
            if not text.startswith('"', closed + 1):
                break
            at = closed + 2
        if text.count(self._newline, opened, closed) >= FIELD_MAX_LINES:
            raise self._refused(opened, f"a quoted field of more than {FIELD_MAX_LINES:,} lines, or a quote that is not closed")
        return text[opened + 1 : closed].replace('""', '"'), closed + 1

    def _unquoted(self, at: int) -> tuple[str, int]:
        found = self._plain.match(self._text, at)
        end = found.end() if found else at
        if end - at > FIELD_MAX_CHARACTERS:
            raise self._refused(at, f"a field of more than {FIELD_MAX_CHARACTERS:,} characters")
        return self._text[at:end], end

    def _line_end(self, at: int) -> int | None:
        """Where the next line starts if this one ends at `at`."""
        if at == len(self._text):
            return at
        if self._text.startswith(self._newline, at):
            return at + 1
        return at + 2 if self._newline == "\n" and self._text.startswith("\r\n", at) else None

    def _of_width(self, cells: Sequence[str], offset: int) -> Sequence[str]:
        self._width = self._width or len(cells)
        if len(cells) != self._width:
            raise self._refused(offset, f"{len(cells)} cells where the header has {self._width}")
        return cells

    def _refused(self, offset: int, reason: str) -> FileRefused:
        line = self._text.count(self._newline, 0, offset) + 1
        begin = self._text.rfind(self._newline, 0, offset) + 1
        return FileRefused(line, offset - begin + 1, reason)
