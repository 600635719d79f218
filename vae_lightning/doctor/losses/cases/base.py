"""A loss with a known verdict."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

Function: TypeAlias = Callable[..., Any]


@dataclass(frozen=True)
class Case:
    """Some parts of a loss, and the code that must be found.

    Args:
        name: What it is, and who published it.
        code: The code expected; empty if no alarm may sound.
        parts: The arguments of ``diagnose``.
        also: Codes that may be found in its stead: other readings of the same algebra.
    """

    name: str
    code: str
    parts: Mapping[str, Any]
    also: tuple[str, ...] = ()
