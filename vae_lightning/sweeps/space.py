"""A search space: Hydra's sweep syntax as Optuna's distributions, and sampled values as Hydra's overrides."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from hydra.core.override_parser.types import ChoiceSweep, Glob, IntervalSweep, Override, RangeSweep
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import Trial

from vae_lightning.errors import ConfigError

PLAIN = (type(None), bool, int, float, str)
"""What Optuna can store of a categorical choice."""


@dataclass(frozen=True)
class Axis:
    """One key of the search space.

    Args:
        key: as Hydra's grammar has it, with its sign.
        distribution: what Optuna samples from.
        texts: the words of a categorical choice, in the order of its choices.
    """

    key: str
    distribution: BaseDistribution
    texts: tuple[str, ...] = ()

    def override(self, value: Any) -> str:
        """The override that gives ``value`` to the key."""
        if self.texts:
            return f"{self.key}={self.texts[int(self.distribution.to_internal_repr(value))]}"
        return f"{self.key}={value!r}"

    def suggest(self, trial: Trial, name: str) -> None:
        """Let the trial draw a value, unless it has one."""
        d = self.distribution
        if isinstance(d, FloatDistribution):
            trial.suggest_float(name, d.low, d.high, step=d.step, log=d.log)
        elif isinstance(d, IntDistribution):
            trial.suggest_int(name, d.low, d.high, step=d.step, log=d.log)
        elif isinstance(d, CategoricalDistribution):
            trial.suggest_categorical(name, d.choices)

    def grid(self) -> list[Any]:
        """Every value, for a grid.

        Raises:
            ConfigError: for an interval without steps.
        """
        d = self.distribution
        if isinstance(d, CategoricalDistribution):
            return list(d.choices)
        if isinstance(d, IntDistribution):
            return list(range(d.low, d.high + 1, d.step))
        if isinstance(d, FloatDistribution) and d.step is not None:
            return [float(Decimal(str(d.low)) + n * Decimal(str(d.step))) for n in range(_steps(d.low, d.high, d.step))]
        raise ConfigError(f"{self.key}: a grid needs single values or a range, not an interval.")


def axis_of(override: Override) -> Axis:
    """The axis that a sweep override stands for.

    ``choice(a,b)`` or ``a,b`` is categorical; ``range(1,9,2)`` is 1, 3, 5, 7, the stop left out as in a grid;
    ``interval(a,b)`` is continuous and ``int(interval(a,b))`` whole numbers, both ends included; ``tag(log, ...)``
    makes either logarithmic.

    Raises:
        ConfigError: for what Optuna cannot search.
    """
    key, sweep = override.get_key_element(), override.value()
    tags = set(getattr(sweep, "tags", ()) or ())
    if tags - {"log"}:
        raise ConfigError(f"{override.input_line}: the only tag is log. Got {', '.join(sorted(tags))} instead.")
    log = bool(tags)
    try:
        if isinstance(sweep, IntervalSweep):
            return Axis(key, _interval(sweep.start, sweep.end, log))
        if isinstance(sweep, RangeSweep) and not sweep.shuffle:
            return Axis(key, _range(sweep.start, sweep.stop, sweep.step, log))
        if isinstance(sweep, ChoiceSweep | RangeSweep | Glob) and not log:
            texts = tuple(override.sweep_string_iterator())
            values = sweep.list if isinstance(sweep, ChoiceSweep) and not sweep.shuffle else texts
            choices = list(map(_plain, values, texts))
            # Optuna finds a choice by ==, and 1 == True == 1.0.
            choices = choices if len(set(choices)) == len(choices) else list(texts)
            return Axis(key, CategoricalDistribution(choices), texts)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{override.input_line}: {error}") from None
    raise ConfigError(f"{override.input_line}: only an interval or a range can be logarithmic.")


def _interval(start: Any, end: Any, log: bool) -> BaseDistribution:
    if isinstance(start, int) and isinstance(end, int):
        return IntDistribution(start, end, log=log)
    return FloatDistribution(float(start), float(end), log=log)


def _range(start: Any, stop: Any, step: Any, log: bool) -> BaseDistribution:
    count = math.ceil(Decimal(str(stop - start)) / Decimal(str(step)) - Decimal("1e-9"))
    if count < 1:
        raise ValueError("the range is empty.")
    last = Decimal(str(start)) + (count - 1) * Decimal(str(step))
    if all(isinstance(number, int) for number in (start, stop, step)):
        return IntDistribution(start, int(last), log=log, step=step)
    return FloatDistribution(float(start), float(last), log=log, step=float(step))


def _steps(low: float, high: float, step: float) -> int:
    return int((Decimal(str(high)) - Decimal(str(low))) / Decimal(str(step))) + 1


def _plain(value: Any, text: str) -> Any:
    return value if type(value) in PLAIN else text


def overrides_of(space: Mapping[str, Axis], params: Mapping[str, Any]) -> list[str]:
    """The overrides of one trial's parameters."""
    return [axis.override(params[name]) for name, axis in space.items() if name in params]
