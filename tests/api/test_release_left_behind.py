"""A process of the release before, once the next one has taken the log over: it reads, and writes nothing any more."""

from collections.abc import Iterator

import pytest

from tests.api_world import Api, User, problem


@pytest.fixture
def ada(api: Api) -> User:
    return api.register("ada")


@pytest.fixture
def left_behind(api: Api, ada: User) -> Iterator[User]:
    """Ada, on a process whose log has another scheme of tags since."""
    api.execute("UPDATE log_main.log SET tag_scheme = tag_scheme + 1")
    yield ada
    api.execute("UPDATE log_main.log SET tag_scheme = tag_scheme - 1")


def test_commands_are_refused_for_the_moment_and_leave_nothing(api: Api, left_behind: User) -> None:
    head = api.head()
    for answer in (left_behind.post("/tasks", {"title": "A"}), left_behind.post("/tasks", {"title": "A"})):
        problem(answer, 503, "unavailable")
        assert int(answer.headers["retry-after"]) > 0
    assert api.head() == head


def test_the_commands_of_a_batch_each_have_that_answer(left_behind: User) -> None:
    batch = {"commands": [{"command": {"command": "create", "title": "A"}}] * 3}
    answer = left_behind.post("/tasks/batch", batch)
    assert [result["status"] for result in answer.json()["results"]] == [503] * 3


def test_reads_are_answered(api: Api, ada: User, left_behind: User) -> None:
    api.catch_up()
    assert left_behind.get("/tasks").status_code == 200


def test_where_the_log_is_its_own_again_it_goes_on(api: Api, ada: User) -> None:
    api.execute("UPDATE log_main.log SET tag_scheme = tag_scheme + 1")
    problem(ada.post("/tasks", {"title": "A"}), 503)
    api.execute("UPDATE log_main.log SET tag_scheme = tag_scheme - 1")
    ada.task()
