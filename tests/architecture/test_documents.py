"""What the documents say about the tree is true of it."""

import re

import pytest

from tests.architecture.source_tree import ROOT, packages

DOCUMENTS = sorted(path.name for path in ROOT.glob("*.md"))
_ROW = re.compile(r"^\| `([\w/]+/)` \| (.*) \|$", re.M)
_IN_A_ROW = re.compile(r"`([\w.-]+(?:/|\.(?:py|sql|toml|lua)))`")
_PATH = re.compile(r"`((?:[\w.-]+/)+(?:[\w-]+\.(?:py|sql|toml|md|lua|csv))?|[A-Za-z_]+\.(?:py|sql|toml|md))`|\]\(([\w./-]+)\)")
_MADE_AT_RUN_TIME = {".taskmaster/", ".venv/"}


def rows() -> dict[str, str]:
    """The map's rooms with what it says of each."""
    text = (ROOT / "README.md").read_text()
    start = text.index("## Map")
    return dict(_ROW.findall(text[start : text.index("\n## ", start)]))


def rooms() -> set[str]:
    """Every package of the product, as a folder."""
    inside = {f"{path.parent.relative_to(ROOT)}/" for name in packages() for path in (ROOT / name).rglob("__init__.py")}
    return inside | {"tests/"}


def test_the_map_has_a_row_for_every_room_and_for_no_other() -> None:
    assert set(rows()) == rooms()


def test_what_the_map_names_in_a_room_is_there() -> None:
    named = {f"{room}{name}" for room, text in rows().items() for name in _IN_A_ROW.findall(text)}
    assert len(named) > 20
    assert {path for path in named if not (ROOT / path).exists()} == set()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_that_a_document_names_is_there(document: str) -> None:
    # The map's rows name what is inside their rooms: see above.
    text = _ROW.sub("", (ROOT / document).read_text())
    named = {first or second for first, second in _PATH.findall(text)} - _MADE_AT_RUN_TIME
    assert {path for path in named if not (ROOT / path).exists()} == set()
