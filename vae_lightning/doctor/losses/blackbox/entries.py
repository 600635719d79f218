"""A function of rows and columns, asked with the same values in every entry: what one entry contributes."""

from collections.abc import Callable, Sequence

import numpy as np

from vae_lightning.doctor.losses.blackbox.arrays import Argument, Array
from vae_lightning.doctor.losses.blackbox.box import BlackBox
from vae_lightning.doctor.losses.blackbox.reductions import Reduction

ROWS = 5


class Entries:
    """The values of one entry.

    Args:
        box: The user's function.
        columns: The number of columns to ask it with.
        pack: Arrays (rows, columns) -> the function's arguments.

    Attributes:
        reduction: How rows and columns are reduced, once it is known.
        rows: The number of rows to ask it with.
    """

    def __init__(self, box: BlackBox, columns: int, pack: Callable[..., tuple[Argument, ...]]) -> None:
        self.box, self.columns, self.pack = box, columns, pack
        self.rows = ROWS
        self.reduction = Reduction("scalar", 0, 0)
        self.known: dict[tuple[float, ...], float] = {}

    def fill(self, values: Sequence[float], rows: int, columns: int) -> tuple[Argument, ...]:
        """The arguments that hold these values in every entry."""
        return self.pack(*(np.full((rows, columns), float(value)) for value in values))

    def ask(self, values: Sequence[float], rows: int, columns: int) -> Array:
        """What the function returns for that many entries."""
        return self.box(*self.fill(values, rows, columns))

    def evaluate(self, values: Sequence[float]) -> float:
        """What one entry contributes; NaN where the function refuses."""
        result = self.box.attempt(*self.fill(values, self.rows, self.columns))
        return np.nan if result is None else float(result.mean()) / self.reduction.count(self.rows, self.columns)

    def entry(self, values: Sequence[float]) -> float:
        """The same. Asked twice, the function is called once."""
        key = tuple(float(value) for value in values)
        if key not in self.known:
            self.known[key] = self.evaluate(key)
        return self.known[key]

    def add_up(self, one: Sequence[float], other: Sequence[float]) -> bool:
        """Whether entries of two kinds simply add up: equal values in all of them cannot show a coupling."""
        chosen = np.zeros((ROWS, self.columns), dtype=bool)
        chosen[::2, ::3] = True
        seen = self.box.attempt(*self.pack(*(np.where(chosen, a, b) for a, b in zip(one, other, strict=True))))
        if seen is None:
            return False
        alone = [float(np.mean(self.ask(values, ROWS, self.columns))) for values in (one, other)]
        expected = chosen.mean() * alone[0] + (1 - chosen.mean()) * alone[1]
        tolerance = (1e-4 if self.box.single_precision else 1e-5) * max(abs(alone[0]), abs(alone[1]), 1e-6)
        return bool(abs(float(np.mean(seen)) - expected) <= tolerance)
