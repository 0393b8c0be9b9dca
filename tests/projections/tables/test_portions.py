"""portions: in order, nothing left out, and never a client that is silent for the length of a whole batch."""

from hypothesis import given
from hypothesis import strategies as st

from domain.task.events import TaskCreated
from projections.tables.portions import PORTION_CHARACTERS, portions
from tests.log_world import World, number

SIGN = "\U0001f6a2"


@given(st.lists(st.integers(0, PORTION_CHARACTERS * 2)))
def test_all_items_come_in_order_and_no_portion_goes_on_past_its_size(sizes: list[int]) -> None:
    found = list(portions(sizes, lambda size: size))
    assert [size for portion in found for size in portion] == sizes
    assert all(portion and sum(portion[:-1]) < PORTION_CHARACTERS for portion in found)


def test_a_batch_of_the_longest_tasks_is_written_in_many_statements(world: World) -> None:
    """Not by the clock: counted by the server."""
    for place in range(1, 41):
        world.record(number(place), TaskCreated(f"wide {place}", SIGN * 16_384))
    world.connection.execute("CREATE TABLE statements (name text)")
    world.connection.execute(
        "CREATE FUNCTION counted() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN INSERT INTO statements VALUES (TG_TABLE_NAME); RETURN NULL; END $$"
    )
    for table in ("task_list", "feed"):
        world.connection.execute(
            f"CREATE TRIGGER counted AFTER INSERT ON {table} FOR EACH STATEMENT EXECUTE FUNCTION counted()"
        )
    assert world.tables().advance() == 40
    counts = dict(world.connection.execute("SELECT name, count(*) FROM statements GROUP BY 1").fetchall())
    assert counts["task_list"] >= 10
    assert counts["feed"] >= 10
    assert world.position("task_list") == world.position("feed") == 40
