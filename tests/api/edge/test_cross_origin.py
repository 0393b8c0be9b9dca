"""CORS by allow-list: pages of listed origins may use the API in a browser, all others may not, and nobody else notices."""

from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest

from api.app import describe
from api.edge.cross_origin import ALLOWED_HEADERS, EXPOSED_HEADERS
from infrastructure.settings import ConfigurationError, Settings, cors_origins, load_settings
from tests.api_world import ROOT, Api, World, problem, serving

APP = "https://app.example.org"


@pytest.fixture(scope="module")
def listing(api_settings: Settings) -> Iterator[World]:
    """An API that lists two origins."""
    with serving(msgspec.structs.replace(api_settings, cors_origins=f"{APP},http://localhost:5173")) as served:
        yield World(served)


def preflight(api: Api, origin: str, path: str = f"{ROOT}/tasks", **more: str) -> httpx.Response:
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    return api.request("OPTIONS", path, headers=headers | more)


def of_cors(answer: httpx.Response) -> set[str]:
    return {name for name in answer.headers if name.startswith("access-control-")}


@pytest.mark.parametrize("origin", [APP, "http://localhost:5173"])
def test_a_preflight_of_a_listed_origin_needs_no_token_and_is_told_what_is_allowed(listing: World, origin: str) -> None:
    answer = preflight(listing.api, origin)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == origin
    assert answer.headers["access-control-allow-methods"] == "GET, HEAD, OPTIONS, POST"
    assert "Authorization" in answer.headers["access-control-allow-headers"]
    assert answer.headers["vary"] == "origin"


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "",
        "http://app.example.org",
        f"{APP}.evil.example",
        f"{APP}:8443",
        APP.replace("app", "APP"),
        f"{APP}/",
        "*",
    ],
)
def test_no_other_origin_is_told_anything(listing: World, origin: str) -> None:
    refused = preflight(listing.api, origin)
    problem(refused, 401, "missing_token")
    read = listing.ada.get("/tasks", headers={"Origin": origin})
    assert read.status_code == 200
    for answer in (refused, read):
        assert not of_cors(answer)
        assert "origin" in answer.headers["vary"]


def test_an_answer_to_a_listed_origin_may_be_read_by_its_page_and_refusals_too(listing: World) -> None:
    for answer in (
        listing.ada.get("/tasks", headers={"Origin": APP}),
        listing.api.request("GET", f"{ROOT}/tasks", headers={"Origin": APP}),
        listing.ada.get("/nowhere", headers={"Origin": APP}),
    ):
        assert answer.headers["access-control-allow-origin"] == APP
        assert answer.headers["access-control-allow-credentials"] == "true"
        assert answer.headers["access-control-expose-headers"] == ", ".join(EXPOSED_HEADERS)


def test_a_preflight_for_a_path_that_is_not_there_is_refused(listing: World) -> None:
    problem(preflight(listing.api, APP, "/nowhere"), 404, "not_found")
    problem(preflight(listing.api, APP, "//api/v1/tasks"), 404, "not_found")


def test_without_a_list_no_answer_mentions_other_origins(world: World) -> None:
    for answer in (preflight(world.api, APP), world.ada.get("/me", headers={"Origin": APP})):
        assert not of_cors(answer)
        assert "vary" not in answer.headers


def test_a_page_may_send_every_header_that_a_route_declares() -> None:
    operations = [operation for item in describe()["paths"].values() for operation in item.values()]
    declared = {each["name"] for operation in operations for each in operation.get("parameters", ()) if each["in"] == "header"}
    assert declared <= set(ALLOWED_HEADERS)


def test_a_page_may_read_every_header_that_a_route_declares() -> None:
    answers: list[dict[str, Any]] = [
        answer
        for item in describe()["paths"].values()
        for operation in item.values()
        for answer in operation["responses"].values()
    ]
    declared = {name for answer in answers for name in answer.get("headers", ())}
    assert declared - {"Set-Cookie"} <= set(EXPOSED_HEADERS)


@pytest.mark.parametrize(
    "value",
    ["*", "app.example.org", f"{APP}/path", f"{APP}, http://x", "ftp://x", f"{APP},", APP.replace("app", "*"), f"{APP}\n"],
)
def test_what_is_no_list_of_origins_stops_the_start(value: str) -> None:
    with pytest.raises(ConfigurationError, match="TASKMASTER_CORS_ORIGINS"):
        load_settings({"TASKMASTER_CORS_ORIGINS": value})


def test_origins_are_compared_as_browsers_write_them() -> None:
    settings = load_settings(
        {"TASKMASTER_CORS_ORIGINS": "HTTPS://App.Example.org:443,http://x:80,http://x:8080".replace("HTTPS", "https")}
    )
    assert cors_origins(settings) == [APP, "http://x", "http://x:8080"]
