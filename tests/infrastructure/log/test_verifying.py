"""VERIFYING.md is enough to check a log by: a verifier written from it agrees with ours, whatever is changed."""

import csv
import json
import random
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from domain.task.events import TaskCreated, TaskRenamed
from infrastructure.log.hash_chain import GENESIS, ChainedRow, chain_hash
from infrastructure.log.verify import verify_log
from infrastructure.servers.postgres import connect_sync
from tests import independent_verifier
from tests.architecture.source_tree import ROOT
from tests.importing import rename
from tests.log_world import World, number

DOCUMENT = (ROOT / "VERIFYING.md").read_text()


def vector() -> dict[str, Any]:
    """The document's example."""
    found = re.search(r"```json\n(.*?)```", DOCUMENT, re.S)
    assert found is not None
    shown: dict[str, Any] = json.loads(found[1])
    return shown


def _time(text: str) -> datetime | None:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(text)) if text else None


def _row(event: dict[str, Any]) -> ChainedRow:
    recorded = _time(event["recorded_us"])
    assert recorded is not None
    return ChainedRow(
        int(event["position"]), UUID(event["stream_id"]), int(event["version"]), recorded, _time(event["effective_us"]),
        *(UUID(event[name]) for name in ("workspace_id", "principal_id", "command_id", "correlation_id")),
        UUID(event["causation_id"]) if event["causation_id"] else None, int(event["epoch"]), int(event["authority"]),
        UUID(event["scope"]) if event["scope"] else None, int(event["number"]) if event["number"] else None,
        int(event["schema_version"]), event["topic"], bytes.fromhex(event["state"]), bytes.fromhex(event["salt"]),
        bytes.fromhex(event["commitment"]), bytes.fromhex(event["hash"]),
    )  # fmt: skip


@pytest.fixture
def exported(world: World, tmp_path: Path) -> Callable[[], tuple[Path, Path]]:
    """Exports a log of some streams, epochs, imported times and non-ASCII text, as the document says."""
    at = datetime(1969, 7, 20, 20, 17, 40, 123456, UTC)
    for task in range(8):
        world.record(number(task), TaskCreated(title=f"Prüfung {task} ✓"), TaskRenamed(title="b"), at=at if task % 2 else None)
    world.connection.execute("UPDATE log SET epoch = 3")
    for task in range(4):
        world.record(number(task), TaskRenamed(title="after a restore", reason="why"))

    def export() -> tuple[Path, Path]:
        files = []
        for query, name in re.findall(r"^\\copy \((.*)\) TO (\S+) CSV HEADER$", DOCUMENT, re.M):
            copying = world.connection.cursor().copy(f"COPY ({query}) TO STDOUT CSV HEADER".encode())
            with copying as copy, (tmp_path / name).open("wb") as file:
                file.writelines(copy)
            files.append(tmp_path / name)
        log, events = files
        return log, events

    return export


def test_the_documents_example_has_the_hashes_that_both_implementations_compute() -> None:
    shown = vector()
    previous = GENESIS
    for event in shown["events"]:
        theirs = independent_verifier.hash_of(shown["log_id"], event, previous)
        ours = chain_hash(UUID(shown["log_id"]), _row(event), previous)
        assert theirs.hex() == ours.hex() == event["hash"]
        previous = ours
    assert independent_verifier.first_bad(shown["log_id"], 2, shown["events"]) is None


def test_the_independent_verifier_imports_nothing_but_the_standard_library() -> None:
    source = (ROOT / "tests/independent_verifier.py").read_text()
    imported = set(re.findall(r"^(?:import|from) (\w+)", source, re.M))
    assert imported <= set(sys.stdlib_module_names)


def test_a_log_that_nobody_touched_is_right_for_both(world: World, exported: Callable[[], tuple[Path, Path]]) -> None:
    log, events = exported()
    program = [sys.executable, "-I", str(ROOT / "tests/independent_verifier.py"), str(log), str(events)]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "every event is as it was appended\n", "")
    assert verify_log(world.database_url, "main").first_bad is None


@pytest.mark.parametrize("seed", range(12))
def test_both_name_the_same_first_bad_position(world: World, exported: Callable[[], tuple[Path, Path]], seed: int) -> None:
    exported()
    chance = random.Random(seed)
    at = chance.randrange(1, world.head())
    change = chance.choice(
        [
            "UPDATE events SET state = state || ' '::bytea WHERE notification_id = {}",
            "UPDATE events SET principal_id = gen_random_uuid() WHERE notification_id = {}",
            "UPDATE events SET recorded_at = recorded_at + interval '1 microsecond' WHERE notification_id = {}",
            "UPDATE events SET effective_at = now() WHERE notification_id = {}",
            "UPDATE events SET hash = sha256(hash) WHERE notification_id = {}",
            "UPDATE events SET originator_version = originator_version + 9 WHERE notification_id = {}",
            "DELETE FROM events WHERE notification_id = {}",
        ]
    )
    world.connection.execute(change.format(at).encode())
    found = independent_verifier.verify(*exported())
    ours = verify_log(world.database_url, "main").first_bad
    assert ours is not None
    assert ours.position == at
    assert found is not None
    assert found.startswith(f"position {at} ")


def test_a_stream_whose_hashes_were_all_made_anew_escapes_both_as_the_document_says(
    world: World, exported: Callable[[], tuple[Path, Path]]
) -> None:
    exported()
    with connect_sync(world.database_url, "log_main") as connection:
        rename(connection, number(1), "the last one")
        log_id = connection.execute("SELECT log_id::text FROM log").fetchone()
        assert log_id
        connection.execute(
            'UPDATE events SET state = convert_to(\'{"type":"task.renamed","title":"forged"}\', \'UTF8\') '
            "WHERE originator_id = %s AND originator_version = 2",
            (number(1),),
        )
    _, events = exported()
    with events.open(newline="", encoding="utf-8") as file:
        own = [event for event in csv.DictReader(file) if event["stream_id"] == str(number(1))]
    previous = bytes.fromhex(own[0]["hash"])
    for event in own[1:]:
        commitment = sha256(bytes.fromhex(event["salt"] + event["state"])).digest()
        previous = independent_verifier.hash_of(log_id[0], event | {"commitment": commitment.hex()}, previous)
        made_anew = (commitment, previous, event["position"])
        world.connection.execute("UPDATE events SET commitment = %s, hash = %s WHERE notification_id = %s", made_anew)
    assert len(own) == 4
    assert independent_verifier.verify(*exported()) is None
    assert verify_log(world.database_url, "main").first_bad is None
