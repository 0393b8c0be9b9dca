"""The read side: how events become read models, and the queries that serve them.

One file a read model, holding its row struct, its apply and its queries; `engine` advances them all.
"""

from collections.abc import Mapping
from typing import Any, Final

from domain.task.aggregate import TASK
from projections.engine.documents import Documents
from projections.flow import Flow
from projections.task.history import TaskHistory
from projections.task.list import TaskList
from projections.task.snapshots import TASK_DOCUMENTS, TaskSnapshots

TABLES: Final = (TaskList(), TaskHistory(), Flow(), TaskSnapshots())
"""The projections into Postgres; they share a projector and, where they are equally far, a transaction."""

HOT: Final = "hot_tasks"
"""The projection into Redis."""

DOCUMENTS: Final[Mapping[str, Documents[Any]]] = {TASK.name: TASK_DOCUMENTS}
"""By the name of an aggregate how its events become documents. What has none is passed over by every projection."""

ALL: Final = (*(projection.name for projection in TABLES), HOT)
"""Every read model's name."""
