"""The layers hold, and nobody slips past them."""

import ast
import subprocess
import sys
import tomllib

from tests.architecture.source_tree import ROOT, modules, packages, parsed, pyproject


def test_the_import_contracts_hold() -> None:
    # In a process of its own: the linter's logging would silence the loggers of every later test.
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as lint; lint()", "--no-cache"]
    linted = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert linted.returncode == 0, linted.stdout + linted.stderr


def test_every_contract_is_about_the_folders_that_there_are() -> None:
    linted = pyproject()["tool"]["importlinter"]["root_packages"]
    folders = sorted(path.parent.name for path in ROOT.glob("*/__init__.py") if path.parent.name != "tests")
    assert sorted(linted) == sorted(packages()) == folders
    assert sorted(pyproject()["tool"]["mypy"]["packages"]) == folders
    layers = " | ".join(pyproject()["tool"]["importlinter"]["contracts"][0]["layers"])
    assert sorted(layers.split(" | ")) == folders


def test_each_fixed_package_has_the_one_folder_that_imports_it() -> None:
    forbidden = {
        name: set(contract["source_modules"])
        for contract in pyproject()["tool"]["importlinter"]["contracts"]
        if contract["type"] == "forbidden"
        for name in contract["forbidden_modules"]
        if contract["source_modules"] != ["domain"]
    }
    homes = {name: set(packages()) - sources for name, sources in forbidden.items()}
    assert homes == {
        "eventsourcing": {"infrastructure"},
        "argon2": {"infrastructure"},
        "jwt": {"infrastructure"},
        "litestar": {"api"},
        "dramatiq": {"workers"},
    }


def _reads_environment(node: ast.AST) -> bool:
    names = {"environ", "environb", "getenv", "getenvb"}
    if isinstance(node, ast.ImportFrom):
        return node.module == "os" and any(alias.name in names for alias in node.names)
    return isinstance(node, ast.Attribute) and node.attr in names and getattr(node.value, "id", "") == "os"


def test_only_the_settings_read_the_environment() -> None:
    readers = {file for file in modules() for node in ast.walk(parsed(file)) if _reads_environment(node)}
    assert readers == {"infrastructure/settings.py"}


def test_the_edge_imports_nothing_for_the_type_checker_alone() -> None:
    named = [file for file in modules("api") for node in ast.walk(parsed(file)) if getattr(node, "id", "") == "TYPE_CHECKING"]
    assert named == []


def test_no_statement_reaches_a_database_from_the_http_edge() -> None:
    senders = [
        f"{file}:{node.lineno}"
        for file in modules("api")
        for node in ast.walk(parsed(file))
        if isinstance(node, ast.Attribute) and node.attr in {"execute", "executemany", "cursor", "fetchall", "fetchone"}
    ]
    assert senders == []


def test_every_folder_has_a_contract_for_all_of_its_rooms() -> None:
    contracts = [each for each in pyproject()["tool"]["importlinter"]["contracts"] if each.get("containers")]
    assert sorted(each["containers"][0] for each in contracts if each["exhaustive"]) == sorted(set(packages()) - {"workers"})


def test_no_import_is_relative_and_none_is_of_a_test() -> None:
    for file in modules():
        for node in ast.walk(parsed(file)):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, file
                assert (node.module or "").split(".")[0] != "tests", file


def test_the_console_script_is_there() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"taskmaster": "infrastructure.cli.main:main"}
