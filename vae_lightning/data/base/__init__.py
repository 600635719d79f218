"""What every source of rows gives: columns, rows and the three parts."""

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vae_lightning.data.base.words import count
from vae_lightning.errors import DataError, is_count


@dataclass(frozen=True)
class Column:
    """One column of a data set.

    Args:
        name: The name that the source gave it.
        dtype: The numpy dtype, as a string, in which values are given back. A ``"bool"`` column is read as 0 and 1.
    """

    name: str
    dtype: str


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of one part of a data set.

    Args:
        x: Shape ``(N, C)``, in a native numeric dtype and in data units.
        labels: Shape ``(N,)`` or None. Never trained on.
    """

    x: np.ndarray
    labels: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.x)

    def take(self, index: np.ndarray) -> "Rows":
        """The rows at ``index``, with their labels."""
        return Rows(self.x[index], None if self.labels is None else self.labels[index])


@dataclass(frozen=True, eq=False)
class Dataset:
    """Columns, and the rows of the three parts.

    Args:
        name: What to call it in logs.
        columns: One per column of every part, in order.
        train: The training rows, the only ones that anything is fitted to.
        valid: The validation rows.
        test: The test rows.
        value_range: The declared range of legal values, such as ``(0, 16)`` for grey levels; None if not declared.
        image_shape: ``(height, width)``, or ``(height, width, 3)``, if a row is a flattened image.
    """

    name: str
    columns: tuple[Column, ...]
    train: Rows
    valid: Rows
    test: Rows
    value_range: tuple[float, float] | None = None
    image_shape: tuple[int, ...] | None = None

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hex digits that change with any value, shape, dtype, column name or split."""
        digest = hashlib.sha256(repr([(column.name, column.dtype) for column in self.columns]).encode())
        for part in (self.train, self.valid, self.test):
            digest.update(f"{part.x.shape} {part.x.dtype.str}".encode())
            digest.update(np.ascontiguousarray(part.x).data)
        return digest.hexdigest()[:16]

    @cached_property
    def rows_fingerprint(self) -> str:
        """Sixteen hex digits that change with any row or column name, and not with how the rows are split."""
        digest = hashlib.sha256(repr([(column.name, column.dtype) for column in self.columns]).encode())
        digest.update(np.sort(np.concatenate([_row_hashes(p.x) for p in (self.train, self.valid, self.test)])).data)
        return digest.hexdigest()[:16]

    @property
    def constant_columns(self) -> list[str]:
        """The names of the columns that hold one single value in the training rows."""
        constant = (self.train.x == self.train.x[:1]).all(axis=0)
        return [column.name for column, same in zip(self.columns, constant, strict=True) if same]


def _row_hashes(x: np.ndarray) -> np.ndarray:
    import pandas as pd  # half a second, which the doctor's use of this module need not wait for

    # In slices: a copy of all rows, column by column, would double a large table's memory.
    parts = np.array_split(x, len(x) // 8192 + 1)
    return np.concatenate([pd.util.hash_pandas_object(pd.DataFrame(p), index=False).to_numpy() for p in parts])


class Source(ABC):
    """Something that a data set can be loaded from."""

    @abstractmethod
    def load(self) -> Dataset:
        """Read the rows, split them, and check everything that does not depend on a model.

        Raises:
            DataError: The data cannot be used; the message says what to do.
        """


def split_rows(rows: Rows, valid_fraction: float, test_fraction: float, seed: int) -> tuple[Rows, Rows, Rows]:
    """Split rows at random, but always alike for a seed, into training, validation and test rows.

    Each part but the first has its fraction of the rows, rounded, and at least one row.

    Raises:
        DataError: A fraction outside (0, 1), fractions that leave nothing to train on, or too few rows.
    """
    if valid_fraction + test_fraction >= 1:
        raise DataError(
            "The 'valid_fraction' and 'test_fraction' parameters must sum to less than 1, or nothing is left to "
            f"train on. Got {valid_fraction:g} + {test_fraction:g} instead."
        )
    num_valid = _part_size(len(rows), valid_fraction, "valid")
    num_test = _part_size(len(rows), test_fraction, "test")
    order = _shuffled(len(rows), num_valid + num_test, seed)
    cut = num_test + num_valid
    return rows.take(order[cut:]), rows.take(order[num_test:cut]), rows.take(order[:num_test])


def split_off(rows: Rows, fraction: float, seed: int, part: str) -> tuple[Rows, Rows]:
    """Split rows at random into what remains for training and one other ``part`` (``"valid"`` or ``"test"``).

    Raises:
        DataError: A fraction outside (0, 1), or too few rows.
    """
    size = _part_size(len(rows), fraction, part)
    order = _shuffled(len(rows), size, seed)
    return rows.take(order[size:]), rows.take(order[:size])


def _part_size(num_rows: int, fraction: float, part: str) -> int:
    if not 0 < fraction < 1:
        raise DataError(
            f"The '{part}_fraction' parameter must be above 0 and below 1, as the {part} part is split off "
            f"{num_rows} rows and needs at least one of them. Got {fraction:g} instead."
        )
    return max(1, round(num_rows * fraction))


def _shuffled(num_rows: int, num_taken: int, seed: int) -> np.ndarray:
    check_seed(seed)
    if num_taken >= num_rows:
        raise DataError(
            f"The data have only {count(num_rows, 'row')}: too few for training, validation and test parts, "
            "which need at least one each. Give more rows, or files for the parts: data.valid_path=..., "
            "data.test_path=..."
        )
    return np.random.default_rng(seed).permutation(num_rows)


def check_seed(seed: int) -> None:
    """Raise a DataError unless ``seed`` is a whole number from 0 on."""
    if not is_count(seed, 0):
        raise DataError(f"The 'seed' parameter must be a whole number from 0 on. Got {seed!r} instead.")


def check_count(owner: str, name: str, value: int, least: int = 1) -> None:
    """Raise a DataError unless the parameter ``name`` of ``owner`` is a whole number of at least ``least``."""
    if not is_count(value, least):
        raise DataError(
            f"The '{name}' parameter of {owner} must be a whole number of at least {least}. Got {value!r} instead."
        )
