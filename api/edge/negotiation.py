"""What a client says it can read: media types (RFC 9110, 12.5.1) and content codings (12.5.3)."""

import re
from functools import lru_cache
from typing import Final

_QUALITY: Final = re.compile(r"\s*q\s*=\s*(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\s*", re.IGNORECASE).fullmatch
_LONGEST: Final = 1024

# From the least to the most specific range that names JSON: the most specific one decides.
_JSON_RANGES: Final = ("*/*", "application/*", "application/json")


def accepts_json(accept: bytes) -> bool:
    """Whether an Accept header lets an answer be JSON. What cannot be read excludes nothing."""
    return len(accept) > _LONGEST or _accepts_json(accept)


@lru_cache(maxsize=256)
def _accepts_json(accept: bytes) -> bool:
    weights = _weights(accept)
    if not weights:
        return True
    decisive = [weights[media] for media in _JSON_RANGES if media in weights]
    return bool(decisive) and decisive[-1] > 0


def best_coding(accept_encoding: bytes, ours: tuple[str, ...]) -> str | None:
    """The coding among `ours` (the better first) that an Accept-Encoding header likes most; None for no coding at all."""
    return _best_coding(accept_encoding, ours) if len(accept_encoding) <= _LONGEST else None


@lru_cache(maxsize=256)
def _best_coding(accept_encoding: bytes, ours: tuple[str, ...]) -> str | None:
    weights = _weights(accept_encoding)
    unnamed = weights.get("*", 0.0)
    liked = [(weights.get(coding, unnamed), -rank) for rank, coding in enumerate(ours)]
    weight, rank = max(liked)
    # Identity is always good unless it is excluded, but whoever weighs it higher wants it.
    return ours[-rank] if weight > 0 and weight >= weights.get("identity", 0.0) else None


def _weights(header: bytes) -> dict[str, float]:
    """What the header names, in lower case and without parameters, with its weight. Malformed elements are passed over."""
    found: dict[str, float] = {}
    for element in header.decode("latin-1").split(","):
        name, *parameters = element.split(";")
        name = name.strip().lower()
        if not name:
            continue
        weight = 1.0
        for parameter in parameters:
            if quality := _QUALITY(parameter):
                weight = float(quality[1])
        found[name] = max(weight, found.get(name, 0.0))
    return found
