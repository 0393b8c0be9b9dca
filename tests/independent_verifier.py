"""An auditor's own check of a log, written from VERIFYING.md alone: it needs nothing but Python's standard library.

    python3 independent_verifier.py log.csv events.csv

reads the two files that VERIFYING.md says how to export, and prints the first event that is not as it was appended (exit code
1) or that all are (0). It shares no code with TaskMaster, on purpose.
"""

import csv
import hashlib
import sys
from pathlib import Path


def number(value: str, size: int) -> bytes:
    """An integer, big-endian in two's complement."""
    return int(value).to_bytes(size, "big", signed=True)


def uuid(value: str) -> bytes:
    """The sixteen bytes that the digits stand for."""
    return bytes.fromhex(value.replace("-", ""))


def optional(field: bytes | None) -> bytes:
    """One byte that says whether there is a field, and the field."""
    return b"\0" if field is None else b"\1" + field


def hash_of(log_id: str, event: dict[str, str], previous: bytes) -> bytes:
    """The SHA-256 of an event's encoding."""
    topic = event["topic"].encode("utf-8")
    digest = hashlib.sha256(b"\0tm-leaf-v2")
    digest.update(uuid(log_id) + number(event["epoch"], 4) + number(event["position"], 8))
    digest.update(uuid(event["stream_id"]) + number(event["version"], 8) + previous)
    digest.update(number(event["recorded_us"], 8))
    digest.update(optional(number(event["effective_us"], 8) if event["effective_us"] else None))
    for name in ("workspace_id", "principal_id", "command_id", "correlation_id"):
        digest.update(uuid(event[name]))
    digest.update(optional(uuid(event["causation_id"]) if event["causation_id"] else None))
    digest.update(number(event["authority"], 8))
    # There is one number or none, and the byte before it counts them.
    digest.update(optional(uuid(event["scope"]) + number(event["number"], 8) if event["scope"] or event["number"] else None))
    digest.update(number(event["schema_version"], 4) + number(str(len(topic)), 4) + topic)
    digest.update(bytes.fromhex(event["commitment"]))
    return digest.digest()


def payload_fits(event: dict[str, str]) -> bool:
    """Whether the stored bytes are what the event's hash commits to, or were erased together with the salt."""
    if not event["state"] and not event["salt"]:
        return True
    salt, state = bytes.fromhex(event["salt"]), bytes.fromhex(event["state"])
    return len(salt) == 16 and hashlib.sha256(salt + state).digest() == bytes.fromhex(event["commitment"])


def first_bad(log_id: str, newest_epoch: int, events: list[dict[str, str]]) -> str | None:
    """What is wrong with the first event that is not as it was appended; None where all are."""
    streams: dict[str, tuple[int, bytes]] = {}
    epoch = 1
    for position, event in enumerate(events, 1):
        if int(event["position"]) != position:
            return f"position {position} is missing or repeated"
        before = streams.get(event["stream_id"])
        version, stored = int(event["version"]), bytes.fromhex(event["hash"])
        if version not in ((0, 1) if before is None else (before[0] + 1,)):
            return f"position {position} has a version out of place"
        previous = bytes(32) if before is None else before[1]
        if hash_of(log_id, event, previous) != stored or not payload_fits(event):
            return f"position {position} was changed"
        if not epoch <= int(event["epoch"]) <= newest_epoch:
            return f"position {position} has an epoch out of order"
        epoch = int(event["epoch"])
        streams[event["stream_id"]] = (version, stored)
    return None


def verify(log_file: Path, events_file: Path) -> str | None:
    """The same for exported files."""
    with log_file.open(newline="", encoding="utf-8") as log, events_file.open(newline="", encoding="utf-8") as events:
        (identity,) = csv.DictReader(log)
        return first_bad(identity["log_id"], int(identity["epoch"]), list(csv.DictReader(events)))


if __name__ == "__main__":
    csv.field_size_limit(sys.maxsize)
    found = verify(Path(sys.argv[1]), Path(sys.argv[2]))
    print(found or "every event is as it was appended")
    sys.exit(1 if found else 0)
