"""How a verification is shown: a few lines for people, or JSON."""

from collections.abc import Sequence

import msgspec
from rich.console import Console

from infrastructure.log.verify import OF_THE_IDENTITY, Verification
from infrastructure.read_models.verify import ReadModelFinding


def print_verification(
    console: Console, found: Verification, models: Sequence[ReadModelFinding] | None = None, *, as_json: bool
) -> None:
    """What was checked, how fast, the first bad event if there is one, and how the read models compare if that was asked."""
    if as_json:
        shown = msgspec.to_builtins(found) | {"events_per_second": round(found.events_per_second)}
        if models is not None:
            shown["read_models"] = msgspec.to_builtins(models)
        console.out(msgspec.json.encode(shown).decode(), highlight=False)
        return
    _print_log(console, found)
    for model in models or ():
        _print_model(console, model)


def _print_model(console: Console, model: ReadModelFinding) -> None:
    at = f"{model.name} at position {model.position:,}" if model.position is not None else model.name
    if model.not_compared:
        console.print(f"{at}: not compared: {model.not_compared}", markup=False, highlight=False)
    elif model.differing:
        console.print(f"[bold red]NOT WHAT THE LOG SAYS[/] {at}: {model.differing:,} differ, one is ", end="", highlight=False)
        console.print(model.example, markup=False, highlight=False)
    else:
        console.print(f"{at}: what the log says", highlight=False)


def _print_derived(console: Console, found: Verification) -> None:
    if found.tags_not_compared:
        console.print(f"tags were not compared: {found.tags_not_compared}", markup=False, highlight=False)
    if found.derived_bad:
        bad = found.derived_bad
        console.print(f"[bold red]NOT WHAT THE EVENTS SAY[/] {bad.table} at position {bad.position}: ", end="", highlight=False)
        console.print(bad.reason, markup=False, highlight=False)


def _print_log(console: Console, found: Verification) -> None:
    console.print(
        f"log {found.log}: {found.events:,} events of {found.streams:,} streams checked, "
        f"{found.events_per_second:,.0f} a second",
        highlight=False,
    )
    if found.erased:
        console.print(f"the payloads of {found.erased:,} of them were erased", highlight=False)
    bad = found.first_bad
    if found.events and found.epoch != found.event_epoch and not bad:
        console.print(
            f"the log is in epoch {found.epoch}, its newest event is of epoch {found.event_epoch}: nothing was appended "
            "since a restore, or the epoch was raised by hand",
            highlight=False,
        )
    _print_derived(console, found)
    if bad is None:
        console.print(f"every event up to position {found.head:,} is as it was appended", highlight=False)
        return
    where = f", version {bad.version} of stream {bad.stream_id}" if bad.stream_id else ""
    if bad.problem in OF_THE_IDENTITY:
        console.print("[bold red]THE LOG'S IDENTITY IS WRONG[/], not the events: ", end="")
        console.print(bad.reason, markup=False, highlight=False)
        return
    console.print(f"[bold red]NOT AS APPENDED[/] from position {bad.position}{where}: ", end="", highlight=False)
    console.print(bad.reason, markup=False, highlight=False)
