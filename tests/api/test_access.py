"""Who may come in: generated from the route table, so that a new route cannot be forgotten."""

import json
import re
import threading
import time
from base64 import urlsafe_b64encode
from typing import Any
from uuid import uuid4

from litestar.routes import HTTPRoute

from domain.project.values import first_project_of
from domain.task.events import TaskCreated
from tests.api_world import PASSWORD, ROOT, Api, User, World, problem, serving

PUBLIC = {
    ("POST", f"{ROOT}/auth/register"),
    ("POST", f"{ROOT}/auth/login"),
    ("POST", f"{ROOT}/auth/refresh"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/"),
    ("GET", "/docs"),
    ("GET", "/docs/swagger-ui.js"),
    ("GET", "/docs/swagger-ui.css"),
    ("GET", "/docs/start.js"),
    ("GET", "/schema/openapi.json"),
}


def routes(api: Api) -> set[tuple[str, str]]:
    """Every method and path of the application."""
    found = {route for route in api.app.routes if isinstance(route, HTTPRoute)}
    return {(method, route.path_format) for route in found for method in route.methods if method != "OPTIONS"}


def protected(api: Api) -> list[tuple[str, str]]:
    return sorted(routes(api) - PUBLIC)


def filled(path: str, identifier: object) -> str:
    return re.sub(r"\{\w+\}", str(identifier), path)


def altered(token: str) -> list[str]:
    head, claims, signature = token.split(".")
    none = urlsafe_b64encode(json.dumps({"alg": "none", "typ": "at+jwt"}).encode()).rstrip(b"=").decode()
    return [
        f"{none}.{claims}.",
        f"{head}.{claims}.",
        f"{head}.{claims}",
        f"{head}.{claims[:-2]}.{signature}",
        f"{head}.{claims}.{signature[:-3]}AAA",
        f"{head}.{claims}.{signature}x",
        f"{head}.{claims}.{signature}=",
        "x",
        ".",
        "..",
        "",
        "null",
    ]


def test_every_route_is_public_by_name_or_refuses_whoever_has_no_token(world: World) -> None:
    assert routes(world.api) >= PUBLIC
    for method, path in protected(world.api):
        answer = world.api.request(method, filled(path, uuid4()))
        problem(answer, 401, "missing_token")
        assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_request_without_any_token_learns_no_error_code_in_the_challenge(world: World) -> None:
    assert world.api.request("GET", f"{ROOT}/tasks").headers["www-authenticate"] == "Bearer"
    answer = world.api.request("GET", f"{ROOT}/tasks", headers={"Authorization": "Bearer x"})
    assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    revoked = world.api.register("zoe")
    revoked.post("/auth/logout")
    assert revoked.get("/me").headers["www-authenticate"] == 'Bearer error="invalid_token"'


def test_every_route_refuses_an_altered_token(world: World) -> None:
    for method, path in protected(world.api):
        for token in altered(world.ada.tokens["access_token"]):
            headers = {"Authorization": f"Bearer {token}"}
            problem(world.api.request(method, filled(path, uuid4()), headers=headers), 401)


def test_a_token_counts_only_as_bearer_in_its_header(world: World) -> None:
    token = world.ada.tokens["access_token"]
    for headers in (
        {"Authorization": f"Basic {token}"},
        {"Authorization": token},
        {"Authorization": f"Token {token}"},
        {"Cookie": f"access_token={token}; Authorization=Bearer {token}"},
        {"X-Authorization": f"Bearer {token}"},
    ):
        problem(world.api.request("GET", f"{ROOT}/tasks", headers=headers), 401, "missing_token")
    for name in ("access_token", "token", "authorization", "bearer"):
        problem(world.api.request("GET", f"{ROOT}/tasks?{name}={token}"), 401, "missing_token")
    basic = {"Authorization": "Basic " + urlsafe_b64encode(f"{world.ada.email}:{PASSWORD}".encode()).decode()}
    problem(world.api.request("GET", f"{ROOT}/me", headers=basic), 401, "missing_token")
    assert world.api.request("GET", f"{ROOT}/me", headers={"Authorization": f"bearer {token}"}).status_code == 200


def test_a_refresh_token_is_no_access_token(world: World) -> None:
    headers = {"Authorization": f"Bearer {world.ada.tokens['refresh_token']}"}
    problem(world.api.request("GET", f"{ROOT}/me", headers=headers), 401, "invalid_token")


BODIES: dict[str, dict[str, Any]] = {
    "rename": {"title": "Stolen"},
    "describe": {"description": "Stolen"},
    "set-priority": {"priority": "low"},
    "set-due-date": {"due_at": "2027-01-01T00:00:00Z"},
    "set-estimate": {"estimate": 3},
    "add-label": {"label": "x"},
    "remove-label": {"label": "x"},
    "log-activity": {"activity": "x"},
    "move": {"project_id": "01890a5d-ac96-774b-bcce-b302099a8057"},
}


def test_every_route_with_an_id_hides_what_belongs_to_somebody_else(world: World) -> None:
    task = world.ada.record(TaskCreated("Mine"))
    project = first_project_of(world.ada.workspace_id)
    world.api.catch_up()
    identifiers = {"{task_id}": task, "{project}": project, "{session_id}": world.ada.tokens["session_id"]}
    tried = 0
    for method, path in protected(world.api):
        for place, identifier in identifiers.items():
            if place not in path:
                continue
            verb = path.rpartition("/")[2]
            body = {"assignee": str(world.eve.principal_id)} if verb.endswith("assign") else BODIES.get(verb, {})
            options: dict[str, Any] = {} if method in {"GET", "DELETE"} else {"json": body}
            foreign, missing = (
                world.api.request(method, path.replace(place, str(each)), headers=world.eve.headers, **options)
                for each in (identifier, uuid4())
            )
            problem(foreign, 404)
            assert (foreign.content, foreign.headers) == (missing.content, missing.headers), path
            tried += 1
    assert tried >= 25
    assert (len(world.api.events(task)), len(world.api.events(project))) == (1, 1)
    assert world.ada.get("/me").status_code == 200


def test_the_workspace_comes_from_the_token_and_nowhere_else(world: World) -> None:
    task = world.ada.record(TaskCreated("Mine"))
    world.api.catch_up()
    workspace = str(world.ada.workspace_id)
    headers = {"X-Workspace-Id": workspace, "X-Principal-Id": str(world.ada.principal_id), "X-Role": "owner"}
    assert str(task) not in world.eve.get("/tasks", headers=headers).text
    problem(world.eve.get(f"/tasks/{task}", headers=headers), 404)
    problem(world.eve.get(f"/tasks?workspace_id={workspace}"), 400, "unknown_parameter")
    problem(world.eve.post("/tasks", {"title": "x", "workspace_id": workspace}), 400, "invalid_body", "/workspace_id")


def test_nothing_of_one_workspace_shows_in_the_feeds_of_another(world: World) -> None:
    secret = uuid4().hex
    world.ada.record(TaskCreated(secret, secret, labels=(secret,)))
    world.api.catch_up()
    for path in ("/tasks", f"/tasks?q={secret}", f"/tasks?label={secret}", "/changes", "/members", "/tasks?sort=due"):
        assert secret not in world.eve.get(path).text
    assert world.ada.get(f"/tasks?q={secret}").json()["items"]


def test_a_revoked_session_is_refused_in_every_process_within_a_second(world: World) -> None:
    user = world.api.register("mallory")
    with serving(world.api.settings) as other:
        elsewhere = User(other, user.email, user.tokens)
        assert elsewhere.get("/me").status_code == 200
        revoked_at = time.monotonic()
        assert user.post("/auth/logout").status_code == 204
        problem(user.get("/me"), 401, "session_revoked")
        while elsewhere.get("/me").status_code == 200:
            assert time.monotonic() - revoked_at < 1.5
        problem(elsewhere.get("/tasks"), 401, "session_revoked")


def test_a_token_that_was_verified_before_expires_all_the_same(world: World) -> None:
    short = world.ada.acting_as("owner", seconds=1)
    assert short.get("/me").status_code == 200
    expired = threading.Event()
    # Only time itself can bring this about; leeway included it takes some seconds at most.
    deadline = time.monotonic() + 15
    while short.get("/me").status_code == 200:
        assert time.monotonic() < deadline
        expired.wait(0.1)
    problem(short.get("/tasks"), 401, "token_expired")


def test_every_answer_forbids_sniffing_keeping_and_telling(world: World) -> None:
    for method, path in sorted(
        routes(world.api) | {("GET", "/nowhere"), ("PUT", f"{ROOT}/tasks"), ("OPTIONS", f"{ROOT}/tasks")}
    ):
        for headers in ({}, world.eve.headers):
            if path.endswith(("/logout", "/auth/sessions")) and method != "GET" and headers:
                continue
            answer = world.api.request(method, filled(path, uuid4()), headers=headers)
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert answer.headers["cache-control"] in {"no-store", "public, max-age=86400"}
            assert ("public" in answer.headers["cache-control"]) == path.startswith("/docs/")
            assert not {"server", "x-powered-by", "access-control-allow-origin"} & set(answer.headers)


def test_the_refresh_cookie_is_out_of_reach_of_scripts_and_other_sites(world: World) -> None:
    body = {"email": world.ada.email, "password": PASSWORD, "use_cookie": True}
    answer = world.api.request("POST", f"{ROOT}/auth/login", json=body)
    flags = {flag.strip().lower() for flag in answer.headers["set-cookie"].split(";")[1:]}
    assert flags >= {"httponly", "samesite=strict", "path=/api/v1/auth"}
    assert "secure" not in flags
    assert world.api.settings.secure_cookies is False
    assert "refresh_token" not in answer.json()
