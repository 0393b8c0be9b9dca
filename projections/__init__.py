"""The read side: how events become read models, and the queries that serve them.

One file a read model, holding its row struct, its apply and its queries; `engine` advances them all.
"""

from typing import Final

from projections.flow import Flow
from projections.task.history import TaskHistory
from projections.task.list import TaskList
from projections.task.snapshots import TaskSnapshots

TABLES: Final = (TaskList(), TaskHistory(), Flow(), TaskSnapshots())
"""The projections into Postgres; they share a projector and, where they are equally far, a transaction."""

HOT: Final = "hot_tasks"
"""The projection into Redis."""

ALL: Final = (*(projection.name for projection in TABLES), HOT)
"""Every read model's name."""
