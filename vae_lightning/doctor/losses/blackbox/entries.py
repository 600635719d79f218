"""A function of rows and columns, asked with the same values in every entry: how it reduces them, and what one is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vae_lightning.doctor.losses.blackbox.arrays import Argument, Array
from vae_lightning.doctor.losses.blackbox.box import BlackBox, CallFailed, seed

ROWS = 5
FORMS = {"scalar": "one number", "row": "one per row", "element": "one per element", "column": "one per column"}


@dataclass(frozen=True)
class Reduction:
    """The reduction of a term that ought to be a mean over rows of a sum over columns.

    Args:
        form: ``scalar``, ``row``, ``element`` or ``column``: the shape that comes back.
        row_power: By which power of the number of rows the term is too large: 0 a mean, 1 a sum.
        column_power: By which power of the number of columns it is too large: 0 a sum, -1 a mean.
        regular: Whether both powers are whole numbers: the term is a sum or mean of independent parts.
    """

    form: str
    row_power: int
    column_power: int
    regular: bool = True

    def count(self, rows: int, columns: int) -> float:
        """How many times a value of `rows` × `columns` equal entries holds the contribution of one."""
        summed = 0 if self.form in ("element", "column") else 1
        return float(rows) ** self.row_power * float(columns) ** (self.column_power + summed)

    def text(self, what: str) -> str:
        """The reduction in words; `what` names the columns."""
        words = {0: f"summed over {what}", -1: f"averaged over {what}", 1: f"summed over {what} and multiplied by them"}
        columns = words.get(self.column_power, f"divided by the {-self.column_power}th power of {what}")
        if self.form in ("element", "column") and self.column_power == 0:
            columns = f"not reduced over {what}"
        rows = {0: "averaged over rows", 1: "summed over rows", -1: "divided once more by the number of rows"}
        row = rows.get(self.row_power, "reduced over rows in another way")
        if self.form in ("row", "element") and self.row_power == 0:
            row = "not reduced over rows"
        return f"{FORMS[self.form]}: {columns}, {row}"


def read_form(value: Array, rows: int, columns: int) -> str:
    """The form of a result.

    Raises:
        CallFailed: It fits neither rows nor columns.
    """
    shape = tuple(size for size in value.shape if size != 1)
    forms = {(): "scalar", (rows,): "row", (rows, columns): "element", (columns,): "column"}
    if rows == 1:
        forms[(columns,)] = "element"
    if shape not in forms:
        message = f"for arguments of {rows} rows and {columns} columns it returns the shape {value.shape}"
        raise CallFailed("SHAPE", message + "; a number, one per row or one per element was expected")
    return forms[shape]


def read_reduction(term: Callable[[int, int], Array], rows: int, columns: int) -> Reduction:
    """Read the reduction of a term whose arguments hold the same values in every entry.

    Args:
        term: (rows, columns) -> the value for that many.
        rows: A number of rows; twice as many are tried too.
        columns: The same for columns.
    """
    base = term(rows, columns)
    form = read_form(base, rows, columns)
    usual = float(np.mean(base))
    summed = 0.0 if form in ("element", "column") else 1.0
    powers = [_power(float(np.mean(term(2 * rows, columns))), usual)]
    try:
        powers.append(_power(float(np.mean(term(rows, 2 * columns))), usual) - summed)
    except CallFailed:
        powers.append(0.0)  # something in it has one entry per column: a sum, until its factor says otherwise
    whole = [round(power) if np.isfinite(power) else 0 for power in powers]
    return Reduction(form, whole[0], whole[1], bool(np.all(np.abs(np.subtract(powers, whole)) < 0.02)))


def _power(doubled: float, single: float) -> float:
    ratio = doubled / single if single else np.nan
    return float(np.log2(ratio)) if ratio > 0 else np.nan


class Entries:
    """The values of one entry.

    Args:
        box: The user's function.
        columns: The number of columns to ask it with.
        pack: Arrays (rows, columns) -> the function's arguments.

    Attributes:
        random: Whether the function draws noise.
        reduction: How rows and columns are reduced, once it is known.
        rows: The number of rows to ask it with.
    """

    def __init__(self, box: BlackBox, columns: int, pack: Callable[..., tuple[Argument, ...]]) -> None:
        self.box, self.columns, self.pack = box, columns, pack
        self.rows = ROWS
        self.reduction = Reduction("scalar", 0, 0)
        self.random = False
        self.known: dict[tuple[float, ...], float] = {}

    def fill(self, values: Sequence[float], rows: int, columns: int) -> tuple[Argument, ...]:
        """The arguments that hold these values in every entry."""
        return self.pack(*(np.full((rows, columns), float(value)) for value in values))

    def call(self, *arguments: Argument) -> Array:
        """What the function returns."""
        return self.box(*arguments)

    def ask(self, values: Sequence[float], rows: int, columns: int) -> Array:
        """What the function returns for that many entries."""
        return self.call(*self.fill(values, rows, columns))

    def measure(self, values: Sequence[float]) -> float:
        """The mean of what the function returns where all entries are alike; NaN where it refuses."""
        result = self.box.attempt(*self.fill(values, self.rows, self.columns))
        return np.nan if result is None else float(result.mean())

    def entry(self, values: Sequence[float]) -> float:
        """What one entry contributes; NaN where the function refuses. Asked twice, the function is called once."""
        key = tuple(float(value) for value in values)
        if key not in self.known:
            self.known[key] = self.measure(key)
        return self.known[key] / self.reduction.count(self.rows, self.columns)

    def add_up(self, one: Sequence[float], other: Sequence[float]) -> bool:
        """Whether entries of two kinds simply add up, all alike: equal values in all of them cannot show a coupling.

        Where the function is random two mixtures, each of which has one kind where the other has the other, must give
        what the two kinds give alone, beside the same noise. Of noise that no seed governs nothing is known.
        """
        first = np.zeros((ROWS, self.columns), dtype=bool)
        first[::2, ::3] = True

        def evaluate(chosen: Array) -> float:
            seed(6)
            mixed = (np.where(chosen, a, b) for a, b in zip(one, other, strict=True))
            return float(np.mean(self.call(*self.pack(*mixed))))

        try:
            alone, mixed = [evaluate(np.full_like(first, value)) for value in (True, False)], evaluate(first)
            expected = first.mean() * alone[0] + (1 - first.mean()) * alone[1]
            if self.random and mixed == evaluate(first):
                mixed, expected = mixed + evaluate(~first), sum(alone)
            elif self.random:
                return True
        except CallFailed:
            return False
        tolerance = (1e-4 if self.box.single_precision else 1e-5) * max(abs(alone[0]), abs(alone[1]), 1e-6)
        return bool(abs(mixed - expected) <= tolerance)
