"""A deployment that derives the tags of the log anew, and has a migration of its own: `taskmaster migrate` of the new release
while the old one's API is written to. From then on the old one only reads, and starts no more."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import psycopg

from infrastructure.settings import Settings, settings_environ
from tests.faults.laboratory import Laboratory
from tests.faults.load import Client
from tests.faults.older_releases import OTHER_TAGS, THIS
from tests.faults.releases import Release
from tests.faults.sides import Side
from tests.faults.skew import STEP_SECONDS, THINK_SECONDS, Order, side_by_side
from tests.faults.skews import SKEWS
from tests.faults.trial import Trial, Verdict

COMMAND_SECONDS = 60
COMMANDS = 60


def run_command(release: Release, settings: Settings, *arguments: str) -> tuple[int, str]:
    """The release's command line: its exit code and what it says to the operator."""
    done = subprocess.run(
        [sys.executable, "-m", "infrastructure.cli.main", *arguments],
        cwd=release.folder,
        env={**os.environ, **settings_environ(settings)},
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    return done.returncode, done.stderr.strip()


async def starts_not(release: Release, settings: Settings, why: str, commands: Sequence[str]) -> list[str]:
    """What is wrong with how the release refuses to start: one line that says why, and exit code 2."""
    answers = await asyncio.gather(*(asyncio.to_thread(run_command, release, settings, each) for each in commands))
    return [
        f"{release.name} {command}: {code}, {said}"
        for command, (code, said) in zip(commands, answers, strict=True)
        if code != 2 or why not in said or "\n" in said
    ]


def _leave_out_the_check(settings: Settings) -> None:
    """The log takes whatever tags it is given."""
    with psycopg.connect(settings.database_url, autocommit=True) as connection:
        (function,) = connection.execute("SELECT pg_get_functiondef('log_main.append_events'::regproc)").fetchone() or ("",)
        check = "identity.tag_scheme <> scheme"
        assert check in function
        connection.execute(function.replace(check, "false"))


async def tags_anew(laboratory: Laboratory, seed: int, commands: int = 20, *, without_check: bool = False) -> Verdict:
    """The old release serves; the new one migrates, comes, and stays alone."""
    old, new = laboratory.release(THIS), laboratory.release(OTHER_TAGS)
    async with Trial(laboratory, "tags anew", seed, settings=laboratory.fresh(old.zygote)) as trial:
        note = trial.verdict.violations
        before, after = Side(trial, old), Side(trial, new)
        if without_check:
            await asyncio.to_thread(_leave_out_the_check, trial.settings)
        await before.open()
        await before.work()
        writers = trial.load(2, readers=THINK_SECONDS, pause=THINK_SECONDS)
        await trial.issue(commands, STEP_SECONDS)
        if not without_check:
            note += await starts_not(new, trial.settings, "run 'taskmaster migrate' first", ("serve",))
        migrating = asyncio.create_task(asyncio.to_thread(run_command, new, trial.settings, "migrate"))
        await trial.issue(commands, STEP_SECONDS)
        code, said = await migrating
        if code:
            note.append(f"migrate ended with {code}: {said}")
        if without_check:
            await trial.issue(commands, STEP_SECONDS)
            await trial.finish(writers)
            note += await after.verify(laboratory.folder)
            return trial.verdict
        await _only_reads(trial, before)
        await after.open()
        await after.work()
        await trial.issue(commands, STEP_SECONDS)
        note += await starts_not(old, trial.settings, "a newer release", ("work",))
        await _meet(trial, before, after)
        await before.rest()
        await before.close()
        await trial.issue(commands, STEP_SECONDS)
        await trial.finish(writers)
        await trial.ask_again(most=40)
        note += [each for each in [await after.reached(max(client.newest for client in trial.clients))] if each]
        note += [f"parked: {each}" for each in after.parked()]
        note += await after.verify(laboratory.folder)
        return await trial.judge()


async def _only_reads(trial: Trial, side: Side) -> None:
    """The release that was left behind appends nothing any more, and answers every read as before."""
    client, note = trial.clients[0], trial.verdict.violations
    task = client.tasks[0].id
    for path, body in (("/api/v1/tasks", {"title": "too late"}), (f"/api/v1/tasks/{task}/rename", {"title": "too late"})):
        answer = await client.post(path, body, to=side.name)
        if answer.status_code != 503 or "retry-after" not in answer.headers:
            note.append(f"{side.name} answers POST {path} with {answer.status_code} {answer.text[:200]}")
    note += await side.find_refusals(client, task, max(1, client.newest - 5))
    for path in ("tasks", "changes", f"tasks/{task}", "tasks/counts", "projects"):
        await side.read(client, f"{path}?min_position={client.newest}")


async def _meet(trial: Trial, *sides: Side) -> None:
    client, newest = trial.clients[0], max(client.newest for client in trial.clients)
    for side in sides:
        trial.verdict.violations += [each for each in [await side.reached(newest)] if each]
        await side.read(client, f"tasks?min_position={client.newest}")
        trial.verdict.violations += await side.find_refusals(client, client.tasks[0].id, max(1, client.newest - 5))


async def after_the_switch(laboratory: Laboratory, seed: int) -> Verdict:
    """The new release was there first: the old one does not start at all."""
    old, new = laboratory.release(THIS), laboratory.release(OTHER_TAGS)
    async with Trial(laboratory, "tags anew, new first", seed, settings=laboratory.fresh(new.zygote)) as trial:
        side = Side(trial, new)
        await side.open()
        await side.work()
        client = Client("c", trial.gateway, trial.settings, str(seed))
        await client.order("POST", "/api/v1/tasks", {"title": "A"}, 1)
        trial.verdict.violations += await starts_not(old, trial.settings, "a newer release", ("serve", "work", "migrate"))
        await client.order("POST", "/api/v1/tasks", {"title": "B"}, 1)
        await side.read(client, f"tasks?min_position={client.newest}")
        return trial.verdict


def _long(skew: str, first: Order, laboratory: Laboratory, seed: int) -> Verdict:
    return asyncio.run(side_by_side(laboratory, seed, SKEWS[skew], first, COMMANDS))


DEPLOYMENTS: Mapping[str, Callable[[Laboratory, int], Verdict]] = {
    **{f"{skew}, {first} first": partial(_long, skew, first) for skew in SKEWS for first in ("old", "new")},
    "tags anew": lambda laboratory, seed: asyncio.run(tags_anew(laboratory, seed, COMMANDS)),
    "tags anew, new first": lambda laboratory, seed: asyncio.run(after_the_switch(laboratory, seed)),
}
"""The long forms, by name."""
