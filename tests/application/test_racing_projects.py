"""Projects under concurrency: what is put away takes nothing, a key leads to one project for ever, numbers have no gaps."""

import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable
from uuid import UUID

from domain.project.boundaries import Openness
from domain.project.boundaries import _evolve_openness as openness_after
from domain.project.events import ProjectCreated, ProjectEvent, ProjectKeyChanged
from domain.task.events import TaskCreated, TaskMoved
from infrastructure.log.rows import AFTER_POSITION, Record, recorded_event
from tests.infrastructure.log_under_test import log_connection


def found_broken(records: Iterable[Record]) -> dict[str, int]:
    """The log event by event: what happened in projects that took nothing, keys that lead to two, and numbers out of turn."""
    states: dict[UUID, Openness] = defaultdict(Openness)
    places: dict[UUID, UUID] = {}
    keys: dict[str, UUID] = {}
    numbers: dict[UUID, int] = defaultdict(int)
    broken = {"closed": 0, "keys": 0, "numbers": 0}
    for record in records:
        event, stream = record.event, record.stream_id
        if isinstance(event, ProjectEvent):
            states[stream] = openness_after(states[stream], event)
            if isinstance(event, ProjectCreated | ProjectKeyChanged):
                key = event.key if isinstance(event, ProjectCreated) else event.new
                broken["keys"] += keys.setdefault(key, stream) != stream
            continue
        concerned = {places[stream]} if stream in places else set()
        if isinstance(event, TaskCreated | TaskMoved):
            to = event.project_id if isinstance(event, TaskCreated) else event.to_project
            assert to is not None
            places[stream] = to
            concerned.add(to)
            numbers[to] += 1
            broken["numbers"] += (record.scope, record.number) != (to, numbers[to])
        broken["closed"] += any(states[each].archived or states[each].deleted for each in concerned)
    return broken


def raced(database_url: str, commands: int, *mode: str) -> tuple[dict[str, int], list[int]]:
    """Two processes of sixteen writers each: what they broke, and how much each writer did."""
    arguments = [sys.executable, "-m", "tests.application.racing_projects", database_url]
    children = [
        subprocess.Popen(
            [*arguments, str(seed), str(commands), *mode], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for seed in (1, 2)
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    outputs = [child.communicate(timeout=240)[0] for child in children]
    assert [child.returncode for child in children] == [0, 0]
    with log_connection(database_url) as log:
        cursor = log.cursor(binary=True)
        cursor.execute(AFTER_POSITION, (0, 10**9))
        records = [recorded_event(row) for row in cursor.fetchall()]
    return found_broken(records), [done for output in outputs for done in json.loads(output)]


def test_two_processes_of_sixteen_writers_break_no_rule_of_projects(database_url: str) -> None:
    broken, done = raced(database_url, 100)
    assert broken == {"closed": 0, "keys": 0, "numbers": 0}
    assert min(done) > 0


def test_control_without_conditions_closed_projects_take_commands_and_keys_lead_to_two(database_url: str) -> None:
    broken, _ = raced(database_url, 100, "unconditional")
    assert broken["closed"] > 0
    assert broken["keys"] > 0
    # The log gives numbers itself, whatever was decided on.
    assert broken["numbers"] == 0
