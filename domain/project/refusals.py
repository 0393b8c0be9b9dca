"""The refusals that tell nobody whether a project is somebody else's: always in the same words."""

from domain.errors import NotFound, RuleViolated


def no_such_project(field: str | None = None) -> NotFound:
    """There is no such project, or the principal may not know that there is."""
    return NotFound("project_not_found", "There is no such project.", field)


def project_exists() -> RuleViolated:
    """The id of a new project is that of another one."""
    return RuleViolated("project_exists", "There is a project with this id already.", "project_id")
