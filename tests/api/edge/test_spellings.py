"""Route by spelling: every way to write every path leads to the registered route with its protection, or nowhere.

Paths and methods come from the route table, so a new route is walked by itself; the requests go to the real server over a
raw socket, because clients put such paths right before they send them.
"""

import json
import re
from collections.abc import Iterator
from uuid import UUID

import pytest

from api.edge.front import Edge
from api.edge.routing import Place
from infrastructure.settings import Settings
from tests.api_world import ROOT, Api, World
from tests.raw_http import RawAnswer, RawConnection, RawServer, raw_server

SOMETHING = str(UUID(int=7))
OTHER_METHODS = ["GET", "HEAD", "POST", "OPTIONS", "PUT", "get", "CONNECTX"]


@pytest.fixture(scope="module")
def server(api_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RawServer]:
    with raw_server(api_settings, tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def connection(server: RawServer) -> Iterator[RawConnection]:
    opened = server.connect()
    yield opened
    opened.close()


def places(api: Api) -> list[Place]:
    edge = api.app.asgi_handler
    assert isinstance(edge, Edge)
    return list(edge.table.places.values())


def filled(template: str) -> str:
    return re.sub(r"\{[^}]*\}", SOMETHING, template)


def spellings(path: str) -> set[str]:
    """Ways to write a path that are not the way it is registered."""
    found = {path.upper(), path.title(), path.swapcase(), "http://taskmaster.example/" + path}
    for index, character in enumerate(path):
        before, after = path[:index], path[index + 1 :]
        if character == "/":
            insertions = ["//", "///", "/./", "/../", "/x/../", "/%2e/", "/%2e%2e/", "/.%2e/", "\\", "/\\", "/;/", "/%00/",
                          "%2f", "%2F", "/%2f", "%2f/", "%252f", "%5c", "%c0%af", "/%20", "%09/", "/.;/"]  # fmt: skip
            found |= {before + insertion + after for insertion in insertions}
        else:
            found |= {f"{before}%{ord(character):02x}{after}", f"{before}%25{ord(character):02x}{after}"}
            found |= {before + character.swapcase() + after}
    endings = ["/", "//", "/.", "/..", "%2f", "%2F", "%00", "%20", "%0d%0a", "%23", "%3f", ";", ";v=1", ".", ".json", "\\", "%"]
    found |= {path + ending for ending in endings}
    return {each for each in found if each.startswith(("/", "http"))} - {path}


def names_of(api: Api, target: str) -> list[Place]:
    """The places whose template is this path, with ids in place of parameters."""
    templates = [(place, re.sub(r"\{[^}]*\}", "[A-Za-z0-9_-]+", place.template)) for place in places(api)]
    return [place for place, pattern in templates if re.fullmatch(pattern, target)]


def test_another_spelling_of_a_path_leads_nowhere_for_anybody(world: World, connection: RawConnection) -> None:
    tried = 0
    for place in places(world.api):
        for target in sorted(spellings(filled(place.template))):
            named = names_of(world.api, target)
            for method in sorted({*place.methods, "OPTIONS"}):
                tried += 1
                # Such as `Batch` in place of an id: a good path of another route, to be tried without a token only.
                headers = {} if named or tried % 2 else world.ada.headers
                answer = connection.exchange(method, target, headers)
                assert answer.status in ({401} if named else {404, 400}), (method, target, answer)
                if answer.status == 404:
                    refused_whole(method, answer, "not_found")
    assert tried > 3_000


def test_every_registered_path_is_as_protected_as_it_was_registered_whatever_the_method(
    world: World, connection: RawConnection
) -> None:
    for place in places(world.api):
        path = filled(place.template)
        for method in sorted({*place.methods, *OTHER_METHODS}):
            route = place.methods.get(method)
            answer = connection.exchange(method, path)
            if not (place.is_public if route is None else route.is_public):
                refused_whole(method, answer, "missing_token", 401)
                assert "allow" not in answer.headers
            elif route is None and method != "OPTIONS":
                refused_whole(method, answer, "method_not_allowed", 405)
            else:
                assert answer.status not in {401, 404, 405, 500}, (method, path, answer)


def test_only_what_is_registered_as_public_is_public(world: World) -> None:
    public = {
        (method, place.template) for place in places(world.api) for method, route in place.methods.items() if route.is_public
    }
    assert {(method, path) for method, path in public if path.startswith(ROOT)} == {
        ("POST", f"{ROOT}/auth/register"),
        ("POST", f"{ROOT}/auth/login"),
        ("POST", f"{ROOT}/auth/refresh"),
    }


def test_a_wrong_token_opens_no_spelling_either(world: World, connection: RawConnection) -> None:
    for target in (
        "//api/v1/tasks",
        "/api//v1/tasks",
        "/%2fapi/v1/tasks",
        "/api/v1/tasks/",
        "/api/v1/./tasks",
        "/API/v1/tasks",
    ):
        assert connection.exchange("GET", target, {"Authorization": "Bearer x"}).status == 404
    assert connection.exchange("GET", "/api/v1/tasks", {"Authorization": "Bearer x"}).status == 401


def test_a_websocket_is_refused_on_every_path(world: World, connection: RawConnection) -> None:
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    for place in places(world.api):
        for headers in (upgrade, upgrade | world.ada.headers):
            answer = connection.exchange("GET", filled(place.template), headers)
            assert answer.status >= 400, (place.template, answer)
            assert answer.status != 500


def refused_whole(method: str, answer: RawAnswer, code: str, status: int = 404) -> None:
    """Refused by the one path that all refusals take."""
    assert answer.status == status, (method, answer)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert "x-position" not in answer.headers
    if method != "HEAD":
        problem = json.loads(answer.body)
        assert problem["code"] == code
        assert problem["request_id"] == answer.headers["x-request-id"]
