"""`taskmaster dev` as its user runs it: single processes killed under its supervisor, and the whole of it killed at once."""

import asyncio
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from infrastructure.embedded.home import find_home
from infrastructure.embedded.postgres import database_url
from infrastructure.embedded.valkey import redis_url
from infrastructure.settings import Settings
from tests.faults.laboratory import SECRET
from tests.faults.trial import Trial, Verdict
from tests.faults.zygotes import PROJECT
from tests.wide_limits import WIDE_ENVIRON

SERVERS = ("postgres", "valkey-server")
RECOVERY_SECONDS = 30.0
STOP_SECONDS = 30.0


class Dev:
    """One data folder and the program that runs on it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._program: subprocess.Popen[bytes] | None = None

    @property
    def settings(self) -> Settings:
        """How to reach its servers."""
        home = find_home(str(self._folder))
        return Settings(database_url=database_url(home), redis_url=redis_url(home), secret_key=SECRET)

    @property
    def address(self) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it; returns at once."""
        environ = {
            **os.environ,
            **WIDE_ENVIRON,
            "TASKMASTER_DATA_DIR": str(self._folder),
            "TASKMASTER_PORT": str(self.port),
            "TASKMASTER_SECRET_KEY": SECRET,
        }
        with (self._folder / "dev.log").open("ab") as output:
            self._program = subprocess.Popen(
                [sys.executable, "-m", "infrastructure.cli.main", "dev"], cwd=PROJECT, env=environ, stdout=output, stderr=output
            )

    def processes(self, servers: bool) -> list[psutil.Process]:
        """What it has started, with or without the servers."""
        if self._program is None or self._program.poll() is not None:
            return []
        found = []
        for process in psutil.Process(self._program.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if servers or process.name() not in SERVERS:
                    found.append(process)
        return found

    def kill_everything(self) -> int:
        """SIGKILL for the supervisor and every process below it; how many there were."""
        assert self._program is not None
        victims = [psutil.Process(self._program.pid), *self.processes(servers=True)]
        for victim in victims:
            with suppress(psutil.NoSuchProcess):
                victim.send_signal(signal.SIGKILL)
        self._program.wait()
        psutil.wait_procs(victims, timeout=STOP_SECONDS)
        return len(victims)

    def stop(self) -> None:
        """Stop it as Ctrl-C does, and kill what does not."""
        if self._program is None or self._program.poll() is not None:
            return
        below = self.processes(servers=True)
        self._program.terminate()
        try:
            self._program.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill_everything()
        _, left = psutil.wait_procs(below, timeout=5)
        for process in left:
            process.kill()


@contextmanager
def dev_folder() -> Iterator[Dev]:
    """A `taskmaster dev` in a temporary folder, stopped and removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="taskmaster-dev-"))
    folder.chmod(0o711)
    dev = Dev(folder)
    try:
        dev.start()
        yield dev
    finally:
        dev.stop()
        shutil.rmtree(folder, ignore_errors=True)


async def kill_real_processes(dev: Dev, seed: int, kills: int, name: str = "real processes") -> Verdict:
    """Kill one of the real processes after the other; each time everything must work again within 30 s."""
    chance = random.Random(seed)
    async with Trial(None, name, seed, settings=await _ready(dev)) as trial:
        await trial.gateway.add(dev.address)
        writers = trial.load(3)
        for _ in range(kills):
            victim = chance.choice(await _complete(dev))
            role = _role(victim)
            victim.send_signal(signal.SIGKILL)
            trial.verdict.kills[f"{role}, real"] += 1
            await _works_again(trial, role)
        await trial.finish(writers)
        await trial.ask_again(most=200)
        await trial.caught_up(RECOVERY_SECONDS)
        return await trial.judge()


async def kill_the_whole(dev: Dev, seed: int, kills: int, name: str = "the whole") -> Verdict:
    """Kill the supervisor and everything below it under load, start it again on the same data."""
    async with Trial(None, name, seed, settings=await _ready(dev)) as trial:
        await trial.gateway.add(dev.address)
        writers = trial.load(3)
        for _ in range(kills):
            await _works_again(trial, "start")
            killed = await asyncio.to_thread(dev.kill_everything)
            trial.verdict.numbers["processes killed"] = trial.verdict.numbers.get("processes killed", 0) + killed
            trial.verdict.kills["the whole at once"] += 1
            await trial.gateway.remove(dev.address)
            dev.start()
            begun = time.monotonic()
            await trial.gateway.add(dev.address)
            slowest = trial.verdict.numbers.get("seconds until it serves", 0.0)
            trial.verdict.numbers["seconds until it serves"] = max(slowest, time.monotonic() - begun)
        await _works_again(trial, "the whole")
        await trial.finish(writers)
        await trial.ask_again(most=200)
        await trial.caught_up(RECOVERY_SECONDS)
        return await trial.judge()


async def _ready(dev: Dev) -> Settings:
    async with asyncio.timeout(RECOVERY_SECONDS):
        while not await asyncio.to_thread(_answers, dev.port):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.02)
    return dev.settings


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def _complete(dev: Dev) -> list[psutil.Process]:
    """Its processes, once there is one of every kind."""
    async with asyncio.timeout(RECOVERY_SECONDS):
        while True:
            found = await asyncio.to_thread(dev.processes, servers=False)
            with suppress(psutil.NoSuchProcess):
                if {"granian", "dramatiq", "relay"} <= {_role(process) for process in found}:
                    return found
            await asyncio.sleep(0.02)


def _role(process: psutil.Process) -> str:
    line = " ".join(process.cmdline())
    named = (role for role in ("granian", "dramatiq", "relay") if role in line)
    return next(named, "a helper of theirs")


async def _works_again(trial: Trial, after: str) -> None:
    """A command is acknowledged and reaches every read model."""
    await trial.issue(6, RECOVERY_SECONDS)
    await trial.advances(RECOVERY_SECONDS, after)
