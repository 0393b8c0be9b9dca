"""What has to be known outside the log before a command is decided."""

from collections.abc import Iterable
from typing import Protocol, TypeVar

import msgspec

from application.principal import Principal

S_contra = TypeVar("S_contra", contravariant=True)
C_contra = TypeVar("C_contra", contravariant=True, bound=msgspec.Struct)


class Check(Protocol[S_contra, C_contra]):
    """What has to be known outside the log before a command is decided. Asked on every state that is decided on."""

    async def __call__(self, state: S_contra | None, command: C_contra, principal: Principal) -> None:
        """Raise a DomainError where the command cannot be carried out on this state."""

    async def ahead(self, commands: Iterable[C_contra], principal: Principal) -> "Check[S_contra, C_contra]":
        """The check for just these commands, with what they need already asked for."""


class NothingToCheck:
    """The check of an aggregate about which nothing outside the log has to be known."""

    async def __call__(self, state: object, command: object, principal: Principal) -> None:
        """Pass."""

    async def ahead(self, commands: Iterable[object], principal: Principal) -> "NothingToCheck":  # noqa: ARG002
        """The same."""
        return self
