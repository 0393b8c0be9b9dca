"""What a command answers with. The JSON of a receipt is made, completed and read here and nowhere else in Python.

Its number, hash and position are known to the log alone, so an append carries everything up to them, and whoever stores the
append completes it with them and the closing brace (in PostgreSQL the function `append_events`).
"""

import re
from typing import Final
from uuid import UUID

import msgspec


class Receipt(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a command returns: the stream, its version after the command, the position of its last event.

    `body` is the JSON exactly as it was first sent. `created` tells a creation, `changed` whether events were
    written, and `replayed` that an idempotency key brought back an earlier answer.
    """

    stream_id: UUID
    version: int
    position: int
    body: bytes
    created: bool = False
    changed: bool = True
    replayed: bool = False


class ReceiptBody(msgspec.Struct, frozen=True):
    """The JSON of a receipt: `number` is there where the log gave one, `hash` (hexadecimal) where an event was written."""

    stream_id: UUID
    version: int
    position: int
    number: int | msgspec.UnsetType = msgspec.UNSET
    hash: str | msgspec.UnsetType = msgspec.UNSET


class _StoredRefusal(msgspec.Struct, frozen=True):
    problem: msgspec.Raw
    decided_at: int | None


class EarlierRefusal(Exception):
    """A key brings back that its command was refused: the JSON of the problem, and the position it was decided at."""

    def __init__(self, problem: bytes, position: int | None) -> None:
        super().__init__("the command was refused before")
        self.problem = problem
        self.position = position


_REFUSAL = b'{"problem":'
_decode = msgspec.json.Decoder(ReceiptBody).decode
_decode_refusal = msgspec.json.Decoder(_StoredRefusal).decode


def receipt_start(stream_id: UUID, version: int) -> str:
    """The receipt's JSON up to what the log adds."""
    return f'{{"stream_id":"{stream_id}","version":{version}'


def refusal_start(problem: bytes, decided_at: int | None) -> str:
    """What is remembered of a refusal in place of a receipt, up to the position at which it was written down."""
    where = "null" if decided_at is None else decided_at
    return f'{{"problem":{problem.decode()},"decided_at":{where}'


def completed(start: str, position: int, event_hash: bytes = b"", number: int | None = None) -> bytes:
    """The JSON that begins with `start`."""
    numbered = "" if number is None else f',"number":{number}'
    hashed = f',"hash":"{event_hash.hex()}"' if event_hash else ""
    return f'{start}{numbered}{hashed},"position":{position}}}'.encode()


class Completion(msgspec.Struct, frozen=True):
    """What the log added to a receipt; the hash is empty where there was no event."""

    position: int
    hash: bytes
    number: int | None


def completion_of(receipt: str) -> Completion:
    """What a JSON text that was completed so ends with."""
    found = _COMPLETION.search(receipt)
    assert found is not None  # noqa: S101 - nothing else is kept as a receipt
    number, digest, position = found.groups()
    return Completion(int(position), bytes.fromhex(digest or ""), int(number) if number else None)


_COMPLETION: Final = re.compile(r'(?:,"number":(\d+))?(?:,"hash":"([0-9a-f]{64})")?,"position":(\d+)}\Z')


def replayed(receipt: bytes) -> Receipt:
    """The receipt of an earlier command, from its JSON; raises EarlierRefusal where that is the JSON of a refusal."""
    if receipt.startswith(_REFUSAL):
        refusal = _decode_refusal(receipt)
        raise EarlierRefusal(bytes(refusal.problem), refusal.decided_at)
    body = _decode(receipt)
    return Receipt(stream_id=body.stream_id, version=body.version, position=body.position, body=receipt, replayed=True)
