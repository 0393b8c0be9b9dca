"""The handle on a zygote: start children, know when they are ready and when they have ended."""

import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import Future
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import msgspec

from infrastructure.settings import Settings

PROJECT = Path(__file__).parents[2]
START_SECONDS = 30


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What a child is to be. `failpoint` is `name:n` or `name:n:stop`, `sabotage` names entries of SABOTAGE, `output` a file
    for what it finds."""

    role: str
    failpoint: str = ""
    seed: int = 0
    socket: str = ""
    sabotage: tuple[str, ...] = ()
    catch_up: bool = False
    projection: str = ""
    output: str = ""


class Forked:
    """A child process. `ready` and `ended` (its exit code, -9 after SIGKILL) are resolved from another thread."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.started: Future[int] = Future()
        self.ready: Future[None] = Future()
        self.ended: Future[int] = Future()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.started.result(START_SECONDS)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it is still there."""
        if not self.ended.done():
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


class Zygote:
    """One zygote with its children, of the release in the folder `project`. Any thread may use it. Open it in a thread that
    lives as long as it shall."""

    def __init__(self, log: Path, project: Path = PROJECT) -> None:
        self._ids = count(1)
        self._children: dict[int, Forked] = {}
        self._by_pid: dict[int, Forked] = {}
        self._lock = threading.Lock()
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.zygote"],
                cwd=project,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        self.layouts: Future[str] = Future()
        self._reader = threading.Thread(target=self._read, name="zygote", daemon=True)
        self._reader.start()

    def fork(self, order: Order, settings: Settings) -> Forked:
        """Start a child; returns at once."""
        child = Forked(order)
        number = next(self._ids)
        line = {"id": number, "settings": msgspec.to_builtins(settings), **msgspec.to_builtins(order)}
        with self._lock:
            self._children[number] = child
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(line).encode() + b"\n")
            self._process.stdin.flush()
        return child

    def close(self) -> None:
        """Kill whatever is left of it."""
        if self._process.poll() is None and self._process.stdin:
            self._process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._reader.join(5)
        if self._process.stdout:
            self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._hear(json.loads(line))
        futures = [each for child in self._children.values() for each in (child.started, child.ready, child.ended)]
        for future in (self.layouts, *futures):
            if not future.done():
                future.cancel()

    def _hear(self, event: dict[str, Any]) -> None:
        match event["event"]:
            case "begun":
                self.layouts.set_result(event["layouts"])
            case "started":
                child = self._children[event["id"]]
                self._by_pid[event["pid"]] = child
                child.started.set_result(event["pid"])
            case "ready":
                self._children[event["id"]].ready.set_result(None)
            case "ended":
                child = self._by_pid.pop(event["pid"])
                if not child.ready.done():
                    child.ready.cancel()
                child.ended.set_result(event["code"])
