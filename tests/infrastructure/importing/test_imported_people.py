"""People whom histories name: random ids, found again by what is kept of them, and by nothing else."""

from collections.abc import Mapping
from pathlib import Path
from uuid import UUID

import pytest

from infrastructure.importing.log_writing import ImportLog
from infrastructure.importing.tickets import ImportRequest, ImportSummary, import_tickets
from infrastructure.servers.postgres import connect_sync
from tests.importing import EMAIL, add_owner, as_csv, files, log_rows, row


@pytest.fixture
def log_url(database_url: str) -> str:
    """A database whose log `main` is empty and where EMAIL owns a workspace."""
    add_owner(database_url)
    return database_url


def _import(log_url: str, history: Path, mapping: str) -> ImportSummary:
    return import_tickets(log_url, "", "main", ImportRequest(history, mapping, EMAIL))


def test_a_person_is_found_again_by_later_imports(log_url: str, tmp_path: Path) -> None:
    _import(log_url, *files(tmp_path, as_csv([row("1", "Open", "2020-01-01", "Ann")])))
    _import(log_url, *files(tmp_path, as_csv([row("2", "Take", "2020-01-02", "Ann"), row("2", "Note", "2020-01-03", "Bo")])))
    people = log_rows(log_url, "SELECT imported_as, principal_id FROM taskmaster.members WHERE imported_as IS NOT NULL")
    by = log_rows(log_url, "SELECT DISTINCT effective_at::date::text, principal_id FROM events ORDER BY 1")
    kept = dict(people)
    assert by == [("2020-01-01", kept["Ann"]), ("2020-01-02", kept["Ann"]), ("2020-01-03", kept["Bo"])]


def test_a_person_who_was_removed_is_nobody_that_a_later_import_knows_and_no_row_comes_twice(
    log_url: str, tmp_path: Path
) -> None:
    history = files(tmp_path, as_csv([row("1", "Open", "2020-01-01", "Ann"), row("1", "Take", "2020-01-02", "Ann")]))
    _import(log_url, *history)
    with connect_sync(log_url, "taskmaster") as connection:
        gone = connection.execute("DELETE FROM members WHERE imported_as = 'Ann' RETURNING principal_id").fetchone()
    assert _import(log_url, *history).events == 0
    _import(log_url, *files(tmp_path, as_csv([row("2", "Open", "2020-01-01", "Ann")])))
    ((ann,),) = log_rows(log_url, "SELECT principal_id FROM taskmaster.members WHERE imported_as = 'Ann'")
    assert (ann,) != gone


def test_two_imports_that_meet_the_same_person_agree_on_who_it_is(
    log_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_people = ImportLog.add_people
    others = files(tmp_path / "others", as_csv([row("2", "Open", "2020-01-01", "Ann")]))

    def meanwhile(log: ImportLog, workspace_id: UUID, ids: Mapping[str, UUID]) -> dict[str, UUID]:
        monkeypatch.setattr(ImportLog, "add_people", add_people)
        _import(log_url, *others)
        return add_people(log, workspace_id, ids)

    monkeypatch.setattr(ImportLog, "add_people", meanwhile)
    _import(log_url, *files(tmp_path, as_csv([row("1", "Take", "2020-01-01", "Ann")])))
    ((ann,),) = log_rows(log_url, "SELECT principal_id FROM taskmaster.members WHERE imported_as = 'Ann'")
    assert log_rows(log_url, "SELECT DISTINCT principal_id FROM events") == [(ann,)]
    ((state,),) = log_rows(log_url, "SELECT convert_from(state, 'UTF8')::jsonb FROM events WHERE topic = 'task.assigned'")
    assert state["assignee"] == str(ann)
    assert len(log_rows(log_url, "SELECT 1 FROM events")) == 5
