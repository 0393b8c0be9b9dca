"""Whoever changes what a read model stores raises its layout: else a deployment would go on with what another release stored.

A change of its tables is another layout by itself. One of what stands in them is found here, by digests of what each layout
stores of a history that never changes. RECORD=1 adds what is new to the records: samples of events that the history lacks, and
the digests of a layout that was raised. It never changes a digest that is there.
"""

import os

import pytest

from projections import TABLES
from tests.log_world import World
from tests.projections import stored_contents
from tests.projections.stored_contents import Digests, append, contents, extended, layouts, missing, recorded_digests

RECORDING = "RECORD=1 pytest tests/projections/test_stored_contents.py"


@pytest.fixture
def history() -> list[stored_contents.Write]:
    found = stored_contents.recorded_history()
    return extended(found) if os.environ.get("RECORD") and missing(found) else found


def test_the_recorded_history_has_every_kind_of_event(history: list[stored_contents.Write]) -> None:
    assert missing(history) == set(), f"add samples of these to the history: {RECORDING}"


def test_every_table_holds_something_of_the_recorded_history(world: World, history: list[stored_contents.Write]) -> None:
    append(world, history)
    world.project()
    assert [table for each in TABLES for table, rows in world.table_dump(each.tables).items() if not rows] == []


def test_what_is_stored_in_a_layout_never_changes(world: World, history: list[stored_contents.Write]) -> None:
    recorded = recorded_digests()
    present = layouts()
    lengths = {int(length) for model, layout in present.items() for length in recorded.get(model, {}).get(layout, {})}
    begun, told = 0, list[str]()
    for length in sorted({*lengths, len(history)}):
        append(world, history[begun:length])
        begun = length
        world.project()
        for model, digest in contents(world).items():
            told += judged(recorded, model, present[model], str(length), digest, of_all=length == len(history))
    if os.environ.get("RECORD"):
        stored_contents.record(history, recorded)
    assert told == [], "\n".join(told)


def judged(recorded: Digests, model: str, layout: str, length: str, digest: str, *, of_all: bool) -> list[str]:
    """What is wrong with a digest; one that is new is recorded where that is asked for."""
    known = recorded.setdefault(model, {}).setdefault(layout, {})
    if length in known:
        changed = f"{model} stores something else than it did in layout {layout}: raise its `layout`, then {RECORDING}"
        return [changed] if known[length] != digest else []
    if not of_all:
        return []
    if os.environ.get("RECORD"):
        known[length] = digest
        return []
    return [f"nobody recorded what {model} stores in layout {layout}: {RECORDING}"]
