"""Drives the public API and the model beside it: commands, reads of now and of any earlier position, strangers and doubles."""

from typing import Any
from uuid import UUID, uuid4

import httpx
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from hypothesis.strategies import DataObject

from tests.api_world import Api, User
from tests.scenarios.model import PRIORITIES, STATUSES, Model, Refused, Task, counted, listed

WORDS = ("alpha", "beta", "gamma")
LABELS = ("red", "green", "blue")
KEYS = ("AB", "CD1", "EFG", "TASKS", "X9")
DUES = ("2026-12-01T10:00:00Z", "2027-01-01T00:00:00Z", "2027-06-30T23:59:59.5Z")
SORTS = tuple(sign + by for sign in ("", "-") for by in ("added", "created", "due", "priority", "estimate"))
NOT_IN_LISTS = frozenset({"description"})
# Mostly open, or nothing could be done in any of them.
PROJECT_COMMANDS = ("change", "archive", *["unarchive"] * 3, "delete", *["restore"] * 3)
STEPS = ("start", "stop", "complete", "cancel", "reopen")

texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(" ".join)
labels = st.lists(st.sampled_from(LABELS), unique=True, max_size=3)
estimates = st.none() | st.integers(0, 40).map(lambda halves: halves / 2)
dues = st.none() | st.sampled_from(DUES)

FILTERS: dict[str, st.SearchStrategy[Any]] = {
    "status": st.lists(st.sampled_from(STATUSES), min_size=1, max_size=2, unique=True),
    "priority": st.lists(st.sampled_from(PRIORITIES), min_size=1, max_size=2, unique=True),
    "label": st.lists(st.sampled_from(LABELS), min_size=1, max_size=2, unique=True),
    "estimate_from": st.sampled_from([0.0, 2.5, 10.0]),
    "due_before": st.sampled_from(DUES[1:]),
    "q": st.sampled_from(WORDS),
    "deleted": st.just(value=True),
}
# More of them at once leave nothing on a list, and nothing is in any order.
few_filters = st.lists(st.sampled_from(list(FILTERS)), unique=True, max_size=2).flatmap(
    lambda names: st.fixed_dictionaries({name: FILTERS[name] for name in names})
)


def shown_due(due: str | None) -> str | None:
    """As documents say it: six digits of a second's fraction, if it has one."""
    return due.replace("59.5Z", "59.500000Z") if due else None


class PublicApi(RuleBasedStateMachine):
    """One workspace's user beside a model of what he is promised, and a stranger who must never see anything of it."""

    api: Api
    ada: User
    eve: User
    model: Model

    @initialize()
    def begin(self) -> None:
        self.ada, self.eve = self.api.register("ada"), self.api.register("eve")
        self.api.catch_up()
        (first,) = self.ada.get("/projects").json()["items"]
        self.model = Model(first["id"], first["position"])
        self.bodies: list[tuple[str, str, dict[str, Any], str, bytes]] = []

    # COMMANDS

    @rule(title=texts, more=st.fixed_dictionaries({}, optional={
        "description": texts, "priority": st.sampled_from(PRIORITIES), "due_at": dues, "labels": labels, "estimate": estimates,
    }), data=st.data())  # fmt: skip
    def create(self, title: str, more: dict[str, Any], data: DataObject) -> None:
        body = {"title": title, **more}
        if data.draw(st.booleans()):
            body["project_id"] = self._project(data)
        if data.draw(st.booleans()):
            body["assignees"] = [str(self.ada.principal_id)]
        key = uuid4().hex
        answer = self.ada.post("/tasks", body, headers={"Idempotency-Key": key})
        if not self._refused(answer, lambda: self.model.may_create(body)):
            assert answer.status_code == 201, answer.text
            receipt = answer.json()
            self.model.create(receipt["stream_id"], self._as_shown(body), receipt["position"])
            assert receipt["number"] == self.model.now.tasks[receipt["stream_id"]].number
            self.bodies.append(("POST", "/tasks", body, key, answer.content))

    @precondition(lambda self: self.model.now.tasks)
    @rule(body=st.fixed_dictionaries({}, optional={
        "title": texts, "description": texts, "priority": st.sampled_from(PRIORITIES), "due_at": dues, "labels": labels,
        "estimate": estimates,
    }).filter(bool), data=st.data())  # fmt: skip
    def change(self, body: dict[str, Any], data: DataObject) -> None:
        task, if_match = self._task(data), self._if_match(data)
        headers = {} if if_match is None else {"If-Match": f'"v{if_match}"'}
        answer = self.ada.patch(f"/tasks/{self._address(data, task)}", body, headers=headers)
        self._decided(task, answer, lambda: self.model.change(task, self._as_shown(body), if_match))

    @precondition(lambda self: self.model.now.tasks)
    @rule(steps=st.lists(st.sampled_from(STEPS), min_size=1, max_size=5), data=st.data())
    def work(self, steps: list[str], data: DataObject) -> None:
        task = self._task(data)
        for step in steps:
            answer = self.ada.post(f"/tasks/{self._address(data, task)}/{step}")
            self._decided(task, answer, lambda step=step: self.model.step(task, step))  # type: ignore[misc]  # bound now

    @precondition(lambda self: self.model.now.tasks)
    @rule(deleted=st.booleans(), data=st.data())
    def delete_or_restore(self, deleted: bool, data: DataObject) -> None:
        task = self._task(data)
        answer = self.ada.delete(f"/tasks/{task}") if deleted else self.ada.post(f"/tasks/{task}/restore")
        self._decided(task, answer, lambda: self.model.throw_away(task, deleted=deleted))

    @precondition(lambda self: self.model.now.tasks)
    @rule(data=st.data())
    def move(self, data: DataObject) -> None:
        task, project = self._task(data), self._project(data)
        answer = self.ada.post(f"/tasks/{task}/move", {"project_id": project})
        self._decided(task, answer, lambda: self.model.move(task, project))

    @rule(key=st.sampled_from(KEYS), name=texts)
    def create_project(self, key: str, name: str) -> None:
        answer = self.ada.post("/projects", {"key": key, "name": name})
        if not self._refused(answer, lambda: self.model.may_take(key)):
            assert answer.status_code == 201, answer.text
            receipt = answer.json()
            self.model.create_project(receipt["stream_id"], key, name, receipt["position"])

    @rule(what=st.sampled_from(PROJECT_COMMANDS), data=st.data())
    def change_project(self, what: str, data: DataObject) -> None:
        project = data.draw(st.sampled_from(list(self.model.now.projects)))
        body = {"key": data.draw(st.sampled_from(KEYS)), "name": data.draw(texts)} if what == "change" else {}
        path = f"/projects/{data.draw(st.sampled_from([project, *self.model.now.projects[project].keys]))}"
        model = self.model
        answer, decision = {
            "change": lambda: (self.ada.patch(path, body), lambda: model.change_project(project, body)),
            "archive": lambda: (self.ada.post(f"{path}/archive"), lambda: model.put_away(project, archived=True)),
            "unarchive": lambda: (self.ada.post(f"{path}/unarchive"), lambda: model.put_away(project, archived=False)),
            "delete": lambda: (self.ada.delete(path), lambda: model.delete_project(project, deleted=True)),
            "restore": lambda: (self.ada.post(f"{path}/restore"), lambda: model.delete_project(project, deleted=False)),
        }[what]()
        if not self._refused(answer, decision):
            after = decision()
            assert answer.status_code == 200, answer.text
            assert answer.json()["version"] == after.version
            model.keep_project(after, answer.json()["position"])

    @precondition(lambda self: self.bodies)
    @rule(data=st.data())
    def send_again(self, data: DataObject) -> None:
        method, path, body, key, receipt = data.draw(st.sampled_from(self.bodies))
        again = self.ada.request(method, path, json=body, headers={"Idempotency-Key": key})
        assert again.content == receipt
        assert again.headers["idempotency-replayed"] == "true"
        other = self.ada.request(method, path, json=body | {"title": "another"}, headers={"Idempotency-Key": key})
        assert other.status_code == 422

    # READS

    @precondition(lambda self: self.model.now.tasks)
    @rule(data=st.data())
    def read_a_task(self, data: DataObject) -> None:
        task = self._task(data)
        self.api.catch_up()
        answer = self.ada.get(f"/tasks/{self._address(data, task)}")
        assert answer.status_code == 200, answer.text
        self._same(answer.json(), self.model.now.tasks[task])
        entries = self.ada.get(f"/tasks/{task}/history?limit=200").json()["items"]
        assert [entry["version"] for entry in entries] == list(range(1, self.model.now.tasks[task].version + 1))
        told: dict[str, Any] = {}
        for entry in entries:
            told |= {change["field"]: change["after"] for change in entry["changes"]}
        for name, value in self.model.now.tasks[task].shown().items():
            assert told.get(name, value if name in ("id", "version", "number") else _initial(name)) == value, (name, told)

    @rule(filters=few_filters, sort=st.sampled_from(SORTS), limit=st.integers(1, 4), data=st.data())
    def read_a_list(self, filters: dict[str, Any], sort: str, limit: int, data: DataObject) -> None:
        if data.draw(st.integers(0, 4)) == 0:
            filters["project"] = data.draw(st.sampled_from(list(self.model.now.projects)))
        position = data.draw(st.none() | st.sampled_from([state.position for state in self.model.states]))
        state = self.model.now if position is None else self.model.at(position)
        self.api.catch_up()
        named = filters | {"sort": sort, "limit": limit} | ({} if position is None else {"as_of": position})
        found = self._pages("/tasks", {name: str(value) if value is True else value for name, value in named.items()})
        wanted = listed(state.tasks.values(), {**filters, **_due(filters)}, sort)
        assert [one["id"] for one in found] == [task.id for task in wanted]
        for one, task in zip(found, wanted, strict=True):
            self._same(one, task, NOT_IN_LISTS)

    @rule(data=st.data())
    def count(self, data: DataObject) -> None:
        position = data.draw(st.none() | st.sampled_from([state.position for state in self.model.states]))
        state = self.model.now if position is None else self.model.at(position)
        self.api.catch_up()
        counts = self.ada.get("/tasks/counts", params={} if position is None else {"as_of": position}).json()
        assert counts == counted(state.tasks.values())

    @rule(data=st.data())
    def list_projects(self, data: DataObject) -> None:
        position = data.draw(st.none() | st.sampled_from([state.position for state in self.model.states]))
        state = self.model.now if position is None else self.model.at(position)
        self.api.catch_up()
        found = self._pages("/projects", {"limit": 2, "deleted": "false"} | ({} if position is None else {"as_of": position}))
        wanted = {project.id: project.shown() for project in state.projects.values() if not project.deleted}
        assert {one["id"]: {name: one[name] for name in wanted[one["id"]]} for one in found} == wanted

    @rule(data=st.data())
    def compare_two_moments(self, data: DataObject) -> None:
        moments = st.sampled_from([state.position for state in self.model.states])
        first, last = sorted((data.draw(moments), data.draw(moments)))
        self.api.catch_up()
        found = {one["task_id"]: one for one in self._pages("/tasks/diff", {"from": first, "to": last, "limit": 3})}
        before, after = self.model.at(first).tasks, self.model.at(last).tasks
        wanted = {}
        for one in before.keys() | after.keys():
            was, is_now = (one in side and not side[one].deleted for side in (before, after))
            fields = _changed(before[one], after[one]) if was and is_now else {}
            if was != is_now or fields:
                wanted[one] = ("changed" if was and is_now else "entered" if is_now else "left", fields)
        assert {one: told["what"] for one, told in found.items()} == {one: what for one, (what, _) in wanted.items()}
        for one, (what, fields) in wanted.items():
            if what == "changed":
                assert {each["field"]: (each["before"], each["after"]) for each in found[one]["fields"]} == fields

    @precondition(lambda self: self.model.now.tasks)
    @rule(data=st.data())
    def a_stranger_asks(self, data: DataObject) -> None:
        task = self._task(data)
        self.api.catch_up()
        for path in (f"/tasks/{task}", f"/tasks/{task}/history"):
            unknown = self.eve.get(path.replace(task, str(uuid4())))
            assert (unknown.status_code, self.eve.get(path).content) == (404, unknown.content)
        assert self.eve.post(f"/tasks/{task}/start").status_code == 404
        assert self.eve.get("/tasks").json()["items"] == []

    def teardown(self) -> None:
        if hasattr(self, "model"):
            self._follow_the_feed()

    def _follow_the_feed(self) -> None:
        """From the beginning: dense ordinals, and every task's last version."""
        self.api.catch_up()
        after, ordinals, versions = "0", [], dict[str, int]()
        while True:
            page = self.ada.get("/changes", params={"after": after, "limit": 100}).json()
            ordinals += [entry["ordinal"] for entry in page["items"]]
            versions |= {entry["stream_id"]: entry["version"] for entry in page["items"]}
            after = page["next_cursor"]
            if not page["has_more"]:
                break
        assert ordinals == list(range(1, len(ordinals) + 1))
        state = self.model.now
        for known in (state.tasks, state.projects):
            for one in known.values():
                assert versions[one.id] == one.version  # type: ignore[attr-defined]  # both have one

    # BETWEEN THE TWO

    def _refused(self, answer: httpx.Response, decide: Any) -> bool:
        refusal = _refusal(decide)
        if refusal is None:
            return False
        assert (answer.status_code, answer.json()["code"]) == (refusal.status, refusal.code), answer.text
        return True

    def _decided(self, task: str, answer: httpx.Response, decide: Any) -> None:
        if self._refused(answer, decide):
            return
        assert answer.status_code == 200, answer.text
        after, receipt = decide(), answer.json()
        assert receipt["version"] == (after[-1] if after else self.model.now.tasks[task]).version
        self.model.keep(after, receipt["position"])

    def _task(self, data: DataObject) -> str:
        return data.draw(st.sampled_from(list(self.model.now.tasks)))

    def _project(self, data: DataObject) -> str:
        return data.draw(st.sampled_from([*self.model.now.projects, str(UUID(int=7, version=4))]))

    def _if_match(self, data: DataObject) -> int | None:
        return data.draw(st.none() | st.integers(1, 12))

    def _address(self, data: DataObject, task: str) -> str:
        """The task's id, or any address that leads to it."""
        projects = self.model.now.projects
        names = [
            f"{key}-{number}"
            for (project, number), leads_to in self.model.now.addresses.items()
            for key in projects[project].keys
            if leads_to == task
        ]
        return data.draw(st.sampled_from([task, *names]))

    def _pages(self, path: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        cursor: dict[str, Any] = {}
        while True:
            answer = self.ada.get(path, params=parameters | cursor)
            assert answer.status_code == 200, answer.text
            page = answer.json()
            found += page["items"]
            if not page["has_more"]:
                return found
            cursor = {"cursor": page["next_cursor"]}

    @staticmethod
    def _as_shown(body: dict[str, Any]) -> dict[str, Any]:
        return body | ({"due_at": shown_due(body["due_at"])} if "due_at" in body else {})

    @staticmethod
    def _same(document: dict[str, Any], task: Task, without: frozenset[str] = frozenset()) -> None:
        wanted = {name: value for name, value in task.shown().items() if name not in without}
        assert {name: document[name] for name in wanted} == wanted


def _changed(before: Task, after: Task) -> dict[str, tuple[Any, Any]]:
    """Each field that commands change, where it differs."""
    was, is_now = before.shown(), after.shown()
    return {name: (was[name], is_now[name]) for name in was if name not in ("version", "number") and was[name] != is_now[name]}


def _refusal(decide: Any) -> Refused | None:
    try:
        decide()
    except Refused as refused:
        return refused
    return None


def _initial(name: str) -> Any:
    return {"description": "", "status": "open", "priority": "none", "assignees": [], "labels": [], "deleted": False}.get(name)


def _due(filters: dict[str, Any]) -> dict[str, Any]:
    return {"due_before": shown_due(filters["due_before"])} if "due_before" in filters else {}
