"""Deployments: one release comes beside another one, goes again, and comes back, while clients write and read at both.

Nothing may be answered with 500, nothing parked, nothing lost; what was acknowledged by one is seen at the other, as far as
that release knows it. The API process of the release that comes is there before its workers.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Literal

import msgspec

from tests.faults.laboratory import Laboratory
from tests.faults.load import Client
from tests.faults.log_check import log_violations
from tests.faults.older_releases import FORM
from tests.faults.releases import Made
from tests.faults.sides import Noticed, Side
from tests.faults.skew_sabotage import ONE_NAME
from tests.faults.trial import Trial, Verdict

STEP_SECONDS = 60.0
WAIT_SECONDS = 0.25
FOUND_OUT_SECONDS = 4.0
THINK_SECONDS = 0.05
"""Of clients, so that it is not they who are measured."""

Order = Literal["old", "new"]
Sabotage = Mapping[str, Sequence[str]]
"""Known faults by the name of the release that has them."""


class Skew(msgspec.Struct, frozen=True, kw_only=True):
    """Two releases, and what only the new one can do: `act` does it and gives a task that it is about, to which something
    happens `again` once the old one has come.

    `holds` where the old one cannot read past that. `is_checked` where this tree can read all that is written; else the old
    one's verification says of what `unknown` names that it does not know it.
    """

    name: str
    old: Made
    new: Made
    act: Callable[["Beside"], Awaitable[str]]
    again: Callable[["Beside"], Awaitable[None]] | None = None
    holds: bool = False
    is_checked: bool = True
    unknown: str = ""


class Beside:
    """One trial of a skew."""

    def __init__(
        self, trial: Trial, skew: Skew, sides: tuple[Side, Side], commands: int, sabotage: Collection[str] = ()
    ) -> None:
        self.trial = trial
        self.skew = skew
        self.old, self.new = sides
        self.author = Client("author", trial.gateway, trial.settings, f"{skew.name} {trial.verdict.seed}")
        self.commands = commands
        self.task = ""
        self.task_at = 0
        self.touched = 0
        self.met = 1
        self.is_sabotaged = bool(sabotage)
        self.patience = FOUND_OUT_SECONDS if sabotage else STEP_SECONDS
        # Whether the two have read models of their own, as they should.
        self.own_layouts = self.old.release.layouts != self.new.release.layouts and "aggregates are no layout" not in sabotage

    def note(self, *violations: str) -> None:
        """Of a known fault one is enough."""
        self.trial.verdict.violations += [violation for violation in violations if violation]
        if self.is_sabotaged and self.trial.verdict.violations:
            raise Noticed

    def expect(self, holds: bool, otherwise: str) -> None:
        """Note what is not as it must be."""
        if not holds:
            self.note(otherwise)

    def newest(self) -> int:
        """What was acknowledged last."""
        return max(client.newest for client in (*self.trial.clients, self.author))

    async def write(self) -> None:
        """Let the clients go on for a while."""
        await self.trial.issue(self.commands, STEP_SECONDS)

    async def run(self, first: Order) -> None:
        """The whole of it."""
        begins, comes = (self.old, self.new) if first == "old" else (self.new, self.old)
        await begins.open()
        await begins.work()
        writers = self.trial.load(2, readers=THINK_SECONDS, pause=THINK_SECONDS)
        await self.write()
        if begins is self.new:
            await self.act()
            await self.write()
        await self.come(comes)
        if self.task and self.skew.again:
            await self.skew.again(self)
        await self.write()
        if begins is self.old:
            await self.act()
            await self.write()
        await self.meet()
        await self.only_old_workers()
        await self.go_back()
        await self.come_again()
        await self.trial.finish(writers)
        await self.judge()

    async def act(self) -> None:
        """Do what only the new release can, and look that the old one can do without."""
        self.task = await self.skew.act(self)
        self.task_at = self.author.newest

    async def come(self, comes: Side) -> None:
        """The second release: its API serves before it has any read model, and is ready when it has."""
        await comes.open()
        await self.ask(comes)
        if self.own_layouts:
            self.expect(not await comes.is_ready(self.author), f"{comes.name} is ready before it has read models")
            self.expect(
                (await self.author.get("/api/v1/tasks", to=comes.name)).status_code == 503, f"{comes.name} lists what it lacks"
            )
        await self.author.order("POST", "/api/v1/tasks", {"title": "taken all the same"}, 1, to=comes.name)
        await comes.work()
        async with asyncio.timeout(STEP_SECONDS):
            while not await comes.is_ready(self.author):  # noqa: ASYNC110 - only asking tells
                await asyncio.sleep(0.02)
        await self.ask(comes)

    async def ask(self, *sides: Side) -> None:
        """Nothing that can be read is answered with anything but 200 or, for the moment, 503."""
        for side in sides:
            client, since = (self.author, self.task_at) if self.task else (self.trial.clients[0], self.newest())
            self.note(*await side.find_refusals(client, self.task or client.tasks[0].id, self.met, since))

    async def meet(self) -> None:
        """Both reach what is acknowledged by now, and show it."""
        position = self.newest()
        for side in (self.old, self.new):
            if side is self.old and self.skew.holds and self.own_layouts:
                continue
            self.note(await side.reached(position, self.patience))
            for client in self.trial.clients:
                await side.read(client, f"tasks?min_position={client.newest}")
                await side.read(client, f"changes?min_position={client.newest}&limit=1")
        self.met = position
        await self.ask(self.old, self.new)
        self.nothing_parked()

    def nothing_parked(self) -> None:
        """On either side."""
        for side in (self.old, self.new):
            self.note(*(f"{side.name} parked {each}" for each in side.parked()))

    async def only_old_workers(self) -> None:
        """Nobody is there who knows all that the new release's API goes on to write: the old one's workers hold, or pass."""
        await self.new.rest()
        await self.skew.act(self)
        await self.write()
        self.note(await (self.old.held() if self.skew.holds else self.old.reached(self.newest(), self.patience)))
        if self.is_sabotaged:
            self.note(*await self.new.verify(self.trial.laboratory.folder))
        await self.ask(self.old, self.new)
        self.nothing_parked()

    async def go_back(self) -> None:
        """The new release goes, the old one goes on."""
        await self.new.close()
        await self.write()
        if not self.skew.holds:
            self.note(await self.old.reached(self.newest()))
        await self.ask(self.old)
        self.expect(await self.old.is_ready(self.author), f"{self.old.name} is not ready any more")
        self.nothing_parked()

    async def come_again(self) -> None:
        """The new release takes up what the old one has written, and what it could not read."""
        await self.new.open()
        await self.new.work()
        await self.write()

    async def judge(self) -> None:
        """Log, read models and answers; what each release's own verification finds."""
        trial, laboratory = self.trial, self.trial.laboratory
        await self.meet()
        await trial.ask_again(most=40)
        trial.clients.append(self.author)
        self.note(*served_by_its_own_layout(self))
        if self.skew.is_checked:
            await trial.judge()
            self.note()
        else:
            self.note(*await asyncio.to_thread(log_violations, trial.settings, trial.clients))
        self.note(*await self.new.verify(laboratory.folder))
        if not self.skew.holds:
            found = await self.old.verify(laboratory.folder)
            said = [line for line in found if self.skew.unknown and f"{self.skew.unknown!r} is unknown to this release" in line]
            self.expect(len(said) == bool(self.skew.unknown), f"{self.old.name} does not say what it cannot verify: {found}")
            self.note(*(line for line in found if line not in said))


def served_by_its_own_layout(beside: Beside) -> list[str]:
    """Lists of the release that has other lines carry its mark, which is then taken off, and those of others do not."""
    found = []
    for client in beside.trial.clients:
        for seen in client.seen:
            if seen.kind == "list":
                marks = {item.pop(FORM, "") for item in seen.body["items"]}
                wanted = {"former"} if seen.by in ("layouts.test", "both.test") else {""}
                if marks and marks != wanted:
                    found.append(f"{seen.by} served lines of the form {marks}")
    return found


async def side_by_side(
    laboratory: Laboratory, seed: int, skew: Skew, first: Order, commands: int = 12, sabotage: Sabotage | None = None
) -> Verdict:
    """The two releases of a skew, in this order."""
    faults = sabotage or {}
    old, new = laboratory.release(skew.old), laboratory.release(skew.new)
    begins = old if first == "old" else new
    settings = laboratory.fresh(begins.zygote, faults.get(begins.name, ()))
    # Where a release holds, what it has not applied is not worth waiting for.
    settings = msgspec.structs.replace(settings, wait_seconds=WAIT_SECONDS)
    async with Trial(laboratory, f"{skew.name}, {first} first", seed, settings=settings) as trial:
        named = {fault for own in faults.values() for fault in own}
        clash = ONE_NAME if named & {"one name for all layouts", "aggregates are no layout"} else ""
        sides = (Side(trial, old, faults.get(old.name, ()), clash), Side(trial, new, faults.get(new.name, ()), clash))
        beside = Beside(trial, skew, sides, commands, named)
        with suppress(Noticed):
            await beside.run(first)
        return trial.verdict
