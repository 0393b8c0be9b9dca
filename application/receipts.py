"""What a command answers with. The JSON of a receipt is made, completed and read here and nowhere else in Python.

Its position is known to the log alone, so an append carries everything up to it, and whoever stores the append completes it
with the position and the closing brace (in PostgreSQL the function `append_events`).
"""

from uuid import UUID

import msgspec


class Receipt(msgspec.Struct, frozen=True, gc=False):
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
    """The JSON of a receipt."""

    stream_id: UUID
    version: int
    position: int


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
    """The receipt's JSON up to the position."""
    return f'{{"stream_id":"{stream_id}","version":{version},"position":'


def refusal_start(problem: bytes, decided_at: int | None) -> str:
    """What is remembered of a refusal in place of a receipt, up to the position at which it was written down."""
    where = "null" if decided_at is None else decided_at
    return f'{{"problem":{problem.decode()},"decided_at":{where},"position":'


def completed(start: str, position: int) -> bytes:
    """The JSON that begins with `start`."""
    return b"%b%d}" % (start.encode(), position)


def position_in(receipt: str) -> int:
    """The position with which a JSON text ends that was completed so."""
    return int(receipt[receipt.rindex(":") + 1 : -1])


def replayed(receipt: bytes) -> Receipt:
    """The receipt of an earlier command, from its JSON; raises EarlierRefusal where that is the JSON of a refusal."""
    if receipt.startswith(_REFUSAL):
        refusal = _decode_refusal(receipt)
        raise EarlierRefusal(bytes(refusal.problem), refusal.decided_at)
    body = _decode(receipt)
    return Receipt(body.stream_id, body.version, body.position, receipt, replayed=True)
