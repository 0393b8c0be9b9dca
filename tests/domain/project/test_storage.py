"""The stored form of every event, literally: whatever fails here would make recorded histories unreadable."""

import msgspec
import pytest

from domain.project.commands import ArchiveProject, ChangeProject, CreateProject, RestoreProject, command_fields
from domain.project.events import (
    PROJECT_FIELDS,
    TOUCHED,
    ProjectArchived,
    ProjectCreated,
    ProjectDeleted,
    ProjectDescribed,
    ProjectEvent,
    ProjectKeyChanged,
    ProjectRenamed,
    ProjectRestored,
    ProjectUnarchived,
)

STORED: list[tuple[ProjectEvent, str]] = [
    (ProjectCreated("WEB", "a"), '{"type":"project.created","key":"WEB","name":"a"}'),
    (
        ProjectCreated("WEB", "a", "b", reason="c"),
        '{"type":"project.created","key":"WEB","name":"a","description":"b","reason":"c"}',
    ),
    (ProjectRenamed("a"), '{"type":"project.renamed","name":"a"}'),
    (ProjectDescribed("a"), '{"type":"project.described","description":"a"}'),
    (ProjectKeyChanged("WEB", "APP"), '{"type":"project.key_changed","old":"WEB","new":"APP"}'),
    (ProjectArchived(reason="a"), '{"type":"project.archived","reason":"a"}'),
    (ProjectUnarchived(), '{"type":"project.unarchived"}'),
    (ProjectDeleted(), '{"type":"project.deleted"}'),
    (ProjectRestored(), '{"type":"project.restored"}'),
]


@pytest.mark.parametrize(("event", "stored"), STORED, ids=[type(event).__name__ for event, _ in STORED])
def test_the_stored_form_is_fixed_and_read_back(event: ProjectEvent, stored: str) -> None:
    assert msgspec.json.encode(event).decode() == stored
    assert msgspec.json.decode(stored, type=ProjectEvent) == event


def test_creating_touches_every_field() -> None:
    assert TOUCHED[ProjectCreated] == PROJECT_FIELDS


def test_a_command_means_the_fields_that_it_gives() -> None:
    assert command_fields(CreateProject("WEB", "a")) == PROJECT_FIELDS
    assert command_fields(ChangeProject(name="a", reason="why")) == {"name"}
    assert command_fields(ArchiveProject()) == {"archived"}
    assert command_fields(RestoreProject()) == {"deleted"}
