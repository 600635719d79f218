"""Columns of any kind as numbers: texts as places among their levels, dates as days; and what is no column to learn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vae_lightning.data.columns import Column
from vae_lightning.data.faults import find_infinite, find_unexposed, is_written_otherwise, read_numbers
from vae_lightning.data.files.numbers import read_dates, to_codes, to_days
from vae_lightning.data.files.sheets import Sheet
from vae_lightning.data.wording import count
from vae_lightning.errors import DataError

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

    Numbers that are written in a way that nobody has told of are such cells, too.

    Args:
        sheets: what the files hold, by part; ``train`` first.
        name: of the column.
    """
    from vae_lightning.likelihoods.categorical import MAX_LEVELS  # torch, which a table of numbers need not wait for

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
    if any(is_written_otherwise(part[read[name][1]]) for name, part in texts.items()):
        return None
    levels = sorted(set().union(*(part.dropna().unique() for part in texts.values())))
    observed = sum(int(part.notna().sum()) for part in texts.values())
    if len(levels) == observed >= LEAST_ROWS:
        return "every row has a text of its own"
    if len(levels) > MAX_LEVELS:
        return f"it holds {count(len(levels), 'different text')}, more than {MAX_LEVELS:,}"
    codes = {part: to_codes(series, levels)[0] for part, series in texts.items()}
    return Coded(Column(name, "object", tuple(levels)), codes)


def _code_numbers(sheets: Mapping[str, Sheet], name: str, numbers: "Mapping[str, pd.Series]") -> Coded | str:
    parts = {part: series.to_numpy() for part, series in numbers.items()}
    train = parts["train"]
    if len(train) >= LEAST_ROWS and (np.diff(train.astype(np.float64)) == 1).all():
        return "it counts the rows"
    dtype = dtype_of(sheets["train"], name, list(parts.values()))
    return Coded(Column(name, dtype), {part: values.astype(np.float64) for part, values in parts.items()})


def code_conditions(
    sheets: Mapping[str, Sheet], conditions: Sequence[str], exposure: str | None = None
) -> tuple[tuple[Column, ...], dict[str, np.ndarray]]:
    """Columns that the model is told, in the order of the file, and their numbers (N, J) by part.

    Args:
        sheets: what the files hold, by part; ``train`` first.
        conditions: names of columns, which are there.
        exposure: name of the column of exposures, which is there.

    Raises:
        DataError: for columns that are identifiers, hold numbers and texts, empty cells or infinite values; for
            exposures that are no numbers above 0.
    """
    names = [name for name in sheets["train"].frame.columns if name in conditions or name == exposure]
    if not names:
        return (), {}
    coded = [_code_exposure(sheets, name) if name == exposure else _code_condition(sheets, name) for name in names]
    return tuple(one.column for one in coded), {
        part: np.stack([one.values[part] for one in coded], axis=1) for part in sheets
    }


def _code_condition(sheets: Mapping[str, Sheet], name: str) -> Coded:
    found = code_column(sheets, name)
    if isinstance(found, str):
        raise DataError(f"data.condition: {name!r} says nothing that rows have in common: {found}.")
    if found is None:
        faults = [read_numbers(sheet, [name])[1] for sheet in sheets.values()]
        raise DataError("data.condition: " + next(fault.says for fault in faults if fault))
    _check_told(sheets, name, found.values, "condition")
    return found


def _code_exposure(sheets: Mapping[str, Sheet], name: str) -> Coded:
    values = {}
    for part, sheet in sheets.items():
        frame, fault = read_numbers(sheet, [name])
        if fault:
            raise DataError(f"data.exposure: {fault.says}")
        values[part] = frame[name].to_numpy()
    column = Column(name, dtype_of(sheets["train"], name, list(values.values())))
    values = {part: numbers.astype(np.float64) for part, numbers in values.items()}
    _check_told(sheets, name, values, "exposure")
    for part, sheet in sheets.items():
        if says := find_unexposed(name, values[part], sheet.place, f"rows of {sheet.name}"):
            raise DataError(f"data.exposure: {says}")
    return Coded(column, values)


def _check_told(sheets: Mapping[str, Sheet], name: str, values: Mapping[str, np.ndarray], parameter: str) -> None:
    """Raises:
    DataError: for infinite values and empty cells.
    """
    for part, sheet in sheets.items():
        if fault := find_infinite(sheet, values[part][:, None], [name]):
            raise DataError(f"data.{parameter}: {fault.says}", fault.settings)
        empty = np.isnan(values[part])
        if empty.any():
            raise DataError(
                f"data.{parameter}: {int(empty.sum()):,} of {count(len(empty), 'row')} of {sheet.name} have no "
                f"{name!r}, the first in {sheet.place(int(empty.argmax()))}. "
                f"{'A condition' if parameter == 'condition' else 'An exposure'} is what every row must have: "
                "fill it in, drop these rows, or leave it away."
            )


def dtype_of(sheet: Sheet, name: str, parts: Sequence[np.ndarray]) -> str:
    """The dtype that a column of numbers would have if no cell were empty.

    Args:
        sheet: one of the files.
        name: of the column.
        parts: its values in all files.
    """
    common = np.result_type(*parts)
    if name in sheet.truths:
        return "bool"
    if common.kind != "f":
        return str(common)
    seen = [values[~np.isnan(values)] if values.dtype.kind == "f" else values for values in parts]
    has_holes = sum(map(len, seen)) < sum(map(len, parts))
    is_whole = has_holes and all((values == np.rint(values)).all() and (abs(values) < 2**53).all() for values in seen)
    return "int64" if is_whole else str(common)
