"""Cells of a table that are numbers and yet do not mean what a model will take them for."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from vae_lightning.data.wording import count, shorten
from vae_lightning.doctor.losses.blackbox.arrays import Array
from vae_lightning.doctor.report import Finding
from vae_lightning.errors import Setting

FEW = 3  # rows that share a value before it can be a code
VARIED = 10  # distinct values that a column must have beside it
MOST_CELLS = 10_000_000  # that are looked at: the first rows of larger tables
LEAST_ROWS = 20
CODES = (-1.0, *(sign * float("9" * digits) for digits in range(2, 8) for sign in (1, -1)), -9.0)
"""Numbers that people write where there is none."""
REPEATED = 0.05  # of the rows that repeat others
DOMINANT = 0.5  # of a column's sum of squares that one cell has
DEVIATIONS = 10.0  # of the others, by which that cell must lie off
SECONDS = (1e9, 2.1e9)  # since 1970: the years 2001 to 2036
GROUPS = 0.02  # of the values, at least, of each kind that a thousands separator makes

Place = Callable[[int], str]


class _Cells(NamedTuple):
    """The observed cells of one column.

    Attributes:
        name: of the column.
        values: float64.
        rows: which row each stands in, from 0.
    """

    name: str
    values: Array
    rows: Array


def examine_cells(x: Array, names: Sequence[str], place: Place, numbers: Sequence[int] | None = None) -> list[Finding]:
    """What is suspicious about single cells, columns and rows; nothing where nothing is.

    Args:
        x: rows in the order of the file, (N, C), float64, finite, NaN where a cell is empty.
        names: of the columns.
        place: how a row, counted from 0, is called.
        numbers: which columns hold numbers, rather than codes of texts or dates; None for all.
    """
    x = x[: max(MOST_CELLS // x.shape[1], LEAST_ROWS)]
    if len(x) < LEAST_ROWS:
        return []
    seen = ~np.isnan(x)
    chosen = range(x.shape[1]) if numbers is None else numbers
    columns = [_Cells(names[i], x[seen[:, i], i], np.flatnonzero(seen[:, i])) for i in chosen]
    columns = [cells for cells in columns if len(cells.values) >= LEAST_ROWS]
    return [
        *_find_codes(columns, place),
        *_find_separators(columns, place),
        *_find_dominant_cells(columns, place),
        *_find_repeated_rows(x, [cells.values for cells in columns], place),
        *_find_counters(columns),
    ]


def _find_codes(columns: list[_Cells], place: Place) -> list[Finding]:
    """A value at an end of the column, far from all others, in several rows: a code for "missing", as it seems."""
    found, codes = [], []
    for name, column, at in columns:
        for value in (float(column.min()), float(column.max())):
            if _is_code(column, value):
                codes.append(int(value) if value.is_integer() else value)
                rows = at[column == value]
                found.append(f"'{name}': {value:g} in {count(len(rows), 'row')}, first in {place(int(rows[0]))}")
    if not found:
        return []
    says = f"{count(len(found), 'value')} far from all others and in several rows look like codes for what is missing: "
    advice = "Leave such cells empty: to a model these are numbers like any other."
    settings = (Setting("data.missing", sorted(set(codes)), "empty cells, in all columns"),)
    return [Finding("SENTINEL", False, f"{says}{shorten(found)}.", advice, about="data", settings=settings)]


def _is_code(column: Array, value: float) -> bool:
    size = int(np.sum(column == value))
    if size < FEW or size > len(column) / 2:
        return False
    others = column[column != value]
    gap, spread = float(np.abs(others - value).min()), float(np.ptp(others))
    known = value in CODES
    alone = known and value < 0 <= others.min()  # the only negative number
    return (gap > spread * (0.5 if known else 1.0) or alone) and len(np.unique(others)) >= VARIED


def _find_separators(columns: list[_Cells], place: Place) -> list[Finding]:
    """``4.276`` for 4276 beside ``508``: points that separate thousands, read as decimal points."""
    found = []
    for name, column, at in columns:
        whole = column == np.round(column)
        thousandths = np.round(column * 1000)
        exact = np.abs(column * 1000 - thousandths) < 1e-6 * np.maximum(np.abs(thousandths), 1)
        broken = ~whole & exact
        if not exact.all() or min(whole.mean(), broken.mean()) < GROUPS or np.abs(column).max() >= 1000:
            continue
        # Of true numbers with three decimals one in a thousand is whole, and those are no greater than the others.
        has_three = broken & (thousandths % 10 != 0)
        if has_three.sum() > broken.sum() / 2 and np.median(column[whole]) > 10 * np.median(column[broken]):
            row = int(np.flatnonzero(has_three)[0])
            shown = f"{column[row]:.3f} in {place(int(at[row]))}, beside {np.median(column[whole]):g}"
            found.append(f"'{name}': {count(int(broken.sum()), 'value')} such as {shown}")
    if not found:
        return []
    says = f"Points seem to separate thousands, and were read as decimal points, in {shorten(found)}."
    advice = "Write the numbers without separators."
    return [Finding("SEPARATOR", False, says, advice, about="data")]


def _find_dominant_cells(columns: list[_Cells], place: Place) -> list[Finding]:
    found = []
    for name, column, at in columns:
        squares = (column - np.median(column)) ** 2
        row, total = int(squares.argmax()), float(squares.sum())
        others = (total - squares[row]) / (len(column) - 1)
        # Of a rare mark, a count or a pixel that is 0 but in a few rows, one of these few is no outlier.
        is_marked = np.count_nonzero(squares) >= LEAST_ROWS
        if is_marked and squares[row] > max(DOMINANT * total, DEVIATIONS**2 * others):
            share = squares[row] / total
            found.append(f"'{name}': {column[row]:g} in {place(int(at[row]))} ({share:.0%})")
    if not found:
        return []
    says = f"In {count(len(found), 'column')} a single cell has more than half of the variance: {shorten(found)}."
    advice = "Look at these cells: everything else in such a column is next to nothing for the model."
    return [Finding("OUTLIER", False, says, advice, about="data")]


def _find_repeated_rows(x: Array, numbers: list[Array], place: Place) -> list[Finding]:
    """Rows that stand in the table more than once although they hold measured numbers."""
    if not any((column != np.round(column)).any() for column in numbers):
        return []  # rows of categories and counts repeat by themselves
    rows = np.ascontiguousarray(x).view(np.dtype((np.void, x.dtype.itemsize * x.shape[1]))).ravel()
    _, first, sizes = np.unique(rows, return_index=True, return_counts=True)
    repeated = len(x) - len(sizes)
    if repeated <= REPEATED * len(x):
        return []
    most = int(sizes.argmax())
    says = f"{repeated:,} of {len(x):,} rows repeat another one; that in {place(int(first[most]))} stands there "
    says += f"{sizes[most]:,} times. A split then puts the same row into training and test, and the test is none."
    return [Finding("DUPLICATES", False, says, "Keep each row once.", {"repeated": repeated}, about="data")]


def _find_counters(columns: list[_Cells]) -> list[Finding]:
    found = []
    for name, column, _ in columns:
        steps = np.diff(column)
        if steps[0] != 0 and (steps == steps[0]).all():
            found.append(f"'{name}' ({column[0]:g}, {column[1]:g}, {column[2]:g} ...: it numbers the rows)")
        elif _is_unix_time(column):
            unit = "seconds" if column[0] < SECONDS[1] else "milliseconds"
            found.append(f"'{name}' ({column[0]:.0f} ...: {unit} since 1970)")
    if not found:
        return []
    says = f"{count(len(found), 'column')} of {len(columns)} tell when or in which place a row was written, not what "
    says += f"it is: {shorten(found)}."
    return [Finding("COUNTER", False, says, "Drop them.", about="data")]


def _is_unix_time(column: Array) -> bool:
    low, high = SECONDS
    spans = any(low * unit <= column.min() and column.max() <= high * unit for unit in (1, 1000))
    return spans and bool((column == np.round(column)).all()) and len(np.unique(column)) >= VARIED
