"""The table of FIGURES.md: `python -m tests.benchmarks.page bench.json FIGURES.md` brings it up to date with a whole run."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.benchmarks.figures import TARGETS
from tests.benchmarks.table import goal, number

HEADING = "| key | what | measured | target | |\n|---|---|---|---|---|\n"


def row(key: str, value: float) -> str:
    """One line of the table; what is missed is set in bold."""
    target = TARGETS[key]
    verdict = "met" if target.is_met(value) else "**missed**"
    return f"| `{key}` | {target.what} | {number(value)} {target.unit} | {goal(target)} | {verdict} |\n"


def with_figures(document: str, values: Mapping[str, float]) -> str:
    """The document with these values in its table. Raises ValueError where it has none, KeyError where a figure is missing."""
    before, heading, after = document.partition(HEADING)
    if not heading:
        raise ValueError("there is no table of figures in it")
    lines = after.splitlines(keepends=True)
    behind = next((count for count, line in enumerate(lines) if not line.startswith("|")), len(lines))
    return before + HEADING + "".join(row(key, values[key]) for key in TARGETS) + "".join(lines[behind:])


def main(result: str, page: str) -> None:
    """Write what a run left in `result` into the table of `page`."""
    path = Path(page)
    values = json.loads(Path(result).read_text(encoding="utf-8"))
    path.write_text(with_figures(path.read_text(encoding="utf-8"), values), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
