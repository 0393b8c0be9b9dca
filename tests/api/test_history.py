"""Histories, the feed of changes, and tasks as they were: nothing skipped, nothing invented, nobody else's."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

import msgspec
import pytest

from domain.project.values import first_project_of
from domain.task.events import TaskCompleted, TaskCreated, TaskDeleted, TaskEvent, TaskRenamed, TaskStarted
from infrastructure.settings import Settings
from tests.api_world import PASSWORD, ROOT, Api, User, World, problem, serving

LIFE: tuple[TaskEvent, ...] = (TaskCreated("one"), TaskRenamed("two", reason="clearer"), TaskStarted(), TaskCompleted())


@pytest.fixture
def user(api: Api) -> User:
    """Somebody new, with an empty workspace."""
    return api.register("clio")


def test_a_history_tells_who_when_why_and_what_changed(user: User) -> None:
    task = user.record(*LIFE)
    user.api.catch_up()
    answer = user.get(f"/tasks/{task}/history")
    items = answer.json()["items"]
    assert [item["type"] for item in items] == ["task.created", "task.renamed", "task.started", "task.completed"]
    assert [item["version"] for item in items] == [1, 2, 3, 4]
    assert {item["principal_id"] for item in items} == {str(user.principal_id)}
    assert items[1]["reason"] == "clearer"
    assert items[1]["changes"] == [{"field": "title", "before": "one", "after": "two"}]
    assert items[3]["changes"] == [{"field": "status", "before": "in_progress", "after": "completed"}]
    assert [item["hash"] for item in items] == [record.hash.hex() for record in user.api.events(task)]
    assert (answer.json()["next_cursor"], answer.json()["has_more"]) == (None, False)
    assert "link" not in answer.headers


def test_a_history_is_read_in_pages(user: User) -> None:
    task = user.record(*LIFE)
    user.api.catch_up()
    whole = user.get(f"/tasks/{task}/history").json()["items"]
    walked: list[dict[str, Any]] = []
    path: str | None = f"/tasks/{task}/history?limit=3"
    while path is not None:
        answer = user.get(path)
        page = answer.json()
        walked += page["items"]
        assert page["has_more"] == (page["next_cursor"] is not None) == ("link" in answer.headers)
        path = answer.links["next"]["url"].removeprefix(ROOT) if page["has_more"] else None
    assert walked == whole
    assert user.get(f"/tasks/{task}/history?after_version=4").json() == {"items": [], "next_cursor": None, "has_more": False}
    problem(user.get(f"/tasks/{task}/history?cursor=4"), 400, "invalid_cursor", "cursor")


def test_the_history_of_somebody_elses_task_is_that_of_a_missing_one(user: User, world: World) -> None:
    task = world.ada.record(*LIFE)
    user.api.catch_up()
    for query in ("", "?after_version=2", "?limit=1"):
        foreign, missing = user.get(f"/tasks/{task}/history{query}"), user.get(f"/tasks/{uuid4()}/history{query}")
        problem(foreign, 404, "task_not_found")
        assert foreign.content == missing.content


@pytest.mark.parametrize("limit", [1, 2, 7, 1000])
def test_following_the_changes_yields_the_whole_history_once(user: User, world: World, limit: int) -> None:
    tasks = [user.record(*LIFE) for _ in range(3)]
    world.ada.record(*LIFE)
    tasks.append(user.record(TaskCreated("last")))
    world.eve.record(TaskCreated("theirs"))
    user.api.catch_up()
    seen: list[tuple[int, str]] = []
    ordinals: list[int] = []
    after, more = "0", True
    while more:
        feed = user.get(f"/changes?limit={limit}&after={after}").json()
        seen += [(item["position"], item["stream_id"]) for item in feed["items"]]
        ordinals += [item["ordinal"] for item in feed["items"]]
        after, more = feed["next_cursor"], feed["has_more"]
    assert ordinals == list(range(1, len(seen) + 1))
    streams = [first_project_of(user.workspace_id), *tasks]
    expected = [(record.position, str(stream)) for stream in streams for record in user.api.events(stream)]
    assert seen == sorted(expected)
    assert after.split(".")[0] == str(user.api.head())


def test_a_history_and_the_changes_tell_of_an_event_in_the_same_bytes(user: User) -> None:
    task = user.record(*LIFE)
    user.api.catch_up()
    history, changes = (user.get(path).content for path in (f"/tasks/{task}/history", "/changes"))
    own = history[history.index(b"[") : history.index(b',"next_cursor"')].strip(b"[]")
    assert own.count(b'"ordinal":') == len(LIFE)
    assert own in changes


def test_a_follower_who_has_everything_finds_only_what_is_new(user: User) -> None:
    user.record(*LIFE)
    user.api.catch_up()
    after = user.get("/changes").json()["next_cursor"]
    assert user.get(f"/changes?after={after}").json() == {"items": [], "next_cursor": after, "has_more": False}
    assert user.get(f"/changes?after={after.split('.')[0]}").json()["next_cursor"] == after
    task = user.task("new")
    user.api.catch_up()
    [item] = user.get(f"/changes?after={after}").json()["items"]
    assert item["stream_id"] == str(task)


def test_a_follower_ahead_of_the_log_is_told_so(user: User) -> None:
    user.task()
    for after in (user.api.head() + 1, user.api.head() + 1000, f"{user.api.head() + 1}.0a1b2c3d"):
        problem(user.get(f"/changes?after={after}"), 422, "position_in_the_future", "after")


def test_a_follower_of_another_history_is_told_so(user: User) -> None:
    task = user.task()
    [record] = user.api.events(task)
    other = f"{int(record.hash.hex()[:8], 16) ^ 1:08x}"
    for path in (f"/changes?after={record.position}.{other}", f"/tasks?min_position={record.position}.{other}"):
        refused = problem(user.get(path), 409, "another_history", path.split("?")[1].split("=")[0])
        assert "start `changes` from after=0" in refused["detail"]
    user.api.catch_up()
    good = f"{record.position}.{record.hash.hex()[:8]}"
    assert user.get(f"/tasks?min_position={good}").json()["items"][0]["id"] == str(task)


@pytest.mark.parametrize("after", ["", "-1", "1.", "1.5", "1.0a1b2c3", "1.0A1B2C3D", "1.0a1b2c3d0", "9" * 20, "x", "\u0661"])
def test_an_after_that_names_no_place_is_refused(user: User, after: str) -> None:
    problem(user.get("/changes", params={"after": after}), 400, "invalid_parameter", "after")


def test_changes_carry_the_whole_task_where_they_are_asked_to(user: User) -> None:
    task = user.task("one")
    user.post(f"/tasks/{task}/rename", {"title": "two"})
    user.api.catch_up()
    plain, carried = user.get("/changes").json()["items"], user.get("/changes?include=task").json()["items"]
    assert [item for item in plain if "task" in item] == []
    shown = user.get(f"/tasks/{task}").json()
    assert [item.pop("task", None) for item in carried] == [None, shown, shown]
    assert carried == plain
    problem(user.get("/changes?include=tasks"), 400, "invalid_parameter", "include")


def test_who_waits_for_changes_is_answered_when_there_are_some(user: User, world: World) -> None:
    api = user.api
    api.catch_up()
    after = user.get("/changes").json()["next_cursor"]
    waiting = api.begin(api.build("GET", f"{ROOT}/changes?after={after}", headers=user.headers | {"Prefer": "wait=30"}))
    world.ada.task("somebody else's")
    api.catch_up()
    assert not waiting.done()
    task = user.task("news")
    api.catch_up()
    [item] = waiting.result(20).json()["items"]
    assert item["stream_id"] == str(task)


def test_who_waits_for_changes_is_sent_home_when_the_process_is_about_to_stop(api_settings: Settings, tmp_path: Path) -> None:
    with serving(msgspec.structs.replace(api_settings, drain_file=str(tmp_path / "drain"))) as api:
        user = api.register("waiter")
        user.task()
        api.catch_up()
        after = user.get("/changes").json()["next_cursor"]
        waiting = api.begin(api.build("GET", f"{ROOT}/changes?after={after}", headers=user.headers | {"Prefer": "wait=30"}))
        api.run(asyncio.sleep(0))
        (tmp_path / "drain").touch()
        assert waiting.result(15).json() == {"items": [], "next_cursor": after, "has_more": False}


def test_who_is_signed_out_while_he_waits_for_changes_hears_of_none(world: World) -> None:
    api = world.api
    user = api.register("watched")
    user.task()
    api.catch_up()
    after = user.get("/changes").json()["next_cursor"]
    signed_in = api.request("POST", f"{ROOT}/auth/login", json={"email": user.email, "password": PASSWORD}).json()
    elsewhere = user.headers | {"Authorization": f"Bearer {signed_in['access_token']}"}
    waiting = api.begin(api.build("GET", f"{ROOT}/changes?after={after}", headers=elsewhere | {"Prefer": "wait=30"}))
    api.run(asyncio.sleep(0))
    assert user.delete(f"/auth/sessions/{signed_in['session_id']}").status_code == 204
    user.task("not for him")
    api.catch_up()
    problem(waiting.result(20), 401, "session_revoked")


def test_who_waits_for_changes_in_vain_gets_an_empty_answer(user: User) -> None:
    user.task()
    user.api.catch_up()
    after = user.get("/changes").json()["next_cursor"]
    answer = user.get(f"/changes?after={after}", headers={"Prefer": "wait=1"})
    assert answer.json() == {"items": [], "next_cursor": after, "has_more": False}
    assert answer.headers["preference-applied"] == "wait=1"


def test_a_task_is_shown_as_each_of_its_versions_left_it(user: User) -> None:
    task = user.record(*LIFE)
    titles = [user.get(f"/tasks/{task}?version={version}").json() for version in (1, 2, 3, 4)]
    assert [(shown["title"], shown["status"], shown["version"]) for shown in titles] == [
        ("one", "open", 1),
        ("two", "open", 2),
        ("two", "in_progress", 3),
        ("two", "completed", 4),
    ]
    problem(user.get(f"/tasks/{task}?version=5"), 404, "version_not_found", "/version")


def test_a_task_is_shown_as_of_each_position(user: User) -> None:
    task = user.record(*LIFE)
    first = user.api.events(task)[0].position
    for number, title in ((0, "one"), (1, "two"), (3, "two")):
        answer = user.get(f"/tasks/{task}?as_of={first + number}")
        assert (answer.json()["title"], answer.json()["version"]) == (title, number + 1)
        assert answer.headers["x-position"] == str(first + number)
        assert answer.headers["etag"] == f'"v{number + 1}"'
    problem(user.get(f"/tasks/{task}?as_of={first - 1}"), 404, "task_not_found")
    problem(user.get(f"/tasks/{task}?as_of={first + 10**6}"), 422, "position_in_the_future", "as_of")


def test_the_future_is_not_shown(user: User) -> None:
    task = user.task()
    problem(user.get(f"/tasks/{task}?as_of=2100-01-01T00:00:00Z"), 422, "instant_in_the_future", "/as_of")
    problem(user.get(f"/tasks/{task}?as_of={user.api.head() + 1}"), 422, "position_in_the_future", "as_of")


def test_an_as_of_cursor_is_held_against_the_event_that_it_was_given_for(user: User) -> None:
    task = user.task("one")
    [record] = user.api.events(task)
    digits = record.hash.hex()[:8]
    assert user.get(f"/tasks/{task}?as_of={record.position}.{digits}").json()["title"] == "one"
    other = f"{int(digits, 16) ^ 1:08x}"
    problem(user.get(f"/tasks/{task}?as_of={record.position}.{other}"), 409, "another_history", "as_of")
    for least, status, code in ((record.position, 200, None), (user.api.head() + 1, 422, "position_in_the_future")):
        answer = user.get(f"/tasks/{task}?version=1&min_position={least}")
        assert (answer.status_code, answer.json().get("code")) == (status, code)
    for spelling in (f"{record.position}.", f"{record.position}.{digits[:7]}", f"{record.position}.{digits.upper()}x"):
        problem(user.get(f"/tasks/{task}?as_of={spelling}"), 400, "invalid_parameter", "as_of")


def test_a_task_is_shown_as_of_an_instant(user: User) -> None:
    task = user.task("one")
    user.post(f"/tasks/{task}/rename", {"title": "two"})
    created, renamed = (record.recorded_at for record in user.api.events(task))
    for instant, title in ((created, "one"), (renamed - timedelta(microseconds=1), "one"), (renamed, "two")):
        shown = user.get(f"/tasks/{task}?as_of={quote(instant.isoformat())}")
        assert shown.json()["title"] == title
    local = renamed.astimezone(UTC).isoformat().replace("+00:00", "Z")
    assert user.get(f"/tasks/{task}?as_of={local}").json()["title"] == "two"
    problem(user.get(f"/tasks/{task}?as_of={quote((created - timedelta(microseconds=1)).isoformat())}"), 404)


def test_imported_history_counts_by_when_it_happened(user: User) -> None:
    then = datetime(2012, 10, 9, 12, tzinfo=UTC)
    task = user.record(TaskCreated("old"), effective_at=then)
    user.record(TaskCompleted(), task_id=task, effective_at=then + timedelta(days=2), after=1)
    user.api.catch_up()
    assert user.get(f"/tasks/{task}?as_of=2012-10-10T00:00:00Z").json()["status"] == "open"
    assert user.get(f"/tasks/{task}?as_of=2012-10-12T00:00:00Z").json()["status"] == "completed"
    problem(user.get(f"/tasks/{task}?as_of=2012-10-08T00:00:00Z"), 404, "task_not_found")
    assert user.get(f"/tasks/{task}").json()["completed_at"] == "2012-10-11T12:00:00Z"
    entry = user.get(f"/tasks/{task}/history").json()["items"][0]
    assert entry["effective_at"] == "2012-10-09T12:00:00Z"
    assert entry["recorded_at"] > "2026"


@pytest.mark.parametrize("query", ["version=1", "as_of=2100-01-01T00:00:00Z", "as_of=999999999", "version=99", ""])
def test_the_past_of_somebody_elses_task_is_that_of_a_missing_one(user: User, world: World, query: str) -> None:
    task = world.ada.record(*LIFE)
    user.api.catch_up()
    foreign, missing = user.get(f"/tasks/{task}?{query}"), user.get(f"/tasks/{uuid4()}?{query}")
    problem(foreign, 404, "task_not_found")
    assert (foreign.content, foreign.headers) == (missing.content, missing.headers)


@pytest.mark.parametrize("value", ["yesterday", "2012-10-09", "2012-10-09T12:00:00", "-1", "1.5", "9" * 25, ""])
def test_an_as_of_that_names_no_moment_is_refused(user: User, value: str) -> None:
    problem(user.get(f"/tasks/{uuid4()}?as_of={value}"), 400, "invalid_parameter", "as_of")


def test_a_deleted_task_is_shown_as_such_and_its_history_stays(user: User) -> None:
    task = user.record(TaskCreated("one"), TaskDeleted(reason="twin"))
    shown = user.shown(task)
    assert shown["deleted"] is True
    assert shown["deleted_at"]
    assert len(user.get(f"/tasks/{task}/history").json()["items"]) == 2


def test_members_are_those_of_the_own_workspace(user: User) -> None:
    [member] = user.get("/members").json()["items"]
    assert (UUID(member["principal_id"]), member["role"], member["display_name"]) == (user.principal_id, "owner", "Clio")


def test_flow_metrics_count_days_and_lead_times(user: User) -> None:
    day = datetime(2012, 10, 9, 12, tzinfo=UTC)
    task = user.record(TaskCreated("old"), effective_at=day)
    user.record(TaskStarted(), task_id=task, effective_at=day + timedelta(days=1), after=1)
    user.record(TaskCompleted(), task_id=task, effective_at=day + timedelta(days=3), after=2)
    user.api.catch_up()
    flow = user.get("/analytics/flow?first_day=2012-10-08&last_day=2012-10-13").json()
    days = {entry["day"]: entry for entry in flow["days"]}
    assert len(days) == 6
    assert [days[f"2012-10-{d:02}"]["open"] for d in range(8, 14)] == [0, 1, 1, 1, 0, 0]
    assert days["2012-10-12"]["completed"] == 1
    assert flow["lead_time"]["p50"] == 3 * 86400
    assert flow["cycle_time"]["p50"] == 2 * 86400
    assert user.get("/analytics/flow").json()["days"][0]["day"] == "2012-10-09"


def test_flow_metrics_of_an_empty_workspace_are_empty(user: User) -> None:
    assert user.get("/analytics/flow").status_code == 200


@pytest.mark.parametrize(
    "query",
    [
        "first_day=2012-10-09&last_day=2012-10-08",
        "first_day=yesterday",
        "last_day=0000-01-01",
        "first_day=0001-01-01&last_day=9999-12-31",
        "first_day=",
    ],
)
def test_a_span_that_is_none_is_refused(user: User, query: str) -> None:
    problem(user.get(f"/analytics/flow?{query}"), 400, "invalid_parameter")
