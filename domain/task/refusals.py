"""The refusals that tell nobody whether a task is somebody else's: always in the same words."""

from domain.errors import NotFound, RuleViolated


def no_such_task(position: int | None = None) -> NotFound:
    """There is no such task, or the principal may not know that there is."""
    refusal = NotFound("task_not_found", "There is no such task.")
    refusal.position = position
    return refusal


def task_exists() -> RuleViolated:
    """The id of a new task is that of another one."""
    return RuleViolated("task_exists", "There is a task with this id already.", "task_id")
