"""Errors that a user can mend: one message each, shown without a traceback."""

from numbers import Integral


class UserError(Exception):
    """A mistake that its message explains in full; the command line prints it without a traceback."""


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
