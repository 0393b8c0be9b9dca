"""What the API promises of tasks and projects, once more and in memory: plain values, no code of the product.

A model keeps every state that it was in, by position, so that it also knows how everything was.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final

STATUSES: Final = ("open", "in_progress", "completed", "cancelled")
PRIORITIES: Final = ("none", "low", "medium", "high", "urgent")
FIRST_KEY: Final = "TASKS"

_STEPS: Final = {
    "start": ({"completed", "cancelled"}, "in_progress"),
    "stop": ({"completed", "cancelled"}, "open"),
    "complete": ({"cancelled"}, "completed"),
    "cancel": ({"completed"}, "cancelled"),
    "reopen": (set(), "open"),
}
_CLEARABLE: Final = ("due_at", "estimate")
_FIELDS: Final = ("title", "description", "priority", "due_at", "assignees", "labels", "estimate")
EVERY_FIELD: Final = frozenset((*_FIELDS, "status", "deleted", "project_id"))


class Refused(Exception):
    """What a command is to be answered instead of a receipt."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(status, code)
        self.status = status
        self.code = code


@dataclass(frozen=True)
class Task:
    """A task with what each of its events touched."""

    id: str
    project_id: str
    number: int
    added: int
    title: str = ""
    description: str = ""
    status: str = "open"
    priority: str = "none"
    due_at: str | None = None
    assignees: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    estimate: float | None = None
    deleted: bool = False
    touched: tuple[frozenset[str], ...] = ()

    @property
    def version(self) -> int:
        return len(self.touched)

    def shown(self) -> dict[str, Any]:
        """What its document says of all that commands change."""
        names = (*_FIELDS, "id", "project_id", "number", "status", "deleted", "version")
        told = {name: getattr(self, name) for name in names}
        return told | {"assignees": list(self.assignees), "labels": list(self.labels)}


@dataclass(frozen=True)
class Project:
    """A project with all the keys that it ever had, the present one last, and how many numbers it has given."""

    id: str
    keys: tuple[str, ...]
    name: str
    added: int
    description: str = ""
    archived: bool = False
    deleted: bool = False
    version: int = 1
    numbers: int = 0

    def shown(self) -> dict[str, Any]:
        told = {name: getattr(self, name) for name in ("id", "name", "archived", "deleted", "version")}
        return told | {"key": self.keys[-1]}


@dataclass(frozen=True)
class State:
    """Everything of one workspace at one position."""

    position: int
    tasks: dict[str, Task] = field(default_factory=dict)
    projects: dict[str, Project] = field(default_factory=dict)
    addresses: dict[tuple[str, int], str] = field(default_factory=dict)


class Model:
    """One workspace. Each command gives the state that it leads to, its events and its number, or raises Refused."""

    def __init__(self, first_project: str, position: int) -> None:
        first = Project(first_project, (FIRST_KEY,), "Tasks", position)
        self.first_project = first_project
        self.states = [State(position, projects={first_project: first})]

    @property
    def now(self) -> State:
        return self.states[-1]

    def at(self, position: int) -> State:
        """The newest state that was reached at the position."""
        found = [state for state in self.states if state.position <= position]
        return found[-1] if found else State(0)

    def project_named(self, key: str) -> Project | None:
        """Whose the key is or was."""
        return next((project for project in self.now.projects.values() if key in project.keys), None)

    def addressed(self, key: str, number: int) -> str | None:
        """The task that the address leads to."""
        project = self.project_named(key)
        return None if project is None else self.now.addresses.get((project.id, number))

    # TASKS

    def create(self, task_id: str, body: dict[str, Any], position: int) -> None:
        project_id = self.may_create(body)
        self._require_open(project_id)
        project = self.now.projects[project_id]
        given = {name: value for name, value in body.items() if name in _FIELDS}
        given |= {name: tuple(given[name]) for name in ("assignees", "labels") if name in given}
        task = Task(task_id, project_id, project.numbers + 1, position, **given, touched=(EVERY_FIELD,))
        self._keep(position, task, numbered=True)

    def may_create(self, body: dict[str, Any]) -> str:
        """The project of a new task. Raises Refused."""
        project_id: str = body.get("project_id", self.first_project)
        self._require_open(project_id)
        return project_id

    def change(self, task_id: str, body: dict[str, Any], if_match: int | None) -> list[Task]:
        """The task after each event of a PATCH: labels and assignees one by one, what goes before what comes."""
        task = self._task(task_id, frozenset(body), if_match)
        self._require_there(task)
        after: list[Task] = []
        for name in _FIELDS:
            if name not in body:
                continue
            if name in ("assignees", "labels"):
                after += _members_changed(after[-1] if after else task, name, tuple(body[name]))
            elif getattr(task, name) != body[name]:
                after.append(_touched(after[-1] if after else task, **{name: body[name]}))
        return self._in_open_project(task, after)

    def step(self, task_id: str, name: str, if_match: int | None = None) -> list[Task]:
        task = self._task(task_id, frozenset({"status"}), if_match)
        self._require_there(task)
        closed, status = _STEPS[name]
        if task.status in closed:
            raise Refused(409, "task_closed")
        is_changed = task.status in {"completed", "cancelled"} if name == "reopen" else task.status != status
        return self._in_open_project(task, [_touched(task, status=status)] if is_changed else [])

    def throw_away(self, task_id: str, *, deleted: bool) -> list[Task]:
        task = self._task(task_id, frozenset(), None)
        return self._in_open_project(task, [] if task.deleted == deleted else [_touched(task, deleted=deleted)])

    def move(self, task_id: str, project_id: str) -> list[Task]:
        task = self._task(task_id, frozenset(), None)
        self._require_there(task)
        if task.project_id == project_id:
            return []
        self._require_open(task.project_id)
        self._require_open(project_id)
        return [_touched(task, project_id=project_id, number=self.now.projects[project_id].numbers + 1)]

    def keep(self, after: list[Task], position: int) -> None:
        """Take over what a command led to, whose last event is at the position."""
        if after:
            self._keep(position, after[-1], numbered=after[-1].project_id != self.now.tasks[after[-1].id].project_id)

    def _keep(self, position: int, task: Task, *, numbered: bool) -> None:
        now = self.now
        projects, addresses = now.projects, now.addresses
        if numbered:
            project = projects[task.project_id]
            projects = projects | {project.id: replace(project, numbers=task.number)}
            addresses = addresses | {(project.id, task.number): task.id}
        self.states.append(State(position, now.tasks | {task.id: task}, projects, addresses))

    def _task(self, task_id: str, fields: frozenset[str], if_match: int | None) -> Task:
        task = self.now.tasks.get(task_id)
        if task is None:
            raise Refused(404, "task_not_found")
        if if_match is not None and if_match != task.version:
            if not 0 < if_match < task.version:
                raise Refused(412, "no_such_version")
            if fields & frozenset().union(*task.touched[if_match:]):
                raise Refused(412, "precondition_failed")
        return task

    @staticmethod
    def _require_there(task: Task) -> None:
        if task.deleted:
            raise Refused(409, "task_deleted")

    def _in_open_project(self, task: Task, after: list[Task]) -> list[Task]:
        if after:
            self._require_open(task.project_id)
        return after

    def _require_open(self, project_id: str) -> None:
        project = self.now.projects.get(project_id)
        if project is None:
            raise Refused(404, "project_not_found")
        if project.deleted:
            raise Refused(409, "project_deleted")
        if project.archived:
            raise Refused(409, "project_archived")

    # PROJECTS

    def may_take(self, key: str) -> None:
        """Raises Refused where a project has or had the key."""
        if self.project_named(key) is not None:
            raise Refused(409, "key_taken")

    def create_project(self, project_id: str, key: str, name: str, position: int) -> None:
        self.keep_project(Project(project_id, (key,), name, position), position)

    def change_project(self, project_id: str, body: dict[str, Any]) -> Project:
        """The project after a PATCH."""
        project = self.now.projects[project_id]
        self._require_undeleted(project)
        key = body.get("key", project.keys[-1])
        if key not in project.keys:
            self.may_take(key)
        if key != project.keys[-1]:
            project = replace(project, keys=(*(one for one in project.keys if one != key), key), version=project.version + 1)
        for name in ("name", "description"):
            if name in body and getattr(project, name) != body[name]:
                project = replace(project, **{name: body[name]}, version=project.version + 1)
        return project

    def put_away(self, project_id: str, *, archived: bool) -> Project:
        project = self.now.projects[project_id]
        self._require_undeleted(project)
        return project if project.archived == archived else replace(project, archived=archived, version=project.version + 1)

    def delete_project(self, project_id: str, *, deleted: bool) -> Project:
        project = self.now.projects[project_id]
        return project if project.deleted == deleted else replace(project, deleted=deleted, version=project.version + 1)

    def keep_project(self, project: Project, position: int) -> None:
        if self.now.projects.get(project.id) != project:
            now = self.now
            self.states.append(State(position, now.tasks, now.projects | {project.id: project}, now.addresses))

    @staticmethod
    def _require_undeleted(project: Project) -> None:
        if project.deleted:
            raise Refused(409, "project_deleted")


def _touched(task: Task, **fields: Any) -> Task:
    names = frozenset(fields) - {"number"}
    return replace(task, **fields, touched=(*task.touched, names))


def _members_changed(task: Task, name: str, wanted: tuple[str, ...]) -> list[Task]:
    after: list[Task] = []
    for gone in [one for one in getattr(task, name) if one not in wanted]:
        task = _touched(task, **{name: tuple(one for one in getattr(task, name) if one != gone)})
        after.append(task)
    for come in [one for one in wanted if one not in getattr(task, name)]:
        task = _touched(task, **{name: (*getattr(task, name), come)})
        after.append(task)
    return after


# LISTS


def listed(tasks: Iterable[Task], filters: dict[str, Any], sort: str) -> list[Task]:
    """The tasks that the filters let through, in order; ties in the order added, in the direction of the order."""
    descending, by = sort.startswith("-"), sort.removeprefix("-")
    kept = sorted((task for task in tasks if _fits(task, filters)), key=lambda task: task.added, reverse=descending)
    if by in ("added", "created"):
        return kept
    there = [task for task in kept if _key(task, by) is not None]
    return [
        *sorted(there, key=lambda task: _key(task, by), reverse=descending),
        *(task for task in kept if _key(task, by) is None),
    ]


def _key(task: Task, by: str) -> Any:
    if by == "priority":
        return PRIORITIES.index(task.priority)
    return task.due_at if by == "due" else task.estimate


def _fits(task: Task, filters: dict[str, Any]) -> bool:  # noqa: PLR0911 - one line a filter
    if task.deleted != bool(filters.get("deleted")):
        return False
    if "status" in filters and task.status not in filters["status"]:
        return False
    if "priority" in filters and task.priority not in filters["priority"]:
        return False
    if "label" in filters and not set(filters["label"]) <= set(task.labels):
        return False
    if "project" in filters and task.project_id != filters["project"]:
        return False
    if "assignee" in filters and filters["assignee"] not in task.assignees:
        return False
    if "estimate_from" in filters and (task.estimate is None or task.estimate < filters["estimate_from"]):
        return False
    if "due_before" in filters and (task.due_at is None or task.due_at >= filters["due_before"]):
        return False
    return "q" not in filters or filters["q"] in _words(task)


def _words(task: Task) -> set[str]:
    return {word.lower() for text in (task.title, task.description, *task.labels) for word in text.split()}


def counted(tasks: Iterable[Task]) -> dict[str, int]:
    """As `GET /tasks/counts` says it."""
    counts = dict.fromkeys((*STATUSES, "deleted"), 0)
    for task in tasks:
        counts["deleted" if task.deleted else task.status] += 1
    return counts
