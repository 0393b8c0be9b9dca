"""Strict CSV: what it refuses and where, and that it otherwise reads what every other reader does."""

import csv
import io
from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from application.importing.csv_files import FIELD_MAX_CHARACTERS, FIELD_MAX_LINES, FileRefused, read_rows


def _rows(text: str, delimiter: str = ",") -> list[tuple[int, list[str]]]:
    return [(line, list(cells)) for line, cells in read_rows(text, delimiter)]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("", []),
        ("a,b\n1,2", [(1, ["a", "b"]), (2, ["1", "2"])]),
        ("a,b\r\n1,\r\n", [(1, ["a", "b"]), (2, ["1", ""])]),
        ("a,b\r1,2\r", [(1, ["a", "b"]), (2, ["1", "2"])]),
        ("\n\na,b\n\n1,2\n\n", [(3, ["a", "b"]), (5, ["1", "2"])]),
        ('a,b\n"1,""x""\n\r",2\n3,4', [(1, ["a", "b"]), (2, ['1,"x"\n\r', "2"]), (4, ["3", "4"])]),
        ('a\n""\n', [(1, ["a"]), (2, [""])]),
        ("a,b\n" + "x" * FIELD_MAX_CHARACTERS + ",", [(1, ["a", "b"]), (2, ["x" * FIELD_MAX_CHARACTERS, ""])]),
    ],
)
def test_what_is_strict_is_read(text: str, rows: list[tuple[int, list[str]]]) -> None:
    assert _rows(text) == rows


@pytest.mark.parametrize(
    ("text", "line", "column", "why"),
    [
        ('a,b\n1,"2\n3,4\n', 2, 3, "never closed"),
        ('a,b\n1,2"\n', 2, 4, "a quote inside a field"),
        ('a,b\n1,2"x"\n', 2, 4, "a quote inside a field"),
        ('a,b\n"1"2,3\n', 2, 4, "text behind a closing quote"),
        ('a,b\n"1" ,3\n', 2, 4, "text behind a closing quote"),
        ('a,b\n1,"2\n3,"4\n', 3, 4, "text behind a closing quote"),
        ("a,b\n1\n", 2, 2, "1 cells where the header has 2"),
        ("a,b\n1,2,3\n", 2, 5, "3 cells where the header has 2"),
        ('a,b\n"1"\n', 2, 4, "1 cells where the header has 2"),
        ('a,b\n1,"2",3\n', 2, 7, "3 cells where the header has 2"),
        ("a,b\n1\r2,3\n", 2, 2, "a carriage return that ends no line"),
        ('a,b\n"1",2\r3\n', 2, 6, "a carriage return that ends no line"),
        ("a,b\n1,2\0\n", 2, 4, "U+0000"),
        ("a\n" + "x" * (FIELD_MAX_CHARACTERS + 1), 2, 1, "a field of more than 131,072 characters"),
        ('a\n"' + "x" * (FIELD_MAX_CHARACTERS + 1) + '"', 2, 1, "a quoted field of more than 131,072 characters"),
        ('a,b\n"",' + "x" * (FIELD_MAX_CHARACTERS + 1), 2, 4, "a field of more than 131,072 characters"),
        ('a,b\n1,"' + "\n" * FIELD_MAX_LINES + '"', 2, 3, "a quoted field of more than 2,000 lines"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_not_is_refused_with_line_and_column(text: str, line: int, column: int, why: str) -> None:
    with pytest.raises(FileRefused) as refusal:
        _rows(text)
    assert (refusal.value.line, refusal.value.column) == (line, column)
    assert why in str(refusal.value)


def _reference(  # noqa: C901, PLR0912 - one machine, character after character, shares nothing with the reader
    text: str, delimiter: str
) -> list[list[str]] | None:
    """RFC 4180 once more, one character after another; None where the text is not that."""
    newline = "\n" if "\n" in text else "\r"
    rows, row, cell, state = [], list[str](), "", "start"
    characters = text.replace("\r\n", "\n") if newline == "\n" else text
    for character in characters:
        if state in ("in", "closing"):
            if character == '"':
                cell, state = (cell + '"', "in") if state == "closing" else (cell, "closing")
                continue
            if state == "in":
                cell += character
                continue
        if character in (delimiter, newline):
            if character == newline and state == "start" and not row:
                continue
            row.append(cell)
            cell, state = "", "start"
            if character == newline:
                rows.append(row)
                row = []
        elif character == '"' and state == "start":
            state = "in"
        elif state == "closing" or character in '"\r':
            return None
        else:
            cell, state = cell + character, "plain"
    if state == "in":
        return None
    if row or state != "start":
        rows.append([*row, cell])
    if "\0" in text or any(len(each) != len(rows[0]) for each in rows):
        return None
    return rows


def _normal(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    # Inside quotes CR LF is kept by one reader and not by the other.
    return [[cell.replace("\r\n", "\n") for cell in row] for row in rows]


_LETTERS = 'a,"\n' * 3 + "b;\r\t é\0"
# Drawing is what takes the time: one draw makes ten texts.
TEN_TEXTS = st.binary(min_size=60, max_size=200).map(
    lambda drawn: [
        "".join(_LETTERS[byte % len(_LETTERS)] for byte in part)
        for part in (drawn[n * len(drawn) // 10 : (n + 1) * len(drawn) // 10] for n in range(10))
    ]
)
TEXTS = st.binary(max_size=24).map(lambda drawn: "".join(_LETTERS[byte % len(_LETTERS)] for byte in drawn))
TABLES = st.integers(1, 4).flatmap(
    lambda width: st.lists(
        st.lists(TEXTS.map(lambda text: text.replace("\0", "")), min_size=width, max_size=width), min_size=1, max_size=5
    )
)


@settings(max_examples=1_000, deadline=None)
@given(TEN_TEXTS, st.sampled_from(",;"))
@example(['a,b\n"1\n2",3\r\n', '"', "\r", '""'], ",")
def test_any_text_ends_in_a_refusal_or_in_the_rows_that_other_readers_see(texts: list[str], delimiter: str) -> None:
    for text in texts:
        _agrees_with_other_readers(text, delimiter)


def _agrees_with_other_readers(text: str, delimiter: str) -> None:
    expected = _reference(text, delimiter)
    try:
        rows: list[list[str]] | None = [cells for _, cells in _rows(text, delimiter)]
    except FileRefused:
        rows = None
    assert (None if rows is None else _normal(rows)) == expected
    if rows is None:
        return
    if all(any(row) for row in rows):
        # Python's own reader takes an empty quoted cell alone on its line for nothing.
        assert rows == [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True) if row]


@settings(max_examples=100, deadline=None)
@given(TABLES)
def test_what_another_program_writes_is_read_back(table: list[list[str]]) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows(table)
    assert [cells for _, cells in _rows(text.getvalue())] == table
