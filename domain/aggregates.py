"""Every kind of stream that there is."""

from typing import Any, Final

from domain.aggregate import Aggregate
from domain.project.aggregate import PROJECT
from domain.task.aggregate import TASK

ALL: Final[tuple[Aggregate[Any, Any, Any], ...]] = (TASK, PROJECT)
