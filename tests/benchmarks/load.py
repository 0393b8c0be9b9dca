"""Closed-loop load: so many connections, each with one request under way, for so many seconds. wrk, or our own client."""

import asyncio
import json
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Protocol
from uuid import uuid4

import msgspec
import uvloop

from tests.benchmarks.figures import NotMeasured
from tests.benchmarks.http_client import AsyncConnection, Request

CONNECTIONS = 32
_SECONDS_OF_GRACE = 20.0


class LoadResult(msgspec.Struct, frozen=True):
    """What a load came to: answered requests, and wall seconds from its first request to its last answer."""

    requests: int
    seconds: float

    @property
    def per_second(self) -> float:
        """Answered requests a second."""
        return self.requests / self.seconds


class LoadGenerator(Protocol):
    """Something that loads one server with one request."""

    name: str

    def run(self, host: str, port: int, request: Request, seconds: float, connections: int = CONNECTIONS) -> LoadResult:
        """Load for `seconds`. Raises NotMeasured where any answer was not of the 200s or a connection broke."""


def load_generator(folder: Path) -> LoadGenerator:
    """wrk where it is installed, else our own client; wrk's scripts go to `folder`."""
    program = shutil.which("wrk")
    return Wrk(program, folder) if program else OwnClient()


class Wrk:
    """wrk with one thread, so that both sides leave the servers the same share of the machine."""

    name = "wrk"

    def __init__(self, program: str, folder: Path) -> None:
        self._program = program
        self._folder = folder

    def run(self, host: str, port: int, request: Request, seconds: float, connections: int = CONNECTIONS) -> LoadResult:
        """See `LoadGenerator.run`."""
        script = self._folder / f"{uuid4().hex}.lua"
        script.write_text(wrk_script(request, host, port), encoding="utf-8")
        whole = max(1, round(seconds))
        command = [self._program, "-t1", f"-c{connections}", f"-d{whole}s", "-s", str(script), f"http://{host}:{port}"]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=whole + _SECONDS_OF_GRACE, check=False
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise NotMeasured("wrk did not end") from None
        finally:
            script.unlink()
        if done.returncode:
            raise NotMeasured(f"wrk ended with {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
        return read_wrk(done.stdout)


def wrk_script(request: Request, host: str, port: int) -> str:
    """A Lua script that sends `request`, each time with another key where it is keyed.

    The request is put together by hand: wrk.format would cost the generator more than some servers need to answer.
    """
    before, after = (json.dumps(part.decode(), ensure_ascii=True) for part in request.parts(f"{host}:{port}"))
    if not request.keyed:
        return f"local whole = {before}\nrequest = function() return whole end\n"
    return (
        f'local before, after, run, n = {before}, {after}, "{uuid4().hex}-", 0\n'
        "request = function()\n  n = n + 1\n  return before .. run .. n .. after\nend\n"
    )


_TOTAL = re.compile(r"(\d+) requests in ([\d.]+)(us|ms|s|m)\b")
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


def read_wrk(output: str) -> LoadResult:
    """The result in wrk's output. Raises NotMeasured for failed answers, broken connections, or no answers at all."""
    for trouble in ("Non-2xx or 3xx responses", "Socket errors"):
        if trouble in output:
            line = next(line.strip() for line in output.splitlines() if trouble in line)
            raise NotMeasured(f"wrk reports: {line}")
    found = _TOTAL.search(output)
    if found is None or int(found[1]) == 0:
        raise NotMeasured(f"wrk measured nothing: {output.strip()[-200:]!r}")
    return LoadResult(int(found[1]), float(found[2]) * _SECONDS[found[3]])


class OwnClient:
    """The same load from this process, over raw sockets on uvloop."""

    name = "own client"

    def run(self, host: str, port: int, request: Request, seconds: float, connections: int = CONNECTIONS) -> LoadResult:
        """See `LoadGenerator.run`."""
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_load(host, port, request, seconds, connections))


async def _load(host: str, port: int, request: Request, seconds: float, connections: int) -> LoadResult:
    opened = [await AsyncConnection.open(host, port) for _ in range(connections)]
    run, started = uuid4().hex, time.perf_counter()
    until = started + seconds

    async def repeat(number: int, connection: AsyncConnection) -> int:
        prepared, answered = connection.prepare(request), 0
        while time.perf_counter() < until:
            status, _, body = await connection.send(prepared, b"%s-%d-%d" % (run.encode(), number, answered))
            if not 200 <= status < 300:
                raise NotMeasured(f"an answer had status {status}: {body[:200]!r}")
            answered += 1
        return answered

    try:
        async with asyncio.timeout(seconds + _SECONDS_OF_GRACE):
            counts = await asyncio.gather(*(repeat(number, each) for number, each in enumerate(opened)))
    except (TimeoutError, OSError, EOFError) as error:
        raise NotMeasured(f"a connection broke: {error!r}") from None
    finally:
        for connection in opened:
            connection.close()
    if not sum(counts):
        raise NotMeasured("nothing was answered")
    return LoadResult(sum(counts), time.perf_counter() - started)
