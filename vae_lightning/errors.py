"""Errors that a user can mend: one message each, shown without a traceback, its advice as settings."""

import difflib
import shlex
from collections.abc import Callable, Iterable, Sequence
from numbers import Integral
from typing import Any, NamedTuple


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
    """The setting as it is typed in a shell.

    >>> on_the_command_line(Setting("data.preprocess", "minmax"))
    'data.preprocess=minmax'
    """
    return shlex.quote(f"{setting.key}={setting.value}")


def advise(settings: Sequence[Setting], wording: Callable[[Setting], str | None] = on_the_command_line) -> str:
    """A sentence that offers settings; ``wording`` says how a face of the program sets one, None where it cannot.

    >>> advise([Setting("likelihood", "gaussian"), Setting("data.preprocess", "minmax", "each column to [0, 1]")])
    'Try likelihood=gaussian or data.preprocess=minmax (each column to [0, 1]).'
    """
    worded = [(wording(setting), setting.effect) for setting in settings]
    ways = [f"{words} ({effect})" if effect else words for words, effect in worded if words]
    return f"Try {' or '.join(ways)}." if ways else ""


class UserError(Exception):
    """A mistake that its message explains in full; the command line prints it without a traceback.

    Args:
        message: what is wrong.
        advice: settings that would help; the text of the error words them for the command line.
    """

    def __init__(self, message: str, advice: Sequence[Setting] = ()) -> None:
        super().__init__(message, tuple(advice))
        self.message = message
        self.advice = tuple(advice)

    def __str__(self) -> str:
        return f"{self.message} {advise(self.advice)}".rstrip()


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


def nearest(word: str, legal: Iterable[str]) -> str:
    """A sentence that names what ``word`` was probably meant to be, or everything it could have been.

    >>> nearest("varience", ["variance", "scale"])
    "Did you mean 'variance'?"
    >>> nearest("qqq", ["variance", "scale"])
    'Legal are: scale, variance.'
    """
    names = sorted(legal)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    return f"Did you mean {close[0]!r}?" if close else f"Legal are: {', '.join(names)}."
