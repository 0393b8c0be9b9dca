"""Budgets in Redis: one script decides about all that apply to a request, on the server's clock.

The keys share one hash tag, because one script must see them together. What the server knew may be lost (restarted, emptied,
failed over): a mark beside the budgets says whose memory it is, and after a loss they are counted as used up.
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import redis.asyncio
from redis.exceptions import NoScriptError, RedisError

from infrastructure.limits.budgets import MICRO, Budget
from infrastructure.servers.patience import Patience

PREFIX: Final = "tm:{limits}:"
MARK: Final = f"{PREFIX}mark"
SETTLE_SECONDS: Final = 1.0
"""After a loss all processes give their own shares for so long before Redis decides again: whoever is still cut off has
noticed by then."""
TIMEOUT_SECONDS: Final = 0.5
MOST_AT_ONCE: Final = 64
LEND_SECONDS: Final = 1.0
"""So long lent points last, where a gap may be left before them."""
SMALLEST_PART: Final = 16
"""A process is lent at most this part (1/16) of a budget's burst, and no gap is larger."""
LENDABLE_SHARE: Final = 8
"""Ahead of need a process is lent at most this part (1/8) of what is left, so that the last points can be had anywhere."""

# KEYS: the mark, then a budget each. ARGV: mark known here, nonce of a new mark, run id of this server, microseconds to settle
# (0: this is the only process), whether this process was cut off, points needed at least, points wanted in all, microseconds
# for which lent points shall last, whether those may be put behind a gap that nobody gets, then for each budget: interval,
# burst, points wanted beyond, microseconds for which it counts as used up.
# Answer: mark, state (0 decided, -1 another memory than known: ask again, else microseconds until it decides again), and
# where decided: whether given, points given of every budget, then for each budget: points lent beyond, microseconds until the
# first of them lapses, points left, microseconds until all are back, microseconds until the least that is needed is there.
SCRIPT: Final = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local known, run, settle, was_away = ARGV[1], ARGV[3], tonumber(ARGV[4]), ARGV[5] == '1'
local least, need = tonumber(ARGV[6]), tonumber(ARGV[7])
local lasting, may_leave_gap = now + tonumber(ARGV[8]), ARGV[9] == '1'
local mark, settled = redis.call('GET', KEYS[1]), 0
local id = run .. '-' .. ARGV[2]
local is_lost = known ~= ''
if mark then
  local held, at = string.match(mark, '^(%S+) (%d+)$')
  settled = tonumber(at)
  if string.sub(held, 1, #run + 1) == run .. '-' then
    id = held
    is_lost = known ~= '' and known ~= held and settled == 0
  end
end
if settle > 0 and (is_lost or was_away) and settled <= now then settled = now + settle end
local whole = id .. ' ' .. string.format('%.0f', settled)
if mark ~= whole then redis.call('SET', KEYS[1], whole) end
if settled > now then return {id, settled - now} end
if known ~= '' and known ~= id then return {id, -1} end
local tats, free, is_given, common = {}, {}, 1, need
for i = 2, #KEYS do
  local at = (i - 1) * 4 + 6
  local interval, burst, floor = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 3])
  local tat = tonumber(redis.call('GET', KEYS[i]) or 0)
  if settled > 0 then tat = math.max(tat, settled + interval * burst) end
  tats[i] = math.max(tat, now + floor)
  free[i] = math.floor((now + interval * burst - tats[i]) / interval)
  if free[i] < least then is_given = 0 end
  common = math.min(common, free[i])
end
if is_given == 0 then common = 0 end
local answer = {id, 0, is_given, common}
for i = 2, #KEYS do
  local at = (i - 1) * 4 + 6
  local interval, burst, beyond = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local tat, lent, first = tats[i] + common * interval, 0, 0
  local from = tat
  if may_leave_gap and from < lasting and (lasting - from) * SMALL <= interval * burst then from = lasting end
  if is_given == 1 and beyond > 0 then
    lent = math.max(0, math.min(beyond, math.floor((now + interval * burst - from) / interval / LENDABLE)))
    if lent > 0 then tat, first = from + lent * interval, from + interval - now end
  end
  if tat > tats[i] then
    redis.call('SET', KEYS[i], string.format('%.0f', tat), 'PX', math.ceil((tat - now) / 1000) + 1000)
  end
  answer[#answer + 1] = lent
  answer[#answer + 1] = first
  answer[#answer + 1] = math.floor((now + interval * burst - tat) / interval)
  answer[#answer + 1] = tat - now
  answer[#answer + 1] = math.max(0, tats[i] + least * interval - now - interval * burst)
end
return answer
""".replace("LENDABLE", str(LENDABLE_SHARE)).replace("SMALL", str(SMALLEST_PART))


class Given(msgspec.Struct, frozen=True):
    """What is known of one budget. `lent` points are given beyond need: the first lapses at `lapses` (on this process's clock),
    each further one an interval later. `back` is in how many seconds all points are there again, `wait` until those are that
    were needed.
    """

    lent: int
    lapses: float
    left: int
    back: float
    wait: float


class Decision(msgspec.Struct, frozen=True):
    """The answer for all budgets of a question: `points` from each, which are spent with it, or none from any."""

    asked_at: float
    is_given: bool
    points: int
    parts: tuple[Given, ...]


class Settling(Exception):
    """Redis lost what it knew and decides again in so many `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class AnotherMemory(Exception):
    """Redis does not know any more what it knew: ask again with what is known here."""


class RedisAway(Exception):
    """Redis does not answer."""


class Asked(msgspec.Struct, frozen=True):
    """One budget of a question: its key, and for how many seconds it counts as used up (0 where nothing is known)."""

    budget: Budget
    key: str
    beyond: int = 0
    used_up: float = 0.0


class RedisBudgets:
    """Asks the script, over one connection; whoever asks during a round trip shares the next. `processes`: see `Limiter`."""

    def __init__(self, client: "redis.asyncio.Redis", processes: int) -> None:
        self._client = client
        self._settle = round(SETTLE_SECONDS * MICRO) if processes > 1 else 0
        self._known = ""
        self._run_id = ""
        self._connection: Any = None
        self._digest = ""
        self._waiting: list[tuple[list[str | int], int, asyncio.Future[Any]]] = []
        self._running: asyncio.Task[None] | None = None

    async def decide(
        self, asked: Sequence[Asked], least: int, need: int, *, was_away: bool = False, may_leave_gap: bool = False
    ) -> Decision:
        """Take `least` to `need` points from every budget, or none from any; then lend what is asked for beyond.

        Behind a gap, which is lost to everybody, lent points last for LEND_SECONDS; else each until it would have come back.
        Raises Settling, AnotherMemory or RedisAway; nothing was taken then that anybody may spend.
        """
        arguments: list[str | int] = [MARK, *(PREFIX + each.key for each in asked)]
        arguments += [self._known, secrets.token_hex(4), "", self._settle, int(was_away), least, need]
        arguments += [round(LEND_SECONDS * MICRO), int(may_leave_gap)]
        for each in asked:
            used_up = max(0, round(each.used_up * MICRO))
            arguments += [each.budget.interval, each.budget.burst, each.beyond, used_up]
        answer: asyncio.Future[tuple[float, list[Any]]] = asyncio.get_running_loop().create_future()
        self._waiting.append((arguments, 1 + len(asked), answer))
        if self._running is None:
            self._running = asyncio.create_task(self._serve(), name="limits")
        asked_at, found = await answer
        self._known = found[0].decode()
        if found[1] < 0:
            raise AnotherMemory
        if found[1] > 0:
            raise Settling(found[1] / MICRO)
        return _decision(asked_at, found)

    async def close(self) -> None:
        """Give up what waits, and the connection."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running], timeout=1)
        await self._disconnect()

    async def _serve(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:MOST_AT_ONCE], self._waiting[MOST_AT_ONCE:]
                try:
                    asked_at, answers = await self._ask_twice(batch)
                except (RedisError, OSError, TimeoutError):
                    # Nor would it answer those who came meanwhile: they are not kept waiting for the same silence.
                    _refuse([answer for _, _, answer in batch])
                    return
                for (_, _, answer), found in zip(batch, answers, strict=True):
                    if answer.done():
                        continue
                    if isinstance(found, Exception):
                        _refuse([answer])
                    else:
                        answer.set_result((asked_at, found))
        finally:
            self._running = None
            _refuse([answer for _, _, answer in self._waiting])
            self._waiting = []

    async def _ask_twice(self, batch: list[Any]) -> tuple[float, list[Any]]:
        """A connection that broke, or a busy moment of this process, is not yet an outage: once more on a new connection.

        What the first attempt may have taken is spent by nobody.
        """
        try:
            return await self._ask(batch)
        except (RedisError, OSError, TimeoutError):
            await self._disconnect()
        try:
            return await self._ask(batch)
        except BaseException:
            await self._disconnect()
            raise

    async def _ask(self, batch: list[Any]) -> tuple[float, list[Any]]:
        async with Patience(TIMEOUT_SECONDS):
            connection = self._connection or await self._connect()
            # Before sending: what lapses by this clock has lapsed by the server's.
            asked_at = time.monotonic()
            for arguments, keys, _ in batch:
                arguments[keys + 2] = self._run_id
                await connection.send_command("EVALSHA", self._digest, keys, *arguments, check_health=False)
            answers = [await _read(connection) for _ in batch]
            if any(isinstance(answer, NoScriptError) for answer in answers):
                await self._load(connection)
                raise redis.ConnectionError("the script was forgotten")
            return asked_at, answers

    async def _connect(self) -> Any:
        pool: Any = self._client.connection_pool
        connection = self._connection = await pool.get_connection()
        if not connection.is_connected:
            await connection.connect()
        await self._load(connection)
        await connection.send_command("INFO", "server", check_health=False)
        info: bytes = await connection.read_response()
        lines = dict(line.partition(b":")[::2] for line in bytes(info).splitlines())
        self._run_id = lines.get(b"run_id", b"unknown").decode()
        return connection

    async def _load(self, connection: Any) -> None:
        await connection.send_command("SCRIPT", "LOAD", SCRIPT, check_health=False)
        self._digest = (await connection.read_response()).decode()

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(RedisError, OSError):
                await connection.disconnect(nowait=True)
            await self._client.connection_pool.release(connection)


async def _read(connection: Any) -> Any:
    try:
        return await connection.read_response()
    except redis.ResponseError as error:
        return error


def _refuse(answers: "list[asyncio.Future[Any]]") -> None:
    for answer in answers:
        if not answer.done():
            answer.set_exception(RedisAway())
            # Seen here, because whoever waited may have given up.
            answer.exception()


def _decision(asked_at: float, found: list[Any]) -> Decision:
    parts = tuple(
        Given(
            int(found[at]),
            asked_at + found[at + 1] / MICRO,
            int(found[at + 2]),
            found[at + 3] / MICRO,
            found[at + 4] / MICRO,
        )
        for at in range(4, len(found), 5)
    )
    return Decision(asked_at, found[2] == 1, int(found[3]), parts)
