"""Query strings, paths and headers that nobody means well: refused with a problem, never an error of ours."""

from uuid import uuid4

import pytest

from tests.api_world import ROOT, World, problem

INTEGERS = ["limit", "min_position"]
NOT_INTEGERS = ["9223372036854775808", "1" * 25, "-1", "+1", "1e3", "1.0", " 1", "0x10", "٣", "", "true", "null", "1_0"]


@pytest.mark.parametrize("value", NOT_INTEGERS)
def test_an_integer_is_digits_within_64_bits(world: World, value: str) -> None:
    for path in ("/tasks", "/changes", f"/tasks/{uuid4()}/history"):
        for name in INTEGERS:
            problem(world.ada.get(path, params={name: value}), 400, "invalid_parameter", name)
    for path, name in (("/changes", "after"), (f"/tasks/{uuid4()}/history", "after_version"), (f"/tasks/{uuid4()}", "version")):
        problem(world.ada.get(path, params={name: value}), 400, "invalid_parameter", name)


@pytest.mark.parametrize("value", [0, 101])
def test_a_page_has_one_to_a_hundred_tasks(world: World, value: int) -> None:
    problem(world.ada.get(f"/tasks?limit={value}"), 400, "invalid_parameter", "limit")


@pytest.mark.parametrize("value", [0, 1001])
def test_a_feed_has_one_to_a_thousand_entries(world: World, value: int) -> None:
    problem(world.ada.get(f"/changes?limit={value}"), 400, "invalid_parameter", "limit")


def test_the_greatest_integer_is_only_the_future(world: World) -> None:
    problem(world.ada.get(f"/tasks?min_position={2**63 - 1}"), 422, "position_in_the_future")
    problem(world.ada.get(f"/changes?after={2**63 - 1}"), 422, "position_in_the_future")
    problem(world.ada.get(f"/changes?after={2**63}"), 400, "invalid_parameter")
    problem(world.ada.get(f"/tasks/{world.ada.task()}?version={2**63 - 1}"), 404)
    problem(world.ada.get(f"/tasks/{uuid4()}/history?after_version={2**63 - 1}"), 404, "task_not_found")


@pytest.mark.parametrize(
    "path", ["/tasks", "/tasks/counts", "/changes", "/members", "/analytics/flow", "/tasks/{}", "/tasks/{}/history"]
)
def test_an_unknown_parameter_is_refused_by_name(world: World, path: str) -> None:
    target = path.format(world.ada.task())
    problem(world.ada.get(f"{target}?surprise=1"), 400, "unknown_parameter", "surprise")
    problem(world.ada.get(f"{target}?access_token=x"), 400, "unknown_parameter", "access_token")


@pytest.mark.parametrize("name", ["limit", "min_position", "sort", "cursor", "q", "assignee", "deleted", "due_from"])
def test_a_parameter_that_has_one_value_is_not_given_twice(world: World, name: str) -> None:
    problem(world.ada.get(f"/tasks?{name}=1&{name}=1"), 400, "repeated_parameter", name)


@pytest.mark.parametrize(
    "query",
    [b"q=%00", b"q=a%00b", b"q=%ff", b"q=\xff", b"q=%c3%28", b"q=%ed%a0%80", b"label=%00", b"&".join([b"label=x"] * 5000),
     b"q=" + b"x" * 9000, b"&".join(b"a%d=1" % number for number in range(5000)), b"q=" + "é".encode()],
)  # fmt: skip
def test_a_query_that_is_no_text_is_refused(world: World, query: bytes) -> None:
    for path in ("/tasks", "/changes", "/members", f"/tasks/{uuid4()}"):
        problem(world.api.exchange("GET", ROOT + path, world.ada.headers, query=query), 400)


@pytest.mark.parametrize(
    "query", ["sort=title", "sort=", "status=done", "priority=1", "assignee=me", "deleted=maybe", "created_by="]
)
def test_a_value_that_there_is_not_is_refused_with_those_that_there_are(world: World, query: str) -> None:
    name = query.partition("=")[0]
    found = problem(world.ada.get(f"/tasks?{query}"), 400, "invalid_parameter", name)
    if name in {"sort", "status", "priority"}:
        assert "one of" in found["detail"]


@pytest.mark.parametrize("name", ["due_from", "due_before", "created_from", "created_before"])
@pytest.mark.parametrize(
    "moment",
    ["0001-01-01T00:00:00%2B23:59", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"],
)
def test_moments_at_the_ends_of_the_calendar_are_only_far_away(world: World, name: str, moment: str) -> None:
    assert world.ada.get(f"/tasks?{name}={moment}").status_code in {200, 400}
    assert world.ada.get(f"/tasks/{world.ada.task()}?as_of={moment}").status_code in {400, 404, 422}


@pytest.mark.parametrize("name", ["estimate_from", "estimate_to"])
@pytest.mark.parametrize("number", ["", "x", "nan", "NaN", "inf", "-1", "-0.1", "1000.1", "0.25", "1e400", "true", "1,5"])
def test_what_is_no_number_of_points_is_refused(world: World, name: str, number: str) -> None:
    problem(world.ada.get(f"/tasks?{name}={number}"), 400, "invalid_parameter", name)


@pytest.mark.parametrize("moment", ["2027-01-01", "2027-01-01T00:00:00", "2027-13-01T00:00:00Z", "1798761600", "", "now"])
def test_a_moment_needs_date_time_and_offset(world: World, moment: str) -> None:
    problem(world.ada.get(f"/tasks?due_from={moment}"), 400, "invalid_parameter", "due_from")


@pytest.mark.parametrize(
    "text", ["'", "\\", "':*", "a:b", "(", "!", "<->", "a <-> b", "%", "\\'", "''", "\u2028", "😀", "a" * 3000, " "]
)
def test_any_words_can_be_searched_for(world: World, text: str) -> None:
    assert world.ada.get("/tasks", params={"q": text}).status_code == 200


@pytest.mark.parametrize(
    "path",
    ["/tasks/%00", "/tasks/%ff", "/tasks/..", "/tasks/%2e%2e/members", "/tasks/" + "a" * 5000,
     "/tasks/1;drop", "/tasks/{task_id}", "/tasks/%7B%7D/history", "/tasks/é", "/auth/sessions/not-a-uuid"],
)  # fmt: skip
def test_strange_paths_are_not_found(world: World, path: str) -> None:
    for method in ("GET", "DELETE"):
        answer = world.ada.request(method, path)
        assert 400 <= answer.status_code < 500, (method, answer.status_code)
        problem(answer, answer.status_code)


@pytest.mark.parametrize(
    ("name", "value"),
    [("Authorization", b"Bearer " + b"x" * 65536), ("Authorization", b"Bearer \xff\xfe"), ("Authorization", b"\xff"),
     ("Prefer", b"wait=" + b"9" * 5000), ("Prefer", b"\xff,,=;wait"), ("Prefer", b"wait=\xb2"), ("Prefer", b"wait=-1"),
     ("X-Correlation-Id", b"\x00"),
     ("X-Correlation-Id", "é".encode()), ("If-None-Match", b"\xff" * 1000), ("If-Match", b"\xff"), ("Content-Length", b"x"),
     ("If-Match", b'"v1"\r\nX-Evil: 1'), ("Idempotency-Key", b"a\r\nX-Evil: 1"), ("Cookie", b"tm_refresh=\xff; =;;"),
     ("Content-Type", b"\xff"), ("Content-Type", b"application/json; charset=\xff"), ("User-Agent", b"\x00\xff")],
)  # fmt: skip
def test_strange_headers_break_nothing(world: World, name: str, value: bytes) -> None:
    task = world.ada.task()
    world.api.catch_up()
    headers = {name: value}
    for answer in (
        world.ada.get(f"/tasks/{task}?min_position=1", headers=headers),
        world.ada.request("POST", "/tasks", content=b'{"title":"x"}', headers={"Content-Type": "application/json"} | headers),
        world.ada.request("POST", f"/tasks/{task}/start", headers=headers),
        world.api.request("POST", f"{ROOT}/auth/refresh", json={}, headers=headers),
    ):
        assert answer.status_code < 500, answer.text
        assert "x-evil" not in answer.headers
        if answer.status_code >= 400:
            problem(answer, answer.status_code)


@pytest.mark.parametrize("name", ["due_from", "due_before", "created_from", "created_before", "as_of"])
def test_a_moment_in_a_query_is_refused_rather_than_rounded(world: World, name: str) -> None:
    path = f"/tasks/{world.ada.task()}" if name == "as_of" else "/tasks"
    problem(world.ada.get(path, params={name: "2025-01-01T23:59:59.9999999Z"}), 400, "invalid_parameter", name)
    exact = world.ada.get(path, params={name: "2025-01-01T23:59:59.999999000Z"})
    assert exact.status_code in {200, 404}, exact.text
