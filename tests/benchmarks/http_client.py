"""A small HTTP/1.1 client over raw sockets: the load where there is no wrk, and the stop-watch for single requests."""

import asyncio
import socket
import time

import msgspec

from tests.benchmarks.figures import NotMeasured

ANSWER_SECONDS = 15.0


class Request(msgspec.Struct, frozen=True):
    """One request as it is sent again and again; with `keyed`, each time with another Idempotency-Key."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""
    keyed: bool = False

    def parts(self, host: str) -> tuple[bytes, bytes]:
        """What is sent before and after the idempotency key (the second is empty where there is none)."""
        headers = {"Host": host, **self.headers}
        if self.body:
            headers["Content-Length"] = str(len(self.body))
        lines = [f"{self.method} {self.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        head = "\r\n".join(lines).encode()
        if self.keyed:
            return head + b"\r\nIdempotency-Key: ", b"\r\n\r\n" + self.body
        return head + b"\r\n\r\n" + self.body, b""


class Answer(msgspec.Struct, frozen=True):
    """Status, headers (lower-case names) and body."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


def read_head(head: bytes) -> tuple[int, dict[bytes, bytes]]:
    """Status and headers of an answer's head, without its empty line."""
    status, *lines = head.split(b"\r\n")
    pairs = (line.partition(b":") for line in lines)
    return int(status.split(b" ", 2)[1]), {name.lower(): value.strip() for name, _, value in pairs}


class Connection:
    """One blocking keep-alive connection. Raises NotMeasured where the server closes it or is silent for 15 s."""

    def __init__(self, host: str, port: int, seconds: float = ANSWER_SECONDS) -> None:
        self._host = f"{host}:{port}"
        self._socket = socket.create_connection((host, port), timeout=seconds)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._rest = b""

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, request: Request, key: str = "") -> Answer:
        """Send and wait for the whole answer."""
        before, after = request.parts(self._host)
        self._socket.sendall(before + key.encode() + after if request.keyed else before)
        while (end := self._rest.find(b"\r\n\r\n")) < 0:
            self._receive()
        status, headers = read_head(self._rest[:end])
        length = int(headers.get(b"content-length", b"0"))
        while len(self._rest) < end + 4 + length:
            self._receive()
        body, self._rest = self._rest[end + 4 : end + 4 + length], self._rest[end + 4 + length :]
        return Answer(status, headers, body)

    def timed(self, request: Request, key: str = "") -> float:
        """Milliseconds until the whole answer was there, which must be of the 200s."""
        started = time.perf_counter()
        answer = self.send(request, key)
        elapsed = time.perf_counter() - started
        require_success(answer)
        return elapsed * 1000

    def _receive(self) -> None:
        chunk = self._socket.recv(262_144)
        if not chunk:
            raise NotMeasured("the server closed a connection")
        self._rest += chunk


class AsyncConnection:
    """The same for the event loop."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> None:
        self._reader = reader
        self._writer = writer
        self._host = host

    @classmethod
    async def open(cls, host: str, port: int) -> "AsyncConnection":
        """Connect."""
        reader, writer = await asyncio.open_connection(host, port, limit=1 << 20)
        return cls(reader, writer, f"{host}:{port}")

    async def send(self, prepared: tuple[bytes, bytes], key: bytes) -> tuple[int, bytes, bytes]:
        """Send the parts of a request; status, head and body of the answer."""
        before, after = prepared
        self._writer.write(before + key + after if after else before)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = content_length(head)
        return int(head[9:12]), head, await self._reader.readexactly(length)

    def prepare(self, request: Request) -> tuple[bytes, bytes]:
        """The parts that `send` takes."""
        return request.parts(self._host)

    def close(self) -> None:
        """Close without waiting."""
        self._writer.close()


def content_length(head: bytes) -> int:
    """Of an answer's raw head; 0 where it says nothing."""
    start = head.lower().find(b"\r\ncontent-length:")
    return int(head[start + 17 : head.index(b"\r\n", start + 2)]) if start >= 0 else 0


def require_success(answer: Answer) -> None:
    """Raise NotMeasured unless the status is of the 200s."""
    if not 200 <= answer.status < 300:
        raise NotMeasured(f"an answer had status {answer.status}: {answer.body[:200]!r}")
