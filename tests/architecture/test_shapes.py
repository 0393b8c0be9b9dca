"""What holds many values is made by their names: two of the same type, one after the other, are exchanged without a sound."""

import ast
import importlib
import inspect
from collections.abc import Iterator

import msgspec
import pytest

from tests.architecture.source_tree import modules, parsed

MOST_BY_PLACE = 6
"""Values that may be told by their places alone."""

ROWS = {"ChainedRow": "a row of the log's table, made of the columns as they are read"}


def value_types() -> Iterator[type]:
    """Every struct, dataclass and named tuple of the product, private ones included."""
    for file in modules():
        if not any(isinstance(node, ast.ClassDef) for node in ast.walk(parsed(file))):
            continue
        module = importlib.import_module(file.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
        for kind in vars(module).values():
            if isinstance(kind, type) and kind.__module__ == module.__name__ and is_value(kind):
                yield kind


def is_value(kind: type) -> bool:
    return (
        issubclass(kind, msgspec.Struct)
        or hasattr(kind, "__dataclass_fields__")
        or (issubclass(kind, tuple) and hasattr(kind, "_fields"))
    )


def by_place(kind: type) -> list[str]:
    """The values that may be given without their names."""
    by_place = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
    return [each.name for each in inspect.signature(kind).parameters.values() if each.kind in by_place]


@pytest.mark.parametrize("kind", list(value_types()), ids=lambda kind: f"{kind.__module__}.{kind.__qualname__}")
def test_what_holds_many_values_is_made_by_their_names(kind: type) -> None:
    found = len(by_place(kind))
    assert found <= MOST_BY_PLACE or kind.__name__ in ROWS, f"make {kind.__name__} kw_only: it takes {found} values by place"


def test_structs_dataclasses_and_named_tuples_are_all_looked_at() -> None:
    found = list(value_types())
    assert {any(issubclass(kind, msgspec.Struct) for kind in found)} == {True}
    assert any(hasattr(kind, "__dataclass_fields__") for kind in found)
    assert any(issubclass(kind, tuple) for kind in found)
