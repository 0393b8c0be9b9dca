"""The policy for events that cannot be applied, by itself: what is counted, what goes alone, what is parked."""

from collections.abc import Sequence
from uuid import UUID

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from projections.engine.changes import LogIdentity
from projections.engine.checkpoint import Checkpoint
from projections.engine.poison import (
    ATTEMPTS_BEFORE_PARKING,
    Tries,
    after_failure,
    after_success,
    after_trouble,
    before_trying,
    is_exhausted,
)

LOG = LogIdentity(UUID(int=1), 1)
EVENTS = 6


def at(position: int, name: str = "one", attempts: int = 0, single_until: int = 0) -> Checkpoint:
    return Checkpoint(projection=name, identity=LOG, position=position, attempts=attempts, single_until=single_until)


class TestBeforeTrying:
    def test_the_first_try_of_a_process_is_counted_beforehand(self) -> None:
        prepared = before_trying(Tries(), [at(3), at(3, "two")], 9, is_owner=True)
        assert [(note.projection, note.attempts) for note in prepared.notes] == [("one", 1), ("two", 1)]
        assert prepared.group == prepared.notes

    def test_a_process_that_has_applied_something_counts_no_batch(self) -> None:
        prepared = before_trying(after_success(), [at(3), at(3, "two")], 9, is_owner=True)
        assert (prepared.notes, prepared.group) == ((), (at(3), at(3, "two")))

    def test_an_event_that_goes_alone_is_always_counted(self) -> None:
        prepared = before_trying(after_success(), [at(3, single_until=9)], 9, is_owner=True)
        assert [note.attempts for note in prepared.notes] == [1]

    def test_a_try_is_counted_once_for_as_long_as_the_process_lives(self) -> None:
        first = before_trying(Tries(), [at(3)], 9, is_owner=True)
        again = before_trying(first.tries, first.group, 9, is_owner=True)
        assert (again.notes, again.group) == ((), first.group)

    def test_where_a_try_has_died_the_next_goes_event_by_event(self) -> None:
        prepared = before_trying(Tries(), [at(3, attempts=1), at(3, "two", attempts=1)], 9, is_owner=True)
        notes = [(note.projection, note.attempts, note.single_until) for note in prepared.notes]
        assert notes == [("one", 2, 9), ("two", 1, 9)]
        assert [tried.projection for tried in prepared.group] == ["one"]

    def test_a_second_owner_counts_nothing(self) -> None:
        assert before_trying(Tries(), [at(3, single_until=9)], 9, is_owner=False).notes == ()


class TestAfterwards:
    def test_a_store_that_was_away_takes_the_counts_back(self) -> None:
        prepared = before_trying(Tries(), [at(3)], 9, is_owner=True)
        tries, notes = after_trouble(prepared.tries, prepared.group)
        assert (tries, notes) == (Tries(), (at(3),))

    def test_a_batch_that_failed_goes_event_by_event_and_only_where_it_failed(self) -> None:
        prepared = before_trying(Tries(), [at(3), at(3, "two")], 9, is_owner=True)
        verdict = after_failure(prepared.tries, prepared.group, "two", 6, 9)
        assert verdict.what == "apart"
        assert verdict.notes == (at(3), at(3, "two", single_until=9))

    def test_an_event_that_fails_alone_is_tried_three_times_with_growing_pauses(self) -> None:
        tries, checkpoint, pauses = after_success(), at(3, single_until=9), []
        while True:
            prepared = before_trying(tries, [checkpoint], 4, is_owner=True)
            verdict = after_failure(prepared.tries, prepared.group, "one", 1, 4)
            if verdict.what == "park":
                break
            tries, checkpoint = verdict.tries, verdict.failed
            pauses.append(verdict.pause)
        assert pauses == sorted(set(pauses))
        assert len(pauses) == ATTEMPTS_BEFORE_PARKING - 1

    def test_only_an_owner_parks_what_was_tried_too_often(self) -> None:
        worn = at(3, attempts=ATTEMPTS_BEFORE_PARKING, single_until=9)
        assert is_exhausted(worn, is_owner=True)
        assert not is_exhausted(worn, is_owner=False)
        assert not is_exhausted(at(3, attempts=ATTEMPTS_BEFORE_PARKING), is_owner=True)


class _Worker:
    """A process with its tries in its memory and one projection's checkpoint in a store that outlives it."""

    def __init__(self, deadly: frozenset[int], failing: frozenset[int], away: Sequence[bool]) -> None:
        self.stored = at(0)
        self.parked: list[int] = []
        self.applied: list[int] = []
        self._deadly, self._failing, self._away = deadly, failing, list(away)
        self.start()

    def start(self) -> None:
        self._tries, self._known = Tries(), self.stored

    def step(self, batch: int) -> None:
        checkpoint = self._known
        start = checkpoint.position
        events = list(range(start + 1, min(EVENTS, start + (1 if checkpoint.single else batch)) + 1))
        if is_exhausted(checkpoint, is_owner=True):
            self._park(checkpoint)
            return
        prepared = before_trying(self._tries, [checkpoint], events[-1], is_owner=True)
        self._note(prepared.tries, prepared.notes)
        (checkpoint,) = prepared.group
        events = events[:1] if checkpoint.single else events
        if self._away and self._away.pop():
            self._note(*after_trouble(self._tries, [checkpoint]))
        elif self._deadly & set(events):
            self.start()
        elif self._failing & set(events):
            verdict = after_failure(self._tries, [checkpoint], "one", len(events), events[-1])
            self._note(verdict.tries, verdict.notes)
            if verdict.what == "park":
                self._park(verdict.failed)
        else:
            self._tries = after_success()
            self.applied += events
            self._store(msgspec.structs.replace(checkpoint, position=events[-1], attempts=0))

    def _park(self, checkpoint: Checkpoint) -> None:
        self.parked.append(checkpoint.position + 1)
        self._store(msgspec.structs.replace(checkpoint, position=checkpoint.position + 1, attempts=0))

    def _note(self, tries: Tries, notes: Sequence[Checkpoint]) -> None:
        for note in notes:
            self._store(note)
        self._tries = tries

    def _store(self, checkpoint: Checkpoint) -> None:
        self.stored = self._known = checkpoint


PLACES = st.frozensets(st.integers(1, EVENTS), max_size=3)


@given(PLACES, PLACES, st.lists(st.booleans(), max_size=12), st.integers(1, EVENTS))
def test_whatever_kills_and_fails_exactly_that_is_parked_and_the_rest_is_applied_once(
    deadly: frozenset[int], failing: frozenset[int], away: list[bool], batch: int
) -> None:
    worker = _Worker(deadly, failing, away)
    for _ in range(200):
        if worker.stored.position == EVENTS:
            break
        worker.step(batch)
    assert worker.parked == sorted(deadly | failing)
    assert worker.applied == sorted(set(range(1, EVENTS + 1)) - deadly - failing)
