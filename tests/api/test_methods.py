"""Methods that no route was written for."""

from tests.api_world import ROOT, World, problem


def test_options_names_every_method_of_the_path_and_needs_no_token(world: World) -> None:
    answer = world.api.request("OPTIONS", f"{ROOT}/tasks")
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["allow"] == "GET, OPTIONS, POST"
    answer = world.api.request("OPTIONS", f"{ROOT}/tasks/{world.ada.task()}")
    assert answer.headers["allow"] == "DELETE, GET, OPTIONS, PATCH"


def test_a_method_that_a_path_has_not_is_refused_with_those_it_has(world: World) -> None:
    for method in ("PUT", "HEAD", "TRACE", "PROPFIND", "GE T"):
        answer = world.ada.request(method, "/tasks")
        assert answer.status_code == 405, method
        assert {"GET", "POST", "OPTIONS"} == set(answer.headers["allow"].split(", "))
    problem(world.ada.request("PUT", "/tasks"), 405, "method_not_allowed")


def test_an_unknown_path_is_refused_whatever_the_method(world: World) -> None:
    for method in ("GET", "POST", "DELETE", "OPTIONS", "HEAD"):
        assert world.ada.request(method, "/nowhere").status_code == 404
