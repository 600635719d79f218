"""Rows as users hold them, arrays or data frames, to numbers for the model and back."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from torch import Tensor

from vae_lightning.data.columns import Column
from vae_lightning.data.dates import check_dates, join_columns, join_values, split_values
from vae_lightning.data.faults import check_not_masked
from vae_lightning.data.files.numbers import FALSE, SECONDS, TRUE, as_numbers, as_texts, to_codes, to_days
from vae_lightning.data.wording import count, shorten
from vae_lightning.errors import DataError, did_you_mean

DIGITS = 8
"""Significant digits of a number that is written into a text."""
Data = TypeVar("Data", np.ndarray, pd.DataFrame)


def to_matrix(
    rows: np.ndarray | pd.DataFrame, columns: Sequence[Column], noun: str = "column", holes: bool = True
) -> np.ndarray:
    """The values of the model's columns, float64, shape (N, C), NaN where a cell is empty.

    A frame's columns are found by name, so their order does not matter and others may be present. An array of numbers
    holds of a column of texts the places among its levels, and of a column of dates that is split its parts.

    Args:
        rows: (N, C).
        columns: of the model.
        noun: what messages call a column.
        holes: whether cells may be empty.

    Raises:
        DataError: when columns are missing, hold what is no number, date or known level, or hold infinite values.
    """
    table = join_columns(columns)
    names = [column.name for column in table]
    if not isinstance(rows, pd.DataFrame) and not all(column.is_number for column in table):
        array = np.asarray(rows)
        if array.dtype.kind in "OUS" and array.ndim == 2 and array.shape[1] == len(names):
            rows = pd.DataFrame(array, columns=names)
    if isinstance(rows, pd.DataFrame):
        rows = rows.set_axis(rows.columns.map(str), axis=1)
        _check_present(rows, names, noun)
        given, place = rows[names], row_namer(rows)
        values, unknown = split_values(_frame_values(given, table), columns)
        check_dates(unknown, columns, lambda row, name: f"{str(given[name].iloc[row])[:60]!r} in {place(row)}")
    else:
        values = _array_values(rows, len(columns), noun)
    bad = np.isinf(values) if holes else ~np.isfinite(values)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        kind = "infinite" if holes else "missing or infinite"
        raise DataError(
            f"{bad.sum():,} of {values.size:,} values are {kind}, the first in "
            f"{row_namer(rows)(int(row))}, column {columns[column].source!r}. Drop those rows or fill them first."
        )
    return values


def to_number(value: Any, column: Column, words: str | None = None) -> float:
    """One value of a column as a matrix holds it; texts are read as those of a file.

    Args:
        value: a text, number, truth value or date.
        column: whose value it is.
        words: what the column may hold; by default what follows from its kind.

    Raises:
        DataError: when it can be none of the column's.
    """
    series = pd.Series([value], dtype=object)
    if column.dtype == "bool" and str(value) in (*TRUE, *FALSE):
        series = pd.Series([str(value) in TRUE])
    (number,), wrong = _column_values(series, column)
    if words is None:
        levels = None if column.levels is None else f"one of {shorten(map(repr, column.levels), 10)}"
        words = levels or ("a date" if column.is_date else "a number")
    if wrong.any() or not np.isfinite(number):
        raise DataError(f"The column {column.name!r} must be {words}. Got {value!r} instead.")
    return float(number)


def check_not_empty(rows: Any) -> None:
    """Raises:
    DataError: when there are no rows.
    """
    if not len(rows):
        raise DataError("There are no rows: at least one is needed.")


def row_namer(rows: Any) -> Callable[[int], str]:
    """How to name a row in a message: by its number, counted from 1, or by its label if it has one."""
    index = rows.index if isinstance(rows, pd.DataFrame) else pd.RangeIndex(len(rows))
    if isinstance(index, pd.RangeIndex):
        return lambda row: f"row {index[row] + 1}"
    return lambda row: f"row {index[row]!r}"


def _check_present(rows: pd.DataFrame, names: Sequence[str], noun: str) -> None:
    missing = [name for name in names if name not in rows.columns]
    if missing:
        others = [name for name in rows.columns if name not in names]
        unknown = f" The model does not know {shorten([repr(name) for name in others])}." if others else ""
        raise DataError(
            f"The rows lack {len(missing)} of the {len(names)} {noun}s that the model was trained on: "
            f"{shorten([repr(name) for name in missing])}.{unknown} {did_you_mean(missing[0], others)}".rstrip()
        )
    twice = [name for name in names if (rows.columns == name).sum() > 1]
    if twice:
        raise DataError(f"The rows name {count(len(twice), 'column')} more than once: {shorten(map(repr, twice))}.")


def _column_values(series: pd.Series, column: Column) -> tuple[np.ndarray, np.ndarray]:
    """A column as a matrix holds it, float64, and which of its values are none that it may hold."""
    if column.levels is not None:
        return to_codes(series, column.levels)
    if column.is_date:
        return to_days(series)
    numbers, wrong = as_numbers(series)
    return np.full(len(series), np.nan) if wrong.any() else numbers.to_numpy(np.float64), wrong


def _frame_values(rows: pd.DataFrame, columns: Sequence[Column]) -> np.ndarray:
    values = np.empty(rows.shape, dtype=np.float64)
    for position, column in enumerate(columns):
        series = rows[column.name]
        values[:, position], wrong = _column_values(series, column)
        if wrong.any():
            what = "dates" if column.is_date else "numbers"
            if column.levels is not None:
                what = f"one of {count(len(column.levels), 'known text')} ({shorten(map(repr, column.levels))})"
            row = int(wrong.argmax())
            raise DataError(
                f"The column {column.name!r} must hold {what}: {int(wrong.sum()):,} of {count(len(wrong), 'value')} "
                f"are something else, the first {str(series.iloc[row])[:60]!r} in {row_namer(rows)(row)}."
            )
    return values


def _array_values(rows: np.ndarray, width: int, noun: str) -> np.ndarray:
    check_not_masked(rows)
    try:
        # Writable, as torch wants its memory: a copy of what was mapped from a file or frozen.
        values = np.require(rows, np.float64, ["C", "W"])
    except (TypeError, ValueError) as error:
        raise DataError(f"The rows must be numbers. {error}") from None
    if values.ndim != 2 or values.shape[1] != width:
        raise DataError(
            f"The rows must have shape (N, {width}): the model was trained on {count(width, noun)}. "
            f"Got shape {values.shape} instead."
        )
    return values


def wrap_like(rows: Data, values: Tensor, names: Sequence[str]) -> Data:
    """``values`` as an array, or as a frame with the index of ``rows``, whichever ``rows`` are."""
    array = values.cpu().numpy()
    return pd.DataFrame(array, index=rows.index, columns=list(names)) if isinstance(rows, pd.DataFrame) else array


def cast_values(values: np.ndarray, dtype: Any) -> Any:
    """Give a column its dtype back: whole numbers are rounded into its range, truth values cut at one half."""
    zone = getattr(dtype, "tz", None)
    nullable = zone is None and isinstance(dtype, pd.api.extensions.ExtensionDtype)
    # Categories, texts and the like are no numbers to come back to.
    target = getattr(dtype, "numpy_dtype", np.dtype(object)) if nullable else np.dtype(dtype if zone is None else "M8")
    if target.kind in "iu":
        limits = np.iinfo(target)
        # The largest whole number of 64 bits has no float64 of its own, and the next one would overflow.
        highest = np.nextafter(float(limits.max), 0) if target.itemsize == 8 else limits.max
        values = np.rint(values).clip(limits.min, highest)
    elif target.kind == "b":
        values = values > 0.5
    elif target.kind == "M":
        is_day = target == np.dtype("datetime64[D]")
        dates = (
            pd.to_datetime(np.rint(values), unit="D")
            if is_day
            else pd.to_datetime(np.rint(values * SECONDS * 1000), unit="ms")
        )
        return dates if zone is None else dates.tz_localize("UTC").tz_convert(zone)
    elif target.kind != "f":
        return values  # numbers that were given as text stay numbers
    values = values.astype(target)
    return pd.array(values, dtype=dtype) if nullable else values


def from_matrix(
    values: np.ndarray, columns: Sequence[Column], index: pd.Index | None = None, dtypes: Sequence[Any] | None = None
) -> pd.DataFrame:
    """A frame of numbers (N, C) as the user has such columns: texts, dates, whole numbers.

    Args:
        values: data units; NaN is an empty cell.
        columns: of the model.
        index: of the frame.
        dtypes: instead of those of the frame's columns.
    """
    values, columns = join_values(values, columns), join_columns(columns)
    dtypes = [column.dtype for column in columns] if dtypes is None else dtypes
    data = {
        column.name: _uncode(values[:, i], column.levels) if column.levels else cast_values(values[:, i], dtypes[i])
        for i, column in enumerate(columns)
    }
    return pd.DataFrame(data, index=index, copy=False)


def _uncode(codes: np.ndarray, levels: Sequence[str]) -> np.ndarray:
    texts = np.array([*levels, None], dtype=object)
    places = np.where(np.isnan(codes), len(levels), codes)
    return np.asarray(texts[np.rint(places).clip(0, len(levels)).astype(int)])


def fill_holes(rows: Data, values: np.ndarray, columns: Sequence[Column], fractions: bool = False) -> Data:
    """``rows`` with some cells replaced, the others and all dtypes as they are; a frame's other columns stay.

    Args:
        rows: (N, C), or a frame that has the columns.
        values: data units, (N, C); NaN where the cell of ``rows`` stays.
        columns: of the model.
        fractions: also in columns of whole numbers and truth values.
    """
    if not isinstance(rows, pd.DataFrame) and np.asarray(rows).dtype.kind in "fiub":
        table, wanted = columns, values  # the model's own numbers
    else:
        table, wanted = join_columns(columns), join_values(values, columns)
    return _fill_holes(rows, wanted, table, fractions)


def _fill_holes(rows: Data, values: np.ndarray, columns: Sequence[Column], fractions: bool) -> Data:
    if not isinstance(rows, pd.DataFrame):
        frame = pd.DataFrame(np.asarray(rows), columns=[column.name for column in columns])
        return _fill_holes(frame, values, columns, fractions).to_numpy(dtype=np.asarray(rows).dtype)
    labels = {str(label): label for label in rows.columns}  # numbers, where the frame calls its columns so
    filled = {}
    for column, wanted in zip(columns, values.T, strict=True):
        hole = ~np.isnan(wanted)
        if hole.any():
            label = labels[column.name]
            filled[label] = _fill(rows[label], hole, _as_given(rows[label], wanted[hole], column, fractions))
    again = rows.copy()
    for label, series in filled.items():
        again[label] = series
    return again


def _as_given(series: pd.Series, values: np.ndarray, column: Column, fractions: bool) -> Any:
    """Numbers (N,) of a column as the other cells of ``series`` hold them."""
    observed = series.dropna()
    if column.levels is not None and series.dtype.kind not in "fiub":
        given = series.cat.categories if isinstance(series.dtype, pd.CategoricalDtype) else observed.unique()
        known = dict(zip(as_texts(pd.Series(given)), given, strict=True))
        return [known.get(text, text) for text in _uncode(values, column.levels)]
    is_number = not column.is_date
    is_truth = series.dtype.kind == "O" and len(observed) > 0 and observed.map(lambda one: isinstance(one, bool)).all()
    dtype = "bool" if is_truth else column.dtype
    found = values if is_number and fractions else cast_values(values, dtype)
    if is_number and isinstance(series.dtype, np.dtype) and series.dtype.kind == "f":
        return np.asarray(found, dtype=np.float64)
    if series.dtype.kind == "M" and getattr(series.dtype, "tz", None):
        return pd.DatetimeIndex(found).tz_localize("UTC").tz_convert(series.dtype.tz)
    if len(observed) and observed.map(lambda value: isinstance(value, str)).all():
        return [write_cell(value) for value in found]
    return found


def _fill(series: pd.Series, hole: np.ndarray, values: Any) -> pd.Series:
    again = series.copy()
    if isinstance(series.dtype, pd.CategoricalDtype):
        again = again.cat.add_categories(sorted(set(values) - set(again.cat.categories)))
    elif isinstance(values, list) and series.dtype.kind in "iufb":
        again = again.astype(object)  # a column of texts of which these rows hold none
    elif series.dtype.kind in "iub" and (np.asarray(values) % 1 != 0).any():
        again = again.astype("Float64")
    again[hole] = values
    return again


def write_cell(value: Any, decimal: str = ".") -> str:
    """A number, a truth value, a date or a text as a file of text has it.

    >>> write_cell(np.float64(0.1 + 0.2)), write_cell(np.int64(7)), write_cell(pd.Timestamp("2024-02-29"))
    ('0.3', '7', '2024-02-29')
    """
    if isinstance(value, float | np.floating):
        return np.format_float_positional(value, DIGITS, unique=False, fractional=False, trim="-").replace(".", decimal)
    is_day = isinstance(value, pd.Timestamp) and value == value.normalize()
    return value.date().isoformat() if is_day else str(value)
