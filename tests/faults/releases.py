"""Other releases of this tree: copies of its folders with a few declared changes, each run by a zygote of its own."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tests.faults.zygotes import PROJECT, START_SECONDS, Zygote

PRODUCT = ("domain", "application", "infrastructure", "projections", "api", "workers")
BESIDE = "tests/faults"


class Change(msgspec.Struct, frozen=True):
    """In the file that was copied, one text takes another one's place, wherever it stands."""

    file: str
    before: str
    after: str


class Made(msgspec.Struct, frozen=True):
    """How a release differs from this tree; `additions` are files of these tests and where they stand there."""

    name: str
    changes: Sequence[Change] = ()
    additions: Sequence[tuple[str, str]] = ()


class Release:
    """A release at hand. Its name is the host in the answers of its API processes."""

    def __init__(self, name: str, folder: Path, zygote: Zygote) -> None:
        self.name = name
        self.folder = folder
        self.zygote = zygote

    @property
    def layouts(self) -> str:
        """What its set of layouts is called."""
        return self.zygote.layouts.result(START_SECONDS)


def copy_of(made: Made, folder: Path) -> Path:
    """The product as that release has it, with what its zygote needs. AssertionError where a change changes nothing."""
    for part in (*PRODUCT, BESIDE):
        # With the compiled modules, which stay good: times are copied as well.
        shutil.copytree(PROJECT / part, folder / part)
    for change in made.changes:
        file = folder / change.file
        text = file.read_text()
        assert change.before in text, f"{change.file} has no {change.before!r}"
        file.write_text(text.replace(change.before, change.after))
    for source, target in made.additions:
        shutil.copyfile(PROJECT / source, folder / target)
    return folder
