"""Lists of accounts and members in the one shape of all lists, and how they go on."""

from uuid import uuid4

import httpx

from tests.api_world import User, World, problem


def people(user: User, count: int) -> None:
    """Members as an import makes them."""
    for number in range(count):
        user.api.execute(
            "INSERT INTO taskmaster.members (workspace_id, principal_id, display_name, role) VALUES (%s, %s, %s, 'imported')",
            user.workspace_id,
            uuid4(),
            f"Member {number % 7:02}",
        )


def followed(user: User, path: str) -> list[httpx.Response]:
    """Every page, as the Link headers lead to them."""
    pages = [user.get(path)]
    while "link" in pages[-1].headers:
        target = pages[-1].links["next"]["url"]
        pages.append(user.api.request("GET", target, headers=user.headers))
        assert pages[-1].status_code == 200, pages[-1].text
    return pages


def test_members_come_in_pages_that_neither_repeat_nor_skip(world: World) -> None:
    user = world.api.register("host")
    people(user, 25)
    whole = user.get("/members").json()
    assert (len(whole["items"]), whole["next_cursor"], whole["has_more"]) == (26, None, False)
    pages = followed(user, "/members?limit=7")
    assert [len(page.json()["items"]) for page in pages] == [7, 7, 7, 5]
    assert [member for page in pages for member in page.json()["items"]] == whole["items"]
    for page in pages:
        found = page.json()
        assert found["has_more"] is (found["next_cursor"] is not None) is ("link" in page.headers)


def test_a_cursor_of_another_list_of_members_does_not_pass_for_the_end_of_this_one(world: World) -> None:
    for stranger in (world.eve.principal_id, uuid4()):
        problem(world.ada.get(f"/members?cursor={stranger}"), 400, "invalid_cursor", "cursor")
    last = world.ada.get("/members").json()["items"][-1]["principal_id"]
    assert world.ada.get(f"/members?cursor={last}").json()["items"] == []
    problem(world.ada.get("/members?cursor=x"), 400, "invalid_cursor", "cursor")
    problem(world.ada.get("/members?limit=0"), 400, "invalid_parameter", "limit")
    problem(world.ada.get("/members?limit=1001"), 400, "invalid_parameter", "limit")


def test_sessions_come_in_the_same_shape(world: World) -> None:
    found = world.ada.get("/auth/sessions").json()
    assert found.keys() == {"items", "next_cursor", "has_more"}
    assert [session["current"] for session in found["items"]].count(True) == 1
    assert (found["next_cursor"], found["has_more"]) == (None, False)


def test_the_start_page_leads_to_the_documentation(world: World) -> None:
    answer = world.api.request("GET", "/")
    assert (answer.status_code, answer.headers["location"]) == (307, "/docs")
