"""Where a setting's values stand on an axis."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vae_lightning.sweeps.comparison import Result
from vae_lightning.sweeps.tables import shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MANY = 30.0
"""Positive numbers that span more than this factor get a logarithmic axis."""
OUTLYING = 30.0
"""A loss farther from the best than this many times the spread of the better half is off the axis."""
MAX_NAMES, MAX_LETTERS, MAX_TICKS = 12, 18, 8
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

    def share(self, result: Result) -> float:
        """The same from 0 to 1."""
        return self._share(self.place(result))

    def marks(self) -> list[tuple[float, str]]:
        """What to write along the axis from 0 to 1."""
        if self.names:
            step = math.ceil(len(self.names) / MAX_NAMES)
            return [(self._share(i), short(self.names[i])) for i in range(0, len(self.names), step)]
        low, high = self.numbers[0], self.numbers[-1]
        middle = math.sqrt(low * high) if self.is_log else (low + high) / 2
        at = self.numbers if len(self.numbers) <= MAX_TICKS else (low, middle, high)
        return [(self._share(value), f"{value:.3g}") for value in at]

    def dress(self, axes: "Axes") -> None:
        """Give matplotlib's axis its scale and its names."""
        if self.is_log:
            axes.set_xscale("log")
        if self.numbers and len(self.numbers) <= MAX_TICKS:
            axes.set_xticks(self.numbers, [f"{number:.3g}" for number in self.numbers])
            axes.set_xticks([], minor=True)
        if self.names:
            step = math.ceil(len(self.names) / MAX_NAMES)
            ticks = range(0, len(self.names), step)
            labels = [short(self.names[i]).replace("$", r"\$") for i in ticks]
            is_long = sum(map(len, labels)) > 20
            axes.set_xticks(
                ticks, labels, rotation=30 if is_long else 0, ha="right" if is_long else "center", fontsize=8
            )
            axes.set_xlim(-0.5, len(self.names) - 0.5)

    def _share(self, place: float) -> float:
        low, high = (0.0, len(self.names) - 1.0) if self.names else (self.numbers[0], self.numbers[-1])
        if high <= low:
            return 0.5
        if self.is_log:
            return math.log(place / low) / math.log(high / low)
        return (place - low) / (high - low)


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


def short(name: str) -> str:
    """A name of a tick's length; long ones, as paths, rather differ at their end."""
    return name if len(name) <= MAX_LETTERS else f"{name[:5]}…{name[6 - MAX_LETTERS :]}"


def _name(result: Result, key: str) -> str:
    return str(result.number) if key == JOB else shown(result.job.settings, key)
