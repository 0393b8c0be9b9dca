"""What must hold for the log after any fault, told by its own SQL from what the clients were told."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import psycopg

from infrastructure.settings import Settings
from tests.faults.load import Client, Issued

_EVENTS = """
SELECT notification_id, originator_id::text, originator_version, command_id::text, workspace_id::text,
       convert_from(state, 'UTF8')::jsonb ->> 'reason', topic
FROM log_main.events ORDER BY notification_id
"""


def log_violations(settings: Settings, clients: Sequence[Client], with_keys: bool = True) -> list[str]:
    """Every way in which the log contradicts what the clients know."""
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        events = connection.execute(_EVENTS).fetchall()
        keys = connection.execute("SELECT key, receipt FROM log_main.idempotency").fetchall()
    commands = [issued for client in clients for issued in client.issued]
    found = [*_order(events), *_each_command_once(events, commands)]
    if with_keys:
        found += _receipts_kept(keys, commands)
    for issued in commands:
        if issued.refused:
            found.append(f"{issued.key} could not conflict with anybody and was refused: {issued.refused}")
    for client in clients:
        found += client.unread
    return found


def _order(events: Sequence[tuple[Any, ...]]) -> Iterable[str]:
    positions = [event[0] for event in events]
    if positions != list(range(1, len(positions) + 1)):
        yield f"positions are not 1..{len(positions)}: {_gaps(positions)}"
    streams: dict[str, list[int]] = defaultdict(list)
    for event in events:
        streams[event[1]].append(event[2])
    for stream, versions in streams.items():
        if versions != list(range(1, len(versions) + 1)):
            yield f"versions of {stream} in the order of positions are {versions}"


def _gaps(positions: Sequence[int]) -> str:
    missing = sorted(set(range(1, positions[-1] + 1)) - set(positions))[:5] if positions else []
    return f"missing {missing}"


def _each_command_once(events: Sequence[tuple[Any, ...]], commands: Sequence[Issued]) -> Iterable[str]:
    by_key: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for event in events:
        # Whoever registers gets a project, which no client asked for.
        if event[6] != "project.created":
            by_key[event[5]].append(event)
    known = {issued.key for issued in commands}
    for key in by_key.keys() - known:
        yield f"nobody issued {key!r}"
    for issued in commands:
        found = by_key.get(issued.key, [])
        if issued.receipt is None:
            if not issued.refused:
                yield f"{issued.key} was never settled"
            if issued.refused and found:
                yield f"{issued.key} was refused and is in the log"
            continue
        if len(found) != issued.events:
            word = "lost" if len(found) < issued.events else "doubled"
            yield f"{issued.key} was acknowledged and is {word}: {len(found)} events instead of {issued.events}"
            continue
        if len({event[3] for event in found}) > 1:
            yield f"{issued.key} is in the log as several commands"
        yield from _receipt_true(issued, found)


def _receipt_true(issued: Issued, found: Sequence[tuple[Any, ...]]) -> Iterable[str]:
    receipt = json.loads(issued.receipt or b"{}")
    if found:
        position, stream, version, *_ = found[-1]
        told = (receipt["position"], receipt["stream_id"], receipt["version"])
        if told != (position, stream, version) or found[-1][4] != str(issued.workspace):
            yield f"{issued.key}: the receipt says {told}, the log {(position, stream, version)}"
    if receipt["version"] != issued.version:
        yield f"{issued.key}: the receipt says version {receipt['version']}, it must be {issued.version}"


def _receipts_kept(keys: Sequence[tuple[Any, ...]], commands: Sequence[Issued]) -> Iterable[str]:
    kept = {key: receipt.encode() for key, receipt in keys}
    for issued in commands:
        if issued.receipt is not None and kept.get(issued.key) != issued.receipt:
            yield f"{issued.key}: the receipt kept is {kept.get(issued.key)!r}, the one sent was {issued.receipt!r}"
