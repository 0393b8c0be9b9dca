"""What every file of this project is held to: size, names, docstrings, and that it speaks of this project alone."""

import ast
import re
from collections.abc import Iterator

from tests.architecture.source_tree import ROOT, modules, packages, parsed, pyproject, text_files

LONGEST_FILE = 400
LONGEST_FUNCTION = 60
USUAL_FUNCTION = 30
Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(file: str) -> Iterator[Function]:
    for node in ast.walk(parsed(file)):
        if isinstance(node, Function):
            yield node


def length(function: Function) -> int:
    """Its lines without the documentation above and in it: decorators and docstring."""
    first = function.body[0]
    documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    documentation = (first.end_lineno or 0) - first.lineno + 1 if documented else 0
    return (function.end_lineno or 0) - function.lineno + 1 - documentation


def test_no_module_has_a_name_that_says_nothing() -> None:
    names = {part for file in modules(*packages(), "tests") for part in re.split(r"[/_.]", file)}
    assert not names & {"utils", "util", "helpers", "helper", "common", "manager", "managers", "misc", "base"}


def test_no_file_is_too_long_to_read() -> None:
    lengths = {file: len((ROOT / file).read_text().splitlines()) for file in modules(*packages(), "tests")}
    assert {file: lines for file, lines in lengths.items() if lines > LONGEST_FILE} == {}


def test_no_function_is_too_long_to_read() -> None:
    lengths = {f"{file} {each.name}": length(each) for file in modules() for each in functions(file)}
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_FUNCTION} == {}
    usual = sum(lines <= USUAL_FUNCTION for lines in lengths.values())
    assert usual / len(lengths) > 0.97


def test_everything_public_says_what_it_is_for() -> None:
    silent = [
        f"{file}:{node.lineno} {node.name}"
        for file in modules()
        for node in parsed(file).body
        if isinstance(node, ast.ClassDef | Function)
        if not node.name.startswith("_") and ast.get_docstring(node) is None
    ]
    assert silent == []


def test_every_module_says_what_it_is_for() -> None:
    assert [file for file in modules(*packages(), "tests") if not ast.get_docstring(parsed(file))] == []


def test_nothing_is_left_for_later_or_switched_off() -> None:
    marks = re.compile(
        r"\b(TODO|FIXME|XXX|HACK)\b|pytest\.mark\.(skip|xfail)|pytest\.(skip|xfail)\(|# type: ignore(?!\[[\w, -]+\] +#)"
    )
    found = [
        f"{file}:{number} {line.strip()}"
        for file in text_files()
        if file.endswith((".py", ".sql", ".toml", ".md", "Makefile")) and file != "tests/architecture/test_sources.py"
        for number, line in enumerate((ROOT / file).read_text().splitlines(), 1)
        if marks.search(line)
    ]
    assert found == []


# Hosts that are nobody's: loopback, those of RFC 2606 and 6761, names without a dot, and what is filled in at run time.
_NOWHERE = re.compile(
    r"([^@/]*@)?(127\.0\.0\.1|localhost|\[::1\]|[\w-]+|([\w-]+\.)*(example|test|invalid)(\.(com|org|net))?)(:|/|$)"
)


def test_no_file_names_another_machine() -> None:
    found = [
        f"{file}: {address}"
        for file in text_files()
        for address in re.findall(r"https?://([^\s\"'`<>)\\]*)", (ROOT / file).read_text())
        if address and not address.startswith("{") and not _NOWHERE.match(address)
    ]
    assert found == []


def test_no_file_names_a_place_on_somebodys_machine() -> None:
    places = re.compile(r"(?<![\w.<])/(?:root|home|Users|work|mnt)/[\w.-]+")
    found = [
        f"{file}: {place}"
        for file in text_files()
        for place in places.findall((ROOT / file).read_text())
        if "test_sources" not in file
    ]
    assert found == []


def test_dependencies_are_pinned_with_hashes_and_without_addresses() -> None:
    for name in ("requirements.txt", "requirements-dev.txt"):
        text = (ROOT / name).read_text()
        pins = [line for line in re.sub(r"\\\n", " ", text).splitlines() if line.strip()]
        assert len(pins) > 20
        for pin in pins:
            assert re.fullmatch(r"[a-z0-9-]+==[\w.]+( ; [\w <>=\"'.]+)?( +--hash=sha256:[0-9a-f]{64})+", pin.strip()), pin[:80]


def test_what_runs_is_tested_in_the_same_versions() -> None:
    run, dev = (
        dict(re.findall(r"^(\S+)==(\S+)", (ROOT / name).read_text(), re.M))
        for name in ("requirements.txt", "requirements-dev.txt")
    )
    both = run.keys() & dev.keys()
    assert both >= {re.split(r"[\[><=]", name)[0] for name in pyproject()["project"]["dependencies"]}
    assert {name: run[name] for name in both} == {name: dev[name] for name in both}
