"""How the figures are shown."""

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

from tests.benchmarks.figures import TARGETS, Figure, Target


def figures_table(figures: Iterable[Figure]) -> Table:
    """A row a figure: value, target, whether it is met, and both sides of a ratio."""
    table = Table(title="TaskMaster's benchmarks", title_justify="left")
    table.add_column("figure", no_wrap=True)
    for name in ("value", "target"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("ours / theirs")
    order = list(TARGETS)
    for figure in sorted(figures, key=lambda figure: order.index(figure.key)):
        target = TARGETS[figure.key]
        verdict = "[green]met[/]" if figure.is_met else "[red]missed[/]"
        table.add_row(figure.key, f"{number(figure.value)} {target.unit}", goal(target), verdict, figure.sides)
    return table


def goal(target: Target) -> str:
    """What a figure has to reach, in words."""
    return f"{'≥' if target.at_least else '≤'} {number(target.goal)} {target.unit}"


def print_methods(console: Console, figures: Iterable[Figure]) -> None:
    """One line a figure: how it was measured."""
    console.print("\nHow each was measured")
    for figure in figures:
        console.print(f"  {figure.key}: {figure.how}", markup=False, highlight=False)


def number(value: float) -> str:
    """Three significant digits where that says something, thousands with commas."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 1 else f"{value:.2f}".rstrip("0").rstrip(".")
