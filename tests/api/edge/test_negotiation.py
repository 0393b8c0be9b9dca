"""What a client says it sends, and what it says it can read."""

import gzip
import json

import pytest

from api.edge.negotiation import accepts_json, best_coding
from tests.api_world import ROOT, World, problem

OURS = ("br", "gzip")


@pytest.mark.parametrize(
    "accept",
    [
        "*/*",
        "application/json",
        "application/*",
        "text/html, */*;q=0.1",
        "Application/JSON; charset=utf-8",
        "",
        "text/csv, application/json;q=0.001",
        "application/*;q=0, application/json",
        "text/html,application/xhtml+xml,*/*;q=0.8",
        ",,application/json,",
        "*/*;q=0.5;ext=1",
    ],
)
def test_json_is_acceptable(world: World, accept: str) -> None:
    assert accepts_json(accept.encode())
    assert world.ada.get("/me", headers={"Accept": accept}).status_code == 200


@pytest.mark.parametrize(
    "accept",
    [
        "text/csv",
        "text/html, application/xml",
        "application/json;q=0",
        "*/*;q=0",
        "application/json;q=0, */*",
        "application/json;q=0.000, application/*",
        "application/problem+json",
        "application/*;q=0, */*;q=1",
        "text/*",
    ],
)
def test_whoever_excludes_json_is_refused_before_anything_is_done(world: World, accept: str) -> None:
    before = world.api.head()
    problem(world.ada.get("/me", headers={"Accept": accept}), 406, "not_acceptable", "Accept")
    problem(world.ada.post("/tasks", {"title": "x"}, headers={"Accept": accept}), 406, "not_acceptable")
    assert world.api.head() == before


def test_pages_that_are_no_json_are_given_to_browsers(world: World) -> None:
    for path in ("/docs", "/docs/swagger-ui.js", "/schema/openapi.json"):
        assert world.api.request("GET", path, headers={"Accept": "text/html"}).status_code == 200


@pytest.mark.parametrize("coding", ["gzip", "br", "GZIP", "deflate", "gzip, br", "identity, gzip", "x-unknown"])
def test_an_encoded_body_is_refused_and_never_read_as_if_it_were_plain(world: World, coding: str) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": coding}
    for body in (gzip.compress(b'{"title": "x"}'), b'{"title": "x"}'):
        answer = world.ada.request("POST", "/tasks", content=body, headers=headers)
        problem(answer, 415, "unsupported_content_encoding", "Content-Encoding")
        assert answer.headers["accept-encoding"] == "identity"


def test_a_body_may_say_that_it_is_not_encoded(world: World) -> None:
    assert world.ada.post("/tasks", {"title": "x"}, headers={"Content-Encoding": "identity"}).status_code == 201


@pytest.mark.parametrize("declared", ["application/merge-patch+json", "application/merge-patch+json; charset=utf-8"])
def test_a_change_may_be_declared_a_merge_patch(world: World, declared: str) -> None:
    task = world.ada.task(due_at="2027-01-01T00:00:00Z")
    body = json.dumps({"title": "Sail it", "due_at": None}).encode()
    changed = world.ada.request("PATCH", f"/tasks/{task}", content=body, headers={"Content-Type": declared})
    assert changed.status_code == 200
    shown = world.ada.shown(task)
    assert (shown["title"], shown["due_at"]) == ("Sail it", None)


def test_no_other_method_takes_a_merge_patch(world: World) -> None:
    headers = {"Content-Type": "application/merge-patch+json"}
    answer = world.ada.request("POST", "/tasks", content=b'{"title": "x"}', headers=headers)
    problem(answer, 415, "unsupported_media_type")
    assert "accept-patch" not in answer.headers


def test_where_a_patch_is_declared_wrongly_the_answer_names_what_it_may_be(world: World) -> None:
    task = world.ada.task()
    wrong = world.ada.request("PATCH", f"/tasks/{task}", content=b"{}", headers={"Content-Type": "application/json-patch+json"})
    problem(wrong, 415, "unsupported_media_type")
    asked = world.ada.request("OPTIONS", f"/tasks/{task}")
    for answer in (wrong, asked):
        assert answer.headers["accept-patch"] == "application/json, application/merge-patch+json"
    assert "accept-patch" not in world.api.request("OPTIONS", f"{ROOT}/auth/login").headers


@pytest.mark.parametrize(
    ("accept_encoding", "coding"),
    [
        ("gzip, br", "br"),
        ("gzip", "gzip"),
        ("br;q=0.5, gzip;q=0.8", "gzip"),
        ("br;q=0, gzip", "gzip"),
        ("br;q=0, gzip;q=0", None),
        ("*", "br"),
        ("*;q=0", None),
        ("br;q=0, *", "gzip"),
        ("identity", None),
        ("identity;q=1, gzip;q=0.5", None),
        ("GZIP", "gzip"),
        ("zstd, deflate", None),
        ("gzip;q=abc", "gzip"),
        ("", None),
        ("gzipped, brotli", None),
        ("x" * 5000 + ", br", None),
    ],
)
def test_the_coding_that_a_client_likes_most_is_chosen(accept_encoding: str, coding: str | None) -> None:
    assert best_coding(accept_encoding.encode(), OURS) == coding
