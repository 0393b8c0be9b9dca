"""Four processes that spend one budget at once, while Redis is taken away."""

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import redis

from infrastructure.embedded.services import LocalServices

PROCESSES = 4
AT_ONCE = 50
"""Of each process: 200 together."""


class Result(msgspec.Struct, frozen=True):
    """Points that were given in all, refusals, and seconds from the first question to the last answer."""

    admitted: int
    refused: int
    seconds: float


class Processes:
    """Started once, asked for burst after burst."""

    def __init__(self, programs: list[subprocess.Popen[str]]) -> None:
        self._programs = programs

    def burst(self, redis_url: str, during: Callable[[], None] = lambda: None, **plan: Any) -> Result:
        """All at once; `during` happens meanwhile."""
        whole = {
            "redis_url": redis_url,
            "processes": PROCESSES,
            "at_once": AT_ONCE,
            "budget": "20/900",
            "owners": ["ada"],
            "cost": 1,
            "seconds": 0.2,
        } | plan
        self._tell(json.dumps(whole))
        for program in self._programs:
            assert self._hear(program) == "ready"
        self._tell("go")
        during()
        found = [json.loads(self._hear(program)) for program in self._programs]
        ended = max(each["began"] + each["took"] for each in found)
        return Result(
            round(sum(each["admitted"] for each in found)),
            round(sum(each["refused"] for each in found)),
            ended - min(each["began"] for each in found),
        )

    def _tell(self, line: str) -> None:
        for program in self._programs:
            assert program.stdin is not None
            program.stdin.write(f"{line}\n")
            program.stdin.flush()

    @staticmethod
    def _hear(program: subprocess.Popen[str]) -> str:
        assert program.stdout is not None
        line = program.stdout.readline()
        assert line, program.stderr.read()[-2000:] if program.stderr else "it ended"
        return line.strip()


@contextmanager
def four_processes() -> Iterator[Processes]:
    """Running until the end of the block."""
    with subprocess_group() as programs:
        yield Processes(programs)


@contextmanager
def subprocess_group() -> Iterator[list[subprocess.Popen[str]]]:
    programs = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.infrastructure.burst_process"],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for _ in range(PROCESSES)
    ]
    try:
        yield programs
    finally:
        for program in programs:
            program.kill()
            program.wait()


def losing_redis(services: LocalServices, how: str, after: float) -> Callable[[], None]:
    """Take Redis away `after` seconds, in one way or another, and give it back."""

    def lose() -> None:
        time.sleep(after)
        if how == "emptied":
            with redis.Redis.from_url(services.redis_url) as client:
                client.flushall()
        elif how == "paused":
            services.pause_redis()
            time.sleep(0.3)
            services.resume_redis()
        else:
            services.kill_redis()
            services.start_redis(empty=how == "killed and emptied")

    return lose


LOSSES = ("killed", "killed and emptied", "emptied", "paused")


def run_bursts(services: LocalServices, processes: Processes, seed: int, bursts: int, sabotage: str = "") -> list[str]:
    """So many bursts, Redis lost in each; what was admitted too many."""
    chance, violations = random.Random(seed), []
    for number in range(bursts):
        how = LOSSES[number % len(LOSSES)]
        quota, seconds = chance.choice(((5, 900), (20, 900), (100, 900), (600, 60)))
        with redis.Redis.from_url(services.redis_url) as client:
            client.flushall()
        found = processes.burst(
            services.redis_url,
            losing_redis(services, how, chance.uniform(0, 0.08)),
            budget=f"{quota}/{seconds}",
            cost=chance.choice((1, 1, 2)),
            owners=["ada", f"workspace-{number}"],
            seconds=chance.choice((0.5, 1.5, 2.0)),
            sabotage=sabotage,
        )
        most = quota + found.seconds * quota / seconds
        if found.admitted > most:
            violations.append(f"burst {number}, Redis {how}: {found.admitted} of {quota}/{seconds} in {found.seconds:.2f} s")
    return violations
