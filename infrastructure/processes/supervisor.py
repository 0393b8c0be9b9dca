"""Keeps child processes running until it is told to stop, then stops them in order."""

import logging
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType

import msgspec

from infrastructure.processes.child_process import kill_group, start_process

logger = logging.getLogger(__name__)

FIRST_DELAY_SECONDS = 0.2
LONGEST_DELAY_SECONDS = 5.0
HEALTHY_SECONDS = 10.0
_TICK_SECONDS = 0.1
_HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)


class Child(msgspec.Struct, frozen=True, kw_only=True):
    """A command to keep running. Those of the lowest `stop_rank` are stopped first and have `stop_seconds`
    for it. One that `may_sign` gets the signing keys in its environment, no other does.
    """

    name: str
    command: tuple[str, ...]
    stop_rank: int = 0
    stop_seconds: float = 12.0
    may_sign: bool = False


class _Running:
    """One child with the process that runs it now, or the time at which it is started again."""

    def __init__(self, child: Child, environ: Mapping[str, str]) -> None:
        self.child = child
        self.environ = environ
        self.delay = FIRST_DELAY_SECONDS
        self.due = 0.0
        self.started = 0.0
        self.process: subprocess.Popen[bytes] | None = None

    def tend(self) -> None:
        now = time.monotonic()
        if self.process is None:
            if now >= self.due:
                self.started = now
                self.process = start_process(self.child.command, environ=self.environ, death_signal=signal.SIGTERM)
        elif self.process.poll() is not None:
            if now - self.started >= HEALTHY_SECONDS:
                self.delay = FIRST_DELAY_SECONDS
            logger.warning(
                "%s ended with %s: starting it again in %.1f s",
                self.child.name, _ending(self.process.returncode), self.delay,
            )  # fmt: skip
            # What the dead process had started would hold its port and its messages.
            kill_group(self.process)
            self.process = None
            self.due = now + self.delay
            self.delay = min(self.delay * 2, LONGEST_DELAY_SECONDS)


class Supervisor:
    """Runs `children` until SIGINT, SIGTERM or SIGHUP arrives.

    A child that ends is started again after 0.2 s, doubling to 5 s while it keeps ending and forgotten once
    it has lived for 10 s. `drain` is called when the signal has arrived: the children run on for as many seconds as it
    says, and are stopped then. `tick` is called about ten times a second in the same thread; what it raises stops
    everything and is raised again. Must be run from the main thread.
    """

    def __init__(
        self,
        children: Sequence[Child],
        environ: Callable[[Child], Mapping[str, str]],
        tick: Callable[[], object] = lambda: None,
        drain: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._running = [_Running(child, environ(child)) for child in children]
        self._tick = tick
        self._drain = drain
        self._stopping = False

    @property
    def pids(self) -> dict[str, int]:
        """The running children's process ids by their names."""
        return {one.child.name: one.process.pid for one in self._running if one.process}

    def run(self) -> None:
        """Return when all children have stopped after a signal; nothing of them is left then."""
        with self._signals() as wake_up:
            try:
                while not self._stopping:
                    for one in self._running:
                        one.tend()
                    self._tick()
                    _wait(wake_up)
                self._let_go_on(wake_up, self._drain())
            finally:
                self._stop_all(wake_up)

    def _let_go_on(self, wake_up: int, seconds: float) -> None:
        """Let the children finish what they begin within that time; a second signal cuts it short."""
        self._stopping = False
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._stopping:
            _wait(wake_up)

    def _stop_all(self, wake_up: int) -> None:
        for rank in sorted({one.child.stop_rank for one in self._running}):
            group = [(one.child, one.process) for one in self._running if one.process and one.child.stop_rank == rank]
            for _, process in group:
                if process.poll() is None:
                    process.terminate()
            deadline = time.monotonic() + max((child.stop_seconds for child, _ in group), default=0)
            while any(process.poll() is None for _, process in group) and time.monotonic() < deadline:
                _wait(wake_up)
            for child, process in group:
                if process.poll() is None:
                    logger.warning("%s did not stop in %.0f s: killing it", child.name, child.stop_seconds)
                kill_group(process)

    @contextmanager
    def _signals(self) -> Iterator[int]:
        """Handle the signals inside the block; gives a file descriptor that is readable after one arrived."""
        readable, writable = os.pipe()
        os.set_blocking(writable, False)

        def handle(number: int, _frame: FrameType | None) -> None:
            self._stopping = self._stopping or number != signal.SIGCHLD

        before = {number: signal.signal(number, handle) for number in _HANDLED}
        previous = signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
        try:
            yield readable
        finally:
            signal.set_wakeup_fd(previous)
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(readable)
            os.close(writable)


def _wait(wake_up: int) -> None:
    """Until a signal arrives, a child's end included, and at most for a tick."""
    if select.select([wake_up], [], [], _TICK_SECONDS)[0]:
        os.read(wake_up, 4096)


def _ending(returncode: int) -> str:
    return f"signal {signal.Signals(-returncode).name}" if returncode < 0 else f"exit code {returncode}"
