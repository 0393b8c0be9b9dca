"""Hostile bodies on every route that takes one: always a problem document, never an error of ours, nothing recorded."""

import json
import time
from typing import Any
from uuid import UUID, uuid4

import httpx
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.task.aggregate import TASK
from projections import ALL
from tests.api.task_routes import VERBS, routes
from tests.api_world import ROOT, World, problem

JSON = {"Content-Type": "application/json"}
TASK_ROUTES = ["create", *VERBS, "batch"]
ROUTES = [*TASK_ROUTES, "register", "login", "refresh"]
REQUIRED = {
    str(kind.__struct_config__.tag).replace("_", "-"): [each.name for each in msgspec.structs.fields(kind) if each.required]
    for kind in TASK.commands
}
"""By verb the members that a command on a task needs."""
OPTIONAL = {verb for verb, required in REQUIRED.items() if not required} - {"change"}

every_route = pytest.mark.parametrize("name", ROUTES)


class Target:
    """Where a route is, and a body that it takes."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name = world, name
        self.task = world.ada.task()
        self.method, self.path, self.body = self._place()

    def _place(self) -> tuple[str, str, dict[str, Any]]:
        password = {"email": f"{uuid4().hex}@example.org", "password": "long enough password"}
        places: dict[str, tuple[str, dict[str, Any]]] = {
            "create": ("/tasks", {"title": "Ship it"}),
            "batch": ("/tasks/batch", {"commands": [{"task_id": str(self.task), "command": {"command": "start"}}]}),
            "register": ("/auth/register", password | {"display_name": "Ada"}),
            "login": ("/auth/login", password),
            "refresh": ("/auth/refresh", {"refresh_token": "none"}),
        }
        if self.name in places:
            path, body = places[self.name]
            return "POST", path, body
        route = next(route for route in routes(self.world.ada.principal_id) if route.verb == self.name)
        return route.method, route.path(self.task), route.body or {"reason": "why not"}

    def send(self, body: bytes, headers: dict[str, Any] | None = None) -> httpx.Response:
        chosen = JSON if headers is None else headers
        return self.world.ada.request(self.method, self.path, content=body, headers=chosen)

    def refuses(self, body: bytes, status: int = 400, code: str | None = None, pointer: str | None = None) -> None:
        problem(self.send(body), status, code, pointer)
        assert len(self.world.api.events(self.task)) == 1

    def with_member(self, name: str, value: bytes) -> bytes:
        """The good body with one more member, whose value is written as it is."""
        return json.dumps(self.body).encode()[:-1] + b', "%s": %s}' % (name.encode(), value)


@pytest.fixture
def target(world: World, name: str) -> Target:
    return Target(world, name)


NOT_DECLARED = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/json", "", ";",
                "application/jsonx", "application/problem+json"]  # fmt: skip


@every_route
def test_a_body_must_be_declared_as_json(target: Target) -> None:
    body = json.dumps(target.body).encode()
    for declared in NOT_DECLARED:
        problem(target.send(body, {"Content-Type": declared}), 415, "unsupported_media_type")
    problem(target.send(body, {}), 415, "unsupported_media_type")
    assert len(target.world.api.events(target.task)) == 1


@pytest.mark.parametrize("declared", ["application/json", "application/json; charset=utf-8", "Application/JSON;charset=UTF-8"])
def test_json_may_be_declared_with_parameters(world: World, declared: str) -> None:
    assert Target(world, "create").send(b'{"title": "x"}', {"Content-Type": declared}).status_code == 201


@every_route
def test_a_missing_body_is_taken_only_where_nothing_is_needed(target: Target) -> None:
    bare, declared = target.send(b"", {}), target.send(b"", JSON)
    if target.name in OPTIONAL:
        assert (bare.status_code, declared.status_code) == (200, 200)
    else:
        problem(bare, 415, "unsupported_media_type")
        problem(declared, 400)


NOT_JSON = {
    "truncated": b'{"title": "x"',
    "a half string": b'{"title": "x',
    "trailing": b'{"title": "x"} x',
    "two": b'{"title": "x"}{"title": "y"}',
    "single quotes": b"{'title': 'x'}",
    "a comment": b'{"title": "x"} // y',
    "a trailing comma": b'{"title": "x",}',
    "a bare word": b"title",
    "spaces": b"   ",
    "a NUL": b"\x00",
    "UTF-16": '{"title": "x"}'.encode("utf-16"),
    "UTF-16 without mark": '{"title": "x"}'.encode("utf-16-le"),
    "UTF-32": '{"title": "x"}'.encode("utf-32"),
    "a byte order mark": b'\xef\xbb\xbf{"title": "x"}',
    "invalid UTF-8": b'{"title": "\xff"}',
    "overlong UTF-8": b'{"title": "\xc0\xaf"}',
    "UTF-8 of a surrogate": b'{"title": "\xed\xa0\x80"}',
    "half a character": b'{"title": "\xe2\x82"}',
    "invalid UTF-8 in a name": b'{"\xff": 1}',
    "a raw control character": b'{"title": "a\nb"}',
    "an escape that is none": b'{"title": "\\x41"}',
    "a short escape": b'{"title": "\\u12"}',
    "NaN": b'{"title": NaN}',
    "Infinity": b'{"title": -Infinity}',
    "a leading zero": b'{"title": 01}',
    "a leading plus": b'{"title": +1}',
    "an open list": b"[",
    "a compressed one": b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03",
}


@every_route
def test_what_is_no_json_is_refused(target: Target) -> None:
    for body in NOT_JSON.values():
        target.refuses(body, 400)


@every_route
def test_what_is_no_object_is_refused(target: Target) -> None:
    for body in (b"null", b"[]", b'"text"', b"1", b"true", b"[{}]", b'[{"title": "x"}]', b"1e400", b"-0"):
        target.refuses(body, 400)


@every_route
def test_depth_is_refused_wherever_it_stands(target: Target) -> None:
    most = target.world.api.settings.max_body_bytes - 500
    for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
        for depth in (33, 900, 1_100, 5_000, most // len(opening + closing)):
            nested = opening * depth + b"1" + closing * depth
            for body in (nested, opening * depth, target.with_member("reason", nested), target.with_member("unknown", nested)):
                status = 413 if len(body) > 16_384 and target.path.startswith("/auth") else 400
                target.refuses(body, status)


def test_depth_is_refused_where_the_tag_has_to_be_looked_for_behind_it(world: World) -> None:
    for depth in (33, 900, 1_100, 200_000):
        nested = b"[" * depth + b"]" * depth
        body = b'{"commands": [{"command": {"title": %s, "command": "create"}}]}' % nested
        Target(world, "batch").refuses(body, 400)


def test_depth_is_refused_in_the_largest_batch(world: World) -> None:
    Target(world, "batch").refuses(b'{"commands": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", 400)


@every_route
def test_a_member_that_stands_twice_is_refused(target: Target) -> None:
    name, value = next(iter(target.body.items()))
    target.refuses(target.with_member(name, json.dumps(value).encode()), 400, "repeated_member", f"/{name}")


@pytest.mark.parametrize(("item", "pointer"), [
    ('"command": {"command": "start", "reason": "a", "reason": "b"}', "/commands/0/command/reason"),
    ('"command": {"command": "start", "\\u0063ommand": "start"}', "/commands/0/command/command"),
    ('"command": {"command": "start"}, "command": {"command": "start"}', "/commands/0/command"),
    ('"if_match": 1, "if_match": 1, "command": {"command": "start"}', "/commands/0/if_match")])  # fmt: skip
def test_a_repeated_member_is_refused_inside_others_too(world: World, item: str, pointer: str) -> None:
    target = Target(world, "batch")
    body = f'{{"commands": [{{"task_id": "{target.task}", {item}}}]}}'
    target.refuses(body.encode(), 400, "repeated_member", pointer)


def test_a_member_is_repeated_also_if_it_is_spelt_differently(world: World) -> None:
    Target(world, "create").refuses(b'{"title": "x", "\\u0074itle": "y"}', 400, "repeated_member", "/title")


UNKNOWN = ["unknown", "id", "workspace_id", "version", "role", "created_at", "", "__class__", "a/b~c", "a`b"]


@every_route
def test_an_unknown_member_is_refused_by_name(target: Target) -> None:
    for name in UNKNOWN:
        pointer = "/" + name.replace("~", "~0").replace("/", "~1")
        target.refuses(target.with_member(name, b"1"), 400, "invalid_body", pointer)


def test_a_strange_name_of_a_member_is_shown_in_part_and_as_text(world: World) -> None:
    target = Target(world, "create")
    for name in ("\\ud800", "\\u0000", "\\udfff\\ud800", "\\u2028", "\\u001b[31m", "a - at `$.b`"):
        target.refuses(target.with_member(name, b"1"), 400)
    answer = target.send(target.with_member("n" * 100_000, b"1"))
    problem(answer, 400, "invalid_body")
    assert len(answer.content) < 2_000


TEXTS = {"create": "title", "change": "title", "rename": "title", "describe": "description", "add-label": "label",
         "remove-label": "label", "log-activity": "activity", "start": "reason", "delete": "reason"}  # fmt: skip


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("escaped", [b"\\u0000", b"a\\u0000b", b"\\ud800", b"\\udc00x", b"\\uDBFF\\u0041", b"\\udc00\\ud800"])
def test_text_that_cannot_be_stored_is_refused_with_its_place(target: Target, escaped: bytes) -> None:
    target.refuses(b'{"%s": "%s"}' % (TEXTS[target.name].encode(), escaped), 400)


def test_an_escaped_backslash_is_no_escape(world: World) -> None:
    answer = Target(world, "create").send(b'{"title": "\\\\u0000 and \\\\ud800"}')
    assert answer.status_code == 201
    assert world.ada.shown(UUID(answer.json()["stream_id"]))["title"] == "\\u0000 and \\ud800"


def test_an_emoji_written_as_two_escapes_is_one_character(world: World) -> None:
    answer = Target(world, "create").send(b'{"title": "\\ud83d\\ude00"}')
    assert answer.status_code == 201
    assert world.ada.shown(UUID(answer.json()["stream_id"]))["title"] == "😀"


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_that_is_no_text_is_refused_with_its_place(target: Target) -> None:
    field = TEXTS[target.name]
    for value in (b"1", b"true", b"[]", b"{}", b"1e400", b"1" * 400, b"[[[[]]]]"):
        target.refuses(b'{"%s": %s}' % (field.encode(), value), 400, "invalid_body", f"/{field}")


@pytest.mark.parametrize(("name", "field", "longest"), [
    ("create", "title", 255), ("rename", "title", 255), ("describe", "description", 65_536), ("add-label", "label", 64),
    ("log-activity", "activity", 255), ("start", "reason", 1_000)])  # fmt: skip
def test_a_text_is_as_long_as_allowed_and_no_longer(target: Target, field: str, longest: int) -> None:
    target.refuses(json.dumps({field: "x" * (longest + 1)}).encode(), 400, "invalid_body", f"/{field}")
    assert target.send(json.dumps({field: "x" * longest}).encode()).status_code in {200, 201}


def test_a_description_is_bounded_in_bytes(world: World) -> None:
    Target(world, "describe").refuses(json.dumps({"description": "漢" * 30_000}).encode(), 422, "text_too_long", "/description")


MOMENTS = ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "1969-12-31T23:59:59Z", "2200-01-01T00:00:00Z",
           "2027-01-01T00:00:00", "2027-02-30T00:00:00Z", "", "1798761600"]  # fmt: skip


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_due_date_outside_the_calendar_is_refused(world: World, moment: str) -> None:
    answer = Target(world, "set-due-date").send(json.dumps({"due_at": moment}).encode())
    problem(answer, answer.status_code, pointer="/due_at")
    assert answer.status_code in {400, 422}


NUMBERS = [b"1798761600", b"1e3", b"9223372036854775808", b"-9223372036854775809", b"1e400", b"9" * 5000]


@pytest.mark.parametrize("number", NUMBERS, ids=range(6))
def test_a_number_is_no_date_and_no_version(world: World, number: bytes) -> None:
    Target(world, "set-due-date").refuses(b'{"due_at": %s}' % number, 400)
    target = Target(world, "batch")
    item = b'{"commands": [{"task_id": "%s", "if_match": %s, "command": {"command": "start"}}]}'
    if len(number) > 10:
        target.refuses(item % (str(target.task).encode(), number), 400)
    target.refuses(item % (str(target.task).encode(), b"0"), 400, "invalid_body", "/commands/0/if_match")


@every_route
def test_a_missing_member_is_named(target: Target) -> None:
    needed = {verb: required[0] for verb, required in REQUIRED.items() if required}
    needed |= {"batch": "commands", "register": "email", "login": "email"}
    if target.name in needed:
        target.refuses(b"{}", 400, "invalid_body", f"/{needed[target.name]}")


def test_what_is_wrong_inside_a_batch_is_pointed_at(world: World) -> None:
    target = Target(world, "batch")
    good = {"task_id": str(target.task), "command": {"command": "start"}}
    for item, pointer in (
        ({"task_id": "x", "command": {"command": "start"}}, "/commands/1/task_id"),
        (good | {"command": {"command": "rename", "title": 1}}, "/commands/1/command/title"),
        (good | {"command": {"command": "rename"}}, "/commands/1/command/title"),
        (good | {"command": {"command": "add_label", "label": "x", "b": 1}}, "/commands/1/command/b"),
        (good | {"command": {"command": "create", "title": "x", "labels": ["a", 7]}}, "/commands/1/command/labels/1"),
    ):
        target.refuses(json.dumps({"commands": [good, item]}).encode(), 400, "invalid_body", pointer)


class TestSize:
    """Bodies at the limit, with a declared length and chunked."""

    @pytest.mark.parametrize("name", ["create", "describe", "batch", "register", "start"])
    @pytest.mark.parametrize("chunked", [False, True])
    def test_a_body_may_be_as_long_as_the_limit_and_not_a_byte_longer(self, target: Target, *, chunked: bool) -> None:
        api = target.world.api
        limits = {"batch": api.settings.max_batch_bytes, "register": 16_384}
        limit = limits.get(target.name, api.settings.max_body_bytes)
        body = json.dumps(target.body).encode()
        for length, fits in ((limit, True), (limit + 1, False)):
            padded = body + b" " * (length - len(body))
            headers = target.world.ada.headers | JSON
            if chunked:
                chunks = [padded[start : start + 65_536] for start in range(0, length, 65_536)]
            else:
                chunks = [padded]
                headers |= {"Content-Length": str(length)}
            answer = api.exchange(target.method, ROOT + target.path, headers, *chunks)
            if fits:
                assert answer.status_code < 300, answer.text
            else:
                problem(answer, 413, "body_too_large")

    def test_a_length_that_is_too_great_is_refused_before_the_body_is_sent(self, world: World) -> None:
        headers = world.ada.headers | JSON | {"Content-Length": str(10**12)}
        problem(world.api.exchange("POST", f"{ROOT}/tasks", headers, b"", b"never read"), 413, "body_too_large")

    @pytest.mark.parametrize("length", ["-1", "x", "1, 2", "٣", "9" * 5000], ids=range(5))
    def test_a_length_that_is_none_does_no_harm(self, world: World, length: str) -> None:
        headers = world.ada.headers | JSON | {"Content-Length": length}
        answer = world.api.exchange("POST", f"{ROOT}/tasks", headers, b'{"title": "x"}')
        assert answer.status_code in {201, 400, 413}

    def test_a_connection_that_ends_within_the_body_records_nothing(self, world: World) -> None:
        before = world.api.head()
        answer = world.api.exchange("POST", f"{ROOT}/tasks", world.ada.headers | JSON, b'{"title": "x"}', None)
        assert answer.status_code == 400
        assert world.api.head() == before


def scalars() -> st.SearchStrategy[Any]:
    return st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=80)


def values() -> st.SearchStrategy[Any]:
    names = st.text(max_size=8)
    return st.recursive(scalars(), lambda each: st.lists(each, max_size=4) | st.dictionaries(names, each, max_size=4))


NAMES = st.sampled_from(
    ["title", "description", "priority", "due_at", "labels", "assignees", "reason", "command", "label", "commands", "x"]
)
BODIES = st.dictionaries(NAMES, values(), max_size=5).map(json.dumps).map(str.encode) | st.binary(max_size=60)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(name=st.sampled_from(TASK_ROUTES), body=BODIES, cut=st.integers(0, 200), noise=st.binary(max_size=3))
def test_whatever_comes_is_accepted_or_refused_with_a_problem(
    targets: dict[str, Target], name: str, body: bytes, cut: int, noise: bytes
) -> None:
    answer = targets[name].send(body[:cut] + noise + body[cut:])
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        problem(answer, answer.status_code)


@pytest.fixture(scope="module")
def targets(world: World) -> dict[str, Target]:
    return {name: Target(world, name) for name in TASK_ROUTES}


def test_whatever_was_accepted_every_read_model_can_store(world: World) -> None:
    """Runs after the others of this module: nothing that came through was set aside."""
    world.api.catch_up()
    for _ in range(100):
        state = world.api.readiness()
        if state["redis"] == "ok":
            break
        # The reader rests for a moment after it found Redis without its read model.
        time.sleep(0.05)
    models = state["read_models"]
    assert [(model["parked"], model["held"], model["behind"]) for model in models] == [(0, None, 0)] * len(ALL)
