"""A project as readers see it: the domain's state with the times, people and places from the envelopes."""

from datetime import datetime
from sys import getsizeof
from typing import Final
from uuid import UUID

import msgspec

from domain.envelope import RecordedEvent
from domain.project.aggregate import PROJECT
from domain.project.events import ProjectEvent
from domain.project.rules import Project, evolve
from projections.engine.changes import Change
from projections.engine.documents import Documents
from projections.tables.moments import Since

ProjectRecord = RecordedEvent[ProjectEvent]


class ProjectDocument(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A project after its event `version`, which is the log's event `position`.

    Times are when things happened. `known_by` is the latest time of all its events so far; `imported` says whether that ever
    was another time than the one at which the log took the event. `since` says from when on key, archived and deleted hold.
    """

    id: UUID
    workspace_id: UUID
    project: Project
    version: int
    position: int
    created_at: datetime
    created_by: UUID
    created_position: int
    happened_at: datetime
    updated_by: UUID
    known_by: datetime
    imported: bool
    since: Since


ProjectChange = Change[ProjectDocument]


def fold(document: ProjectDocument | None, record: ProjectRecord) -> ProjectDocument:
    """The document after `record`. Never raises."""
    at = record.happened_at
    project = evolve(document.project if document else None, record.event)
    known_by = max(document.known_by, at) if document else at
    holds = document is not None and listed_by(document.project) == listed_by(project)
    return ProjectDocument(
        id=record.stream_id,
        workspace_id=record.workspace_id,
        project=project,
        version=record.version,
        position=record.position,
        created_at=document.created_at if document else at,
        created_by=document.created_by if document else record.principal_id,
        created_position=document.created_position if document else record.position,
        happened_at=at,
        updated_by=record.principal_id,
        known_by=known_by,
        imported=(document is not None and document.imported) or known_by != record.recorded_at,
        since=document.since if document and holds else Since(record.position, known_by),
    )


def listed_by(project: Project) -> tuple[str, bool, bool]:
    """What lists of projects are chosen and sorted by."""
    return project.key, project.archived, project.deleted


def document_size(document: ProjectDocument) -> int:
    """What it takes in memory, in bytes, about."""
    project = document.project
    return 1200 + getsizeof(project.name) + getsizeof(project.description) + sum(map(getsizeof, project.keys))


PROJECT_DOCUMENTS: Final = Documents(
    aggregate=PROJECT,
    fold=fold,
    state=lambda document: document.project,
    size=document_size,
    # What happens to a project is shown to whoever is shown what happens in it.
    scope=lambda document: document.id,
)
