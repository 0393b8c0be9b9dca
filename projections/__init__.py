"""The read side: how events become read models, and the queries that serve them.

One file a read model, holding its row struct, its apply and its queries; `engine` advances them all.
"""

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from domain.project.aggregate import PROJECT
from domain.task.aggregate import TASK
from projections.engine.documents import Documents
from projections.feed.feed import Feed
from projections.flow import Flow
from projections.project.document import PROJECT_DOCUMENTS
from projections.project.list import ProjectList
from projections.task.hot import FOLLOWS as FOLLOWED_BY_HOT
from projections.task.list import TaskList
from projections.task.snapshots import TASK_DOCUMENTS, TaskSnapshots

HOT: Final = "hot_tasks"
"""The projection into Redis."""

DOCUMENTS: Final[Mapping[str, Documents[Any]]] = {
    TASK.name: TASK_DOCUMENTS,
    PROJECT.name: PROJECT_DOCUMENTS,
}
"""By the name of an aggregate how its events become documents. What has none is passed over by every projection."""

TOGETHER: Final = (TaskList(), Flow(), TaskSnapshots(), ProjectList())
"""The projections into Postgres that share a projector and, where they are equally far, a transaction."""

FEED: Final = Feed(DOCUMENTS)
"""The one with a projector of its own: what holds it holds nobody else, and the other way round."""

TABLES: Final = (*TOGETHER, FEED)
"""All projections into Postgres."""

HOT_LAYOUT: Final = 3
"""Of the keys and values in Redis."""

ALL: Final = (*(projection.name for projection in TABLES), HOT)
"""Every read model's name."""


def layouts() -> dict[str, str]:
    """Every read model with the layout that this release builds: what it stores, and in which form.

    A change of a read model's tables, or of the aggregates that it follows, is another layout by itself: a release that does
    not know one of them would pass its events by in tables that both write. One of what stands in their columns, or in Redis,
    raises its number. Read models of different layouts stand side by side, so that releases can be replaced by one another
    while both are at work.
    """
    tables = {each.name: f"{each.layout}.{_digest(each.ddl, sorted(each.follows))}" for each in TABLES}
    return tables | {HOT: f"{HOT_LAYOUT}.{_digest(sorted(FOLLOWED_BY_HOT))}"}


def _digest(*told: object) -> str:
    return sha256(repr(told).encode()).hexdigest()[:8]


CHECKPOINTS: Final = (Path(__file__).parent / "engine" / "checkpoints.sql").read_text(encoding="utf-8")
"""The statements that make the tables in which every read model's place stands."""


def layouts_id() -> str:
    """A name for just this set of layouts and the form of their checkpoints, in eight hexadecimal digits."""
    return _digest(sorted(layouts().items()), CHECKPOINTS)
