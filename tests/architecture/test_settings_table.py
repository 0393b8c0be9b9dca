"""The operator's table of settings is the one that the code gives."""

import re

import msgspec

from infrastructure.cli.settings_table import settings_table
from infrastructure.settings import VARIABLES, Settings
from tests.architecture.source_tree import ROOT


def test_the_operators_guide_shows_every_setting_with_its_default_and_meaning() -> None:
    guide = (ROOT / "OPERATING.md").read_text()
    assert settings_table() in guide, "bring it up to date: python -m infrastructure.cli.settings_table OPERATING.md"


def test_no_document_names_a_setting_that_there_is_not() -> None:
    text = "".join(document.read_text() for document in ROOT.glob("*.md"))
    named = set(re.findall(r"TASKMASTER_[A-Z_]+[A-Z]", text))
    known = {*VARIABLES.values(), *(f"{variable}_FILE" for variable in VARIABLES.values())}
    assert named - known - {"TASKMASTER_HISTORIES"} == set()
    assert len(VARIABLES) == len(msgspec.structs.fields(Settings))
