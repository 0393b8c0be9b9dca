"""What a file may be: text in the mapping's encoding, plain or gzip. Anything else is one clear line."""

import bz2
import codecs
import gzip
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from application.importing.csv_files import FileRefused, read_rows
from application.importing.mapping import MappingError
from application.importing.mapping_file import read_mapping
from application.importing.rows import RowReader
from infrastructure.importing.files import load_mapping, read_ticket_file
from infrastructure.settings import ConfigurationError
from tests.importing import MAPPING, as_csv, row

TEXT = "Größe,Küche\n1,2\n"
MAPPED = read_mapping(MAPPING.encode())


def _file(folder: Path, content: bytes) -> Path:
    path = folder / "history.csv"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (TEXT.encode(), "utf-8"),
        (codecs.BOM_UTF8 + TEXT.encode(), "utf-8"),
        (TEXT.encode("iso-8859-1"), "iso8859-1"),
        (TEXT.encode("utf-16"), "utf-16"),
        (codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"), "utf-16"),
        (TEXT.encode("utf-32"), "utf-32"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_the_same_text_in_any_encoding_is_the_same_history(tmp_path: Path, content: bytes, encoding: str, packed: bool) -> None:
    plain = read_ticket_file(_file(tmp_path, TEXT.encode()), "utf-8")
    assert read_ticket_file(_file(tmp_path, gzip.compress(content) if packed else content), encoding) == plain


@pytest.mark.parametrize(
    ("content", "encoding", "said"),
    [
        (b"a,b\nGr\xf6\xdfe,1\n", "utf-8", "line 2, column 3: the byte 0xF6 is no text in utf-8; name the file's encoding"),
        (b"a\n" * 900 + b"xyz\xff", "utf-8", "line 901, column 4: the byte 0xFF is no text in utf-8"),
        (TEXT.encode("utf-16"), "utf-8", 'set encoding = "utf-16"'),
        (codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"), "iso8859-1", 'set encoding = "utf-16"'),
        (codecs.BOM_UTF8 + TEXT.encode(), "iso8859-1", 'set encoding = "utf-8"'),
        (TEXT.encode("utf-16-le"), "utf-8", 'as in encoding = "utf-16"'),
        (b"a\xc3\x28", "ascii", "the byte 0xC3 is no text in ascii"),
        (b"PK\x03\x04" + bytes(range(256)), "utf-8", "is no CSV file: it is a workbook or another ZIP archive"),
        (b"PK\x03\x04" + bytes(range(256)), "iso8859-1", "is no CSV file: it is a workbook or another ZIP archive"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "utf-8", "an old workbook (.xls)"),
        (b"\n <!DOCTYPE HTML><html>", "utf-8", "a page in HTML"),
        (b"%PDF-1.7\n\x1b[2J", "utf-8", "it is a PDF"),
        (codecs.BOM_UTF8 + b"<html><body>", "utf-8", "a page in HTML"),
        ("<?xml version='1.0'?>".encode("utf-16"), "utf-8", "it is XML"),
        (gzip.compress(gzip.compress(TEXT.encode(), mtime=0), mtime=0), "utf-8", "it is packed with gzip twice"),
        (bz2.compress(TEXT.encode()), "utf-8", "it is packed with bzip2"),
        (b"PAR1" + bytes(range(256)) + b"PAR1", "utf-8", "it is a Parquet file"),
        (gzip.compress(b"history.csv".ljust(257, b"\0") + b"ustar\x0000", mtime=0), "utf-8", "it is a tar archive"),
        (b"a,b\n\x81,1\n", "windows-1252", 'it has another one, as in encoding = "windows-1250"'),
    ],
)
def test_what_is_no_such_text_is_told_in_one_line_with_nothing_raw_in_it(
    tmp_path: Path, content: bytes, encoding: str, said: str
) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        read_ticket_file(_file(tmp_path, content), encoding)
    assert said in str(refusal.value)
    assert str(refusal.value).isprintable()


@pytest.mark.parametrize("header", ["BZH,Tâche", "Bzh91 ticket,Step", "PAR1,PAR2", "Pk,Step", "%pdf,%html"])
def test_a_header_that_begins_as_another_format_does_is_read(tmp_path: Path, header: str) -> None:
    assert read_ticket_file(_file(tmp_path, header.encode()), "utf-8").text == header


def test_a_path_is_told_without_what_a_terminal_would_obey(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        read_ticket_file(tmp_path / "\x1b[31mred\n.csv", "utf-8")
    assert "\\x1b[31mred\\n.csv" in str(refusal.value)


@pytest.mark.parametrize("name", ["\x1b[2J", "a\0b", "x" * 5_000, "."])
def test_a_mapping_that_is_none_is_one_line(name: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        load_mapping(name)
    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) < 1_000


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda end: as_csv([row("1", "Open", "2020-01-01")]) + end))
@example(b"\x1f\x8b\x08\x00")
@example(gzip.compress(b"a") + b"x")
@example(b"Ticket,Step,Who,When,Kind,Severity,Kind\n\xff")
def test_any_bytes_end_in_rows_or_in_a_clean_refusal(tmp_path: Path, content: bytes) -> None:
    path = _file(tmp_path, content)
    try:
        (_, header), *cells = [*read_rows(read_ticket_file(path, "utf-8").text)] or [(1, ())]
        _, rejected = RowReader(MAPPED, header, datetime(2026, 1, 1, tzinfo=UTC)).rows(cells)
    except (ConfigurationError, FileRefused, MappingError) as refusal:
        said = [str(refusal)]
    else:
        said = [each.reason for each in rejected]
    assert all(line.isprintable() and len(line) < 1_500 for line in said)
