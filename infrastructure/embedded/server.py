"""One embedded server as a child process: start, readiness, stop, and what an earlier run left behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from infrastructure.embedded.home import LocalServiceError, private
from infrastructure.processes.child_process import (
    SystemUser,
    kill_group,
    processes_working_in,
    signal_all,
    start_process,
    stop_process,
)

# Nothing of the caller's environment, so that a server is the same wherever it is started from.
SERVER_ENVIRON = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
READY_SECONDS = 600
STOP_SECONDS = 30
_POLL_SECONDS = 0.01
_LOG_BYTES_AT_MOST = 8_000_000


@dataclass(kw_only=True)
class LocalServer:
    """A server process that works inside `folder` and is stopped cleanly by `stop_signal`.

    `is_ready` answers whether it takes connections. `stale` are the pid and lock files that a crash leaves
    and that would stop the next start once the process id in them is another program's. The process also gets
    `stop_signal` when the thread that started it ends.
    """

    command: Sequence[str]
    folder: Path
    log: Path
    user: SystemUser | None
    stop_signal: signal.Signals
    is_ready: Callable[[], bool]
    stale: Sequence[Path] = ()
    process: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        """The program's file name."""
        return Path(self.command[0]).name

    @property
    def pid(self) -> int:
        """The id of the running process. Raises LocalServiceError when it was not started."""
        if self.process is None:
            raise LocalServiceError(f"{self.name} is not running")
        return self.process.pid

    def begin(self) -> None:
        """Start the process and return at once; `wait_ready` is the other half."""
        self.stop_leftovers()
        too_long = self.log.exists() and self.log.stat().st_size > _LOG_BYTES_AT_MOST
        with open(self.log, "wb" if too_long else "ab", opener=private) as output:
            self.process = start_process(
                self.command,
                environ=SERVER_ENVIRON,
                death_signal=self.stop_signal,
                user=self.user,
                working_dir="/",
                output=output,
            )

    def wait_ready(self) -> None:
        """Wait until the server takes connections: recovery after a crash may take minutes, a failure ends it
        at once.
        """
        deadline = time.monotonic() + READY_SECONDS
        while not self.is_ready():
            if self.process is None or self.process.poll() is not None:
                raise LocalServiceError(f"{self.name} ended while starting:\n{last_lines(self.log)}")
            if time.monotonic() > deadline:
                raise LocalServiceError(f"{self.name} is not ready after {READY_SECONDS} s; see {self.log}")
            time.sleep(_POLL_SECONDS)

    def is_running(self) -> bool:
        """Whether the process was started and has not ended."""
        return self.process is not None and self.process.poll() is None

    def stop(self, stop_signal: signal.Signals | None = None) -> None:
        """Stop the process and what it started, and wait for that; harmless when nothing runs."""
        if self.process is not None:
            stop_process(self.process, stop_signal or self.stop_signal, STOP_SECONDS)
            self.process = None

    def kill(self) -> None:
        """End the process as a crash would: nothing is flushed."""
        if self.process is not None:
            # PostgreSQL's sessions have process groups of their own.
            signal_all(processes_working_in(self.folder, self.name), signal.SIGKILL)
            kill_group(self.process)
            self.process = None

    def stop_leftovers(self) -> None:
        """Stop what an earlier run left at work in this folder, children of a dead server included.

        A second server on the same files would destroy them, and one cannot be started beside the first.
        """
        for number in (self.stop_signal, signal.SIGQUIT, signal.SIGKILL):
            left = processes_working_in(self.folder, self.name)
            if not left:
                break
            signal_all(left, number)
            signal_all(left, signal.SIGCONT)
            deadline = time.monotonic() + STOP_SECONDS
            while processes_working_in(self.folder, self.name) and time.monotonic() < deadline:
                time.sleep(_POLL_SECONDS)
        if sys.platform == "linux":
            # Elsewhere nothing was looked for above, and the files are the only protection there is.
            for file in self.stale:
                file.unlink(missing_ok=True)


def last_lines(log: Path, count: int = 8) -> str:
    """The end of a server's log, for an error message."""
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:])
