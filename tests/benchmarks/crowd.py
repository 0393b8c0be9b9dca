"""Many clients of one API process at once: nine reads and one creation of ten, from hundreds to thousands of connections."""

import json
import re
import resource
import subprocess
from uuid import uuid4

import msgspec

from tests.benchmarks.figures import Figure, NotMeasured
from tests.benchmarks.http_client import Request
from tests.benchmarks.load import LoadGenerator
from tests.benchmarks.plan import Plan
from tests.benchmarks.progress import Progress
from tests.benchmarks.servers import HOST, Bench, Server, User, creation, register

KEYS = ("mixed_per_s", "mixed_p99_ms", "crowd_refused", "crowd_p99_ms")
MIXED, CROWD = 256, 5_000
USERS = 16
TASKS_A_USER = 30
_SECONDS_OF_GRACE = 60.0


class MixedLoad(msgspec.Struct, frozen=True, kw_only=True):
    """What wrk saw: answers, those not of the 200s, connections that broke or waited past its patience, milliseconds."""

    requests: int
    per_second: float
    refused: int
    broken: int
    p50_ms: float
    p99_ms: float


def measure(bench: Bench, generator: LoadGenerator, plan: Plan) -> list[Figure]:
    """One API process, relay and worker running. Raises NotMeasured without wrk: our own client would be the bottleneck."""
    if generator.name != "wrk":
        raise NotMeasured("a crowd needs wrk: apt-get install wrk")
    _allow_connections()
    with bench.stage() as settings, bench.api(settings) as api, bench.background(settings), Progress(settings) as progress:
        users = [register(api) for _ in range(USERS)]
        requests = _requests(api, users)
        progress.wait()
        _run(bench, api, requests, MIXED, 2.0)
        mixed = _run(bench, api, requests, MIXED, plan.crowd_seconds)
        progress.wait()
        crowd = _run(bench, api, requests, CROWD, plan.crowd_seconds)
        progress.wait()
    if mixed.refused or mixed.broken:
        raise NotMeasured(f"{mixed.refused} of {mixed.requests} requests were refused, {mixed.broken} connections broke")
    what = (
        f"of ten requests nine are reads (the default list and single tasks by turns) and one is a creation, {USERS} users, "
        f"one API process, relay and worker running, wrk for {plan.crowd_seconds:g} s"
    )
    mixed_how = f"{what}, {MIXED} connections; p50 {mixed.p50_ms:.1f} ms"
    crowd_how = (
        f"{what}, {CROWD:,} connections, {crowd.per_second:,.0f} answers a second; p50 {crowd.p50_ms:.0f} ms; "
        f"refused or broken {crowd.refused} + {crowd.broken} of {crowd.requests}"
    )
    return [
        Figure("mixed_per_s", mixed.per_second, mixed_how),
        Figure("mixed_p99_ms", mixed.p99_ms, mixed_how),
        Figure("crowd_refused", crowd.refused + crowd.broken, crowd_how),
        Figure("crowd_p99_ms", crowd.p99_ms, crowd_how),
    ]


def _allow_connections() -> None:
    """Let the children have a file open for each connection."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CROWD + 1_000
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise NotMeasured(f"{CROWD} connections need {wanted} open files, the system allows {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def _requests(api: Server, users: list[User]) -> tuple[list[Request], list[Request]]:
    """The reads, and the creations; every user has a page full of tasks."""
    reads, creations = [], []
    with api.connect() as connection:
        for user in users:
            create = creation(user)
            ids = []
            for number in range(TASKS_A_USER):
                answer = connection.send(create, f"{user.principal_id}-{number}")
                ids.append(msgspec.json.decode(answer.body)["stream_id"])
            creations.append(create)
            for task_id in ids[:4]:
                reads.append(Request("GET", "/api/v1/tasks", user.headers))
                reads.append(Request("GET", f"/api/v1/tasks/{task_id}", user.headers))
    return reads, creations


def mixed_script(reads: list[Request], creations: list[Request], host: str) -> str:
    """A Lua script for wrk: every tenth request is a creation with a key of its own, the others are reads by turns."""
    plain = ",".join(_lua(request.parts(host)[0]) for request in reads)
    keyed = ",".join(f"{{{','.join(_lua(part) for part in request.parts(host))}}}" for request in creations)
    return (
        f'local reads, creations, run, n = {{{plain}}}, {{{keyed}}}, "{uuid4().hex}-", 0\n'
        "request = function()\n  n = n + 1\n"
        "  if n % 10 > 0 then return reads[n % #reads + 1] end\n"
        "  local c = creations[(n / 10) % #creations + 1]\n  return c[1] .. run .. n .. c[2]\nend\n"
    )


def _lua(text: bytes) -> str:
    return json.dumps(text.decode(), ensure_ascii=True)


def _run(
    bench: Bench, api: Server, requests: tuple[list[Request], list[Request]], connections: int, seconds: float
) -> MixedLoad:
    script = bench.folder / f"{uuid4().hex}.lua"
    script.write_text(mixed_script(*requests, f"{HOST}:{api.port}"), encoding="utf-8")
    whole = max(1, round(seconds))
    command = ["wrk", "-t1", f"-c{connections}", f"-d{whole}s", "--timeout", "30s", "--latency", "-s", str(script)]
    try:
        command.append(f"http://{HOST}:{api.port}")
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=whole + _SECONDS_OF_GRACE, check=False
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise NotMeasured("wrk did not end") from None
    if done.returncode:
        raise NotMeasured(f"wrk ended with {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
    return read_mixed(done.stdout)


_TOTAL = re.compile(r"(\d+) requests in ")
_RATE = re.compile(r"Requests/sec:\s+([\d.]+)")
_REFUSED = re.compile(r"Non-2xx or 3xx responses: (\d+)")
_BROKEN = re.compile(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)")
_SHARE = r"\s+{}%\s+([\d.]+)(us|ms|s|m)\b"
_MILLISECONDS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 60e3}


def read_mixed(output: str) -> MixedLoad:
    """What `wrk --latency` printed. Raises NotMeasured where nothing was answered."""
    total, rate = _TOTAL.search(output), _RATE.search(output)
    shares = [re.search(_SHARE.format(share), output) for share in (50, 99)]
    if total is None or rate is None or int(total[1]) == 0 or None in shares:
        raise NotMeasured(f"wrk measured nothing: {output.strip()[-200:]!r}")
    p50, p99 = (float(found[1]) * _MILLISECONDS[found[2]] for found in shares if found)
    refused, broken = _REFUSED.search(output), _BROKEN.search(output)
    return MixedLoad(
        requests=int(total[1]),
        per_second=float(rate[1]),
        refused=int(refused[1]) if refused else 0,
        broken=sum(map(int, broken.groups())) if broken else 0,
        p50_ms=p50,
        p99_ms=p99,
    )
