"""A log that was restored to an earlier state, seen by a client who kept its cursors: refused or right, never silently
short."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from infrastructure.cli.backup import backup
from infrastructure.cli.restore import restore
from infrastructure.settings import Settings
from tests.api_world import PASSWORD, ROOT, SECRET, Api, User, problem, serving


@pytest.fixture
def settings(database_url: str, redis_url: str) -> Settings:
    return Settings(database_url=database_url, redis_url=redis_url, secret_key=SECRET)


def followed(user: User, after: str) -> list[str]:
    """The titles of what was created after a cursor, page by page."""
    titles, more = [], True
    while more:
        feed = user.get(f"/changes?limit=7&after={after}").json()
        titles += [change["after"] for item in feed["items"] for change in item["changes"] if change["field"] == "title"]
        after, more = feed["next_cursor"], feed["has_more"]
    return titles


def cursor_at_the_end(user: User) -> str:
    user.api.catch_up()
    return str(user.get("/changes?limit=1000").json()["next_cursor"])


class Drill:
    """What a client knew before, and the served log afterwards."""

    def __init__(self, api: Api, user: User, surviving: str, lost: str) -> None:
        self.api = api
        self.user = user
        self.surviving = surviving
        self.lost = lost


@pytest.fixture
def drill(settings: Settings, tmp_path: Path) -> Iterator[Drill]:
    """Ten tasks, a backup, ten more; then the backup takes the place of it all."""
    with serving(settings) as api:
        user = api.register("ada")
        for number in range(10):
            user.task(f"old {number}")
        surviving = cursor_at_the_end(user)
        backup(settings.database_url, tmp_path / "backup")
        for number in range(10):
            user.task(f"lost {number}")
        lost = cursor_at_the_end(user)
        task = user.get("/tasks").json()["items"][0]["id"]
        assert user.get(f"/tasks/{task}?as_of={lost}").status_code == 200
    restore(settings.database_url, tmp_path / "backup", replace=True)
    with serving(settings) as api:
        answer = api.request("POST", f"{ROOT}/auth/login", json={"email": user.email, "password": PASSWORD})
        yield Drill(api, User(api, user.email, answer.json()), surviving, lost)


def test_a_cursor_beyond_the_restored_head_is_of_the_future(drill: Drill) -> None:
    problem(drill.user.get(f"/changes?after={drill.lost}"), 422, "position_in_the_future", "after")
    problem(drill.user.get(f"/tasks?min_position={drill.lost}"), 422, "position_in_the_future", "min_position")


def test_a_cursor_of_what_was_lost_never_skips_what_came_in_its_place(drill: Drill) -> None:
    for number in range(30):
        drill.user.task(f"new {number}")
    drill.api.catch_up()
    task = drill.user.get("/tasks").json()["items"][0]["id"]
    for path, parameter in (
        (f"/changes?after={drill.lost}", "after"),
        (f"/tasks?min_position={drill.lost}", "min_position"),
        (f"/tasks/{task}?as_of={drill.lost}", "as_of"),
    ):
        refused = problem(drill.user.get(path), 409, "another_history", parameter)
        assert "after=0" in refused["detail"]
    whole = [*(f"old {number}" for number in range(10)), *(f"new {number}" for number in range(30))]
    assert followed(drill.user, "0") == whole


def test_a_cursor_of_what_survived_goes_on_without_a_gap(drill: Drill) -> None:
    assert followed(drill.user, drill.surviving) == []
    for number in range(30):
        drill.user.task(f"new {number}")
    drill.api.catch_up()
    assert followed(drill.user, drill.surviving) == [f"new {number}" for number in range(30)]
