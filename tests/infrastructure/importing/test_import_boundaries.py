"""What an import appends is tagged, numbered and conditional as everything else."""

from collections.abc import Iterator
from uuid import UUID, uuid4

import pytest

from application.log import Condition, NewEvent, VersionConflict
from domain.tags import tag_id
from domain.task.events import TaskCreated, TaskLabelAdded
from infrastructure.importing.log_writing import ImportLog
from infrastructure.log.verify import verify_log
from tests.importing import log_rows
from tests.infrastructure.log.tagged_by_label import _tagged_by_label  # noqa: F401 - a fixture
from tests.infrastructure.log_under_test import an_append, append, log_connection

pytestmark = pytest.mark.usefixtures("_tagged_by_label")

PROJECT = UUID(int=77)


@pytest.fixture
def log(database_url: str) -> Iterator[ImportLog]:
    opened = ImportLog(database_url, "main")
    yield opened
    opened.close()


def a_task(stream: UUID, *labels: str) -> NewEvent:
    """The first event of a task with these labels, which are its tags in these tests."""
    return NewEvent(stream, 1, TaskCreated("Old", labels=labels), scope=PROJECT)


def tags(database_url: str) -> list[tuple[str, int]]:
    texts = {tag_id(text): text for text in "abc"}
    return sorted((texts[tag], position) for tag, position in log_rows(database_url, "SELECT tag, position FROM event_tags"))


def test_a_chunk_is_kept_under_its_tags_and_numbered(log: ImportLog, database_url: str) -> None:
    with log_connection(database_url) as others:
        append(others, an_append(a_task(uuid4(), "c")))
    # A stream twice makes two calls of one transaction.
    first, second = uuid4(), uuid4()
    chunk = [
        an_append(a_task(first, "a")),
        an_append(NewEvent(first, 2, TaskLabelAdded("b"))),
        an_append(a_task(second, "a", "b")),
    ]
    assert log.append_chunk(chunk) == 4
    assert tags(database_url) == [("a", 2), ("a", 4), ("b", 3), ("b", 4), ("c", 1)]
    assert log_rows(database_url, "SELECT number, position FROM event_numbers ORDER BY 1") == [(1, 1), (2, 2), (3, 4)]
    assert verify_log(database_url, "main").is_clean


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_chunk_with_a_condition_that_does_not_hold_is_not_appended_at_all(
    log: ImportLog, database_url: str, place: int
) -> None:
    with log_connection(database_url) as others:
        append(others, an_append(a_task(uuid4(), "a")))
    chunk = [an_append(a_task(uuid4(), "b"), conditions=[Condition("a", 0)] if n == place else []) for n in range(3)]
    with pytest.raises(VersionConflict):
        log.append_chunk(chunk)
    assert tags(database_url) == [("a", 1)]
    assert log.head() == 1


def test_what_its_first_append_proves_the_chunk_itself_may_change_in_a_later_call(log: ImportLog, database_url: str) -> None:
    task = uuid4()
    chunk = [
        an_append(a_task(task, "a"), conditions=[Condition("a", 0)]),
        an_append(NewEvent(task, 2, TaskLabelAdded("a"))),
    ]
    assert log.append_chunk(chunk) == 2
    assert tags(database_url) == [("a", 1), ("a", 2)]


def test_control_stated_again_by_a_later_call_of_the_chunk_it_is_violated_by_the_first(log: ImportLog) -> None:
    task = uuid4()
    chunk = [
        an_append(a_task(task, "a"), conditions=[Condition("a", 0)]),
        an_append(NewEvent(task, 2, TaskLabelAdded("a")), conditions=[Condition("a", 0)]),
    ]
    with pytest.raises(VersionConflict):
        log.append_chunk(chunk)
    assert log.head() == 0
