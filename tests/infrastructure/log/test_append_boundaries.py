"""The SQL function `append_events`: tags, conditions on them, and numbers."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import msgspec
import psycopg
import pytest

import domain.tags
from application.log import Append, Appended, Condition, ConditionViolated, NewEvent, VersionConflict
from domain.tags import tag_id
from domain.task.events import TaskCreated, TaskLabelAdded
from infrastructure.log.append_function import OTHER_SCHEME
from tests.infrastructure.log.tagged_by_label import _tagged_by_label  # noqa: F401 - a fixture
from tests.infrastructure.log_under_test import an_append, append, appended, created, key, log_connection, renamed, stored

Connection = psycopg.Connection[Any]

pytestmark = pytest.mark.usefixtures("_tagged_by_label")


@pytest.fixture
def log(database_url: str) -> Iterator[Connection]:
    with log_connection(database_url) as connection:
        yield connection


def tagged(*tags: str, scope: UUID | None = None) -> NewEvent:
    """The first event of a new stream, with these tags."""
    return NewEvent(uuid4(), 1, TaskCreated("Ship it", labels=tags), scope=scope)


def on(*conditions: tuple[str, int], events: int = 1) -> Append:
    """An append of untagged events that rests on these conditions."""
    stream = uuid4()
    news = [created(stream), *(renamed(stream, version) for version in range(2, events + 1))]
    return an_append(*news, conditions=[Condition(*each) for each in conditions])


def kept(log: Connection) -> list[tuple[str, int]]:
    """The tags a to d that the log holds, with their positions."""
    texts = {tag_id(text): text for text in "abcd"}
    rows = log.execute("SELECT tag, position FROM event_tags").fetchall()
    return sorted((texts[tag], position) for tag, position in rows)


def numbers(log: Connection) -> list[tuple[UUID, int, int]]:
    """Scope, number and position of what was numbered."""
    return log.execute("SELECT scope, number, position FROM event_numbers ORDER BY position").fetchall()


def kinds(answers: list[Appended | Exception]) -> list[type]:
    return [type(answer) for answer in answers]


class TestTags:
    def test_every_event_is_kept_under_each_of_its_tags(self, log: Connection) -> None:
        stream = uuid4()
        append(log, an_append(created(uuid4())), an_append(tagged("a", "b"), tagged("a")))
        append(log, an_append(created(stream), NewEvent(stream, 2, TaskLabelAdded("b"))))
        assert kept(log) == [("a", 2), ("a", 3), ("b", 2), ("b", 5)]

    def test_a_refused_append_leaves_none_and_the_others_keep_theirs(self, log: Connection) -> None:
        taken = created(uuid4())
        append(log, an_append(taken))
        clash = an_append(tagged("a"), created(taken.stream_id))
        answers = append(log, an_append(tagged("a")), clash, an_append(tagged("b")))
        assert kinds(answers) == [Appended, VersionConflict, Appended]
        assert kept(log) == [("a", 2), ("b", 3)]

    def test_a_replayed_key_leaves_none(self, log: Connection) -> None:
        append(log, an_append(tagged("a"), idempotency=key("k")))
        append(log, an_append(tagged("a"), idempotency=key("k")), an_append(tagged("b")))
        assert kept(log) == [("a", 1), ("b", 2)]


class TestConditions:
    def test_none_of_a_tag_is_the_position_0(self, log: Connection) -> None:
        assert kinds(append(log, on(("a", 0)))) == [Appended]
        append(log, an_append(tagged("a")))
        assert kinds(append(log, on(("a", 0)))) == [ConditionViolated]

    def test_the_last_event_of_the_tag_must_be_the_named_one(self, log: Connection) -> None:
        append(log, an_append(tagged("a"), tagged("b"), tagged("a"), tagged("b")))
        assert kinds(append(log, on(("a", 1)), on(("a", 3)), on(("a", 4)))) == [ConditionViolated, Appended, ConditionViolated]

    def test_all_of_an_append_must_hold(self, log: Connection) -> None:
        append(log, an_append(tagged("a"), tagged("b")))
        assert kinds(append(log, on(("a", 1), ("b", 2)), on(("a", 1), ("b", 0)))) == [Appended, ConditionViolated]

    def test_a_violated_one_writes_nothing_and_leaves_no_gap(self, log: Connection) -> None:
        append(log, an_append(tagged("a")))
        answers = append(log, an_append(created(uuid4())), on(("a", 0), events=3), an_append(created(uuid4())))
        assert kinds(answers) == [Appended, ConditionViolated, Appended]
        assert [row.position for row in stored(log)] == [1, 2, 3]

    def test_an_earlier_append_of_the_call_is_seen(self, log: Connection) -> None:
        first = an_append(tagged("a"), conditions=[Condition("a", 0)])
        second = an_append(tagged("a"), conditions=[Condition("a", 0)])
        assert kinds(append(log, first, second)) == [Appended, ConditionViolated]

    def test_an_earlier_append_of_the_call_that_was_refused_is_not(self, log: Connection) -> None:
        append(log, an_append(tagged("b")))
        refused = an_append(tagged("a"), conditions=[Condition("b", 0)])
        assert kinds(append(log, refused, an_append(tagged("a"), conditions=[Condition("a", 0)]))) == [
            ConditionViolated,
            Appended,
        ]

    def test_a_later_append_of_the_call_does_not_matter(self, log: Connection) -> None:
        assert kinds(append(log, on(("a", 0)), an_append(tagged("a")))) == [Appended, Appended]

    def test_the_tags_of_the_append_itself_do_not_matter(self, log: Connection) -> None:
        both = an_append(tagged("a"), tagged("a"), conditions=[Condition("a", 0)])
        assert kinds(append(log, both)) == [Appended]

    def test_it_is_told_apart_from_a_version_that_is_taken(self, log: Connection) -> None:
        first = created(uuid4())
        append(log, an_append(first), an_append(tagged("a")))
        again = an_append(NewEvent(first.stream_id, 1, first.event), conditions=[Condition("a", 2)])
        assert kinds(append(log, again)) == [VersionConflict]

    def test_a_violated_one_does_not_use_up_its_key(self, log: Connection) -> None:
        append(log, an_append(tagged("a")))
        wrong = an_append(tagged("a"), conditions=[Condition("a", 0)], idempotency=key("k"))
        right = an_append(tagged("a"), conditions=[Condition("a", 1)], idempotency=key("k"))
        assert kinds(append(log, wrong)) == [ConditionViolated]
        assert not appended(append(log, right)[0]).replayed

    def test_a_key_brings_its_receipt_back_though_the_condition_cannot_hold_any_more(self, log: Connection) -> None:
        asked = an_append(tagged("a"), conditions=[Condition("a", 0)], idempotency=key("k"))
        first = appended(append(log, asked)[0])
        again = appended(append(log, asked)[0])
        assert (again.receipt, again.replayed) == (first.receipt, True)

    def test_a_resent_append_is_recognised_though_its_condition_cannot_hold_any_more(self, log: Connection) -> None:
        scope = uuid4()
        asked = an_append(tagged("a", scope=scope), tagged("b"), conditions=[Condition("a", 0)])
        first = appended(append(log, asked)[0])
        append(log, an_append(tagged("a", scope=scope)))
        again = appended(append(log, asked)[0])
        assert msgspec.structs.replace(first, replayed=True, recorded_at=again.recorded_at) == again
        assert len(stored(log)) == 3

    def test_an_append_without_events_is_refused_by_its_condition_as_well(self, log: Connection) -> None:
        append(log, an_append(tagged("a")))
        nothing = an_append(idempotency=key("k"), conditions=[Condition("a", 0)])
        assert kinds(append(log, nothing, an_append(created(uuid4())))) == [ConditionViolated, Appended]


def after(*tags: str, at: int = 0, on: str = "a", **more: Any) -> Append:
    """An append of a new stream with these tags that rests on the boundary `on`."""
    return an_append(tagged(*tags), conditions=[Condition(on, at)], **more)


class TestChains:
    """Appends that were decided one after the other, each on what those before it lead to, in one call."""

    def test_each_may_change_what_all_of_them_rest_on(self, log: Connection) -> None:
        append(log, an_append(tagged("a")))
        answers = append(log, *(after("a", at=1) for _ in range(4)), follows=[2, 3, 4])
        assert kinds(answers) == [Appended] * 4
        assert kept(log) == [("a", position) for position in range(1, 6)]

    def test_control_without_following_only_the_first_may(self, log: Connection) -> None:
        assert kinds(append(log, after("a"), after("a"), after("a"))) == [Appended, ConditionViolated, ConditionViolated]

    def test_what_others_appended_before_the_call_refuses_all(self, log: Connection) -> None:
        append(log, an_append(tagged("a")))
        assert kinds(append(log, after("a"), after("b"), follows=[2])) == [ConditionViolated] * 2
        assert kept(log) == [("a", 1)]

    def test_one_that_is_refused_takes_those_behind_it_along_and_none_before_it(self, log: Connection) -> None:
        taken = created(uuid4())
        append(log, an_append(taken))
        clash = an_append(NewEvent(taken.stream_id, 1, taken.event), conditions=[Condition("a", 0)])
        answers = append(log, after("a"), clash, after("a"), an_append(tagged("b")), follows=[2, 3, 4])
        assert kinds(answers) == [Appended, VersionConflict, ConditionViolated, ConditionViolated]
        assert kept(log) == [("a", 2)]

    def test_one_whose_key_brings_back_an_answer_takes_those_behind_it_along(self, log: Connection) -> None:
        append(log, an_append(tagged("c"), idempotency=key("k")))
        answers = append(log, after("a"), after("a", idempotency=key("k")), after("a"), follows=[2, 3])
        assert kinds(answers) == [Appended, Appended, ConditionViolated]
        assert [answer.replayed for answer in answers if isinstance(answer, Appended)] == [False, True]

    def test_sent_again_it_is_recognised_whole(self, log: Connection) -> None:
        chain = [after("a"), after("a", "b"), after("b", on="b"), after("a", idempotency=key("k"))]
        first = [appended(answer) for answer in append(log, *chain, follows=[2, 3, 4])]
        append(log, an_append(tagged("a", "b")))
        again = [appended(answer) for answer in append(log, *chain, follows=[2, 3, 4])]
        assert [(each.position, each.receipt, each.replayed) for each in again] == [
            (each.position, each.receipt, True) for each in first
        ]
        assert len(stored(log)) == 5

    def test_it_is_refused_by_what_stands_before_it_in_the_call(self, log: Connection) -> None:
        answers = append(log, an_append(tagged("a")), after("b", on="b"), after("b"), after("b", on="b"), follows=[3, 4])
        assert kinds(answers) == [Appended, Appended, ConditionViolated, ConditionViolated]

    def test_and_refuses_what_stands_behind_it(self, log: Connection) -> None:
        answers = append(
            log, after("a"), after("b"), after("c", on="b"), after("c", on="c"), after("c", on="c"), follows=[2, 5]
        )
        assert kinds(answers) == [Appended, Appended, ConditionViolated, Appended, Appended]

    def test_without_any_condition_in_the_call_each_stands_for_itself(self, log: Connection) -> None:
        taken = created(uuid4())
        append(log, an_append(taken))
        clash = an_append(NewEvent(taken.stream_id, 1, taken.event))
        answers = append(log, clash, an_append(tagged("a")), follows=[2])
        assert kinds(answers) == [VersionConflict, Appended]


class TestNumbers:
    def test_each_scope_counts_from_1_across_calls(self, log: Connection) -> None:
        one, two = uuid4(), uuid4()
        append(log, an_append(tagged(scope=one)), an_append(tagged(scope=two)), an_append(tagged(scope=one)))
        append(log, an_append(created(uuid4())), an_append(tagged(scope=one)))
        assert numbers(log) == [(one, 1, 1), (two, 1, 2), (one, 2, 3), (one, 3, 5)]

    def test_events_carry_theirs(self, log: Connection) -> None:
        scope = uuid4()
        append(log, an_append(tagged(scope=scope), tagged(), tagged(scope=scope)))
        assert [(row.scope, row.number) for row in stored(log)] == [(scope, 1), (None, None), (scope, 2)]

    def test_a_refused_append_uses_none_up(self, log: Connection) -> None:
        scope, taken = uuid4(), created(uuid4())
        append(log, an_append(taken), an_append(tagged(scope=scope)))
        clash = an_append(tagged(scope=scope), tagged(scope=scope), created(taken.stream_id))
        answers = append(log, an_append(tagged(scope=scope)), clash, an_append(tagged(scope=scope)))
        assert [getattr(answer, "number", None) for answer in answers] == [2, None, 3]
        assert [number for _, number, _ in numbers(log)] == [1, 2, 3]

    def test_the_answer_and_the_receipt_say_it(self, log: Connection) -> None:
        scope = uuid4()
        answers = append(
            log,
            an_append(tagged(scope=scope)),
            an_append(tagged(scope=scope), idempotency=key("k")),
            an_append(created(uuid4()), idempotency=key("l")),
        )
        first, second, third = (appended(answer) for answer in answers)
        assert (first.number, second.number, third.number) == (1, 2, None)
        for answer, number in ((first, 1), (second, 2)):
            receipt = msgspec.json.decode(answer.receipt)
            assert list(receipt) == ["command", "number", "hash", "position"]
            row = stored(log)[receipt["position"] - 1]
            assert (receipt["number"], receipt["hash"]) == (number, row.hash.hex())
        assert "number" not in msgspec.json.decode(third.receipt)


class TestForm:
    def test_the_salt_is_another_one_for_every_event(self, log: Connection) -> None:
        append(log, an_append(created(uuid4()), created(uuid4())), an_append(created(uuid4())))
        salts = {row.salt for row in stored(log)}
        assert (len(salts), {len(salt or b"") for salt in salts}) == (3, {16})

    def test_epoch_and_authority_are_kept(self, log: Connection) -> None:
        append(log, an_append(created(uuid4())))
        log.execute("UPDATE log SET epoch = 5")
        append(log, an_append(created(uuid4()), created(uuid4()), authority=1), an_append(created(uuid4())))
        assert [(row.epoch, row.authority) for row in stored(log)] == [(1, 0), (5, 1), (5, 1), (5, 0)]

    def test_another_scheme_of_tags_is_refused_as_a_whole(self, log: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(domain.tags, "TAG_SCHEME", 2)
        with pytest.raises(psycopg.Error, match="the log derives tags by scheme 1, whoever appends by scheme 2") as refused:
            append(log, an_append(created(uuid4())), an_append(tagged("a"), idempotency=key("k")))
        assert refused.value.sqlstate == OTHER_SCHEME
        assert (stored(log), kept(log)) == ([], [])
