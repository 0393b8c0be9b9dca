"""What limits cost a list, and what a flood of wrong sign-ins costs everybody else."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import msgspec

from infrastructure.settings import Settings
from tests.benchmarks.crowd import read_mixed
from tests.benchmarks.figures import Figure, NotMeasured, median_ratio
from tests.benchmarks.http_client import Request
from tests.benchmarks.load import CONNECTIONS, LoadGenerator
from tests.benchmarks.plan import Plan
from tests.benchmarks.progress import Progress
from tests.benchmarks.servers import HOST, Bench, Server, User, creation, register
from tests.wide_limits import WIDE

KEYS = ("limited_list_ratio", "signin_flood_ratio")
TASKS_ON_THE_LIST = 50
FLOODERS = 200
OTHERS = 32
_WRONG = {"email": "ada@example.org", "password": "not the password of anybody"}
_SECONDS_OF_GRACE = 30.0


def measure(bench: Bench, generator: LoadGenerator, plan: Plan) -> list[Figure]:
    """Both. The flood needs wrk: raises NotMeasured without it."""
    return [_limited_list(bench, generator, plan), _flood(bench, generator, plan)]


def _limited_list(bench: Bench, generator: LoadGenerator, plan: Plan) -> Figure:
    with bench.stage() as settings, bench.api(settings) as limited, bench.api(_without_limits(settings)) as free:
        user = register(limited)
        request = Request("GET", "/api/v1/tasks", user.headers)
        with bench.background(settings):
            _fill(settings, limited, user)
        for api in (limited, free):
            generator.run(HOST, api.port, request, 1.0)
        rates = [
            [generator.run(HOST, api.port, request, plan.round_seconds).per_second for api in (limited, free)]
            for _ in range(plan.rounds)
        ]
    ratio, mine, theirs = median_ratio([pair[0] for pair in rates], [pair[1] for pair in rates])
    how = (
        f"GET /api/v1/tasks by one user with every limit at work and with limits off, two API processes by turns, "
        f"{generator.name}, {CONNECTIONS} connections, medians of {len(rates)} rounds of {plan.round_seconds:g} s"
    )
    return Figure("limited_list_ratio", ratio, how, f"{mine:,.0f} / {theirs:,.0f} per s")


def _flood(bench: Bench, generator: LoadGenerator, plan: Plan) -> Figure:
    if generator.name != "wrk":
        raise NotMeasured("a flood needs wrk: apt-get install wrk")
    with bench.stage() as settings:
        # Behind a proxy, so that each of the flooders has an address and five tries of his own: hashing never ends.
        flooded = msgspec.structs.replace(settings, trusted_proxies=HOST, limit_sign_in="5/900", limit_sign_in_address="30/900")
        with bench.api(flooded) as api:
            user = register(api)
            with bench.background(settings):
                _fill(settings, api, user)
            _p99(bench, api, user, 1.0)
            before = _p99(bench, api, user, plan.crowd_seconds)
            with _flooding(bench, api, plan.crowd_seconds + 2.0) as flood:
                during = _p99(bench, api, user, plan.crowd_seconds)
            tried = read_mixed(flood[0])
    how = (
        f"p99 of GET /api/v1/tasks, {OTHERS} connections, while {FLOODERS} clients, each from an address of its own, send "
        f"wrong sign-ins without a pause ({tried.per_second:,.0f} a second, each answered 401, 429 or 503), and before; wrk"
    )
    return Figure("signin_flood_ratio", during / before, how, f"{during:.1f} / {before:.1f} ms")


def _without_limits(settings: Settings) -> Settings:
    return msgspec.structs.replace(settings, limits="off", **dict.fromkeys(WIDE, ""))


def _fill(settings: Settings, api: Server, user: User) -> None:
    with api.connect() as connection, Progress(settings) as progress:
        for number in range(TASKS_ON_THE_LIST):
            connection.timed(creation(user), f"list-{number}")
        progress.wait()


def _p99(bench: Bench, api: Server, user: User, seconds: float) -> float:
    whole = Request("GET", "/api/v1/tasks", user.headers).parts(f"{HOST}:{api.port}")[0]
    script = f"local whole = {json.dumps(whole.decode())}\nrequest = function() return whole end\n"
    command = _wrk(bench, api, script, OTHERS, seconds)
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + _SECONDS_OF_GRACE, check=False)
    found = read_mixed(done.stdout)
    if found.refused or found.broken:
        raise NotMeasured(f"{found.refused} of {found.requests} lists were refused, {found.broken} connections broke")
    return found.p99_ms


@contextmanager
def _flooding(bench: Bench, api: Server, seconds: float) -> Iterator[list[str]]:
    """Floods inside the block; what wrk printed is in the list afterwards."""
    said: list[str] = []
    command = _wrk(bench, api, flood_script(f"{HOST}:{api.port}"), FLOODERS, seconds)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        try:
            yield said
            said.append(program.communicate(timeout=seconds + _SECONDS_OF_GRACE)[0])
        finally:
            if program.poll() is None:
                program.kill()


def flood_script(host: str) -> str:
    """A Lua script for wrk: a wrong sign-in after the other, from another of as many addresses as there are clients."""
    body = json.dumps(_WRONG)
    head = (
        f"POST /api/v1/auth/login HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nX-Forwarded-For: 10.7.0."
    )
    return (
        f"local head, body, n = {json.dumps(head)}, {json.dumps(body)}, 0\n"
        f"request = function()\n  n = n + 1\n  return head .. (n % {FLOODERS}) .. '\\r\\n\\r\\n' .. body\nend\n"
    )


def _wrk(bench: Bench, api: Server, script: str, connections: int, seconds: float) -> list[str]:
    file = bench.folder / f"{uuid4().hex}.lua"
    file.write_text(script, encoding="utf-8")
    whole = max(1, round(seconds))
    command = ["wrk", "-t1", f"-c{connections}", f"-d{whole}s", "--timeout", "30s", "--latency", "-s", str(file)]
    return [*command, f"http://{HOST}:{api.port}"]
