"""Where a setting's values stand on an axis."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from vae_lightning.reporting.figures.style import shorten
from vae_lightning.sweeps.comparison import Result
from vae_lightning.sweeps.tables import format_setting

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MANY = 30.0
"""Positive numbers that span more than this factor get a logarithmic axis."""
OUTLYING = 30.0
"""A loss farther from the best than this many times the spread of the better half is off the axis."""
MAX_NAMES, MAX_LETTERS, MAX_TICKS = 12, 18, 8
NARROW = 0.06
"""Ticks nearer to each other than this share of the axis would write into one another."""
JOB = "job"
"""Stands for the jobs' numbers where no setting varies."""


@dataclass(frozen=True)
class Scale:
    """The axis of one setting: numbers in their place, anything else named positions in order of appearance.

    Args:
        key: the setting.
        names: of the positions; empty for numbers.
        numbers: the different ones, ascending.
        is_log: whether ratios count.
    """

    key: str
    names: tuple[str, ...] = ()
    numbers: tuple[float, ...] = ()
    is_log: bool = False

    def place(self, result: Result) -> float:
        """Where the job stands on the axis, in the axis' own units."""
        return float(self.names.index(_name(result, self.key)) if self.names else result.job.settings[self.key])

    def set_axis(self, axes: "Axes", side: Literal["x", "y"]) -> None:
        """Give one of matplotlib's axes its scale, and ticks at the values themselves where these are few."""
        axis = axes.xaxis if side == "x" else axes.yaxis
        if self.is_log:
            axes.set(**{f"{side}scale": "log"})
            axis.set_major_formatter("{x:g}")
        if self.names:
            places = range(0, len(self.names), math.ceil(len(self.names) / MAX_NAMES))
            axis.set_ticks(places, labels=[shorten(self.names[place], MAX_LETTERS) for place in places])
        elif self._are_few():
            axis.set_ticks(self.numbers, labels=[f"{number:.3g}" for number in self.numbers])
            axis.set_ticks([], minor=True)

    def _are_few(self) -> bool:
        places = np.log(self.numbers) if self.is_log else np.array(self.numbers)
        gaps = np.diff(places)
        return len(places) <= MAX_TICKS and bool((gaps >= NARROW * gaps.sum()).all())


def scale_of(key: str, results: Sequence[Result]) -> Scale:
    """The axis for a setting's values among the jobs; ``JOB`` gives their numbers."""
    values = [result.job.settings.get(key) for result in results]
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v)]
    if len(numbers) < len(values):
        return Scale(key, tuple(dict.fromkeys(_name(result, key) for result in results)))
    ordered = sorted(set(numbers))
    return Scale(key, (), tuple(ordered), ordered[0] > 0 and ordered[-1] / ordered[0] > MANY)


def fence(values: Sequence[float]) -> float:
    """The greatest loss worth an axis: a collapsed run's 1e6 would press all others into one line.

    >>> fence([27.5, 27.6, 28.1, 28.3, 1e6]) < 100, fence([27.5, 28.1, 28.3, 35.0])
    (True, 35.0)
    """
    ordered = sorted(values)
    spreads = [value - ordered[0] for value in ordered[(len(ordered) - 1) // 2 :]]
    spread = next((spread for spread in spreads if spread > 0), 0.0)
    return max(value for value in ordered if value <= ordered[0] + OUTLYING * spread)


def _name(result: Result, key: str) -> str:
    return str(result.number) if key == JOB else format_setting(result.job.settings, key)
