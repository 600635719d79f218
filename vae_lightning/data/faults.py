"""What stands in the way of training on columns: no name, no numbers, missing, infinite or too small values.

One judgement for whoever reads a table; a training run refuses what the doctor reports.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from vae_lightning.data.files.sheets import Sheet
from vae_lightning.data.wording import count, shorten
from vae_lightning.errors import DataError, Setting

if TYPE_CHECKING:
    import pandas as pd

DATE = r"\d{4}-\d\d?-\d\d?|\d\d?[./-]\d\d?[./-]\d{2,4}"
MOST_ROWS = 10  # that are offered to be left out one by one
MOST_TEXTS = 5  # different ones that are listed


@dataclass(frozen=True)
class Fault:
    """What is wrong with some columns.

    Attributes:
        columns: their names.
        says: which, how many values, the first bad one.
        settings: what else can be typed than to leave these columns out.
    """

    columns: tuple[str, ...]
    says: str
    settings: tuple[Setting, ...] = ()


def find_nameless(sheet: Sheet, names: Sequence[str]) -> Fault | None:
    """Columns that the file gives no name."""
    nameless = tuple(name for name in names if re.fullmatch(r"Unnamed: \d+", name))
    if not nameless:
        return None
    says = (
        f"{sheet.name} has {count(len(nameless), 'column')} without a name, {shorten(nameless)}: row numbers, as "
        "pandas and R write them? Leave them out, or give a name in the file's header."
    )
    return Fault(nameless, says)


def read_numbers(sheet: Sheet, names: Sequence[str]) -> "tuple[pd.DataFrame, Fault | None]":
    """The columns of these names as numpy numbers, NaN where one is none; and those that hold text or dates."""
    frame = sheet.frame[list(names)]
    if all(isinstance(dtype, np.dtype) and dtype.kind in "biuf" for dtype in frame.dtypes):
        return frame, None
    converted, bad = {}, {}
    for name in names:
        series = frame[name]
        numbers, wrong = sheet.numbers(series)
        if wrong.any():
            bad[name] = wrong
        if numbers is not series:
            converted[name] = numbers
    numeric = frame.assign(**converted) if converted else frame
    return numeric, _describe_texts(sheet, bad, numeric) if bad else None


def _describe_texts(sheet: Sheet, bad: Mapping[str, np.ndarray], numeric: "pd.DataFrame") -> Fault:
    def told(name: str) -> str:
        value = sheet.frame[name].iloc[int(bad[name].argmax())]
        kind = "dates" if hasattr(value, "year") or re.match(DATE, str(value)) else "text"
        return f"{name!r} ({kind}, {int(bad[name].sum()):,} of {count(len(sheet.frame), 'value')})"

    first, wrong = next(iter(bad.items()))
    row, num_columns = int(wrong.argmax()), numeric.shape[1]
    says = (
        f"{len(bad):,} of {count(num_columns, 'column')} of {sheet.name} hold no numbers: {shorten(map(told, bad))}. "
        f"The first is {str(sheet.frame[first].iloc[row])[:60]!r} in column {first!r}, {sheet.place(row)}."
    )
    texts = {name: sheet.frame[name].to_numpy()[mask] for name, mask in bad.items()}
    lists = [f"in {name!r} {listed}" for name, values in texts.items() if (listed := _list_texts(values))]
    if lists:
        says += f" There stand {'; '.join(lists[:3])}."
    # The missing cells would be told of next.
    bad_rows = [*bad.values(), numeric.drop(columns=list(bad)).isna().any(axis=1).to_numpy()]
    bad_rows += [numeric[name].isna().to_numpy() for name in bad if numeric[name].dtype.kind == "f"]
    return Fault(tuple(bad), says, (*_skip(sheet, bad_rows), *_marks(texts)))


def _list_texts(values: np.ndarray) -> str:
    """The texts, where they are few."""
    times = Counter(str(value)[:30] for value in values)
    if len(times) > MOST_TEXTS:
        return ""
    return ", ".join(repr(text) + (f" {number:,} times" if number > 1 else "") for text, number in times.most_common())


def _skip(sheet: Sheet, bad: Iterable[np.ndarray]) -> list[Setting]:
    """The lines of the bad cells, where these are few: units, totals, remarks."""
    rows = np.flatnonzero(np.logical_or.reduce(list(bad)))
    if sheet.lines is None or len(rows) > min(MOST_ROWS, max(1, len(sheet.frame) // 10)) or len(sheet.frame) < 3:
        return []
    lines = sorted({*sheet.skipped, *sheet.lines(rows.tolist())})
    return [Setting("data.skip_rows", lines, "these lines are left out")]


def is_written_otherwise(texts: "pd.Series") -> bool:
    """Whether most of the texts would be numbers, if somebody said how these are written: ``1,5`` or ``1 250``."""
    return bool(_marks({"": texts.dropna().to_numpy()}))


def _marks(texts: Mapping[str, np.ndarray]) -> list[Setting]:
    """Settings under which most of the texts would be numbers."""
    values = [str(text).strip() for column in texts.values() for text in column[:1000]]

    def most(pattern: str) -> bool:
        return sum(re.fullmatch(pattern, text) is not None for text in values) > len(values) / 2

    settings = []
    if most(r"[-+]?(\d{1,3}([. ']\d{3})+|\d*),\d+"):
        settings.append(Setting("data.decimal", "comma", "1,5 is one and a half"))
    for mark, word in ((",", "comma"), (r"\.", "point"), (" ", "space"), ("'", "apostrophe")):
        if most(rf"[-+]?\d{{1,3}}({mark}\d{{3}})+([.,]\d*)?"):
            settings.append(Setting("data.thousands", word, "1000 is written in two parts"))
    return settings


def find_empty(sheet: Sheet, x: np.ndarray, names: Sequence[str]) -> Fault | None:
    """Columns without a single value; ``x`` holds the numbers, (N, C)."""
    where = np.isnan(x).all(axis=0).nonzero()[0] if x.dtype.kind == "f" else []
    if not len(where):
        return None
    empty = tuple(names[i] for i in where)
    says = f"{len(where):,} of {count(len(names), 'column')} of {sheet.name} hold no value at all: {shorten(empty)}."
    return Fault(empty, says)


def find_infinite(sheet: Sheet, x: np.ndarray, names: Sequence[str]) -> Fault | None:
    """Columns with infinite values; ``x`` holds the numbers, (N, C)."""
    bad = np.isinf(x)
    where = bad.any(axis=0).nonzero()[0]
    if not len(where):
        return None
    row, column = divmod(int(bad.argmax()), x.shape[1])
    found = [f"{names[index]!r} ({int(bad[:, index].sum()):,} of {len(x):,})" for index in where]
    says = (
        f"{len(where):,} of {count(len(names), 'column')} of {sheet.name} hold {bad.sum():,} infinite values: "
        f"{shorten(found)}. The first is {x[row, column]} in column {names[column]!r}, {sheet.place(row)}. "
        "A cell whose value is not known may be left empty."
    )
    return Fault(tuple(names[i] for i in where), says, tuple(_skip(sheet, [bad.any(axis=1)])))


def find_unexposed(name: str, values: np.ndarray, place: Callable[[int], str], noun: str) -> str | None:
    """What is wrong with exposures (N,) that are not all above 0; None where nothing is.

    Args:
        name: of the column.
        values: finite numbers.
        place: what a row is called.
        noun: what messages call the rows.
    """
    wrong = values <= 0
    if not wrong.any():
        return None
    row = int(wrong.argmax())
    return (
        f"The column {name!r} must hold numbers above 0, as it is the exposure: {int(wrong.sum()):,} of "
        f"{count(len(values), 'value')} of the {noun} are not, the first {values[row]:.6g} in {place(row)}."
    )


def _extremes(column: np.ndarray) -> tuple[np.floating, np.floating]:
    """Least and greatest by their bits: where training makes subnormal numbers zero, so does every comparison."""
    column = column[~np.isnan(column)]
    bits = np.ascontiguousarray(column).view(f"i{column.itemsize}")
    order = np.where(bits < 0, np.iinfo(bits.dtype).min - bits, bits)  # of the numbers; -0 is 0
    return column[order.argmin()], column[order.argmax()]


def find_tiny(sheet: Sheet, x: np.ndarray, names: Sequence[str]) -> Fault | None:
    """Columns whose values differ by less than arithmetic tells apart, or by more than it can hold."""
    if x.dtype.kind != "f":
        return None
    with np.errstate(over="ignore"):
        spread = np.fmax.reduce(x) - np.fmin.reduce(x)
    tiny = np.finfo(x.dtype).tiny
    is_tiny = spread < tiny
    extremes = {index: _extremes(x[:, index]) for index in (is_tiny | np.isinf(spread)).nonzero()[0]}
    where = [index for index, (least, most) in extremes.items() if least.tobytes() != most.tobytes()]
    if not where:
        return None
    show = partial(np.format_float_scientific, precision=5, trim="-")
    found = [f"{names[index]!r} ({' to '.join(map(show, extremes[index]))})" for index in where]
    says = (
        f"{len(where):,} of {count(len(names), 'column')} of {sheet.name} hold values that differ by less than "
        f"{tiny:.3g} or by more than {np.finfo(x.dtype).max:.3g}, which {x.dtype} arithmetic cannot tell apart: "
        f"{shorten(found)}. Write them in another unit."
    )
    return Fault(tuple(names[i] for i in where), says)


def check_not_masked(rows: Any) -> None:
    """Raises:
    DataError: when cells are masked, whose values would be taken for measured ones.
    """
    if np.ma.is_masked(rows):
        raise DataError(
            f"{int(np.ma.count_masked(rows)):,} cells are masked, and the values behind the mask are no data: fill "
            "them, or leave those rows or columns out."
        )
