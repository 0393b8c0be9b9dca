"""A project as it is served: in full (`ProjectDetail`) and as a line of a list (`ProjectSummary`)."""

from datetime import datetime
from uuid import UUID

import msgspec

from projections.project.document import ProjectDocument


class ProjectSummary(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A project in a list: everything but its description and former keys."""

    id: UUID
    key: str
    name: str
    archived: bool
    deleted: bool
    version: int
    position: int
    created_at: datetime
    created_by: UUID
    updated_at: datetime


class ProjectDetail(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A project in full. `version` is its own count of events, `position` the place of its newest event in the log.

    `keys` are all keys it ever had, the present one last: each of them leads to it. Times are when things happened.
    """

    id: UUID
    workspace_id: UUID
    key: str
    keys: tuple[str, ...]
    name: str
    description: str
    archived: bool
    deleted: bool
    version: int
    position: int
    created_at: datetime
    created_by: UUID
    updated_at: datetime
    updated_by: UUID


_encode = msgspec.json.Encoder().encode


def summary_json(document: ProjectDocument) -> bytes:
    """The line of a list as JSON."""
    project = document.project
    return _encode(
        ProjectSummary(
            id=document.id,
            key=project.key,
            name=project.name,
            archived=project.archived,
            deleted=project.deleted,
            version=document.version,
            position=document.position,
            created_at=document.created_at,
            created_by=document.created_by,
            updated_at=document.happened_at,
        )
    )


def detail_json(document: ProjectDocument) -> bytes:
    """The full view as JSON."""
    project = document.project
    return _encode(
        ProjectDetail(
            id=document.id,
            workspace_id=document.workspace_id,
            key=project.key,
            keys=project.keys,
            name=project.name,
            description=project.description,
            archived=project.archived,
            deleted=project.deleted,
            version=document.version,
            position=document.position,
            created_at=document.created_at,
            created_by=document.created_by,
            updated_at=document.happened_at,
            updated_by=document.updated_by,
        )
    )
