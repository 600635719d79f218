"""Columns of any kind as numbers: texts as places among their levels, dates as days; and what is no column to learn."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vae_lightning.data.columns import Column
from vae_lightning.data.files.numbers import read_dates, to_codes, to_days
from vae_lightning.data.files.sheets import Sheet
from vae_lightning.data.wording import count
from vae_lightning.likelihoods.support import MOST_LEVELS

if TYPE_CHECKING:
    import pandas as pd

FEW_NUMBERS = 30
"""Different numbers up to which a column that holds texts, too, is one of categories; with more it is one of numbers
with cells that are none."""
LEAST_ROWS = 20
"""Rows from which on values that are all different are identifiers."""


@dataclass(frozen=True)
class Coded:
    """One column of a table, as numbers in every part.

    Attributes:
        column: its name, dtype and levels.
        values: float64 by part, NaN where a cell is empty.
    """

    column: Column
    values: Mapping[str, np.ndarray]


def code_column(sheets: Mapping[str, Sheet], name: str) -> Coded | str | None:
    """A column as numbers; or why it is passed by, a clause; or None where it holds numbers and cells that are none.

    Args:
        sheets: what the files hold, by part; ``train`` first.
        name: of the column.
    """
    given = {part: sheet.frame[name] for part, sheet in sheets.items()}
    read = {part: sheet.numbers(given[part]) for part, sheet in sheets.items()}
    if not any(wrong.any() for _, wrong in read.values()):
        return _code_numbers(sheets, name, {part: numbers for part, (numbers, _) in read.items()})
    texts = {part: sheet.texts(given[part]) for part, sheet in sheets.items()}
    is_date = all(read_dates(given[part]).notna().equals(text.notna()) for part, text in texts.items())
    if is_date:
        days = {part: to_days(series)[0] for part, series in given.items()}
        is_whole = all((value[~np.isnan(value)] % 1 == 0).all() for value in days.values())
        return Coded(Column(name, "datetime64[D]" if is_whole else "datetime64[s]"), days)
    numbers = [numbers[~wrong] for numbers, wrong in read.values()]
    if max(part.nunique() for part in numbers) > FEW_NUMBERS:
        return None
    levels = sorted(set().union(*(part.dropna().unique() for part in texts.values())))
    observed = sum(int(part.notna().sum()) for part in texts.values())
    if len(levels) == observed >= LEAST_ROWS:
        return "every row has a text of its own"
    if len(levels) > MOST_LEVELS:
        return f"it holds {count(len(levels), 'different text')}, more than {MOST_LEVELS:,}"
    codes = {part: to_codes(series, levels)[0] for part, series in texts.items()}
    return Coded(Column(name, "object", tuple(levels)), codes)


def _code_numbers(sheets: Mapping[str, Sheet], name: str, numbers: "Mapping[str, pd.Series]") -> Coded | str:
    first = numbers["train"].to_numpy()
    steps = np.diff(first.astype(np.float64))
    if len(first) >= LEAST_ROWS and (steps == 1).all():
        return "it counts the rows"
    values = {part: series.to_numpy(np.float64) for part, series in numbers.items()}
    return Coded(Column(name, dtype_of(sheets["train"], name, first)), values)


def dtype_of(sheet: Sheet, name: str, values: np.ndarray) -> str:
    """The dtype that a column of numbers would have if no cell were empty."""
    if name in sheet.truths:
        return "bool"
    seen = values[~np.isnan(values)] if values.dtype.kind == "f" else values
    had_holes = len(seen) < len(values)
    whole = had_holes and bool((seen == np.rint(seen)).all()) and bool((np.abs(seen) < 2**53).all())
    return "int64" if whole else str(values.dtype)
