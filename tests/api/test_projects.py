"""Projects over HTTP: keys that lead to them for ever, tasks that are named by them, and what takes no commands."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from domain.project.values import first_project_of
from tests.api_world import Api, User, World, problem


@pytest.fixture
def ada(world: World) -> User:
    """Somebody new, with a workspace of her own."""
    return world.api.register("ada")


def a_project(user: User, key: str, name: str = "A project") -> UUID:
    answer = user.post("/projects", {"key": key, "name": name})
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"/api/v1/projects/{answer.json()['stream_id']}"
    return UUID(answer.json()["stream_id"])


def shown(user: User, path: str) -> dict[str, Any]:
    user.api.catch_up()
    answer = user.get(path)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def listed(user: User, path: str) -> list[str]:
    return [item["key"] for item in shown(user, path)["items"]]


class TestTheFirstProject:
    def test_whoever_registers_has_one(self, ada: User) -> None:
        assert shown(ada, "/projects")["items"][0] | {"created_at": "", "updated_at": "", "position": 0} == {
            "id": str(first_project_of(ada.workspace_id)),
            "key": "TASKS",
            "name": "Tasks",
            "archived": False,
            "deleted": False,
            "version": 1,
            "position": 0,
            "created_at": "",
            "created_by": str(ada.principal_id),
            "updated_at": "",
        }

    def test_a_task_that_names_no_project_belongs_to_it_and_has_a_number_there(self, ada: User) -> None:
        receipt = ada.post("/tasks", {"title": "A"}).json()
        assert receipt["number"] == 1
        task = shown(ada, "/tasks/TASKS-1")
        assert (task["id"], task["number"]) == (receipt["stream_id"], 1)
        assert task["project_id"] == str(first_project_of(ada.workspace_id))

    def test_its_key_makes_way_for_one_that_took_it_before(self, api: Api) -> None:
        """A workspace whose first project was never made, and one who took its key."""
        user = api.register("zoe")
        other = uuid4()
        stranger = User(api, user.email, user.tokens | {"workspace_id": str(other)})
        assert first_project_of(stranger.workspace_id) != first_project_of(user.workspace_id)
        api.run(api.log.first_projects.make(other, user.principal_id))
        api.run(api.log.first_projects.make(other, user.principal_id))
        assert len(api.events(first_project_of(other))) == 1


class TestNamingOneself:
    def test_a_client_may_name_the_project_itself_and_an_id_that_is_taken_is_refused(self, ada: User, world: World) -> None:
        chosen = uuid4()
        made = ada.post("/projects", {"key": "OWN", "name": "Mine", "project_id": str(chosen)})
        assert (made.status_code, made.json()["stream_id"]) == (201, str(chosen))
        assert shown(ada, "/projects/OWN")["id"] == str(chosen)
        refusals = [
            user.post("/projects", {"key": "ELSE", "name": "Another", "project_id": str(chosen)}) for user in (ada, world.eve)
        ]
        told = [problem(refusal, 409, "project_exists") for refusal in refusals]
        assert told[0]["detail"] == told[1]["detail"]

    def test_an_id_that_no_client_can_have_made_is_refused(self, ada: User) -> None:
        refusal = ada.post("/projects", {"key": "OWN", "name": "Mine", "project_id": str(UUID(int=0))})
        problem(refusal, 422, "project_id_invalid", "/project_id")


class TestKeys:
    def test_a_key_that_another_project_has_or_had_is_refused(self, ada: User) -> None:
        a_project(ada, "ONE")
        problem(ada.post("/projects", {"key": "ONE", "name": "B"}), 409, "key_taken", "/key")
        ada.patch("/projects/ONE", {"key": "TWO"})
        problem(ada.post("/projects", {"key": "ONE", "name": "B"}), 409, "key_taken", "/key")

    def test_the_same_key_is_free_in_another_workspace(self, ada: User, world: World) -> None:
        a_project(ada, "MINE")
        a_project(world.api.register("eve"), "MINE")

    @pytest.mark.parametrize("key", ["P", "prj", "1AB", "ABCDEFGHIJK", "A-B", "ÄB", ""])
    def test_what_is_no_key_is_refused(self, ada: User, key: str) -> None:
        problem(ada.post("/projects", {"key": key, "name": "B"}), 400, "invalid_body", "/key")

    def test_a_former_key_goes_on_leading_to_the_project_and_its_tasks(self, ada: User) -> None:
        project = a_project(ada, "OLD")
        task = ada.task(project_id=str(project))
        assert ada.patch("/projects/OLD", {"key": "NEW"}).status_code == 200
        assert shown(ada, "/projects/OLD")["keys"] == ["OLD", "NEW"]
        assert {shown(ada, f"/tasks/{key}-1")["id"] for key in ("OLD", "NEW")} == {str(task)}

    def test_a_key_may_be_taken_back(self, ada: User) -> None:
        a_project(ada, "OLD")
        ada.patch("/projects/OLD", {"key": "NEW"})
        assert ada.patch("/projects/NEW", {"key": "OLD"}).status_code == 200
        assert shown(ada, "/projects/NEW")["key"] == "OLD"

    @pytest.mark.parametrize("address", ["NOPE-1", "TASKS-0", "TASKS-99", "TASKS-01", "tasks-1", "TASKS-", "TASKS-1-1"])
    def test_an_address_that_leads_nowhere_is_no_task(self, ada: User, address: str) -> None:
        ada.task()
        problem(ada.get(f"/tasks/{address}"), 404, "task_not_found")
        problem(ada.post(f"/tasks/{address}/complete"), 404, "task_not_found")

    def test_nobody_reaches_others_by_their_keys(self, ada: User, world: World) -> None:
        a_project(ada, "SECRET")
        ada.task()
        eve = world.api.register("eve")
        for path in ("/projects/SECRET", f"/projects/{first_project_of(ada.workspace_id)}"):
            problem(eve.get(path), 404, "project_not_found")
        problem(eve.get("/tasks/TASKS-1"), 404, "task_not_found")
        problem(eve.get("/tasks?project=SECRET"), 404, "project_not_found", "project")
        eve.post("/projects", {"key": "SECRET", "name": "Eve's"})
        assert shown(eve, "/projects/SECRET")["name"] == "Eve's"


class TestMoving:
    def test_a_moved_task_has_a_new_number_and_is_found_by_both(self, ada: User) -> None:
        there = a_project(ada, "THERE")
        ada.task(project_id=str(there))
        task = ada.task()
        moved = ada.post(f"/tasks/{task}/move", {"project_id": str(there)})
        assert (moved.status_code, moved.json()["number"]) == (200, 2)
        for address in ("TASKS-1", "THERE-2"):
            found = shown(ada, f"/tasks/{address}")
            assert (found["id"], found["number"], found["project_id"]) == (str(task), 2, str(there))

    def test_going_where_it_is_changes_nothing(self, ada: User) -> None:
        task = ada.task()
        answer = ada.post(f"/tasks/{task}/move", {"project_id": str(first_project_of(ada.workspace_id))})
        assert (answer.status_code, answer.json()["version"]) == (200, 1)

    def test_a_number_left_behind_is_never_given_again(self, ada: User) -> None:
        there = a_project(ada, "THERE")
        task = ada.task()
        ada.post(f"/tasks/{task}/move", {"project_id": str(there)})
        assert ada.post("/tasks", {"title": "B"}).json()["number"] == 2
        assert ada.post(f"/tasks/{task}/move", {"project_id": str(first_project_of(ada.workspace_id))}).json()["number"] == 3
        assert shown(ada, "/tasks/THERE-1")["id"] == str(task)

    @pytest.mark.parametrize("verb", ["archive", "delete"])
    def test_a_project_that_takes_no_commands_takes_no_task(self, ada: User, verb: str) -> None:
        there = a_project(ada, "THERE")
        close(ada, "THERE", verb)
        problem(ada.post(f"/tasks/{ada.task()}/move", {"project_id": str(there)}), 409, f"project_{verb}d")

    def test_a_project_of_others_is_none(self, ada: User, world: World) -> None:
        theirs = first_project_of(world.eve.workspace_id)
        problem(ada.post(f"/tasks/{ada.task()}/move", {"project_id": str(theirs)}), 404, "project_not_found", "/project_id")
        problem(ada.post("/tasks", {"title": "A", "project_id": str(theirs)}), 404, "project_not_found", "/project_id")


def close(user: User, key: str, verb: str) -> None:
    answer = user.delete(f"/projects/{key}") if verb == "delete" else user.post(f"/projects/{key}/{verb}")
    assert answer.status_code == 200, answer.text


def open_again(user: User, key: str, verb: str) -> None:
    answer = user.post(f"/projects/{key}/{'restore' if verb == 'delete' else 'unarchive'}")
    assert answer.status_code == 200, answer.text


class TestProjectsThatTakeNoCommands:
    @pytest.mark.parametrize("verb", ["archive", "delete"])
    def test_its_tasks_are_read_and_not_changed_until_it_is_open_again(self, ada: User, verb: str) -> None:
        project = a_project(ada, "DONE")
        task = ada.task(project_id=str(project))
        close(ada, "DONE", verb)
        code = f"project_{verb}d"
        problem(ada.post(f"/tasks/{task}/complete"), 409, code)
        problem(ada.patch(f"/tasks/{task}", {"title": "B"}), 409, code)
        problem(ada.post(f"/tasks/{task}/move", {"project_id": str(first_project_of(ada.workspace_id))}), 409, code)
        problem(ada.post("/tasks", {"title": "A", "project_id": str(project)}), 409, code)
        assert shown(ada, "/tasks/DONE-1")["status"] == "open"
        open_again(ada, "DONE", verb)
        assert ada.post(f"/tasks/{task}/complete").status_code == 200

    def test_a_batch_is_refused_command_by_command(self, ada: User) -> None:
        project = a_project(ada, "DONE")
        task = ada.task(project_id=str(project))
        close(ada, "DONE", "archive")
        commands = [
            {"task_id": str(task), "command": {"command": "complete"}},
            {"command": {"command": "create", "title": "In the first one"}},
        ]
        results = ada.post("/tasks/batch", {"commands": commands}).json()["results"]
        assert [result["status"] for result in results] == [409, 201]
        assert results[0]["problem"]["code"] == "project_archived"
        assert results[1]["receipt"]["number"] == 1

    def test_a_deleted_project_is_restored_and_nothing_else(self, ada: User) -> None:
        a_project(ada, "GONE")
        close(ada, "GONE", "delete")
        problem(ada.patch("/projects/GONE", {"name": "B"}), 409, "project_deleted")
        problem(ada.post("/projects/GONE/archive"), 409, "project_deleted")
        assert ada.delete("/projects/GONE").json()["version"] == 2
        open_again(ada, "GONE", "delete")
        assert ada.patch("/projects/GONE", {"name": "B"}).status_code == 200


class TestReading:
    def test_a_change_is_seen_from_its_position_on(self, ada: User) -> None:
        a_project(ada, "PRJ")
        answer = ada.patch("/projects/PRJ", {"name": "Another", "description": "Long."})
        ada.api.catch_up()
        found = ada.get(f"/projects/PRJ?min_position={answer.json()['position']}")
        assert (found.json()["name"], found.json()["description"], found.json()["version"]) == ("Another", "Long.", 3)
        assert found.headers["etag"] == '"v3"'
        assert ada.get("/projects/PRJ", headers={"If-None-Match": '"v3"'}).status_code == 304
        problem(ada.patch("/projects/PRJ", {"name": "C"}, headers={"If-Match": '"v1"'}), 412, "precondition_failed")

    def test_lists_by_key_and_in_the_order_added_and_what_is_put_away(self, ada: User) -> None:
        for key in ("BB", "AA", "CC", "DD"):
            a_project(ada, key)
        close(ada, "CC", "archive")
        close(ada, "DD", "delete")
        assert listed(ada, "/projects") == ["AA", "BB", "CC", "TASKS"]
        assert listed(ada, "/projects?archived=false&sort=-key") == ["TASKS", "BB", "AA"]
        assert listed(ada, "/projects?archived=true") == ["CC"]
        assert listed(ada, "/projects?deleted=true") == ["DD"]
        assert listed(ada, "/projects?sort=added") == ["TASKS", "BB", "AA", "CC"]
        problem(ada.get("/projects?sort=name"), 400, "invalid_parameter", "sort")
        problem(ada.get("/projects?archived=perhaps"), 400, "invalid_parameter", "archived")

    @pytest.mark.parametrize("sort", ["key", "-key", "added", "-added"])
    def test_pages_together_are_the_list(self, ada: User, sort: str) -> None:
        for number in range(7):
            a_project(ada, f"P{number * 37 % 7}")
        whole = listed(ada, f"/projects?sort={sort}")
        assert len(whole) == 8
        walked: list[str] = []
        path = f"/projects?sort={sort}&limit=3"
        while path:
            page = shown(ada, path)
            walked += [item["key"] for item in page["items"]]
            path = f"/projects?sort={sort}&limit=3&cursor={page['next_cursor']}" if page["has_more"] else ""
        assert walked == whole

    def test_projects_as_they_were(self, ada: User) -> None:
        a_project(ada, "AA", "First")
        before = ada.api.head()
        ada.patch("/projects/AA", {"key": "ZZ", "name": "Second"})
        close(ada, "ZZ", "archive")
        assert listed(ada, "/projects") == ["TASKS", "ZZ"]
        assert listed(ada, f"/projects?as_of={before}") == ["AA", "TASKS"]
        assert listed(ada, f"/projects?as_of={before}&archived=true") == []
        then = shown(ada, f"/projects/ZZ?as_of={before}")
        assert (then["key"], then["name"], then["archived"], then["version"]) == ("AA", "First", False, 1)
        problem(ada.get(f"/projects/ZZ?as_of={before - 1}"), 404, "project_not_found")
        problem(ada.get(f"/projects?as_of={ada.api.head() + 1}"), 422, "position_in_the_future", "as_of")


class TestTasksOfAProject:
    def test_lists_searches_counts_and_differences_take_a_project(self, ada: User) -> None:
        project = a_project(ada, "PRJ")
        inside, outside = ada.task("A word", project_id=str(project)), ada.task("A word")
        ada.post(f"/tasks/{inside}/complete")
        before = ada.api.head()
        ada.post(f"/tasks/{outside}/move", {"project_id": str(project)})
        for named in ("PRJ", str(project)):
            items = shown(ada, f"/tasks?project={named}&q=word")["items"]
            assert [item["id"] for item in items] == [str(outside), str(inside)]
            items = shown(ada, f"/tasks?project={named}&as_of={before}")["items"]
            assert [item["id"] for item in items] == [str(inside)]
            counts = shown(ada, f"/tasks/counts?project={named}")
            assert (counts["open"], counts["completed"]) == (1, 1)
            counts = shown(ada, f"/tasks/counts?project={named}&as_of={before}")
            assert (counts["open"], counts["completed"]) == (0, 1)
        assert shown(ada, "/tasks/counts?project=TASKS")["open"] == 0
        changed = shown(ada, f"/tasks/diff?from={before}&to={ada.api.head()}&project=PRJ")["items"]
        assert [(item["task_id"], item["what"]) for item in changed] == [(str(outside), "entered")]
        moved = shown(ada, f"/tasks/diff?from={before}&to={ada.api.head()}")["items"][0]["fields"]
        assert [field["field"] for field in moved] == ["project_id"]

    def test_what_names_no_project_is_refused(self, ada: User) -> None:
        problem(ada.get("/tasks?project=NOPE"), 404, "project_not_found", "project")
        problem(ada.get("/tasks?project=not a key"), 400, "invalid_parameter", "project")
        problem(ada.get("/tasks/counts?project=NOPE"), 404, "project_not_found", "project")
        assert shown(ada, f"/tasks?project={uuid4()}")["items"] == []

    def test_the_feed_of_a_project_tells_what_happens_in_it_and_of_what_left_only_that(self, ada: User) -> None:
        project = a_project(ada, "PRJ")
        there = a_project(ada, "THERE")
        task = ada.task("Secret plan", project_id=str(project))
        ada.task("Elsewhere")
        ada.post(f"/tasks/{task}/move", {"project_id": str(there), "reason": "because"})
        ada.patch(f"/tasks/{task}", {"title": "Unseen"})
        ada.post("/projects/PRJ/archive")
        entries = shown(ada, "/changes?project=PRJ")["items"]
        assert [entry["type"] for entry in entries] == ["project.created", "task.created", "task.moved", "project.archived"]
        assert (entries[2]["reason"], entries[2]["changes"]) == (None, [])
        theirs = shown(ada, "/changes?project=THERE&include=task")["items"]
        assert [entry["type"] for entry in theirs] == ["project.created", "task.moved", "task.renamed"]
        assert theirs[1]["changes"] == [{"field": "project_id", "before": str(project), "after": str(there)}]
        assert [entry["task"]["title"] for entry in theirs if "task" in entry] == ["Unseen", "Unseen"]
        left = shown(ada, "/changes?project=PRJ&include=task")["items"]
        assert [entry for entry in left if "task" in entry] == []

    def test_the_history_of_a_project_is_its_own(self, ada: User) -> None:
        project = a_project(ada, "PRJ")
        ada.task(project_id=str(project))
        before = ada.api.head()
        ada.patch("/projects/PRJ", {"key": "NEW", "name": "B"})
        entries = shown(ada, "/projects/PRJ/history")["items"]
        assert [entry["type"] for entry in entries] == ["project.created", "project.key_changed", "project.renamed"]
        assert entries[2]["changes"] == [{"field": "name", "before": "A project", "after": "B"}]
        assert len(shown(ada, f"/projects/NEW/history?as_of={before}")["items"]) == 1
        problem(ada.get(f"/projects/{uuid4()}/history"), 404, "project_not_found")
        problem(ada.get(f"/tasks/{project}/history"), 404, "task_not_found")
