"""One process of sixteen writers of cards: python -m tests.application.racing_cards DATABASE_URL SEED COMMANDS [unconditional]

Prints how many commands were carried out by each writer, as JSON. Without conditions the same decisions are made, on what this
process remembers, and nothing proves them.
"""

import asyncio
import json
import random
import sys
from contextlib import suppress
from uuid import uuid4

import msgspec

from application.checks import NothingToCheck
from application.command_handler import CommandHandler, Contention
from application.log import Append, Appended
from application.turns import Turns
from domain.errors import RuleViolated
from infrastructure.log.event_store import PostgresEventStore
from tests.application.handler_under_test import context
from tests.cards import CARD, CardCommand, Free, Link, Move, Name, register, tags_of
from tests.infrastructure.log_under_test import open_store

WRITERS = 16


class Writer:
    def __init__(self, seed: int, handler: CommandHandler) -> None:
        self.random = random.Random(seed)
        self.handler = handler
        self.card = uuid4()
        self.done = 0

    async def write(self, commands: int) -> None:
        for _ in range(commands):
            command = self.command()
            # A card's own stream for moves; every other command has one of its own, so that only boundaries meet.
            stream = self.card if isinstance(command, Move) else uuid4()
            with suppress(RuleViolated, Contention):
                await self.handler.handle(command, stream, context())
                self.done += 1

    def command(self) -> CardCommand:
        match self.random.choice("mmlnn"):
            case "m":
                return Move(self.card, self.random.choice(("doing", "review", "")))
            case "l":
                before, after = self.random.sample("abcdef", 2)
                return Link(before, after, undo=self.random.random() < 0.4)
            case _:
                name = self.random.choice("pqr")
                return Name(self.card, name) if self.random.random() < 0.5 else Free(self.card, name)


def without_conditions(store: PostgresEventStore) -> None:
    append = store.append

    async def unconditional(asked: Append) -> Appended:
        return await append(msgspec.structs.replace(asked, conditions=()))

    store.append = unconditional


async def race(database_url: str, seed: int, commands: int, *, conditional: bool) -> list[int]:
    register()
    async with open_store(database_url) as store:
        if not conditional:
            without_conditions(store)
        handler = CommandHandler(CARD, store, NothingToCheck(), Turns(), tags_of)
        writers = [Writer(seed * WRITERS + number, handler) for number in range(WRITERS)]
        # Nobody begins before the other process is there: it reads a line.
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        await asyncio.gather(*(writer.write(commands) for writer in writers))
    return [writer.done for writer in writers]


if __name__ == "__main__":
    url, seed, commands, *more = sys.argv[1:]
    print(json.dumps(asyncio.run(race(url, int(seed), int(commands), conditional=not more))), flush=True)
