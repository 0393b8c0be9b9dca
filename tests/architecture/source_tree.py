"""The tracked files of this project, as the architecture tests see them."""

import ast
import subprocess
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
VENDORED = "api/static/"


@cache
def pyproject() -> dict[str, Any]:
    """pyproject.toml, parsed."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@cache
def packages() -> tuple[str, ...]:
    """The product's top-level folders."""
    return tuple(pyproject()["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])


@cache
def tracked() -> tuple[str, ...]:
    """Every file that belongs to the project, tracked or about to be, by its path from the root."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        # An unpacked archive has no history: everything that is not hidden or made by tools counts.
        listed = [str(file.relative_to(ROOT)) for file in ROOT.rglob("*") if file.is_file()]
        listed = [
            file for file in listed if not any(part.startswith(".") or part == "__pycache__" for part in Path(file).parts)
        ]
    return tuple(sorted(file for file in listed if (ROOT / file).is_file()))


def text_files() -> list[str]:
    """Those that people wrote."""
    return [file for file in tracked() if not file.startswith(VENDORED) and _is_text(file)]


def _is_text(file: str) -> bool:
    try:
        (ROOT / file).read_text()
    except UnicodeDecodeError:
        return False
    return True


def modules(*folders: str) -> list[str]:
    """The Python files in these folders, or in the product's."""
    chosen = tuple(f"{folder}/" for folder in folders or packages())
    return [file for file in tracked() if file.endswith(".py") and file.startswith(chosen)]


@cache
def parsed(file: str) -> ast.Module:
    """A module's syntax tree."""
    return ast.parse((ROOT / file).read_text(), file)
