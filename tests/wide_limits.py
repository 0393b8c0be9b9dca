"""Limits that are at work and refuse nobody: for whatever measures or breaks something else."""

from typing import Any, Final

import msgspec

from infrastructure.limits.budgets import PROFILES
from infrastructure.settings import VARIABLES, Settings

WIDE: Final[dict[str, Any]] = {f"limit_{name}": "60000000/60" for name in PROFILES["standard"]}
WIDE_ENVIRON: Final = {VARIABLES[field]: text for field, text in WIDE.items()}


def with_wide_limits(settings: Settings) -> Settings:
    """The same settings with these limits."""
    return msgspec.structs.replace(settings, **WIDE)
