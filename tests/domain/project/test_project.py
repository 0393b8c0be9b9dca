"""Projects: creating, changing, putting away and deleting: one scenario a test."""

from functools import reduce
from uuid import UUID

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st
from msgspec import UNSET

from domain.errors import DomainError, InvalidValue, NotFound, RuleViolated
from domain.project.boundaries import key_boundary, key_tag, open_boundary, open_tag, require_open, tags_of_project
from domain.project.commands import (
    ArchiveProject,
    ChangeProject,
    CreateProject,
    DeleteProject,
    ProjectCommand,
    RestoreProject,
    UnarchiveProject,
)
from domain.project.events import (
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
from domain.project.rules import Project, decide, evolve, rules
from domain.project.values import first_project_of
from tests.specification import NOW, given

CREATED = ProjectCreated("WEB", "Web site")
WORKSPACE = UUID("0195a000-0000-7000-8000-00000000f001")
PROJECT = UUID("0195a000-0000-7000-8000-00000000f002")

KEYS = st.sampled_from(["WEB", "APP", "A1", "ABCDEFGHIJ"])
TEXT = st.sampled_from(["a", "Web site", "naïve ✓ 漢字"])
COMMANDS: st.SearchStrategy[ProjectCommand] = st.one_of(
    st.builds(CreateProject, KEYS | st.text(max_size=11), TEXT, TEXT | st.just("")),
    st.builds(ChangeProject, KEYS | st.just(UNSET), TEXT | st.just(UNSET), TEXT | st.just(UNSET)),
    *(st.just(command) for command in (ArchiveProject(), UnarchiveProject(), DeleteProject(), RestoreProject())),
)


def folded(*events: ProjectEvent) -> Project:
    start: Project | None = None
    project = reduce(evolve, events, start)
    assert project is not None
    return project


class TestCreateProject:
    def test_a_key_and_a_name_are_enough(self) -> None:
        given().when(CreateProject("WEB", "Web site")).then(CREATED)

    def test_the_reason_and_the_description_are_recorded(self) -> None:
        command = CreateProject("WEB", " Web site ", "All of it", reason=" new client ")
        given().when(command).then(ProjectCreated("WEB", "Web site", "All of it", reason="new client"))

    @pytest.mark.parametrize(
        "key", ["", "A", "web", "1A", "A-B", "ABCDEFGHIJK", "WEB\n", "ÄB", "A B", "A\N{ARABIC-INDIC DIGIT ONE}"]
    )
    def test_what_is_no_key_is_refused(self, key: str) -> None:
        given().when(CreateProject(key, "Web site")).then_rejected("key_invalid", InvalidValue, "key")

    @pytest.mark.parametrize("key", ["AB", "A1", "ABCDEFGHIJ"])
    def test_two_to_ten_letters_and_digits_are_a_key(self, key: str) -> None:
        given().when(CreateProject(key, "Web site")).then(ProjectCreated(key, "Web site"))

    def test_an_existing_project_is_not_created_again(self) -> None:
        given(CREATED).when(CreateProject("WEB", "Web site")).then_rejected("project_exists", RuleViolated)

    def test_a_blank_name_is_refused(self) -> None:
        given().when(CreateProject("WEB", "  ")).then_rejected("text_empty", InvalidValue, "name")


class TestChangeProject:
    def test_each_field_that_differs_is_an_event_of_its_own(self) -> None:
        command = ChangeProject("APP", "App", "New", reason="sold")
        expected = (
            ProjectKeyChanged("WEB", "APP", reason="sold"),
            ProjectRenamed("App", reason="sold"),
            ProjectDescribed("New", reason="sold"),
        )
        given(CREATED).when(command).then(*expected)

    def test_what_is_left_out_or_the_same_records_nothing(self) -> None:
        given(CREATED).when(ChangeProject("WEB", "Web site")).then_nothing()

    def test_an_old_key_is_kept_and_can_be_taken_back(self) -> None:
        history = (CREATED, ProjectKeyChanged("WEB", "APP"))
        assert folded(*history).keys == ("WEB", "APP")
        given(*history).when(ChangeProject("WEB")).then(ProjectKeyChanged("APP", "WEB"))

    def test_an_archived_project_can_still_be_changed(self) -> None:
        given(CREATED, ProjectArchived()).when(ChangeProject(name="App")).then(ProjectRenamed("App"))


class TestPuttingAway:
    def test_a_project_is_archived_and_taken_up_again(self) -> None:
        given(CREATED).when(ArchiveProject(reason="done")).then(ProjectArchived(reason="done"))
        given(CREATED, ProjectArchived()).when(UnarchiveProject()).then(ProjectUnarchived())

    def test_a_project_is_deleted_and_restored(self) -> None:
        given(CREATED).when(DeleteProject()).then(ProjectDeleted())
        given(CREATED, ProjectDeleted()).when(RestoreProject()).then(ProjectRestored())

    def test_doing_it_twice_records_nothing(self) -> None:
        given(CREATED, ProjectArchived()).when(ArchiveProject()).then_nothing()
        given(CREATED, ProjectDeleted()).when(DeleteProject()).then_nothing()
        given(CREATED).when(UnarchiveProject()).then_nothing()
        given(CREATED).when(RestoreProject()).then_nothing()

    def test_a_restored_project_is_archived_if_it_was(self) -> None:
        restored = folded(CREATED, ProjectArchived(), ProjectDeleted(), ProjectRestored())
        assert restored == Project("WEB", "Web site", archived=True, keys=("WEB",))

    @pytest.mark.parametrize(
        "command", [ChangeProject(name="x"), ArchiveProject(), UnarchiveProject()], ids=lambda c: type(c).__name__
    )
    def test_a_deleted_project_takes_nothing_but_its_restoring(self, command: ProjectCommand) -> None:
        given(CREATED, ProjectDeleted()).when(command).then_rejected("project_deleted", RuleViolated)

    @pytest.mark.parametrize(
        "command",
        [ChangeProject(name="x"), ArchiveProject(), UnarchiveProject(), DeleteProject(), RestoreProject()],
        ids=lambda c: type(c).__name__,
    )
    def test_everything_but_creating_finds_no_project(self, command: ProjectCommand) -> None:
        given().when(command).then_rejected("project_not_found", NotFound)


class TestBoundaries:
    def test_a_key_is_taken_for_ever_by_whoever_had_it(self) -> None:
        boundary = key_boundary(WORKSPACE, "WEB")
        assert not boundary.initial
        for event in (CREATED, ProjectKeyChanged("APP", "WEB")):
            assert boundary.evolve(boundary.initial, event)
        assert boundary.evolve(True, ProjectKeyChanged("WEB", "APP"))

    def test_a_free_key_is_asked_for_on_creating_and_on_a_change_to_one_never_had(self) -> None:
        (rule,) = rules(None, CreateProject("WEB", "Web site"), PROJECT, WORKSPACE)
        assert rule.boundary.tag == key_boundary(WORKSPACE, "WEB").tag
        rule.require(False)
        with pytest.raises(RuleViolated) as refusal:
            rule.require(True)
        assert (refusal.value.code, refusal.value.field) == ("key_taken", "key")
        had = folded(CREATED, ProjectKeyChanged("WEB", "APP"))
        assert rules(had, ChangeProject("WEB"), PROJECT, WORKSPACE) == ()
        assert [rule.boundary.tag for rule in rules(had, ChangeProject("NEW"), PROJECT, WORKSPACE)] == [
            key_boundary(WORKSPACE, "NEW").tag
        ]

    def test_keys_of_two_workspaces_do_not_meet(self) -> None:
        assert key_boundary(WORKSPACE, "WEB").tag != key_boundary(PROJECT, "WEB").tag

    @for_all(st.lists(COMMANDS, max_size=12))
    def test_the_boundary_of_its_openness_says_what_the_project_says(self, commands: list[ProjectCommand]) -> None:
        boundary = open_boundary(WORKSPACE, PROJECT)
        state: Project | None = None
        seen = boundary.initial
        for command in commands:
            try:
                events = decide(state, command, NOW)
            except DomainError:
                continue
            for event in events:
                state, seen = evolve(state, event), boundary.evolve(seen, event)
            told = (False, False, False) if state is None else (True, state.archived, state.deleted)
            assert (seen.exists, seen.archived, seen.deleted) == told

    @pytest.mark.parametrize(
        ("events", "code"),
        [
            ((), "project_not_found"),
            ((CREATED, ProjectArchived()), "project_archived"),
            ((CREATED, ProjectDeleted()), "project_deleted"),
            ((CREATED, ProjectArchived(), ProjectDeleted()), "project_deleted"),
            ((CREATED, ProjectDeleted(), ProjectRestored(), ProjectArchived(), ProjectUnarchived()), None),
        ],
    )
    def test_tasks_of_a_project_that_is_put_away_take_no_commands(
        self, events: tuple[ProjectEvent, ...], code: str | None
    ) -> None:
        boundary = open_boundary(WORKSPACE, PROJECT)
        openness = reduce(boundary.evolve, events, boundary.initial)
        if code is None:
            require_open(openness)
            return
        with pytest.raises(DomainError) as refusal:
            require_open(openness)
        assert refusal.value.code == code

    def test_events_carry_the_tags_of_the_boundaries_that_they_change_and_no_others(self) -> None:
        free, key = open_tag(WORKSPACE, PROJECT), key_tag(WORKSPACE, "WEB")
        assert tags_of_project(CREATED, PROJECT, WORKSPACE) == (key, free)
        assert tags_of_project(ProjectKeyChanged("APP", "WEB"), PROJECT, WORKSPACE) == (key,)
        for event in (ProjectArchived(), ProjectUnarchived(), ProjectDeleted(), ProjectRestored()):
            assert tags_of_project(event, PROJECT, WORKSPACE) == (free,)
        for event in (ProjectRenamed("x"), ProjectDescribed("x")):
            assert tags_of_project(event, PROJECT, WORKSPACE) == ()


@pytest.mark.parametrize("identity", [UUID(int=0), UUID(int=2**128 - 1), UUID("0195a000-0000-0000-8000-00000000f001")])
def test_an_id_that_no_client_can_have_made_is_refused(identity: UUID) -> None:
    command = CreateProject("WEB", "Web site", project_id=identity)
    given().when(command).then_rejected("project_id_invalid", InvalidValue, "project_id")


def test_every_workspace_has_a_first_project_of_its_own() -> None:
    assert first_project_of(WORKSPACE) != first_project_of(PROJECT)
    assert first_project_of(WORKSPACE) == first_project_of(WORKSPACE)
