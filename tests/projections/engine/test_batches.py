"""What a read model holds does not depend on how its events were cut into batches."""

import pytest

from infrastructure.read_models.table_store import TableProjection
from projections import TABLES
from tests.generated_history import append_history
from tests.log_world import World


@pytest.mark.parametrize("projection", TABLES, ids=lambda projection: projection.name)
def test_a_postgres_read_model_is_the_same_in_batches_of_1_7_and_500(world: World, projection: TableProjection) -> None:
    append_history(world, seed=12, commands=420)

    def built(batch: int) -> dict[str, list[str]]:
        world.forget_read_models()
        projector = world.tables([projection])
        while projector.advance(batch):
            pass
        assert world.position(projection.name) == world.head()
        return world.table_dump(projection.tables)

    expected = built(500)
    assert any(expected.values())
    assert built(1) == expected
    assert built(7) == expected


def test_the_redis_read_model_is_the_same_in_batches_of_1_7_and_500(world: World) -> None:
    append_history(world, seed=12, commands=420)

    def built(batch: int) -> dict[bytes, object]:
        world.forget_read_models()
        projector = world.hot()
        while projector.advance(batch):
            pass
        return world.hot_dump()

    expected = built(500)
    assert len(expected) > 20
    assert built(1) == expected
    assert built(7) == expected
