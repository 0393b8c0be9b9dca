"""Whoever gives lists a further filter or order is told here what is missing, and whoever adds a field, that it has to be
decided whether they have one."""

import ast
import re
from random import Random
from typing import Any, get_args

import msgspec
import pytest

from api.openapi.task_queries import FILTER_PARAMETERS, SORT_PARAMETER
from domain.task.aggregate import TASK
from domain.task.rules import Task
from projections.task.facets import FACETS, FIXED, SETS, TEXTS
from projections.task.list import TaskList
from projections.task.list_query import FILTERS, ORDERS, SORTED, TERM_FILTERS, Sort, TaskQuery
from projections.task.views import TaskDetail, TaskSummary
from tests.api.task_routes import VERBS
from tests.architecture.source_tree import ROOT, parsed
from tests.architecture.test_catalogue import route
from tests.architecture.test_places import QUERIES, fields_of
from tests.infrastructure.read_models.test_lists_as_of import a_query
from tests.projections.task import test_list

BY_NOTHING = set[str]()
"""Fields of a task by which no list is chosen, sorted or searched."""

TRIED_ELSEWHERE = {"move": "needs another project: tests/api/test_projects.py"}
FOUND_BY_WORDS = {"q"}
INDEXES = re.findall(r"CREATE (?:UNIQUE )?INDEX ON (\w+)(.*?);", TaskList.ddl, re.DOTALL)


def columns(table: str) -> dict[str, str]:
    """The types of a table's columns, by name."""
    (body,) = re.findall(rf"CREATE TABLE {table} \((.*?)\n\)", TaskList.ddl, re.DOTALL)
    return dict(re.findall(r"^    (\w+) (\w+)", body, re.MULTILINE))


def indexed(table: str, key: str) -> bool:
    """Whether an index of the table has the key, however its constants are cast."""
    plain = re.sub(r"::\w+|'(-?\d+)'", r"\1", key)
    return any(plain in re.sub(r"::\w+|'(-?\d+)'", r"\1", body) for name, body in INDEXES if name == table)


def test_every_field_is_what_lists_are_chosen_sorted_or_searched_by_or_is_said_not_to_be() -> None:
    known = {facet.field for facet in FACETS} | {field for field, _ in SETS} | set(TEXTS)
    assert fields_of(Task) - BY_NOTHING == known


@pytest.mark.parametrize("table", ["task_list", "task_list_past"])
def test_every_facet_is_a_column_of_present_and_past(table: str) -> None:
    found = columns(table)
    assert {facet.field: found.get(facet.field) for facet in (*FACETS, *FIXED)} == {
        facet.field: facet.type for facet in (*FACETS, *FIXED)
    }


def test_every_facet_has_a_filter_or_an_order() -> None:
    asked = " ".join(each.condition for each in FILTERS)
    sorted_by = {by.column for by in SORTED.values()}
    assert [
        facet.field for facet in FACETS if not re.search(rf"\b{facet.field}\b", asked) and facet.field not in sorted_by
    ] == []


def test_every_filter_of_a_query_is_asked_of_something() -> None:
    asked = {each.parameter for each in FILTERS} | {parameter for parameter, _ in TERM_FILTERS} | FOUND_BY_WORDS
    assert asked == fields_of(TaskQuery) - {"sort"}


def test_every_order_goes_both_ways_and_is_what_sort_offers() -> None:
    assert set(get_args(Sort)) == ORDERS.keys()


def test_every_order_is_named_where_the_parameter_is_described() -> None:
    assert [sort for sort in ORDERS if f"`{sort.removeprefix('-')}`" not in SORT_PARAMETER.description] == []


@pytest.mark.parametrize("sort", ORDERS)
@pytest.mark.parametrize("table", ["task_list", "task_list_past"])
def test_every_order_has_its_index_in_present_and_past(sort: str, table: str) -> None:
    by = ORDERS[sort].by
    assert by is None or indexed(table, by.key(is_descending=ORDERS[sort].is_descending))


@pytest.mark.parametrize("by", SORTED.values(), ids=SORTED)
def test_what_a_row_may_be_without_comes_last_and_nothing_else_does(by: Any) -> None:
    kind = msgspec.structs.fields(Task)
    optional = {field.name for field in kind if field.default is None}
    assert by.is_optional == (by.column in optional)


def test_every_parameter_is_documented_with_the_bounds_that_it_has() -> None:
    given = {each.name: each.type for each in FILTER_PARAMETERS}
    taken = {field.name: field.type for field in msgspec.structs.fields(TaskQuery)}

    def bounds(kind: Any) -> set[tuple[str, object]]:
        found = msgspec.json.schema(kind)
        parts = found.get("anyOf", [found])
        return {(name, part[name]) for part in parts for name in ("minimum", "maximum", "multipleOf") if name in part}

    assert {name: bounds(kind) for name, kind in given.items()} == {name: bounds(taken[name]) for name in given}


def test_every_filter_and_order_is_among_those_that_the_past_is_asked_for() -> None:
    chance = Random(1)
    asked = [a_query(chance) for _ in range(500)]
    blank = TaskQuery()
    for field in fields_of(TaskQuery):
        assert len({repr(getattr(query, field)) for query in asked} - {repr(getattr(blank, field))}) > 0, f"a_query: {field}"


def test_every_filter_is_tried_alone() -> None:
    tried = {name for filters, _ in test_list.FILTERS for name in filters}
    assert fields_of(TaskQuery) - tried - {"sort", "q", "project"} == set()


@pytest.mark.parametrize("query", QUERIES, ids=lambda each: str(each.__name__))
def test_every_parameter_of_a_query_is_asked_for_over_http(query: type[msgspec.Struct]) -> None:
    asked = "".join(file.read_text() for file in (ROOT / "tests" / "api").rglob("*.py"))
    unasked = {field for field in fields_of(query) - QUERIES[query][2] if not re.search(rf"\b{field}=|\"{field}\"", asked)}
    assert unasked == set()


def test_every_command_on_a_task_has_its_route_tried() -> None:
    verbs = {route(kind).rpartition("/")[2] for kind in TASK.commands - TASK.creates if "{task_id}/" in route(kind)}
    assert verbs - set(VERBS) == TRIED_ELSEWHERE.keys()


@pytest.mark.parametrize(("document", "told_by"), [(TaskSummary, {"line"}), (TaskDetail, {"line", "full"})])
def test_after_faults_everything_that_is_shown_is_looked_at(document: type[msgspec.Struct], told_by: set[str]) -> None:
    functions = [node for node in ast.walk(parsed("tests/faults/view_check.py")) if isinstance(node, ast.FunctionDef)]
    told = [each for node in functions if node.name in told_by for each in ast.walk(node) if isinstance(each, ast.Dict)]
    keys = {key.value for each in told for key in each.keys if isinstance(key, ast.Constant)}
    assert keys == fields_of(document)
