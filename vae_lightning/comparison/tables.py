"""Tables of mixed columns as arrays that every measure reads: numbers with holes, and categories as codes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vae_lightning.data.files.numbers import as_numbers, to_days
from vae_lightning.data.wording import count, shorten
from vae_lightning.errors import DataError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

FEW_NUMBERS = 20
"""Different whole numbers up to which a column of them is one of categories."""
ROWS_A_NUMBER = 10
"""Rows that there must be for each of these."""


class Kinds(NamedTuple):
    """Which columns are numbers, and which are categories.

    Attributes:
        numbers: names of the columns of numbers and dates.
        categories: names of the others.
        holes: of each column of categories, the code of an empty cell; -1 where none is empty.
    """

    numbers: tuple[str, ...]
    categories: tuple[str, ...]
    holes: tuple[int, ...]

    def is_number(self, name: str) -> bool:
        """Whether ``name`` is a column of numbers."""
        return name in self.numbers

    def select(self, names: Sequence[str]) -> "Kinds":
        """The same of some columns."""
        kept = [i for i, name in enumerate(self.categories) if name in names]
        numbers = tuple(name for name in self.numbers if name in names)
        return Kinds(numbers, tuple(self.categories[i] for i in kept), tuple(self.holes[i] for i in kept))


@dataclass(frozen=True, eq=False)
class Coded:
    """One table.

    Attributes:
        kinds: of its columns.
        numbers: (N, P), float64, NaN where a cell is empty; dates are days since 1970.
        codes: (N, Q), whole numbers from 0 on, the most frequent category first; an empty cell is a category of its
            own.
    """

    kinds: Kinds
    numbers: np.ndarray
    codes: np.ndarray

    def __len__(self) -> int:
        return len(self.numbers)

    def take(self, index: np.ndarray) -> "Coded":
        """The rows at ``index``."""
        return replace(self, numbers=self.numbers[index], codes=self.codes[index])

    def select(self, names: Sequence[str]) -> "Coded":
        """The columns of these names."""
        numbers = [i for i, name in enumerate(self.kinds.numbers) if name in names]
        categories = [i for i, name in enumerate(self.kinds.categories) if name in names]
        return Coded(self.kinds.select(names), self.numbers[:, numbers], self.codes[:, categories])

    def column(self, name: str) -> np.ndarray:
        """The numbers or the codes of one column, (N,)."""
        if self.kinds.is_number(name):
            return self.numbers[:, self.kinds.numbers.index(name)]
        return self.codes[:, self.kinds.categories.index(name)]


def code_tables(named: "Mapping[str, pd.DataFrame]") -> list[Coded]:
    """Tables with the same columns, in any order, as arrays whose codes mean the same in all of them.

    Texts, truth values, whatever else is no number and no date, and whole numbers of which there are few different ones
    are categories. The first table decides.

    Args:
        named: the tables by what messages call their rows; the real ones first.

    Raises:
        DataError: for a table without rows or columns, columns that differ, or a column that holds numbers in the first
            table and something else in another.
    """
    names, tables = list(named), list(named.values())
    for table, name in zip(tables, names, strict=True):
        _check_columns(table, tables[0], name, names[0])
    numbers: dict[str, list[np.ndarray]] = {}
    codes: dict[str, list[np.ndarray]] = {}
    holes = []
    for column in tables[0].columns:
        parts = [table[column] for table in tables]
        if _is_number(parts[0]):
            numbers[str(column)] = [_to_numbers(part, name, names[0]) for part, name in zip(parts, names, strict=True)]
        else:
            codes[str(column)], hole = _to_codes(parts)
            holes.append(hole)
    kinds = Kinds(tuple(numbers), tuple(codes), tuple(holes))
    return [
        Coded(kinds, _stack(numbers, i, len(table), np.float64), _stack(codes, i, len(table), np.int64))
        for i, table in enumerate(tables)
    ]


def _check_columns(table: "pd.DataFrame", real: "pd.DataFrame", name: str, real_name: str) -> None:
    if not len(table) or not len(table.columns):
        raise DataError(f"There are no {name} to compare: they hold no {'rows' if len(table.columns) else 'columns'}.")
    twice = table.columns[table.columns.duplicated()].map(str)
    if len(twice):
        raise DataError(f"The {name} name {count(len(twice), 'column')} more than once: {shorten(map(repr, twice))}.")
    lacking = [str(column) for column in real.columns if column not in table.columns]
    extra = [str(column) for column in table.columns if column not in real.columns]
    if lacking or extra:
        ways = [f"lack {shorten(map(repr, lacking))}"] if lacking else []
        ways += [f"also have {shorten(map(repr, extra))}"] if extra else []
        hint = did_you_mean(lacking[0], extra) if lacking else ""
        raise DataError(
            f"The {name} must have the columns of the {real_name}, but {' and '.join(ways)}. {hint}".rstrip()
        )


def _is_number(series: "pd.Series") -> bool:
    """Whether values have distances: dates do, and numbers, unless they are codes."""
    if series.dtype.kind == "M":
        return True
    if series.dtype.kind not in "iuf":
        return False
    known = np.unique(series.dropna().to_numpy(np.float64))
    is_whole = bool((known == np.rint(known)).all())
    return not (is_whole and len(known) <= min(FEW_NUMBERS, len(series) / ROWS_A_NUMBER))


def _to_numbers(series: "pd.Series", name: str, real_name: str) -> np.ndarray:
    values, wrong = to_days(series) if series.dtype.kind == "M" else as_numbers(series)
    if wrong.any():
        raise DataError(
            f"The column {str(series.name)!r} holds numbers in the {real_name}, and in the {name} something else, the "
            f"first {str(series.iloc[int(wrong.argmax())])[:60]!r}."
        )
    found = np.array(values, dtype=np.float64)
    if np.isinf(found).any():
        raise DataError(f"The column {str(series.name)!r} of the {name} holds infinite values.")
    return found


def _to_codes(parts: "Sequence[pd.Series]") -> tuple[list[np.ndarray], int]:
    """Codes by table, ordered by how often a category occurs; and that of an empty cell."""
    import pandas as pd

    # Truth values and the numbers 0 and 1 are the same category, as they are the same key of a dictionary.
    values = np.concatenate([part.astype(object).where(part.notna(), None).to_numpy() for part in parts])
    codes, levels = pd.factorize(values, use_na_sentinel=True)
    hole = len(levels) if (codes < 0).any() else -1
    codes = np.where(codes < 0, len(levels), codes)
    order = np.argsort(-np.bincount(codes), kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    cuts = np.cumsum([len(part) for part in parts])[:-1]
    return np.split(rank[codes], cuts), int(rank[hole]) if hole >= 0 else -1


def _stack(columns: dict[str, list[np.ndarray]], table: int, num_rows: int, dtype: type) -> np.ndarray:
    return np.stack([parts[table] for parts in columns.values()], axis=1) if columns else np.empty((num_rows, 0), dtype)
