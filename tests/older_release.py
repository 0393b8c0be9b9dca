"""A release that does not know every event of this one."""

import msgspec
import pytest

import infrastructure.log.codec
from domain.aggregates import ALL
from infrastructure.log.codec import Codec


def forget(monkeypatch: pytest.MonkeyPatch, *kinds: type[msgspec.Struct]) -> None:
    """Read and write from here on like a release that was built before these kinds of event."""
    older = [msgspec.structs.replace(aggregate, events=aggregate.events - set(kinds)) for aggregate in ALL]
    monkeypatch.setattr(infrastructure.log.codec, "KNOWN", Codec(older))
