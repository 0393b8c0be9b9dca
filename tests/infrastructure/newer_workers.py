"""Workers of a release whose task list has another layout; for `dramatiq tests.infrastructure.newer_workers`."""

from projections.task.list import TaskList

TaskList.layout = TaskList.layout + 1

from workers.main import *  # noqa: E402, F403
