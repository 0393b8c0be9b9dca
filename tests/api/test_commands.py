"""Every command route at HTTP level: it works, it knows when nothing changes, it refuses, it hides what is not yours."""

from uuid import UUID, uuid4

import pytest
from msgspec.json import decode

from application.receipts import ReceiptBody
from domain.task.events import TaskCreated, TaskDeleted
from tests.api.task_routes import VERBS, Route, routes
from tests.api_world import User, World, problem

every_route = pytest.mark.parametrize("verb", VERBS)


def route_of(verb: str, user: User) -> Route:
    return next(route for route in routes(user.principal_id) if route.verb == verb)


@every_route
def test_a_command_records_its_event_and_returns_the_receipt(world: World, verb: str) -> None:
    route = route_of(verb, world.ada)
    task = world.ada.record(*route.before)
    answer = world.ada.request(route.method, route.path(task), json=route.body)
    assert answer.status_code == 200, answer.text
    [event] = world.api.events(task, after=len(route.before))
    assert event.event.__struct_config__.tag == route.records
    assert decode(answer.content, type=ReceiptBody) == ReceiptBody(
        task, len(route.before) + 1, event.position, hash=event.hash.hex()
    )
    assert answer.headers["x-position"] == str(event.position)
    assert answer.headers["etag"] == f'"v{event.version}"'
    assert event.principal_id == world.ada.principal_id


@every_route
def test_a_command_says_why_in_its_reason(world: World, verb: str) -> None:
    route = route_of(verb, world.ada)
    task = world.ada.record(*route.before)
    body = (route.body or {}) | {"reason": " as agreed "}
    assert world.ada.request(route.method, route.path(task), json=body).status_code == 200
    assert [record.event.reason for record in world.api.events(task, after=len(route.before))] == ["as agreed"]


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "log-activity"])
def test_a_command_that_changes_nothing_records_nothing(world: World, verb: str) -> None:
    route = route_of(verb, world.ada)
    assert route.already
    task = world.ada.record(*route.already)
    answer = world.ada.request(route.method, route.path(task), json=route.body)
    assert answer.status_code == 200, answer.text
    records = world.api.events(task)
    assert len(records) == len(route.already)
    assert decode(answer.content, type=ReceiptBody) == ReceiptBody(task, len(records), records[-1].position)


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in {"restore", "delete"}])
def test_a_command_is_refused_where_the_state_does_not_allow_it(world: World, verb: str) -> None:
    route = route_of(verb, world.ada)
    task = world.ada.record(*route.refusing)
    problem(world.ada.request(route.method, route.path(task), json=route.body), 409, route.code)
    assert len(world.api.events(task)) == len(route.refusing)


@every_route
def test_somebody_elses_task_answers_like_one_that_does_not_exist(world: World, verb: str) -> None:
    route = route_of(verb, world.eve)
    foreign = world.ada.record(*route.before)
    theirs = world.eve.request(route.method, route.path(foreign), json=route.body)
    missing = world.eve.request(route.method, route.path(uuid4()), json=route.body)
    problem(theirs, 404, "task_not_found")
    assert theirs.content == missing.content
    assert theirs.headers == missing.headers
    assert len(world.api.events(foreign)) == len(route.before)


@every_route
def test_what_cannot_be_an_id_names_no_task(world: World, verb: str) -> None:
    route = route_of(verb, world.ada)
    for strange in ("nobody", "0", "%00", "%ff", "123e4567-e89b-12d3-a456-42661417400", "é", "{}", "..%2f.."):
        answer = world.ada.request(route.method, route.path(strange), json=route.body)
        assert answer.status_code in {404, 405}, strange
        problem(answer, answer.status_code)


def test_creating_answers_201_with_the_place_of_the_task(world: World) -> None:
    answer = world.ada.post(
        "/tasks", {"title": " Ship it ", "labels": ["ink"], "priority": "urgent", "due_at": "2027-01-01T00:00:00+02:00"}
    )
    assert answer.status_code == 201
    task = UUID(answer.json()["stream_id"])
    assert answer.headers["location"] == f"/api/v1/tasks/{task}"
    assert answer.headers["etag"] == '"v1"'
    shown = world.ada.shown(task)
    assert (shown["title"], shown["labels"], shown["priority"]) == ("Ship it", ["ink"], "urgent")
    assert shown["due_at"] == "2026-12-31T22:00:00Z"
    assert shown["position"] == int(answer.headers["x-position"])


def test_only_members_can_be_assigned(world: World) -> None:
    task = world.ada.task()
    stranger = str(world.eve.principal_id)
    problem(world.ada.post(f"/tasks/{task}/assign", {"assignee": stranger}), 422, "unknown_assignee", "/assignee")
    problem(world.ada.post(f"/tasks/{task}/reassign", {"assignee": stranger}), 422, "unknown_assignee", "/assignee")
    problem(world.ada.post("/tasks", {"title": "x", "assignees": [stranger]}), 422, "unknown_assignee", "/assignees")
    problem(world.ada.patch(f"/tasks/{task}", {"assignees": [stranger]}), 422, "unknown_assignee", "/assignees")
    assert len(world.api.events(task)) == 1


def test_a_title_of_spaces_is_refused_with_the_field_to_blame(world: World) -> None:
    problem(world.ada.post("/tasks", {"title": "   "}), 422, "text_empty", "/title")


def test_a_change_becomes_one_event_a_changed_field(world: World) -> None:
    task = world.ada.record(TaskCreated("Ship it", priority="low", labels=("ink",)))
    body = {"title": "Ship it", "priority": "high", "labels": ["paint"], "description": "Mind"}
    answer = world.ada.patch(f"/tasks/{task}", body)
    assert answer.json()["version"] == 5
    tags = [record.event.__struct_config__.tag for record in world.api.events(task, after=1)]
    assert tags == ["task.described", "task.priority_set", "task.label_removed", "task.label_added"]


def test_a_change_leaves_alone_what_it_does_not_name(world: World) -> None:
    task = world.ada.task(description="Mind", due_at="2027-01-01T00:00:00Z", labels=["ink"])
    assert world.ada.patch(f"/tasks/{task}", {"title": "Sail it"}).status_code == 200
    shown = world.ada.shown(task)
    assert (shown["title"], shown["description"], shown["labels"]) == ("Sail it", "Mind", ["ink"])
    assert shown["due_at"] == "2027-01-01T00:00:00Z"


def test_null_clears_the_due_date_and_nothing_else_takes_null(world: World) -> None:
    task = world.ada.task(due_at="2027-01-01T00:00:00Z")
    assert world.ada.patch(f"/tasks/{task}", {"due_at": None}).status_code == 200
    assert world.ada.shown(task)["due_at"] is None
    for field in ("title", "description", "priority", "labels", "assignees"):
        problem(world.ada.patch(f"/tasks/{task}", {field: None}), 400, "invalid_body", f"/{field}")


def test_null_clears_the_estimate(world: World) -> None:
    task = world.ada.task(estimate=0)
    assert world.ada.shown(task)["estimate"] == 0
    assert world.ada.patch(f"/tasks/{task}", {"estimate": None}).status_code == 200
    assert world.ada.shown(task)["estimate"] is None


NO_ESTIMATES = ("-0.1", "1000.1", "0.25", "1e-7", "1e9", '"2.5"', "true", "[2]")


@pytest.mark.parametrize("sent", NO_ESTIMATES)
def test_what_is_no_estimate_is_refused_wherever_it_is_given(world: World, sent: str) -> None:
    task = world.ada.task(estimate=3)
    code = {"0.25": "estimate_too_fine", "1e-7": "estimate_too_fine"}.get(sent)
    for method, path, body, pointer in (
        ("POST", "/tasks", f'{{"title":"x","estimate":{sent}}}', "/estimate"),
        ("PATCH", f"/tasks/{task}", f'{{"estimate":{sent}}}', "/estimate"),
        ("POST", f"/tasks/{task}/set-estimate", f'{{"estimate":{sent}}}', "/estimate"),
    ):
        headers = {"Content-Type": "application/json"}
        answer = world.ada.request(method, path, content=body, headers=headers)
        problem(answer, 422 if code else 400, code or "invalid_body", pointer)
    assert world.ada.shown(task)["estimate"] == 3
    assert world.api.events(task)[1:] == []


def test_what_is_no_number_in_json_is_refused(world: World) -> None:
    for sent in ("NaN", "Infinity", "1e400", ".5", "1."):
        headers = {"Content-Type": "application/json"}
        answer = world.ada.request("POST", "/tasks", content=f'{{"title":"x","estimate":{sent}}}', headers=headers)
        assert answer.status_code == 400, sent


@pytest.mark.parametrize(("sent", "shown"), [("2", "2.0"), ("2.50", "2.5"), ("0.3", "0.3"), ("-0", "0.0"), ("1e2", "100.0")])
def test_an_estimate_is_shown_with_one_decimal_however_it_was_sent(world: World, sent: str, shown: str) -> None:
    headers = {"Content-Type": "application/json"}
    body = f'{{"title":"x","estimate":{sent}}}'
    task = world.ada.request("POST", "/tasks", content=body, headers=headers).json()["stream_id"]
    world.api.catch_up()
    assert f'"estimate":{shown},' in world.ada.get(f"/tasks/{task}").text
    assert f'"estimate":{shown},' in world.ada.get("/tasks").text
    assert f'"field":"estimate","before":null,"after":{shown}' in world.ada.get(f"/tasks/{task}/history").text
    again = world.ada.request("POST", f"/tasks/{task}/set-estimate", content=f'{{"estimate":{sent}}}', headers=headers)
    assert again.json()["version"] == 1


def test_a_change_is_all_or_nothing(world: World) -> None:
    task = world.ada.task()
    problem(world.ada.patch(f"/tasks/{task}", {"title": "Sail it", "labels": ["ink", "ink"]}), 422, "repeated_item", "/labels")
    assert len(world.api.events(task)) == 1


def test_an_empty_change_changes_nothing(world: World) -> None:
    task = world.ada.task()
    assert world.ada.patch(f"/tasks/{task}", {}).json()["version"] == 1


def test_commands_that_need_no_field_need_no_body(world: World) -> None:
    task = world.ada.task()
    assert world.ada.request("POST", f"/tasks/{task}/complete").status_code == 200
    assert world.ada.request("DELETE", f"/tasks/{task}").status_code == 200
    problem(world.ada.request("POST", f"/tasks/{task}/rename"), 415)


def test_the_tag_of_the_command_may_stand_in_the_body_but_must_be_its_own(world: World) -> None:
    task = world.ada.task()
    assert world.ada.post(f"/tasks/{task}/rename", {"command": "rename", "title": "Sail it"}).status_code == 200
    problem(world.ada.post(f"/tasks/{task}/rename", {"command": "complete", "title": "x"}), 400, "invalid_body", "/command")


def test_a_correlation_id_reaches_the_history(world: World) -> None:
    reference = str(uuid4())
    answer = world.ada.post("/tasks", {"title": "x"}, headers={"X-Correlation-Id": reference})
    world.api.catch_up()
    [entry] = world.ada.get(f"/tasks/{answer.json()['stream_id']}/history").json()["items"]
    assert entry["correlation_id"] == reference
    wrong = world.ada.post("/tasks", {"title": "x"}, headers={"X-Correlation-Id": "order 7"})
    problem(wrong, 400, "invalid_uuid", "X-Correlation-Id")


def test_a_member_may_and_an_imported_principal_may_not(world: World) -> None:
    task = world.ada.record(TaskCreated("Ship it"), TaskDeleted())
    problem(world.ada.acting_as("imported").post(f"/tasks/{task}/restore", {}), 403, "not_permitted")
    assert world.ada.acting_as("member").post(f"/tasks/{task}/restore", {}).status_code == 200


@pytest.mark.parametrize("fraction", ["9999999", "00000001", "123456789012"])
@pytest.mark.parametrize("point", [".", "\\u002e"])
def test_a_moment_finer_than_a_microsecond_is_refused_instead_of_moved(world: World, fraction: str, point: str) -> None:
    task = world.ada.task()
    moment = f'"2027-01-31T23:59:59{point}{fraction}Z"'
    json = {"Content-Type": "application/json"}
    for path, body, pointer in (
        (f"/tasks/{task}/set-due-date", f'{{"due_at":{moment}}}', "/due_at"),
        ("/tasks", f'{{"title":"x","due_at":{moment}}}', "/due_at"),
        ("/tasks/batch", f'{{"commands":[{{"command":{{"command":"create","title":"x","due_at":{moment}}}}}]}}', None),
    ):
        answer = world.ada.request("POST", path, content=body.encode(), headers=json)
        problem(answer, 400, "invalid_body", pointer or "/commands/0/command/due_at")
    assert len(world.api.events(task)) == 1


@pytest.mark.parametrize(("sent", "kept"), [("59.999999", "59.999999"), ("59.9999990000", "59.999999"), ("59.0000000", "59")])
def test_a_moment_that_fits_into_microseconds_is_kept_however_it_is_written(world: World, sent: str, kept: str) -> None:
    task = world.ada.task(due_at=f"2027-01-31T23:59:{sent}Z", description="at 10:00:00.12345678Z")
    assert world.ada.shown(task)["due_at"] == f"2027-01-31T23:59:{kept}Z"


def test_a_client_may_name_the_task_itself(world: World) -> None:
    chosen = uuid4()
    answer = world.ada.post("/tasks", {"title": "Ship it", "task_id": str(chosen)})
    assert (answer.status_code, answer.json()["stream_id"]) == (201, str(chosen))
    assert answer.headers["location"].endswith(f"/tasks/{chosen}")
    assert world.ada.shown(chosen)["title"] == "Ship it"


def test_an_id_that_is_taken_is_refused_in_the_same_words_whoever_has_it(world: World) -> None:
    mine, theirs = world.ada.task(), world.eve.task()
    here, there = (world.ada.post("/tasks", {"title": "Ship it", "task_id": str(task)}) for task in (mine, theirs))
    assert problem(here, 409, "task_exists", "/task_id")["detail"] == problem(there, 409, "task_exists")["detail"]
    assert (len(world.api.events(mine)), len(world.api.events(theirs))) == (1, 1)


def test_an_id_that_no_client_can_have_made_is_refused(world: World) -> None:
    answer = world.ada.post("/tasks", {"title": "Ship it", "task_id": str(UUID(int=0))})
    problem(answer, 422, "task_id_invalid", "/task_id")


def test_a_retry_of_a_creation_under_a_chosen_id_brings_the_receipt_back(world: World) -> None:
    body, key = {"title": "Ship it", "task_id": str(uuid4())}, {"Idempotency-Key": uuid4().hex}
    first, again = (world.ada.post("/tasks", body, headers=key) for _ in range(2))
    assert (first.status_code, again.status_code, again.content) == (201, 201, first.content)


def test_a_refusal_says_at_which_position_of_the_task_it_was_decided(world: World) -> None:
    task = world.ada.task()
    done = world.ada.post(f"/tasks/{task}/complete").json()["position"]
    world.ada.task()
    for refused in (
        world.ada.post(f"/tasks/{task}/cancel"),
        world.ada.post(f"/tasks/{task}/rename", {"title": "x"}, headers={"If-Match": '"v9"'}),
        world.ada.post(f"/tasks/{task}/complete", headers={"If-Match": '"v1"'}),
    ):
        assert (refused.status_code, refused.headers["x-position"]) in {(409, str(done)), (412, str(done))}


def test_a_refusal_about_what_is_not_there_or_not_mine_says_no_position(world: World) -> None:
    theirs = world.eve.task()
    for refused in (
        world.ada.post(f"/tasks/{theirs}/complete"),
        world.ada.post(f"/tasks/{uuid4()}/complete"),
        world.ada.post("/tasks", {"title": "x", "task_id": str(theirs)}),
    ):
        assert refused.status_code in {404, 409}
        assert "x-position" not in refused.headers
