"""Flow metrics over HTTP: never refused for what is in the log, and with the span that they cover."""

from datetime import UTC, datetime

import pytest

from domain.task.events import TaskCompleted, TaskCreated
from projections.flow import DAYS_MAX
from tests.api_world import Api, User, problem


@pytest.fixture
def user(api: Api) -> User:
    return api.register("flo")


def test_one_old_event_does_not_make_the_whole_past_unanswerable(user: User) -> None:
    """An unset date of 1970 among tickets of this year."""
    user.record(TaskCreated("old"), effective_at=datetime(1970, 1, 1, tzinfo=UTC))
    user.record(TaskCreated("new"), effective_at=datetime(2026, 3, 4, tzinfo=UTC))
    user.api.catch_up()
    flow = user.get("/analytics/flow").json()
    assert (flow["earliest_day"], flow["latest_day"]) == ("1970-01-01", "2026-03-04")
    assert flow["last_day"] == "2026-03-04"
    assert len(flow["days"]) == DAYS_MAX
    assert flow["days"][0]["day"] == flow["first_day"] > "1970-01-01"
    assert flow["days"][-1]["open"] == 2
    assert user.get("/analytics/flow?first_day=1970-01-01").json()["first_day"] == "1970-01-01"
    assert user.get("/analytics/flow?last_day=1970-01-05").json()["days"][0]["created"] == 1
    problem(user.get("/analytics/flow?first_day=1970-01-01&last_day=2026-03-04"), 400, "invalid_parameter", "first_day")


def test_a_date_in_the_future_makes_nothing_negative(user: User) -> None:
    """A typing error in the year of a ticket that is closed today."""
    task = user.record(TaskCreated("V-1"), effective_at=datetime(2091, 3, 2, tzinfo=UTC))
    user.record(TaskCompleted(), task_id=task, after=1)
    user.api.catch_up()
    flow = user.get("/analytics/flow").json()
    assert all(day["open"] >= 0 for day in flow["days"])
    assert flow["latest_day"] < "2091"
    assert flow["lead_time"]["count"] == flow["completed_without_start"] == 1
    assert flow["lead_time"]["p50"] >= 0
