"""Whether the first line of a text holds names or values."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

from vae_lightning.data.files.dialect import NumberFormat


def is_header(
    first: Sequence[str],
    rows: Sequence[Sequence[str]],
    numbers: NumberFormat,
    missing: frozenset[str],
    expected: Sequence[str],
) -> bool | None:
    """Whether a first line holds names: texts as a rule, and numbers that are no values of their columns.

    None where it cannot be told.
    """
    cells = [text.strip() for text in first]
    # A column of row numbers has no name; elsewhere an empty cell among numbers is a missing one.
    start = int(len(cells) > 1 and not cells[0])
    values = [_value(numbers, text) for text in cells]
    texts = [text for text, value in zip(cells, values, strict=True) if value is None and text not in missing]
    columns = list(zip(*(row for row in rows if len(row) == len(cells)), strict=True)) or [()] * len(cells)
    below = [[_value(numbers, text.strip()) for text in column] for column in columns]
    if [str(index) for index in range(len(cells) - start)] == cells[start:]:
        if start or len(cells) > 2:
            return True
        return _are_positions(columns, below, numbers, missing)
    positions = set() if texts else {str(index) for index in range(len(cells))}
    if expected and set(expected) == positions:
        return False  # what was trained on had no names either
    if expected and set(expected) <= set(cells):
        # Names that are positions may stand in a row of values by chance.
        return True if not set(expected) < positions or _are_ticks(values, below, range(start, len(cells))) else None
    measured = [i for i, column in enumerate(below) if column and None not in column and i >= start]
    if texts:
        # A row, where its texts stand below again or its fractions are among those of their columns.
        if not measured or any(values[i] is None and cells[i] not in missing for i in measured):
            return True
        seen = [set(map(str.strip, column)) for column in columns]
        again = any(text in column for text, column in zip(cells, seen, strict=True) if text in texts)
        fractions = any("." in cells[i] or "," in cells[i] for i in measured)
        return not again and not (fractions and not _are_ticks(values, below, measured))
    if None in values[start:]:
        return False
    return _are_ticks(values, below, range(start, len(cells)))


def _are_positions(
    columns: Sequence[Sequence[str]],
    below: Sequence[Sequence[float | None]],
    numbers: NumberFormat,
    missing: frozenset[str],
) -> bool | None:
    """Whether 0, or 0 and 1, are the names that pandas gives to the columns of an array; None where it is open.

    pandas writes fractions as such, every one of them: 1.0 and not 1. Whole numbers may be more rows like 0 and 1, and
    a time may go on from 0.
    """

    def is_other(text: str) -> bool:
        fraction = numbers.is_number(text) and not numbers.plain(text).lstrip("+-").isdecimal()
        return fraction or text.lower() in ("true", "false")

    given = [[text for text in map(str.strip, column) if text not in missing] for column in columns]
    differ = all(column and all(map(is_other, column)) for column in given)
    goes_on = any(_is_monotonic([float(index), *column]) for index, column in enumerate(below))
    return True if differ and not goes_on else None


def _are_ticks(values: Sequence[float | None], below: Sequence[Sequence[float | None]], which: Iterable[int]) -> bool:
    """Whether numbers are years, wavelengths and the like: rising or falling, and not as the rows below them are."""
    which = list(which)
    ticks = [value for i in which if (value := values[i]) is not None]
    rows = list(zip(*(below[i] for i in which), strict=True))
    if len(ticks) < 3 or not _is_monotonic(ticks) or len(rows) < 2:
        return False
    steps = {round(b - a, 9) for a, b in pairwise(ticks)}
    others = [row for row in rows if None not in row]
    if len(steps) == 1 and len(ticks) > 4 and sum(map(_is_monotonic, others)) < len(others) / 2:
        return True
    gaps, spreads, jumps = [], [], []
    for tick, i in zip(ticks, which, strict=True):
        column = [value for value in below[i] if value is not None]
        if not column:
            return False
        low, high = min(column), max(column)
        gaps.append(max(low - tick, tick - high))
        spreads.append(high - low)
        jumps.append(max((abs(b - a) for a, b in pairwise(column)), default=0.0))
    if min(gaps) <= 0:
        return False
    if all(gap > spread for gap, spread in zip(gaps, spreads, strict=True)):
        return True
    # Columns that grow from row to row begin outside the range of the rest, but no further off than they grow.
    unlike = sum(map(_is_monotonic, others)) < len(others) / 2
    return unlike and (len(steps) == 1 or all(gap > 2 * jump for gap, jump in zip(gaps, jumps, strict=True)))


def _is_monotonic(values: Sequence[float | None]) -> bool:
    signs = {(b > a) - (b < a) for a, b in pairwise(values) if a is not None and b is not None}
    return signs in ({1}, {-1})


def _value(numbers: NumberFormat, text: str) -> float | None:
    return float(numbers.plain(text)) if numbers.is_number(text) else None
