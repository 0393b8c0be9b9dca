"""Methods that no route was written for."""

from uuid import UUID

from tests.api_world import ROOT, World, problem


def test_options_names_every_method_of_the_path(world: World) -> None:
    answer = world.ada.request("OPTIONS", "/tasks")
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS, POST"
    answer = world.ada.request("OPTIONS", f"/tasks/{world.ada.task()}")
    assert answer.headers["allow"] == "DELETE, GET, HEAD, OPTIONS, PATCH"
    assert world.api.request("OPTIONS", f"{ROOT}/auth/login").headers["allow"] == "OPTIONS, POST"


def test_whoever_has_no_token_does_not_learn_the_methods_of_a_protected_path(world: World) -> None:
    for method in ("OPTIONS", "PUT", "DELETE", "TRACE"):
        answer = world.api.request(method, f"{ROOT}/tasks")
        problem(answer, 401, "missing_token")
        assert "allow" not in answer.headers


def test_head_answers_as_get_does_without_the_body(world: World) -> None:
    task = world.ada.task()
    world.api.catch_up()
    for path in ("/tasks", f"/tasks/{task}", "/me", "/members", f"/tasks/{task}/history", "/tasks?limit=1"):
        read, head = world.ada.get(path), world.ada.request("HEAD", path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers == read.headers
        assert int(head.headers["content-length"]) == len(read.content)
    missing = world.ada.request("HEAD", f"/tasks/{UUID(int=1)}")
    assert (missing.status_code, missing.content) == (404, b"")


def test_a_method_that_a_path_has_not_is_refused_with_those_it_has(world: World) -> None:
    for method in ("PUT", "TRACE", "PROPFIND", "GE T"):
        answer = world.ada.request(method, "/tasks")
        assert answer.status_code == 405, method
        assert {"GET", "HEAD", "POST", "OPTIONS"} == set(answer.headers["allow"].split(", "))
    problem(world.ada.request("PUT", "/tasks"), 405, "method_not_allowed")


def test_an_unknown_path_is_refused_whatever_the_method(world: World) -> None:
    for method in ("GET", "POST", "DELETE", "OPTIONS", "HEAD"):
        assert world.ada.request(method, "/nowhere").status_code == 404
