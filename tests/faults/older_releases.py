"""Releases that are one change away from this tree: what a deployment has beside it for a while.

Each is made for one kind of change. Where this tree has what the other one lacks, that is the old one; where a kind needs
something that this tree does not have yet, this tree is the old one.
"""

from typing import Final

from domain.tags import TAG_SCHEME
from projections import FEED, HOT_LAYOUT, TOGETHER
from tests.faults.releases import Change, Made

THIS: Final = Made("this")
_LAYOUTS: Final = {each.name: each.layout for each in (*TOGETHER, FEED)}
_EVENTS, _COMMANDS, _RULES = "domain/task/events.py", "domain/task/commands.py", "domain/task/rules.py"


def _lower(file: str, model: str) -> Change:
    return Change(file, f"layout: Final = {_LAYOUTS[model]}\n", f"layout: Final = {_LAYOUTS[model] - 1}\n")


_LOWER_LIST: Final = _lower("projections/task/list.py", "task_list")
_LOWER_HOT: Final = Change(
    "projections/__init__.py", f"HOT_LAYOUT: Final = {HOT_LAYOUT}\n", f"HOT_LAYOUT: Final = {HOT_LAYOUT - 1}\n"
)

FORM: Final = "form"
"""A member of every line of a list that only the release of other layouts serves."""

OTHER_LAYOUTS: Final = Made(
    "layouts",
    (
        # The tables of one read model, and the contents of another one and of the one in Redis.
        Change("projections/flow.sql", "in_progress_change", "under_way_change"),
        Change("projections/flow.py", "in_progress_change", "under_way_change"),
        Change(
            "projections/task/views.py",
            "    completed_at: datetime | None\n\n\nclass TaskDetail",
            f'    completed_at: datetime | None\n    {FORM}: str = "former"\n\n\nclass TaskDetail',
        ),
        _LOWER_LIST,
        _LOWER_HOT,
        # The form of the checkpoints themselves.
        Change(
            "projections/engine/checkpoints.sql", "    error text NOT NULL,\n", "    remark text,\n    error text NOT NULL,\n"
        ),
    ),
)

_FEWER_EVENTS: Final = (
    # A type of event with its command and route, one that a boundary is made of, and a version of a payload.
    Change(_EVENTS, "    | TaskMoved\n", ""),
    Change(_COMMANDS, "    | MoveTask\n", ""),
    Change(
        "api/task_commands.py",
        '    _ROUTES.post("move", MoveTask, "Move a task to another project", {"project_id": SOMEBODY}),\n',
        "",
    ),
    Change("domain/project/events.py", "    | ProjectArchived\n", ""),
    Change(
        "domain/task/aggregate.py",
        "    state_size=state_size,\n",
        "    state_size=state_size,\n    schema_versions={TaskStopped: 0},\n",
    ),
    Change("domain/task/aggregate.py", "    TaskMoved,\n)\n", "    TaskMoved,\n    TaskStopped,\n)\n"),
)
FEWER_EVENTS: Final = Made("events", _FEWER_EVENTS)
FEWER_EVENTS_AND_OTHER_LAYOUTS: Final = Made("both", (*_FEWER_EVENTS, *OTHER_LAYOUTS.changes))

FEWER_FIELDS: Final = Made(
    "fields",
    (
        Change(_EVENTS, '    description: str = ""\n    priority: Priority = "none"\n', '    description: str = ""\n'),
        Change(
            _COMMANDS,
            '    description: Description = ""\n    priority: Priority = "none"\n',
            '    description: Description = ""\n',
        ),
        Change(_RULES, "        priority=accepted_priority(command.priority),\n", ""),
        Change(_RULES, "                priority=event.priority,\n", ""),
        _LOWER_LIST,
        _LOWER_HOT,
        _lower("projections/task/snapshots.py", "task_snapshots"),
        _lower("projections/feed/feed.py", "feed"),
    ),
)

ONE_MORE_AGGREGATE: Final = Made(
    "memos",
    (
        Change("domain/aggregates.py", "(TASK, PROJECT)", "(TASK, PROJECT, MEMO)"),
        Change(
            "domain/aggregates.py",
            "from domain.task.aggregate import TASK\n",
            "from domain.memo import MEMO\nfrom domain.task.aggregate import TASK\n",
        ),
        Change(
            "domain/tags.py",
            "    if isinstance(event, Project",
            '    if isinstance(event, MemoWritten):\n        return (f"memo:{stream_id}",)\n    if isinstance(event, Project',
        ),
        Change(
            "domain/tags.py",
            "from domain.task.events import TaskEvent\n",
            "from domain.memo import MemoWritten\nfrom domain.task.events import TaskEvent\n",
        ),
        Change(
            "application/authorization.py",
            "    CreateProject: _OWNERS,\n",
            "    WriteMemo: _ANYONE_INSIDE,\n    CreateProject: _OWNERS,\n",
        ),
        Change(
            "application/authorization.py",
            "from domain.errors import NotPermitted\n",
            "from domain.errors import NotPermitted\nfrom domain.memo import WriteMemo\n",
        ),
        Change(
            "projections/__init__.py",
            "    PROJECT.name: PROJECT_DOCUMENTS,\n",
            "    PROJECT.name: PROJECT_DOCUMENTS,\n    MEMO_DOCUMENTS.aggregate.name: MEMO_DOCUMENTS,\n",
        ),
        Change(
            "projections/__init__.py",
            "from projections.flow import Flow\n",
            "from projections.flow import Flow\nfrom projections.memo import MEMO_DOCUMENTS\n",
        ),
        Change("api/app.py", "batch_tasks, *PROJECT_COMMAND_ROUTES]", "batch_tasks, write_memo, *PROJECT_COMMAND_ROUTES]"),
        Change(
            "api/app.py",
            "from api.members import list_members\n",
            "from api.members import list_members\nfrom api.memos import write_memo\n",
        ),
    ),
    (
        ("tests/faults/memo_domain.py", "domain/memo.py"),
        ("tests/faults/memo_documents.py", "projections/memo.py"),
        ("tests/faults/memo_routes.py", "api/memos.py"),
    ),
)

OTHER_TAGS: Final = Made(
    "tags",
    (
        Change("domain/tags.py", f"TAG_SCHEME: Final = {TAG_SCHEME}\n", f"TAG_SCHEME: Final = {TAG_SCHEME + 1}\n"),
        Change("domain/tags.py", "TaskEvent):\n        return ()\n", 'TaskEvent):\n        return (f"task:{stream_id}",)\n'),
    ),
    (("tests/faults/later_migration.sql", "infrastructure/servers/migrations/log/0002_later.sql"),),
)
