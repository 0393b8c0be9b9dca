"""Whatever part of a history is in the log: importing the whole adds what is missing, and importing it again adds nothing."""

import random
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import example, given, settings
from hypothesis import strategies as st

from application.importing.history import Chunk, ImportedStream
from application.importing.ids import ImportSource
from application.importing.mapping_file import read_mapping
from application.importing.people import People
from application.importing.recognition import RecordedStep
from application.importing.rows import RowReader
from application.log import Append
from domain.task.events import TaskActivityLogged, TaskEvent
from domain.task.rules import evolve
from tests.importing import MAPPING, OWNER, PROJECT, SECRET, WORKSPACE, decider

NOW = datetime(2026, 11, 1, tzinfo=UTC)
HEADER = ("Ticket", "Step", "Who", "When", "Title", "Severity", "Area")
MAPPED = read_mapping(
    MAPPING.replace('"Ticket {Ticket}"', '"{Title}"').replace("ticket:{Ticket}", "area:{Area}").encode()
)  # fmt: skip
SOURCE = ImportSource(WORKSPACE, OWNER, SECRET, "sample", b"f", PROJECT)
PEOPLE = People(OWNER)
Rows = Sequence[tuple[str, ...]]


def _history(seed: int) -> list[tuple[str, ...]]:
    """Rows in order of time, of a few tickets, in which every column changes and some are blank."""
    chance = random.Random(seed)
    at = datetime(2020, 1, 1)
    rows = []
    for _ in range(30):
        at += timedelta(minutes=chance.randint(1, 90))
        step = chance.choice(["Open", "Rate", "Take", "Wait", "Note", "Close", "Drop"])
        said = (chance.choice(["A", "B", ""]), chance.choice(["1", "2", ""]), chance.choice(["web", "desk", ""]))
        rows.append((chance.choice("1234"), step, chance.choice(["Ann", "Bo", ""]), at.isoformat(), *said))
    return rows


class _Log:
    """What a log would hold of the appends, as an import reads it."""

    def __init__(self) -> None:
        self.appends: list[Append] = []

    def take(self, rows: Rows) -> Chunk:
        accepted, _ = RowReader(MAPPED, HEADER, NOW).rows(enumerate(rows, 2))
        history = decider(SOURCE, PEOPLE, MAPPED, accepted)
        streams: dict[str, ImportedStream] = {}
        steps: dict[str, list[RecordedStep]] = defaultdict(list)
        case_of = {history.task_id(row.case): row.case for row in accepted}
        for append in self.appends:
            first = append.events[0]
            case = case_of.get(first.stream_id)
            if case is None or first.effective_at is None:
                continue
            stream = streams.get(case, ImportedStream())
            task = stream.task
            for new in append.events:
                task = evolve(task, new.event)
            newest = max(stream.newest or first.effective_at, first.effective_at)
            streams[case] = ImportedStream(task, stream.version + len(append.events), newest)
            step = (first.event.reason or "", first.effective_at, append.principal_id)
            steps[case].append(RecordedStep(append.command_id, step, append.causation_id is not None))
        history.reload({case: streams.get(case, ImportedStream()) for case in case_of.values()}, steps)
        chunk = history.decide_chunk(0, accepted)
        self.appends += chunk.appends
        return chunk

    def events(self) -> dict[UUID, list[tuple[int, TaskEvent, datetime | None]]]:
        found = defaultdict(list)
        for append in self.appends:
            for new in append.events:
                found[new.stream_id].append((new.version, new.event, new.effective_at))
        return dict(found)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 30), st.randoms(use_true_random=False))
def test_an_export_that_grew_ends_where_one_import_of_it_would(seed: int, border: int, order: random.Random) -> None:
    rows = _history(seed)
    at_once, in_two = _Log(), _Log()
    expected = at_once.take(rows)
    in_two.take(rows[:border])
    shuffled = [*rows]
    order.shuffle(shuffled)
    grown = in_two.take(shuffled)
    assert in_two.events() == at_once.events()
    assert len(grown.rejected) == len(expected.rejected)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**6), st.sets(st.integers(0, 29)), st.randoms(use_true_random=False))
@example(1373, {0, 1, 5, 17}, random.Random(1))
def test_the_whole_after_any_part_of_it_is_complete_and_ends_in_adding_nothing(
    seed: int, part: set[int], order: random.Random
) -> None:
    rows = _history(seed)
    log = _Log()
    log.take([rows[number] for number in sorted(part)])
    whole = log.take(rows)
    order.shuffle(rows)
    again = log.take(rows)
    # Without the rows that came too late, the present may have refused one that the file allows: by now it is late itself.
    assert {type(new.event) for append in again.appends for new in append.events} <= {TaskActivityLogged}
    assert len(again.appends) == len(whole.rejected) - len(again.rejected)
    order.shuffle(rows)
    assert log.take(rows).appends == []
    versions = [[version for version, _, _ in events] for events in log.events().values()]
    assert all(each == list(range(1, len(each) + 1)) for each in versions)
