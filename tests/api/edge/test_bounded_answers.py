"""Lists of the largest things there are: bounded in bytes as well as in items, complete all the same, and one item at least."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest

from domain.task.events import TaskCreated, TaskDescribed
from infrastructure.settings import Settings
from tests.api_world import Api, User, serving

BOUND = 65_536
WIDE = tuple(f"{number:02}" + "🚢" * 62 for number in range(50))


@pytest.fixture(scope="module")
def small(api_settings: Settings) -> Iterator[Api]:
    """An application whose answers are bounded tightly."""
    with serving(msgspec.structs.replace(api_settings, max_answer_bytes=BOUND)) as served:
        yield served


@pytest.fixture(scope="module")
def task(hoarder: User) -> UUID:
    """A task with thirty descriptions of 20,000 bytes each."""
    return hoarder.record(TaskCreated("long"), *(TaskDescribed(f"{number:02}" + "x" * 19_998) for number in range(30)))


@pytest.fixture(scope="module")
def hoarder(small: Api) -> User:
    """Somebody with 25 tasks of 50 long labels each."""
    user = small.register("hoarder")
    for number in range(25):
        user.record(TaskCreated(f"wide {number}", labels=WIDE))
    return user


def followed(user: User, path: str) -> list[httpx.Response]:
    pages = [user.get(path)]
    while "link" in pages[-1].headers:
        pages.append(user.api.request("GET", pages[-1].links["next"]["url"], headers=user.headers))
        assert pages[-1].status_code == 200, pages[-1].text
        assert len(pages) < 200
    return pages


def items_of(pages: list[httpx.Response]) -> list[dict[str, Any]]:
    return [item for page in pages for item in page.json()["items"]]


@pytest.mark.parametrize(
    "query", ["", "?limit=100", "?limit=100&sort=created", "?limit=100&status=open&q=wide", "?min_position=1"]
)
def test_a_list_is_cut_where_it_grows_too_large_and_goes_on(hoarder: User, task: UUID, query: str) -> None:
    hoarder.api.catch_up()
    pages = followed(hoarder, f"/tasks{query}")
    assert len(pages) >= 5
    assert all(len(page.content) < BOUND + 1_000 for page in pages)
    titles = {item["title"] for item in items_of(pages)} - {"long"}
    assert titles == {f"wide {number}" for number in range(25)}
    for page in pages:
        found = page.json()
        assert found["has_more"] is (found["next_cursor"] is not None) is ("link" in page.headers)


@pytest.mark.parametrize("path", ["/tasks/{}/history?limit=1000", "/changes?limit=1000", "/changes?limit=1000&include=task"])
def test_timelines_are_cut_where_they_grow_too_large_and_go_on(hoarder: User, task: UUID, path: str) -> None:
    hoarder.api.catch_up()
    pages = followed(hoarder, path.format(task))
    assert len(pages) > 10
    own = [item for item in items_of(pages) if item["stream_id"] == str(task)]
    assert [item["version"] for item in own] == list(range(1, 32))
    # An entry holds the text before and after, with the task once more: one that is larger than the bound stands alone.
    assert all(len(page.content) < BOUND + 1_000 or len(page.json()["items"]) == 1 for page in pages)


def test_one_item_that_is_larger_than_the_bound_is_still_sent(hoarder: User) -> None:
    huge = hoarder.record(TaskCreated("huge"), TaskDescribed("y" * 65_000), TaskDescribed("z" * 65_000))
    hoarder.api.catch_up()
    pages = followed(hoarder, f"/tasks/{huge}/history?limit=1000")
    assert [len(page.json()["items"]) for page in pages] == [1, 1, 1]
    assert len(pages[2].content) > BOUND
