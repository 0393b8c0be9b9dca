"""How a verification is shown: a few lines for people, or JSON."""

import msgspec
from rich.console import Console

from infrastructure.verify_log import Verification


def print_verification(console: Console, found: Verification, *, as_json: bool) -> None:
    """What was checked, how fast, and the first bad event if there is one."""
    if as_json:
        shown = msgspec.to_builtins(found) | {"events_per_second": round(found.events_per_second)}
        console.out(msgspec.json.encode(shown).decode(), highlight=False)
        return
    console.print(
        f"log {found.log}: {found.events:,} events of {found.streams:,} streams checked, "
        f"{found.events_per_second:,.0f} a second",
        highlight=False,
    )
    bad = found.first_bad
    if bad is None:
        console.print(f"every event up to position {found.head:,} is as it was appended", highlight=False)
        return
    where = f", version {bad.version} of stream {bad.stream_id}" if bad.stream_id else ""
    console.print(f"[bold red]NOT AS APPENDED[/] from position {bad.position}{where}: ", end="", highlight=False)
    console.print(bad.reason, markup=False, highlight=False)
