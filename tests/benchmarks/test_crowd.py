"""The crowd's own logic: what it sends and what it reads off the load generator. No speeds."""

import pytest

from tests.benchmarks.crowd import mixed_script, read_mixed
from tests.benchmarks.figures import NotMeasured
from tests.benchmarks.http_client import Request

OUTPUT = """Running 10s test @ http://127.0.0.1:40123
  1 threads and 256 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency    52.59ms   20.91ms 312.01ms   81.10%
    Req/Sec     4.49k     0.92k    6.75k    70.00%
  Latency Distribution
     50%   52.59ms
     75%   60.10ms
     90%   90.00ms
     99%    1.46s
  36287 requests in 8.07s, 91.21MB read
  Socket errors: connect 1, read 2, write 3, timeout 4
  Non-2xx or 3xx responses: 277
Requests/sec:   4497.71
Transfer/sec:     11.30MB
"""


def test_what_was_refused_and_what_broke_is_counted_apart() -> None:
    load = read_mixed(OUTPUT)
    assert (load.requests, load.refused, load.broken) == (36_287, 277, 10)
    assert (load.per_second, load.p50_ms, load.p99_ms) == (4497.71, 52.59, 1460.0)


def test_a_load_without_answers_is_not_a_measurement() -> None:
    with pytest.raises(NotMeasured):
        read_mixed(OUTPUT.replace("36287 requests", "0 requests"))


def test_every_tenth_request_is_a_creation_with_a_key_of_its_own() -> None:
    read = Request("GET", "/api/v1/tasks", {"Authorization": "Bearer x"})
    create = Request("POST", "/api/v1/tasks", {}, b'{"title":"x"}', keyed=True)
    script = mixed_script([read], [create], "127.0.0.1:8000")
    assert "n % 10 > 0" in script
    assert script.count("Idempotency-Key") == 1
    assert "GET /api/v1/tasks HTTP/1.1" in script
