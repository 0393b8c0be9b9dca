"""What a library keeps for itself may change in any release: whoever uses it says up to which release it was tried."""

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from typing import NamedTuple

import pytest

from tests.architecture.source_tree import ROOT, modules, packages, pyproject

OF_NAMED_TUPLES = {"_asdict", "_fields", "_field_defaults", "_make", "_replace"}
Tree = ast.Module | ast.ClassDef


class Use(NamedTuple):
    """Where a private name is used, and the packages of which one must be its owner."""

    where: str
    name: str
    owners: frozenset[str]


def is_private(name: str) -> bool:
    return any(part.startswith("_") and not part.startswith("__") for part in name.split("."))


def is_foreign(module: str) -> bool:
    return module.partition(".")[0] not in {*packages(), *sys.stdlib_module_names, "__future__"}


def imports(tree: ast.Module) -> Iterator[tuple[int, str, str]]:
    """Each import of a library: its line, what is named, and the package. `from a import b` names `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found = [(alias.name, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found = [(f"{node.module}.{alias.name}", str(node.module)) for alias in node.names]
        else:
            continue
        yield from ((node.lineno, name, module.split(".")[0]) for name, module in found if is_foreign(module))


def declared(tree: Tree) -> set[str]:
    """Names that are given to something here: functions, classes, attributes, variables, fields, slots."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            if isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"}:
                found.add(node.attr)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return found


def inherited(tree: ast.Module, known: dict[str, str]) -> Iterator[tuple[ast.Attribute, frozenset[str]]]:
    """What classes with a library's class among their bases take of themselves without having made it."""
    for each in ast.walk(tree):
        if not isinstance(each, ast.ClassDef):
            continue
        bases = {name.id for base in each.bases for name in ast.walk(base) if isinstance(name, ast.Name)}
        owners = frozenset(known[base] for base in bases if base in known)
        own = declared(each)
        for node in ast.walk(each):
            if owners and isinstance(node, ast.Attribute) and node.attr not in own:
                yield node, owners


def is_of_oneself(node: ast.Attribute) -> bool:
    return ast.unparse(node.value) in {"self", "cls", "super()"}


def uses(file: str, text: str) -> list[Use]:
    """Every use of a name that a library keeps for itself."""
    tree = ast.parse(text, file)
    taken = list(imports(tree))
    known = {name.rsplit(".", 1)[-1]: package for _, name, package in taken} | {package: package for _, _, package in taken}
    own = declared(tree) | OF_NAMED_TUPLES
    everybody = frozenset(known.values())
    found = [Use(f"{file}:{line}", name, frozenset({package})) for line, name, package in taken if is_private(name)]
    attributes = [
        (node, everybody)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr not in own and not is_of_oneself(node)
    ]
    found += [
        Use(f"{file}:{node.lineno}", node.attr, owners)
        for node, owners in (*attributes, *inherited(tree, known))
        if is_private(node.attr) and owners and node.attr not in OF_NAMED_TUPLES
        if not (isinstance(node.value, ast.Name) and node.value.id in sys.stdlib_module_names)
    ]
    return [*found, *(Use(f"{file}:{line}", name, owners or everybody) for line, name, owners in told(tree) if owners or known)]


def told(tree: ast.Module) -> Iterator[tuple[int, str, frozenset[str]]]:
    """Private names in texts: `getattr(connection, "_pool")`, whoever's it is; `"_granian"`, a module or logger of its own."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"getattr", "setattr", "hasattr"}:
            name = node.args[1] if len(node.args) > 1 else None
            if isinstance(name, ast.Constant) and is_private(str(name.value)):
                yield node.lineno, str(name.value), frozenset()
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            library, _, _ = node.value.partition(".")
            if library in internal():
                yield node.lineno, node.value, frozenset({library.lstrip("_")})


@cache
def internal() -> frozenset[str]:
    """Names of packages that begin with an underscore and belong to a dependency: `_granian` of granian."""
    names = {re.split(r"[\[><=]", each)[0] for each in pyproject()["project"]["dependencies"]}
    return frozenset(f"_{name}" for name in names)


def bounded() -> set[str]:
    """The packages, as they are imported, whose releases have an upper bound."""
    limited = {
        re.split(r"[\[><=]", each)[0].lower()
        for each in pyproject()["project"]["dependencies"]
        if re.search(r"<\d", each) or "==" in each
    }
    return {package for package, names in packages_distributions().items() if {name.lower() for name in names} & limited}


@pytest.mark.parametrize("file", modules())
def test_a_library_whose_private_parts_are_used_has_an_upper_bound(file: str) -> None:
    unbounded = [use for use in uses(file, (ROOT / file).read_text()) if not use.owners <= bounded()]
    assert unbounded == [], "give these libraries an upper bound in pyproject.toml, or do without what is theirs"


@pytest.mark.parametrize(
    "text",
    [
        "from redis._parsers import Parser",
        "import redis._parsers",
        "from redis.client import _Script",
        "import redis\nredis.Redis()._pool",
        "import redis\ndef f(client: redis.Redis) -> None:\n    client.connection_pool._lock = 1",
        "from redis import Redis\nclass Mine(Redis):\n    def f(self) -> None:\n        self._lock.release()",
        "from redis import Redis\nclass Mine(Redis):\n    def f(self) -> None:\n        super()._lock.release()",
        'import logging\nlogging.getLogger("_granian")',
        'import redis\ngetattr(redis.Redis(), "_lock")',
    ],
)
def test_private_parts_are_found_however_they_are_reached(text: str) -> None:
    assert uses("some.py", text) != []


@pytest.mark.parametrize(
    "text",
    [
        "import redis\nredis.Redis().ping()",
        "import redis\nclass Mine:\n    def f(self) -> None:\n        self._lock = redis.Redis()\n        self._lock.ping()",
        "from domain.text import _hidden",
        "from typing import NamedTuple\nimport redis\nclass A(NamedTuple):\n    a: int\nA(1)._replace(a=2)",
        "import os\nimport redis\nos._exit(1)",
    ],
)
def test_what_is_ones_own_or_public_is_nobodys_private_part(text: str) -> None:
    assert uses("some.py", text) == []
