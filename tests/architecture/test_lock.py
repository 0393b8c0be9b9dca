"""The lock files are whole for every Python and platform that is supported, not only for the ones they were written on."""

import re
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from itertools import product

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.architecture.source_tree import ROOT, pyproject

PYTHONS = [*(f"3.11.{patch}" for patch in range(16)), *(f"3.{minor}.{patch}" for minor in (12, 13, 14) for patch in (0, 9))]
MACHINES = {
    "linux on x86": {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64"},
    "linux on arm": {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "aarch64"},
    "macOS": {"sys_platform": "darwin", "platform_system": "Darwin", "platform_machine": "arm64"},
}
PROJECT = pyproject()["project"]
WANTED = {
    "requirements.txt": [*PROJECT["dependencies"], *pyproject()["build-system"]["requires"]],
    "requirements-dev.txt": [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]],
}


def environment(python: str, machine: str) -> dict[str, str]:
    """What markers are evaluated against on that Python and machine."""
    return {
        "python_version": ".".join(python.split(".")[:2]),
        "python_full_version": python,
        "implementation_version": python,
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "os_name": "posix",
        "extra": "",
    } | MACHINES[machine]


def pins(file: str, where: dict[str, str]) -> dict[str, str]:
    """Name to version of what that lock file installs there."""
    lines = re.sub(r"\\\n", " ", (ROOT / file).read_text()).splitlines()
    requirements = [Requirement(line.partition("--hash")[0]) for line in lines]
    return {
        canonicalize_name(each.name): str(each.specifier).removeprefix("==")
        for each in requirements
        if each.marker is None or each.marker.evaluate(where)
    }


@cache
def needs(name: str) -> tuple[Requirement, ...]:
    """What the installed package asks for; nothing is known of one that only other Pythons install."""
    try:
        return tuple(Requirement(each) for each in distribution(name).requires or ())
    except PackageNotFoundError:
        return ()


def walk(wanted: list[str], locked: dict[str, str], where: dict[str, str]) -> tuple[set[str], set[str]]:
    """The names that the wanted packages and all that they need in turn come to, and what of it the lock has not."""
    todo, seen, missing = [Requirement(each) for each in wanted], set(), set()
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        version = locked.get(name)
        if version is None or not requirement.specifier.contains(version, prereleases=True):
            missing.add(f"{requirement} (locked: {version})")
            continue
        for extra in requirement.extras or {""}:
            if (name, extra) not in seen:
                seen.add((name, extra))
                inside = where | {"extra": extra}
                todo += [each for each in needs(name) if each.marker is None or each.marker.evaluate(inside)]
    return {name for name, _ in seen}, missing


@pytest.mark.parametrize("file", list(WANTED))
@pytest.mark.parametrize("machine", list(MACHINES))
def test_a_lock_file_names_all_that_each_supported_python_needs(file: str, machine: str) -> None:
    for python in PYTHONS:
        where = environment(python, machine)
        assert (python, walk(WANTED[file], pins(file, where), where)[1]) == (python, set())


def test_the_oldest_and_the_newest_python_are_the_supported_ones() -> None:
    assert PROJECT["requires-python"] == f">={PYTHONS[0].removesuffix('.0')}"


def test_a_package_that_only_old_patch_releases_need_is_missed_without_its_pin() -> None:
    where = environment("3.11.2", "linux on x86")
    locked = pins("requirements.txt", where)
    without = {name: version for name, version in locked.items() if name != "async-timeout"}
    assert walk(WANTED["requirements.txt"], locked, where)[1] == set()
    assert {each.split(">")[0] for each in walk(WANTED["requirements.txt"], without, where)[1]} == {"async-timeout"}


@pytest.mark.parametrize("file", list(WANTED))
def test_nothing_is_locked_that_nobody_needs(file: str) -> None:
    for python, machine in product(("3.11.0", "3.14.0"), MACHINES):
        where = environment(python, machine)
        locked = pins(file, where)
        assert (python, locked.keys() - walk(WANTED[file], locked, where)[0]) == (python, set())
