"""Routes that change one project: one row a command."""

from typing import Final

from api.edge.requests import project_id_of
from api.openapi.command_routes import CommandRoutes
from api.openapi.recurring import COMMAND_ERRORS, PROJECT
from domain.project.commands import (
    ArchiveProject,
    ChangeProject,
    CreateProject,
    DeleteProject,
    RestoreProject,
    UnarchiveProject,
)

REFUSALS: Final = COMMAND_ERRORS | {
    404: ["project_not_found"],
    409: ["project_deleted", "key_taken", "contention"],
    412: ["precondition_failed", "no_such_version"],
    422: ["text_empty", "text_too_long", "control_character", "key_invalid", "idempotency_key_reused"],
}


_ROUTES: Final = CommandRoutes(
    collection="projects",
    noun="Project",
    named=PROJECT,
    id_of=project_id_of,
    handler=lambda log: log.projects,
    refusals=REFUSALS,
)
PROJECT_COMMAND_ROUTES: Final = [
    _ROUTES.create(
        CreateProject,
        "Create a project",
        "Its key is unique in the workspace for ever: one that another project has or ever had is refused (409 "
        "`key_taken`). A client may choose the id itself, as `project_id`.",
        {"key": "PRJ", "name": "The annual report"},
        {409: ["project_exists", "key_taken", "contention"], 422: [*REFUSALS[422], "project_id_invalid"]},
    ),
    _ROUTES.patch(
        ChangeProject,
        "Change several fields of a project",
        "Fields that are left out stay as they are. A former key goes on leading to the project, and to its tasks.",
        {"key": "REPORT", "description": "Due in March."},
    ),
    _ROUTES.delete(
        DeleteProject,
        "Delete a project",
        "Its tasks stay as they are and take no commands; `restore` brings it back. Deleting a deleted project changes "
        "nothing.",
        {"reason": "never begun"},
    ),
    _ROUTES.post("archive", ArchiveProject, "Archive a project: its tasks take no commands", {"reason": "finished"}),
    _ROUTES.post("unarchive", UnarchiveProject, "Take an archived project up again", {}),
    _ROUTES.post("restore", RestoreProject, "Restore a deleted project", {}),
]
