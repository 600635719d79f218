"""Errors that a user can mend: one message each, shown without a traceback, its advice as settings."""

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, NamedTuple

from vae_lightning.shell import type_setting


class Setting(NamedTuple):
    """A setting that would help.

    Attributes:
        key: as the configuration has it, such as ``data.preprocess``.
        value: what to set it to.
        effect: what it does, a few words, or nothing.
    """

    key: str
    value: Any
    effect: str = ""


def on_the_command_line(setting: Setting) -> str:
    """The setting as it is typed in a shell, for Hydra.

    >>> on_the_command_line(Setting("data.preprocess", "minmax"))
    'data.preprocess=minmax'
    """
    return type_setting(setting.key, setting.value)


def advise(settings: Sequence[Setting], wording: Callable[[Setting], str | None] = on_the_command_line) -> str:
    """A sentence that offers settings; ``wording`` says how a face of the program sets one, None where it cannot.

    >>> advise([Setting("likelihood", "gaussian"), Setting("data.preprocess", "minmax", "each column to [0, 1]")])
    'Try likelihood=gaussian or data.preprocess=minmax (each column to [0, 1]).'
    """
    worded = [(wording(setting), setting.effect) for setting in settings]
    ways = [f"{words} ({effect})" if effect else words for words, effect in worded if words]
    if not ways:
        return ""
    *others, last = ways
    return f"Try {', '.join(others)} or {last}." if others else f"Try {last}."


class _Advised:
    """A message and settings that would help, worded by whoever shows them."""

    message: str
    advice: tuple[Setting, ...]

    def worded(self, wording: Callable[[Setting], str | None]) -> str:
        """The message, and the advice as :func:`advise` words it."""
        return f"{self.message} {advise(self.advice, wording)}".rstrip()

    def __str__(self) -> str:
        return self.worded(on_the_command_line)


@dataclass(frozen=True)
class Notice(_Advised):
    """What a user should know and nothing has to stop for; its text words the advice for the command line.

    Args:
        message: what is wrong.
        advice: settings that would help.
    """

    message: str
    advice: tuple[Setting, ...] = ()


class UserError(_Advised, Exception):
    """A mistake that its message explains in full; the command line prints it without a traceback.

    Args:
        message: what is wrong.
        advice: settings that would help; the text of the error words them for the command line.
    """

    def __init__(self, message: str, advice: Sequence[Setting] = ()) -> None:
        super().__init__(message, tuple(advice))
        self.message = message
        self.advice = tuple(advice)


class DataError(UserError, ValueError):
    """The user's data cannot be read, or no step may be taken on them."""


class ConfigError(UserError, ValueError):
    """A setting that does not exist, or whose value makes no sense."""


class RunError(UserError, RuntimeError):
    """A run directory that cannot be used, or a training run that had to be stopped."""


class InterruptedRun(RunError):  # noqa: N818 - it is no error of the run's
    """The user stopped it."""


def is_count(value: object, least: int = 1) -> bool:
    """Whether ``value`` is a whole number of at least ``least``; truth values are none."""
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least


def check_parameter(owner: str, name: str, legal: bool, must_be: str, got: object) -> None:
    """Raise the one sentence that every illegal parameter of every class gets.

    Raises:
        ConfigError: (a ``ValueError``) *The 'name' parameter of owner must be must_be. Got got instead.*

    >>> check_parameter("Gaussian", "scale", -1 > 0, "positive", -1)
    Traceback (most recent call last):
    vae_lightning.errors.ConfigError: The 'scale' parameter of Gaussian must be positive. Got -1 instead.
    """
    if not legal:
        raise ConfigError(f"The '{name}' parameter of {owner} must be {must_be}. Got {got!r} instead.")


def did_you_mean(word: str, legal: Iterable[str]) -> str:
    """A sentence that names the legal word most like ``word``; nothing where none is like it.

    >>> did_you_mean("AGE", ["Age", "name"]), did_you_mean("zzz", ["Age", "name"])
    ("Did you mean 'Age'?", '')
    """
    by_lower_case = {name.lower(): name for name in legal}
    close = difflib.get_close_matches(word.lower(), by_lower_case, n=1, cutoff=0.5)
    return f"Did you mean '{by_lower_case[close[0]]}'?" if close else ""


def suggest(word: str, legal: Iterable[str]) -> str:
    """As :func:`did_you_mean`; where no legal word is like ``word``, a sentence that names them all.

    >>> suggest("varience", ["variance", "scale"])
    "Did you mean 'variance'?"
    >>> suggest("qqq", ["variance", "scale"])
    'Legal are: scale, variance.'
    """
    names = sorted(legal)
    if not names:
        return "There are none."
    return did_you_mean(word, names) or f"Legal are: {', '.join(names)}."
