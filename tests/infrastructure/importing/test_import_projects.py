"""Which project an import's tasks go to, and what it does about one that takes no commands."""

from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from application.log import Condition, NewEvent
from domain.project.boundaries import key_tag
from domain.project.events import ProjectArchived, ProjectCreated, ProjectDeleted, ProjectUnarchived
from infrastructure.importing.tickets import ImportRequest, ImportSummary, import_tickets
from infrastructure.settings import ConfigurationError
from tests.importing import (
    EMAIL,
    OWNER,
    PROJECT,
    WORKSPACE,
    add_owner,
    as_csv,
    files,
    log_rows,
    made_up_history,
    recorded_events,
    row,
)
from tests.infrastructure.log_under_test import an_append, append, log_connection

OTHER = UUID(int=0x0195A000_0000_7000_8000_0000_0000_0ABC)


@pytest.fixture
def log_url(database_url: str) -> str:
    add_owner(database_url)
    return database_url


def happens(log_url: str, project: UUID, version: int, *events: Any) -> None:
    """Somebody else does this to a project."""
    news = [NewEvent(project, version + n, event) for n, event in enumerate(events)]
    with log_connection(log_url) as others:
        append(others, an_append(*news, workspace_id=WORKSPACE, principal_id=OWNER))


def _import(log_url: str, folder: Path, rows: list[tuple[str, ...]], *more: Any, **options: Any) -> ImportSummary:
    history, named = files(folder, as_csv(rows))
    return import_tickets(log_url, "", "main", ImportRequest(history, named, EMAIL, **options), *more)


def numbered(log_url: str) -> list[tuple[Any, ...]]:
    return log_rows(log_url, "SELECT DISTINCT scope FROM event_numbers")


def test_tasks_go_to_the_first_project_which_the_import_makes_once(log_url: str, tmp_path: Path) -> None:
    _import(log_url, tmp_path, [row("1", "Open", "2020-01-01"), row("2", "Open", "2020-01-02")])
    _import(log_url, tmp_path, [row("3", "Open", "2020-01-03")])
    assert numbered(log_url) == [(PROJECT,)]
    assert log_rows(log_url, "SELECT number FROM event_numbers ORDER BY 1") == [(1,), (2,), (3,)]
    assert log_rows(log_url, "SELECT count(*) FROM log_main.events WHERE topic = 'project.created'") == [(1,)]


def test_tasks_go_to_the_project_that_is_asked_for_and_stay_where_they_are(log_url: str, tmp_path: Path) -> None:
    happens(log_url, OTHER, 1, ProjectCreated("HELP", "Help desk"))
    _import(log_url, tmp_path, [row("1", "Open", "2020-01-01")], project="HELP")
    assert numbered(log_url) == [(OTHER,)]
    _import(log_url, tmp_path, [row("1", "Open", "2020-01-01"), row("1", "Close", "2020-01-02")])
    assert recorded_events(log_url)[-1][9] == "task.completed"
    assert numbered(log_url) == [(OTHER,)]


@pytest.mark.parametrize(
    ("events", "key", "said"),
    [
        ([], "NOPE", "has no 'NOPE'"),
        ([ProjectArchived()], "HELP", "is archived"),
        ([ProjectDeleted()], "HELP", "is deleted"),
    ],
)
def test_a_project_that_is_not_there_or_takes_nothing_stops_it_before_anything_is_written(
    log_url: str, tmp_path: Path, events: list[Any], key: str, said: str
) -> None:
    happens(log_url, OTHER, 1, ProjectCreated("HELP", "Help desk"), *events)
    with pytest.raises(ConfigurationError, match=said):
        _import(log_url, tmp_path, [row("1", "Open", "2020-01-01")], project=key)
    assert recorded_events(log_url) == []


def test_rows_of_tasks_whose_project_takes_nothing_are_refused_and_the_others_come_in(log_url: str, tmp_path: Path) -> None:
    happens(log_url, OTHER, 1, ProjectCreated("HELP", "Help desk"))
    _import(log_url, tmp_path, [row("1", "Open", "2020-01-01")], project="HELP")
    happens(log_url, OTHER, 2, ProjectArchived())
    rows = [row("1", "Open", "2020-01-01"), row("1", "Close", "2020-01-02"), row("2", "Open", "2020-01-03")]
    summary = _import(log_url, tmp_path, rows)
    assert [(each.line, each.reason) for each in summary.rejected] == [
        (3, "The task's project is archived; unarchive it first.")
    ]
    assert (summary.events, summary.rows_before) == (2, 1)
    happens(log_url, OTHER, 3, ProjectUnarchived())
    assert _import(log_url, tmp_path, rows).rejected == []


def test_a_project_that_is_archived_meanwhile_takes_nothing_after_that(log_url: str, tmp_path: Path) -> None:
    archived: list[int] = []

    def interfere(done: int, total: int) -> None:
        if not archived:
            happens(log_url, PROJECT, 2, ProjectArchived())
            archived.append(log_rows(log_url, "SELECT max(notification_id) FROM log_main.events")[0][0])

    summary = _import(log_url, tmp_path, made_up_history(220), interfere)
    assert summary.rejected
    after = log_rows(log_url, "SELECT count(*) FROM events WHERE notification_id > %s", archived[0])
    assert after == [(0,)]
    assert recorded_events(log_url)


def test_a_dry_run_makes_no_project_and_says_what_an_import_would_do(log_url: str, tmp_path: Path) -> None:
    rehearsed = _import(log_url, tmp_path, [row("1", "Open", "2020-01-01")], dry_run=True)
    assert (rehearsed.events, rehearsed.rejected) == (2, [])
    assert log_rows(log_url, "SELECT count(*) FROM log_main.events") == [(0,)]


def test_where_another_project_took_the_first_ones_key_it_gets_the_next(log_url: str, tmp_path: Path) -> None:
    condition = [Condition(key_tag(WORKSPACE, "TASKS"), 0)]
    with log_connection(log_url) as others:
        taken = NewEvent(uuid4(), 1, ProjectCreated("TASKS", "Taken"))
        append(others, an_append(taken, workspace_id=WORKSPACE, principal_id=OWNER, conditions=condition))
    _import(log_url, tmp_path, [row("1", "Open", "2020-01-01")])
    keys = "SELECT convert_from(state, 'UTF8')::jsonb ->> 'key' FROM log_main.events WHERE topic = 'project.created' ORDER BY 1"
    assert log_rows(log_url, keys) == [("TASKS",), ("TASKS2",)]
