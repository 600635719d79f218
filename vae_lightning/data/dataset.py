"""What every source of rows gives: columns, rows and the three parts."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from vae_lightning.data.columns import Column

if TYPE_CHECKING:
    from vae_lightning.data.batch import Batch

ROWS_AT_ONCE = 8192


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of one part of a data set.

    Args:
        x: Shape ``(N, C)``, in a native numeric dtype and in data units; NaN where a cell is empty.
        labels: Shape ``(N,)`` or None. Never trained on.
        condition: Shape ``(N, J)`` or None: columns that are not modelled, but told to encoder and decoder; data units.
    """

    x: np.ndarray
    labels: np.ndarray | None = None
    condition: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.x)

    def batches(self) -> Iterator["Batch"]:
        """The rows in order, a batch at a time, float64, masked where a cell is empty; for folds of statistics."""
        import torch  # a second of import that whoever only reads a table need not wait for

        from vae_lightning.data.batch import Batch

        for start in range(0, len(self.x), ROWS_AT_ONCE):
            x = torch.from_numpy(self.x[start : start + ROWS_AT_ONCE].astype(np.float64))
            yield Batch(x, ~torch.isnan(x) if self.has_holes else None)

    @cached_property
    def has_holes(self) -> bool:
        """Whether any cell is empty."""
        return self.x.dtype.kind == "f" and bool(np.isnan(self.x).any())

    def take(self, index: np.ndarray) -> "Rows":
        """The rows at ``index``, with what belongs to them."""
        labels, condition = (None if part is None else part[index] for part in (self.labels, self.condition))
        return Rows(self.x[index], labels, condition)


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
        condition_columns: One per condition of every part, in order.
        condition_places: Where these stand in a row of the file that holds all columns; rising.
        exposure: The name of the condition column that the means of counts are multiplied by; None where there is none.
    """

    name: str
    columns: tuple[Column, ...]
    train: Rows
    valid: Rows
    test: Rows
    value_range: tuple[float, float] | None = None
    image_shape: tuple[int, ...] | None = None
    condition_columns: tuple[Column, ...] = ()
    condition_places: tuple[int, ...] = ()
    exposure: str | None = None

    @property
    def exposure_place(self) -> int | None:
        """Which of the condition columns is the exposure; None where there is none."""
        return None if self.exposure is None else [one.name for one in self.condition_columns].index(self.exposure)

    def as_given(self, part: str) -> np.ndarray:
        """Rows (N, C + J) of a part as users have them: with the conditions at their places."""
        rows: Rows = getattr(self, part)
        return rows.x if rows.condition is None else join(rows.x, rows.condition, self.condition_places)

    @property
    def has_holes(self) -> bool:
        """Whether any cell of any part is empty."""
        return any(part.has_holes for part in self.parts)

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hex digits that change with any value, shape, dtype, column name or split."""
        digest = hashlib.sha256(self._headers)
        for part in self.parts:
            for values in (part.x, *(() if part.condition is None else (part.condition,))):
                digest.update(f"{values.shape} {values.dtype.str}".encode())
                digest.update(np.ascontiguousarray(values).data)
        return digest.hexdigest()[:16]

    @cached_property
    def rows_fingerprint(self) -> str:
        """Sixteen hex digits that change with any row or column name, and not with how the rows are split."""
        digest = hashlib.sha256(self._headers)
        wholes = [p.x if p.condition is None else np.hstack([p.x, p.condition]) for p in self.parts]
        digest.update(np.sort(np.concatenate([_row_hashes(x) for x in wholes])).data)
        return digest.hexdigest()[:16]

    @property
    def _headers(self) -> bytes:
        columns = [tuple(column.as_plain()) for column in self.columns]
        told = [tuple(column.as_plain()) for column in self.condition_columns]
        return repr([*columns, told] if told else columns).encode()

    @property
    def parts(self) -> tuple[Rows, Rows, Rows]:
        """Training, validation and test rows."""
        return self.train, self.valid, self.test

    @property
    def constant_columns(self) -> list[str]:
        """The names of the columns that hold one single value in the training rows."""
        constant = np.fmin.reduce(self.train.x) == np.fmax.reduce(self.train.x)
        return [column.name for column, same in zip(self.columns, constant, strict=True) if same]


def find_condition_places(
    names: Sequence[str], columns: Sequence[Column], conditions: Sequence[Column]
) -> tuple[int, ...]:
    """Where conditions stand among all columns, which are in the order of the ``names`` of a user's table."""
    place = {name: index for index, name in enumerate(names)}
    ordered = sorted((*columns, *conditions), key=lambda column: place[column.source])
    return tuple(ordered.index(column) for column in conditions)


def join(rows: np.ndarray, values: np.ndarray, places: Sequence[int]) -> np.ndarray:
    """Modelled columns (N, C) and conditions (N, J) → rows (N, C + J), the conditions at ``places``."""
    whole = np.empty((len(rows), rows.shape[1] + len(places)), dtype=np.result_type(rows, values))
    others = np.setdiff1d(np.arange(whole.shape[1]), places)
    whole[:, list(places)], whole[:, others] = values, rows
    return whole


def _row_hashes(x: np.ndarray) -> np.ndarray:
    import pandas as pd  # half a second, which the doctor's use of this module need not wait for

    # In slices: a copy of all rows, column by column, would double a large table's memory.
    parts = np.array_split(x, len(x) // 8192 + 1)
    return np.concatenate([pd.util.hash_pandas_object(pd.DataFrame(p), index=False).to_numpy() for p in parts])
