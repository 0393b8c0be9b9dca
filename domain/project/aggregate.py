"""The project as an aggregate."""

from sys import getsizeof
from typing import Final, get_args

from domain.aggregate import Aggregate
from domain.project.commands import CreateProject, ProjectCommand, command_fields
from domain.project.events import PERSONAL_FIELDS, PROJECT_FIELDS, STRUCTURAL_TEXT, TOUCHED, ProjectEvent
from domain.project.refusals import no_such_project, project_exists
from domain.project.rules import Project, decide, evolve, rules


def state_size(project: Project) -> int:
    """In bytes, about: the texts."""
    return getsizeof(project.name) + getsizeof(project.description) + sum(map(getsizeof, project.keys))


PROJECT: Final[Aggregate[Project, ProjectEvent, ProjectCommand]] = Aggregate(
    name="project",
    events=frozenset(get_args(ProjectEvent)),
    commands=frozenset(get_args(ProjectCommand)),
    decide=decide,
    evolve=evolve,
    creates=frozenset({CreateProject}),
    missing=no_such_project,
    exists=project_exists,
    fields=PROJECT_FIELDS,
    touched=TOUCHED,
    command_fields=command_fields,
    personal=PERSONAL_FIELDS,
    structural=STRUCTURAL_TEXT,
    state_size=state_size,
    rules=rules,
)
