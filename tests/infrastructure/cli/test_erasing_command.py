"""`taskmaster erase`: asks, erases for ever, and says from where on nothing is left."""

from io import StringIO

import pytest

from domain.task.events import TaskCreated, TaskRenamed
from tests.infrastructure.command_line import Run
from tests.log_world import World, number


@pytest.fixture
def environ(world: World) -> dict[str, str]:
    world.record(number(1), TaskCreated("A"), TaskRenamed("B"))
    world.record(number(2), TaskCreated("C"))
    return {"DATABASE_URL": world.database_url, "REDIS_URL": world.redis_url}


def erased(world: World) -> list[int]:
    rows = world.connection.execute("SELECT notification_id FROM events WHERE state IS NULL ORDER BY 1").fetchall()
    return [row[0] for row in rows]


def test_it_erases_and_says_how_much_and_from_where_on(world: World, run: Run, environ: dict[str, str]) -> None:
    code, output, _ = run(f"erase --yes {number(1)} {number(2)}", **environ)
    assert (code, erased(world)) == (0, [1, 2, 3])
    assert "the payloads of 3 events were erased" in output
    assert "position 4" in output


def test_it_asks_before(world: World, run: Run, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", StringIO("n\n"))
    code, _, _ = run(f"erase {number(1)}", **environ)
    assert (code, erased(world)) == (1, [])


@pytest.mark.parametrize("wrong", [str(number(99)), "not-an-id", ""])
def test_what_cannot_be_erased_is_one_line_and_a_mistake(world: World, run: Run, environ: dict[str, str], wrong: str) -> None:
    code, _, errors = run(f"erase --yes {number(1) if wrong else ''} {wrong}", **environ)
    assert (code, erased(world)) == (2, [])
    assert errors
    assert "Traceback" not in errors
