"""Dates as a model can use them: whole weeks, days of the week, hours ..., and as dates again.

A user's column ``when`` of dates becomes columns such as ``when (week)`` and ``when (weekday)``: whole numbers since
1970 or within the unit before, and names of weekdays. Together they are the date, to the millisecond. What all dates
share, such as midnight, is no column but a shift that every part knows of.
"""

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from vae_lightning.data.columns import Column, DatePart
from vae_lightning.data.wording import shorten
from vae_lightning.errors import DataError

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
DAY = 86_400_000
"""Milliseconds, as all durations here."""
SIZES = {"week": 7 * DAY, "day": DAY, "weekday": DAY, "hour": 3_600_000, "minute": 60_000, "second": 1_000}
WITHIN = {"weekday": 7, "hour": 24, "minute": 60, "second": 60}
"""How many of a unit the next greater one has; months, weeks and days are counted from 1970 on."""
MONDAY = -3 * DAY
"""The Monday before 1970-01-01, which was a Thursday."""
FEW_DAYS = 20
"""Different days up to which these are numbers of their own, as there is no telling what weeks they follow."""
MOST_DAYS = 106_000
"""From 1970, either way: what pandas' nanoseconds hold."""


def split_dates(
    columns: Sequence[Column], parts: Mapping[str, np.ndarray], whole: Collection[str] = ()
) -> tuple[tuple[Column, ...], dict[str, np.ndarray]]:
    """A table's columns and numbers with each column of dates split into its parts.

    Args:
        columns: as users have them.
        parts: their numbers (N, U) by part of the data set; all of them are looked at.
        whole: names of columns of dates that stay numbers of days.

    Returns:
        The model's columns, and their numbers (N, C) by part of the data set.
    """
    if not any(column.is_date and column.name not in whole for column in columns):
        return tuple(columns), dict(parts)
    taken = {column.name for column in columns}
    split: list[Column] = []
    for index, column in enumerate(columns):
        found = []
        if column.is_date and column.name not in whole:
            found = _find_parts(column, _to_time(np.concatenate([x[:, index] for x in parts.values()])))
        split += [column] if not found or taken & {one.name for one in found} else found
    return tuple(split), {part: split_values(x, split)[0] for part, x in parts.items()}


def read_part(column: str, dtype: str, unit: str, shift: int) -> DatePart:
    """A part from its plain values.

    Raises:
        ValueError: when there is no such part.
    """
    if unit not in ("month", *SIZES):
        raise ValueError(f"dates have no {unit}")
    return DatePart(str(column), str(np.dtype(dtype)), unit, int(shift))


def join_columns(columns: Sequence[Column]) -> tuple[Column, ...]:
    """The columns of a user's table; ``columns`` are the model's, parts of a date side by side."""
    table = {c.source: c if c.part is None else Column(c.part.column, c.part.dtype) for c in columns}
    return tuple(table.values())


def split_values(rows: np.ndarray, columns: Sequence[Column]) -> tuple[np.ndarray, np.ndarray]:
    """Rows (N, U) as users have them → the numbers of the model's columns, (N, C).

    Args:
        rows: dates as days since 1970; NaN where a cell is empty.
        columns: of the model.

    Returns:
        The numbers, NaN where a cell is empty or a date is none that the parts have a word for; and which cells of
        ``rows`` hold such dates, (N, U).
    """
    split = np.empty((len(rows), len(columns)), dtype=rows.dtype)
    wrong = np.zeros(rows.shape, dtype=bool)
    for index, places in enumerate(find_places(columns)):
        part = columns[places[0]].part
        if part is None:
            split[:, places[0]] = rows[:, index]
            continue
        time = _to_time(rows[:, index]) - part.shift
        rest = np.where(np.isnan(time), 0.0, time)
        is_known = rest == rest
        for place in places:
            values, rest, is_legal = _take(rest, columns[place])
            split[:, place] = values
            is_known &= is_legal
        is_known &= rest == 0
        wrong[:, index] = ~(is_known | np.isnan(time))
        split[np.ix_(np.isnan(time) | ~is_known, places)] = np.nan
    return split, wrong


def join_values(values: np.ndarray, columns: Sequence[Column]) -> np.ndarray:
    """The numbers of the model's columns, (N, C) → rows (N, U) as users have them, dates as days since 1970.

    Args:
        values: parts of dates are rounded, and kept to what there is: no hour beyond 23. NaN in any is no date.
        columns: of the model.
    """
    rows = np.empty((len(values), len(join_columns(columns))), dtype=np.float64)
    for index, places in enumerate(find_places(columns)):
        part = columns[places[0]].part
        if part is None:
            rows[:, index] = values[:, places[0]]
            continue
        cells = values[:, places].astype(np.float64)
        is_empty = np.isnan(cells).any(1)
        cells[is_empty] = 0.0
        time = sum((_give(cells[:, i], columns[place]) for i, place in enumerate(places)), np.float64(part.shift))
        rows[:, index] = np.where(is_empty, np.nan, (time / DAY).clip(-MOST_DAYS, MOST_DAYS))
    return rows


def check_dates(wrong: np.ndarray, columns: Sequence[Column], text: Callable[[int, str], str]) -> None:
    """Tell of dates that a model has no word for.

    Args:
        wrong: which cells hold such dates, (N, U), from :func:`split_values`.
        columns: of the model.
        text: the cell of a row and a column, and where it stands, in words.

    Raises:
        DataError: where there are any.
    """
    for index, places in enumerate(find_places(columns)):
        if wrong[:, index].any():
            some = [columns[place] for place in places]
            row = int(wrong[:, index].argmax())
            raise DataError(
                f"The column {some[0].source!r} must hold {_describe(some)}, as the rows that the model was trained "
                f"on: {int(wrong[:, index].sum()):,} of {len(wrong):,} are others, the first "
                f"{text(row, some[0].source)}."
            )


def write_number(number: float, column: Column) -> str:
    """A number of a column in words: a month, a week or a day since 1970 as the date that it begins with."""
    start = find_starts(np.array([number]), column)
    return f"{number:.6g}" if start is None else str(np.floor(start).astype("datetime64[D]")[0])


def find_starts(numbers: np.ndarray, column: Column) -> np.ndarray | None:
    """Days since 1970 at which months, weeks or days since 1970 begin; None where the column counts nothing of these.

    Args:
        numbers: of the column; NaN where a cell is empty.
        column: of the model.
    """
    part = column.part
    if part is None or part.unit in WITHIN:
        return None
    is_empty = np.isnan(numbers)
    start = _start(part.unit, np.rint(np.where(is_empty, 0.0, numbers))) + part.shift
    return np.where(is_empty, np.nan, start / DAY)


def _describe(parts: Sequence[Column]) -> str:
    """Which dates the parts have a word for."""
    units = [column.part.unit for column in parts if column.part is not None]
    levels = next((column.levels for column in parts if column.levels is not None), None)
    same = [f"the same {unit}" for unit in ("hour", "minute", "second") if unit not in units]
    kinds = ["first days of a month" if "month" in units else "dates"]
    if levels is not None:
        kinds.append(f"on {shorten(levels, 7)}")
    elif units[0] == "week":
        kinds.append("on the same day of the week")
    return " ".join([*kinds, *([f"with {' and '.join(same)}"] if same else [])])


def find_places(columns: Sequence[Column]) -> list[list[int]]:
    """Where the model's columns of each of the user's stand, in the order of :func:`join_columns`."""
    places: dict[str, list[int]] = {}
    for index, column in enumerate(columns):
        places.setdefault(column.source, []).append(index)
    return list(places.values())


def _to_time(days: np.ndarray) -> np.ndarray:
    """Days since 1970 as whole milliseconds, which float64 holds for 285,000 years."""
    return np.rint(days.astype(np.float64) * DAY)


def _months(time: np.ndarray) -> np.ndarray:
    """Months since 1970-01, the one that a time lies in."""
    return time.astype("datetime64[ms]").astype("datetime64[M]").astype(np.float64)


def _start(unit: str, number: np.ndarray) -> np.ndarray:
    """When a month, a week or a day since 1970 begins, or what so many of another unit last."""
    if unit == "month":
        return number.astype("datetime64[M]").astype("datetime64[ms]").astype(np.float64)
    return number * SIZES[unit] + (MONDAY if unit == "week" else 0)


def _count(unit: str, time: np.ndarray) -> np.ndarray:
    """How many whole ones of a unit lie before a time."""
    if unit == "month":
        return _months(time)
    return np.asarray((time - (MONDAY if unit == "week" else 0)) // SIZES[unit])


def _take(time: np.ndarray, column: Column) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A part's numbers, what is left of the times without it, and whether there are such numbers."""
    assert column.part is not None
    unit = column.part.unit
    if unit == "second":  # with its thousandths
        return time / SIZES[unit], time * 0, (time >= 0) & (time < WITHIN[unit] * SIZES[unit])
    number = _count(unit, time)
    rest = time - _start(unit, number)
    is_legal = (number >= 0) & (number < WITHIN[unit]) if unit in WITHIN else np.full(len(time), True)
    if column.levels is None:
        return number, rest, is_legal
    known = np.array([WEEKDAYS.index(level) for level in column.levels])
    codes = np.searchsorted(known, number).clip(max=len(known) - 1)
    return codes.astype(np.float64), rest, is_legal & (known[codes] == number)


def _give(numbers: np.ndarray, column: Column) -> np.ndarray:
    """The milliseconds that a part's numbers come to."""
    assert column.part is not None
    unit = column.part.unit
    if unit == "second" and column.dtype == "float64":  # thousandths are all that is left to round to
        return np.rint(numbers * SIZES[unit]).clip(0, WITHIN[unit] * SIZES[unit] - 1)
    numbers = np.rint(numbers)
    if column.levels is not None:
        known = np.array([WEEKDAYS.index(level) for level in column.levels], dtype=np.float64)
        numbers = known[numbers.clip(0, len(known) - 1).astype(int)]
    most = WITHIN[unit] - 1 if unit in WITHIN else MOST_DAYS
    return _start(unit, numbers.clip(0 if unit in WITHIN else -MOST_DAYS, most))


def _find_parts(column: Column, time: np.ndarray) -> list[Column]:
    """The parts of dates, those first of which one holds most of the others."""
    time = time[~np.isnan(time)]
    if not len(time):
        return []
    days = np.unique(_count("day", time))
    shift = 0
    if len(days) > 1 and (month_days := _month_days(days)) is not None:
        units, shift = ["month"], month_days * DAY
    else:
        units = ["day"] if len(days) <= FEW_DAYS else ["week", "weekday"]
    digits = {}
    rest = time - shift
    for unit in (*units, "hour", "minute"):
        digits[unit] = _count(unit, rest)
        rest = rest - _start(unit, digits[unit])
    digits["second"] = rest / SIZES["second"]
    varying = {unit: known for unit, number in digits.items() if len(known := np.unique(number)) > 1}
    kept = varying or {units[0]: np.unique(digits[units[0]])}
    shift += sum(round(float(_start(unit, number[:1])[0])) for unit, number in digits.items() if unit not in kept)
    return [_part(column, unit, known, shift) for unit, known in kept.items()]


def _month_days(days: np.ndarray) -> int | None:
    """How many days after the first of a month all days lie: -1 for last days; None where they differ in that.

    Days that not every month has count as differing.
    """
    for shift in (-1, int((days[0] * DAY - _start("month", _months(days[:1] * DAY))[0]) // DAY)):
        start = (days - shift) * DAY
        if shift < 28 and (_start("month", _months(start)) == start).all():
            return shift
    return None


def _part(column: Column, unit: str, known: np.ndarray, shift: int) -> Column:
    levels = tuple(WEEKDAYS[int(number)] for number in known) if unit == "weekday" else None
    dtype = "object" if levels else "int64" if (known % 1 == 0).all() else "float64"
    return Column(f"{column.name} ({unit})", dtype, levels, DatePart(column.name, column.dtype, unit, shift))
