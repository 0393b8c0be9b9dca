"""The stored form of every event, literally: whatever fails here would make recorded histories unreadable."""

from typing import get_args, get_type_hints

import msgspec
import pytest

from domain.project.commands import ArchiveProject, ChangeProject, CreateProject, RestoreProject, command_fields
from domain.project.events import (
    PERSONAL_FIELDS,
    PROJECT_FIELDS,
    STRUCTURAL_TEXT,
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
from domain.project.rules import Project
from tests.domain.task.test_storage import holds_free_text

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


def test_every_event_has_a_stored_form_here() -> None:
    assert {type(event) for event, _ in STORED} == set(get_args(ProjectEvent))


@pytest.mark.parametrize("event", get_args(ProjectEvent), ids=lambda event: event.__name__)
def test_every_free_text_is_declared_personal_or_structural_and_nothing_else_is(event: type[ProjectEvent]) -> None:
    texts = {field for field, kind in get_type_hints(event).items() if holds_free_text(kind)}
    personal = set(PERSONAL_FIELDS[event])
    assert personal | (STRUCTURAL_TEXT & set(event.__struct_fields__)) == texts
    assert not personal & STRUCTURAL_TEXT


def test_the_fields_are_those_of_the_state_and_touched_by_creating() -> None:
    # The keys that it ever had follow from its key's changes.
    assert set(Project.__struct_fields__) - {"keys"} == PROJECT_FIELDS == TOUCHED[ProjectCreated]
    assert set(TOUCHED) == set(get_args(ProjectEvent))


def test_a_command_means_the_fields_that_it_gives() -> None:
    assert command_fields(CreateProject("WEB", "a")) == PROJECT_FIELDS
    assert command_fields(ChangeProject(name="a", reason="why")) == {"name"}
    assert command_fields(ArchiveProject()) == {"archived"}
    assert command_fields(RestoreProject()) == {"deleted"}
