"""The README's catalogue names every event and every command, with the fields that they have; nothing is without permission."""

import re

from application.authorization import MAY_ISSUE
from domain.aggregates import ALL
from tests.architecture.source_tree import ROOT


def rows() -> dict[str, list[str]]:
    """The README's table rows by the text of their first cell."""
    lines = [line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("| `")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {first.strip("`"): rest for first, *rest in cells}


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


NAMED_BY = {"task": "{task_id}", "project": "{project}"}
"""What names a stream in the paths of its routes, by its aggregate."""


def route(command: type) -> str:
    name = next(aggregate.name for aggregate in ALL if command in aggregate.commands)
    verb = str(command.__struct_config__.tag).replace("_", "-").removesuffix(f"-{name}")  # type: ignore[attr-defined]  # all are structs
    root, one = f"/{name}s", f"/{name}s/{NAMED_BY[name]}"
    special = {"create": f"POST {root}", "change": f"PATCH {one}", "delete": f"DELETE {one}"}
    return special.get(verb, f"POST {one}/{verb}")


def test_every_event_is_in_the_catalogue_with_its_struct_and_fields() -> None:
    found = {name: cells for name, cells in rows().items() if re.fullmatch(r"[a-z]+\.[a-z_]+", name) and len(cells) == 3}
    events = {event.__struct_config__.tag: event for aggregate in ALL for event in aggregate.events}
    assert found.keys() == events.keys()
    for tag, event in events.items():
        struct, fields, meaning = found[tag]
        assert struct == f"`{event.__name__}`"
        assert quoted(fields) == [field for field in event.__struct_fields__ if field not in {"reason", "attributes"}]
        assert meaning


def test_every_command_is_in_the_catalogue_with_its_struct() -> None:
    found = {name: cells for name, cells in rows().items() if re.match(r"(POST|PATCH|DELETE) /", name)}
    commands = {route(command): command for aggregate in ALL for command in aggregate.commands}
    assert found.keys() - {"POST /tasks/batch"} == commands.keys()
    for name, command in commands.items():
        assert found[name][0] == f"`{command.__name__}`"


def test_every_command_has_a_row_of_permissions() -> None:
    assert set(MAY_ISSUE) == {command for aggregate in ALL for command in aggregate.commands}
    assert all(roles and roles <= {"owner", "member"} for roles in MAY_ISSUE.values())
