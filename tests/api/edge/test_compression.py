"""Compressed answers: who gets which form, how it is tagged, and that its cache is bounded in bytes."""

import asyncio
import gzip
from typing import Any

import brotli
import pytest

from api.edge.compression import CompressedBodies
from tests.api_world import PASSWORD, ROOT, World
from tests.raw_http import RawAnswer

LONG = "long " * 800


def raw(world: World, path: str, headers: dict[str, Any]) -> RawAnswer:
    """What goes out to Ada."""
    return world.api.sent("GET", path, world.ada.headers | headers)


@pytest.fixture
def long_task(world: World) -> str:
    task = world.ada.task(description=LONG)
    world.api.catch_up()
    return f"{ROOT}/tasks/{task}"


@pytest.mark.parametrize(
    ("accepted", "coding", "unpack"),
    [("gzip", "gzip", gzip.decompress), ("br", "br", brotli.decompress), ("gzip, br", "br", brotli.decompress)],
)
def test_a_long_answer_goes_out_in_the_form_that_the_client_reads(
    world: World, long_task: str, accepted: str, coding: str, unpack: Any
) -> None:
    plain, packed = raw(world, long_task, {}), raw(world, long_task, {"Accept-Encoding": accepted})
    assert packed.headers["content-encoding"] == coding
    assert int(packed.headers["content-length"]) == len(packed.body) < len(plain.body) / 2
    assert unpack(packed.body) == plain.body
    assert packed.headers["etag"] == f'{plain.headers["etag"][:-1]}-{coding}"'
    for answer in (plain, packed):
        assert answer.headers["vary"] == "accept-encoding"
        assert answer.headers["x-position"] == plain.headers["x-position"]
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "accepted", ["", "identity", "gzip;q=0", "br;q=0, gzip;q=0.0", "*;q=0", "zstd", "identity;q=1, *;q=0.1"]
)
def test_whoever_does_not_want_it_gets_it_plain(world: World, long_task: str, accepted: str) -> None:
    answer = raw(world, long_task, {"Accept-Encoding": accepted})
    assert "content-encoding" not in answer.headers
    assert LONG.encode() in answer.body
    assert answer.headers["vary"] == "accept-encoding"


def test_short_answers_and_refusals_stay_plain(world: World) -> None:
    for path in (f"{ROOT}/me", f"{ROOT}/tasks/counts", f"{ROOT}/nowhere", "/healthz"):
        answer = raw(world, path, {"Accept-Encoding": "gzip, br"})
        assert not {"content-encoding", "vary"} & set(answer.headers)


def test_no_answer_with_tokens_is_compressed(world: World) -> None:
    body = {"email": world.ada.email, "password": PASSWORD}
    answer = world.api.request("POST", f"{ROOT}/auth/login", json=body, headers={"Accept-Encoding": "gzip, br"})
    assert answer.status_code == 200
    assert "content-encoding" not in answer.headers


def test_the_tag_of_a_compressed_form_is_good_for_conditions(world: World, long_task: str) -> None:
    tag = raw(world, long_task, {"Accept-Encoding": "br"}).headers["etag"]
    again = raw(world, long_task, {"Accept-Encoding": "br", "If-None-Match": tag})
    assert (again.status, again.headers["etag"], again.body) == (304, tag, b"")
    path = long_task.removeprefix(ROOT)
    assert world.ada.post(f"{path}/rename", {"title": "Sail it"}, headers={"If-Match": tag}).status_code == 200
    assert world.ada.post(f"{path}/rename", {"title": "Sell it"}, headers={"If-Match": tag}).status_code == 412


def test_lists_and_the_description_are_compressed_too(world: World, long_task: str) -> None:
    for number in range(8):
        world.ada.task(f"task {number}")
    world.api.catch_up()
    for path in (f"{ROOT}/tasks", f"{ROOT}/changes", f"{long_task}/history", "/schema/openapi.json", "/docs/swagger-ui.js"):
        plain, packed = raw(world, path, {}), raw(world, path, {"Accept-Encoding": "gzip"})
        assert packed.headers["content-encoding"] == "gzip", path
        assert gzip.decompress(packed.body) == plain.body


def test_the_forms_that_are_kept_are_bounded_in_bytes_and_the_last_used_stay() -> None:
    async def fill() -> None:
        bodies = CompressedBodies(100_000)
        often = b"often" * 1_000
        first = await bodies.form(often, "gzip")
        for number in range(200):
            body = b"%d" % number * 3_000
            assert gzip.decompress(await bodies.form(body, "gzip")) == body
            assert await bodies.form(often, "gzip") is first
            assert bodies.held_bytes <= 100_000
        assert bodies.held_bytes > 50_000

    asyncio.run(fill())


def test_a_long_body_that_comes_once_is_not_kept() -> None:
    async def once() -> None:
        bodies = CompressedBodies(10_000_000)
        for length in (40_000, 200_000, 1_000_000):
            body = b"x" * length
            assert brotli.decompress(await bodies.form(body, "br")) == body
        assert bodies.held_bytes == 0
        await bodies.form(b"x" * 1_000_000, "br", is_lasting=True)
        assert bodies.held_bytes > 1_000_000

    asyncio.run(once())
