"""What is stored of a task, worked out once: by those who store it, until it changes, and never longer than it may be known."""

import pytest

from domain.task.events import TaskCreated, TaskStarted
from infrastructure.log.erasing import erase_payloads
from projections import DOCUMENTS
from projections.engine.changes import ChangeReader
from projections.task import renderings
from projections.task.renderings import LARGEST, MOST, Rendering, rendering, words_of
from projections.task.views import detail_json, summary_json
from tests.log_world import SCHEMA, World, number


@pytest.fixture(autouse=True)
def _nothing_known() -> None:
    renderings.forget_renderings()


def test_a_document_is_rendered_once_and_its_successor_anew(world: World) -> None:
    world.record(number(1), TaskCreated("A title"))
    world.record(number(1), TaskStarted())
    created, started = (change.after for change in ChangeReader(world.source(), DOCUMENTS).after(0, 10))
    first = rendering(created)
    assert rendering(created) is first
    assert first == Rendering(summary_json(created), detail_json(created))
    assert rendering(started) == Rendering(summary_json(started), detail_json(started))
    assert words_of(started) is words_of(created)


def test_what_is_kept_is_bounded_in_number_and_large_documents_are_not_kept(world: World) -> None:
    world.record(number(1), TaskCreated("A title"))
    world.record(number(2), TaskCreated("A long one", "x" * LARGEST))
    small, large = (change.after for change in ChangeReader(world.source(), DOCUMENTS).after(0, 10))
    assert rendering(large) is not rendering(large)
    first = rendering(small)
    others = [type(small)(**{name: getattr(small, name) for name in small.__struct_fields__}) for _ in range(2 * MOST)]
    assert all(rendering(other) == first for other in others)
    assert rendering(small) is not first


def test_nothing_is_known_any_more_once_an_erasure_was_read(world: World) -> None:
    world.record(number(1), TaskCreated("Canary"))
    reader = ChangeReader(world.source(), DOCUMENTS)
    (change,) = reader.after(0, 10)
    known = rendering(change.after), words_of(change.after)
    assert (rendering(change.after), words_of(change.after)) == known
    erase_payloads(world.connection, SCHEMA, [number(1)])
    reader.after(1, 10)
    assert rendering(change.after) is not known[0]
    assert words_of(change.after) is not known[1]
