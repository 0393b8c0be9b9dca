"""Boundaries: rules that no single stream can see, as folds over the events that carry one tag.

After "dynamic consistency boundaries" (dcb.events), narrowed: the tags of an event follow from it (`domain/tags.py`),
and a decision names the boundaries that it rests on together with the position of the last event that it knew of each. The log
accepts what was decided only if none has had another event since.
"""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgspec

B = TypeVar("B")


class Boundary(msgspec.Struct, Generic[B], frozen=True):
    """All events with one tag, and what they add up to. `evolve` is total, as everywhere.

    It looks at payloads and not only at what the tag promises: two tags of one id, however unlikely, then cost a conflict and
    never a wrong decision. An erased event comes as `Erased`: of that the tag and the type are all that can be looked at.
    """

    tag: str
    initial: B
    evolve: Callable[[B, Any], B]


class Seen(msgspec.Struct, Generic[B], frozen=True, gc=False):
    """A boundary as far as it was read: `at` is the position of its last event, 0 where there was none."""

    state: B
    at: int


class Rule(msgspec.Struct, Generic[B], frozen=True, gc=False):
    """What a decision requires of a boundary: `require` raises the refusal where its state does not allow the decision."""

    boundary: Boundary[B]
    require: Callable[[B], None]
