"""What encoder and decoder are told beside a row: columns that are not modelled, as numbers."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from vae_lightning.data.columns import Column
from vae_lightning.data.dataset import Dataset, join
from vae_lightning.data.exact import ExactBuffers
from vae_lightning.data.faults import find_unexposed
from vae_lightning.data.wording import count, shorten
from vae_lightning.errors import DataError

MOST_CATEGORIES = 256
"""Categories that a column may have: every row holds a number for each."""
FEW_VALUES = 20
"""Different whole numbers up to which they are categories, where there are enough rows of each."""
FEWEST_A_VALUE = 4.0
"""Rows that there must be for each of them, on average."""
MOST_COMBINATIONS = 4096
"""What is kept of the training rows' own conditions."""


class Conditions(ExactBuffers):
    """Condition columns in data units (B, J) → a condition (B, K), and draws of what the training rows had.

    A category has a number of its own, 1 where it is the row's; a column of numbers has one, in standard deviations.
    All are counted from their means over the training rows, so that 0 is an average condition. A category that no
    training row has says nothing of its column: 0 for each of its categories.

    An exposure is a condition with a duty of its own: the model multiplies the means of counts by it. It is told as
    ``log e - log mean(e)``, in the last place, so that the rates of a model are those at the mean exposure.

    Args:
        columns: names, dtypes and levels, J of them.
        known: the values of each column that holds categories, rising: places among the levels where there are any;
            None for a column of numbers.
        places: where each column stands in a row as its user has it, among the modelled columns; rising.
        num_combinations: rows of the table of combinations.
        exposure: which of the columns is the exposure; None where none is.
    """

    center: Tensor
    scale: Tensor
    combinations: Tensor
    counts: Tensor
    _column: Tensor
    _value: Tensor

    def __init__(
        self,
        columns: Sequence[Column],
        known: Sequence[Sequence[float] | None],
        places: Sequence[int],
        num_combinations: int,
        exposure: int | None = None,
    ) -> None:
        super().__init__()
        if num_combinations > MOST_COMBINATIONS:
            raise ValueError(f"at most {MOST_COMBINATIONS} combinations are kept")
        if exposure is not None and not (exposure in range(len(columns)) and known[exposure] is None):
            raise ValueError("the exposure is one of the columns of numbers")
        self.columns = tuple(columns)
        self.known = [None if values is None else [float(value) for value in values] for values in known]
        self.places = list(places)
        self.exposure = exposure
        slots = [(j, v) for j, values in enumerate(self.known) for v in ([np.nan] if values is None else values)]
        slots.sort(key=lambda slot: slot[0] == exposure)
        self.size = len(slots)
        self.register_buffer("_column", torch.tensor([column for column, _ in slots]), persistent=False)
        self.register_buffer("_value", torch.tensor([v for _, v in slots], dtype=torch.float64), persistent=False)
        self.register_buffer("center", torch.zeros(self.size, dtype=torch.float64))
        self.register_buffer("scale", torch.ones(self.size, dtype=torch.float64))
        self.register_buffer("combinations", torch.zeros(num_combinations, len(columns), dtype=torch.float64))
        self.register_buffer("counts", torch.ones(num_combinations, dtype=torch.float64))

    @classmethod
    def of(cls, dataset: Dataset) -> Self | None:
        """The conditions of a data set, their statistics those of the training rows; None where it has none.

        Raises:
            DataError: when a column has too many categories.
        """
        if dataset.train.condition is None:
            return None
        columns, values = dataset.condition_columns, dataset.train.condition.astype(np.float64)
        exposure = dataset.exposure_place
        known = [None if j == exposure else _find_known(column, values[:, j]) for j, column in enumerate(columns)]
        combinations, counts = np.unique(values, axis=0, return_counts=True)
        if len(combinations) > MOST_COMBINATIONS:
            some = np.linspace(0, len(values) - 1, MOST_COMBINATIONS).round().astype(int)
            combinations, counts = values[some], np.ones(MOST_COMBINATIONS, int)
        order = np.argsort(-counts, kind="stable")
        conditions = cls(columns, known, dataset.condition_places, len(order), exposure)
        conditions.combinations.copy_(torch.from_numpy(combinations[order]))
        conditions.counts.copy_(torch.from_numpy(counts[order].astype(np.float64)))
        told = conditions._tell(torch.from_numpy(values))
        conditions.center.copy_(told.mean(0))
        spread = told.std(0, correction=0)
        conditions.scale.copy_(torch.where(conditions._is_number & (spread > 0), spread, 1.0))
        if exposure is not None:
            conditions.center[-1], conditions.scale[-1] = told[:, -1].exp().mean().log(), 1.0
        return conditions

    def as_plain(self) -> dict[str, Any]:
        """The constructor's arguments in plain values, as records have them."""
        return {
            "columns": [column.as_plain() for column in self.columns],
            "known": self.known,
            "places": self.places,
            "num_combinations": len(self.counts),
            **({} if self.exposure is None else {"exposure": self.exposure}),
        }

    @property
    def names(self) -> list[str]:
        """The columns' names."""
        return [column.name for column in self.columns]

    @property
    def exposure_name(self) -> str | None:
        """The name of the exposure's column; None where there is none."""
        return None if self.exposure is None else self.columns[self.exposure].name

    @property
    def _is_number(self) -> Tensor:
        return torch.isnan(self._value)

    def forward(self, values: Tensor) -> Tensor:
        """The condition (B, K), float32, of rows whose condition columns hold ``values`` (B, J), data units."""
        told = self._tell(values)
        # Of each column's categories, the one that is the row's: was it in the training rows?
        is_seen = told.new_zeros(len(told), len(self.columns))
        is_seen = is_seen.index_add(1, self._column, told * (~self._is_number & (self.center > 0)))
        says = self._is_number | (is_seen.index_select(1, self._column) > 0)
        return torch.where(says, (told - self.center) / self.scale, 0.0).float()

    def _tell(self, values: Tensor) -> Tensor:
        """(B, K): numbers as they are, 0 and 1 for categories, the logarithm of an exposure."""
        given = values.double().index_select(-1, self._column)
        told = torch.where(self._is_number, given, (given == self._value).double())
        return told if self.exposure is None else torch.cat([told[..., :-1], told[..., -1:].log()], -1)

    def check(self, values: np.ndarray, place: Callable[[int], str], noun: str = "rows") -> None:
        """Hold values (N, J) in data units against what the columns may hold.

        Args:
            values: NaN where a cell is empty.
            place: what a row is called.
            noun: what messages call the rows.

        Raises:
            DataError: for empty cells and unknown values, naming the known ones.
        """
        for j, column in enumerate(self.columns):
            cells, known = values[:, j], self.known[j]
            empty, kind = ~np.isfinite(cells), "the exposure" if j == self.exposure else "a condition"
            if empty.any():
                raise DataError(
                    f"{int(empty.sum()):,} of {count(len(cells), 'value')} of the {noun} are missing in "
                    f"{column.name!r}, the first in {place(int(empty.argmax()))}. It is {kind}, which "
                    "every row must have: fill them, or leave these rows out."
                )
            if j == self.exposure and (says := find_unexposed(column.name, cells, place, noun)):
                raise DataError(says)
            wrong = np.zeros(len(cells), bool) if known is None else ~np.isin(cells, known)
            if wrong.any():
                raise DataError(
                    f"The column {column.name!r} must hold one of {self.list_known(j)}: {int(wrong.sum()):,} of "
                    f"{count(len(cells), 'value')} of the {noun} are something else, the first "
                    f"{cells[wrong.argmax()]:.6g} in {place(int(wrong.argmax()))}."
                )

    def recode(self, columns: Sequence[Column], values: np.ndarray) -> np.ndarray:
        """Values (N, J) of another data set's condition columns, whose order and levels may be others, as here.

        Raises:
            DataError: for levels that this one does not have.
        """
        places = {column.name: j for j, column in enumerate(columns)}
        again = np.empty(values.shape)
        for j, own in enumerate(self.columns):
            other, given = columns[places[own.name]], values[:, places[own.name]]
            if own.levels == other.levels:
                again[:, j] = given
                continue
            if own.levels is None or other.levels is None or not set(other.levels) <= set(own.levels):
                words = "numbers" if own.levels is None else f"one of {self.list_known(j)}"
                got = "numbers" if other.levels is None else shorten(map(repr, other.levels), 10)
                raise DataError(f"The column {own.name!r} must hold {words}. Got {got} instead.")
            again[:, j] = np.array([own.levels.index(level) for level in other.levels])[given.astype(int)]
        return again

    def list_known(self, j: int, seen: bool = False) -> str:
        """The categories of column ``j`` in words; with ``seen`` those of the training rows."""
        column, known = self.columns[j], self.known[j]
        assert known is not None
        if seen:
            shares = self.center[self._column == j].tolist()
            known = [value for value, share in zip(known, shares, strict=True) if share > 0]
        if column.levels is not None:
            return shorten([repr(column.levels[int(code)]) for code in known], 10)
        if column.dtype == "bool":
            return shorten([str(bool(value)) for value in known])
        return shorten([f"{value:.6g}" for value in known], FEW_VALUES)

    def is_seen(self, j: int, value: float) -> bool:
        """Whether the training rows have the category ``value`` of column ``j``; of numbers any is fine."""
        here = (self._column == j) & (self._value == value) & (self.center > 0)
        return self.known[j] is None or bool(here.any())

    def unseen(self) -> dict[str, str]:
        """The categories that no training row has, in words, by column."""
        found = {}
        for j, known in enumerate(self.known):
            missing = [value for value in known or () if not self.is_seen(j, value)]
            levels = self.columns[j].levels
            if missing:
                words = [f"{v:.6g}" if levels is None else repr(levels[int(v)]) for v in missing]
                found[self.columns[j].name] = shorten(words)
        return found

    def commonest(self, fixed: Mapping[int, float]) -> Tensor:
        """The combination that most training rows have, (1, J), data units; ``fixed`` as for :meth:`draw`.

        Of exposures it is their mean.
        """
        weights = self._weigh(fixed)
        if self.exposure is not None:
            fixed = {self.exposure: float(self.center[-1].exp()), **fixed}
        return self._fix(self.combinations.cpu()[weights.argmax()][None].clone(), fixed)

    def draw(self, num_rows: int, fixed: Mapping[int, float]) -> Tensor:
        """Conditions (num_rows, J) of training rows, data units, float64, from torch's global random stream.

        Args:
            num_rows: how many.
            fixed: values of columns. The others are drawn as the rows have them that share these values; where there
                are none, that share the categories among them; where there are none either, as all rows.
        """
        index = torch.multinomial(self._weigh(fixed), num_rows, replacement=True)
        return self._fix(self.combinations.cpu()[index], fixed)

    def _weigh(self, fixed: Mapping[int, float]) -> Tensor:
        """How many training rows each combination stands for, 0 for those that do not fit."""
        table, weights = self.combinations.cpu(), self.counts.cpu()
        for columns in ([*fixed], [j for j in fixed if self.known[j] is not None]):
            fits = torch.stack([table[:, j] == fixed[j] for j in columns]).all(0) if columns else weights > 0
            if bool(fits.any()):
                return weights * fits
        return weights

    @staticmethod
    def _fix(drawn: Tensor, fixed: Mapping[int, float]) -> Tensor:
        for j, value in fixed.items():
            drawn[:, j] = value
        return drawn

    def split(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Rows (N, C + J) as their users have them → the modelled columns (N, C) and the conditions (N, J)."""
        others = [place for place in range(rows.shape[1]) if place not in self.places]
        return rows[:, others], rows[:, self.places]

    def join(self, rows: np.ndarray, values: np.ndarray) -> np.ndarray:
        """What :meth:`split` took apart."""
        return join(rows, values, self.places)

    def join_columns(self, columns: Sequence[Column]) -> tuple[Column, ...]:
        """The columns of a row as its user has it; ``columns`` are the modelled ones."""
        joined = list(columns)
        for place, column in zip(self.places, self.columns, strict=True):
            joined.insert(place, column)
        return tuple(joined)


def _find_known(column: Column, values: np.ndarray) -> list[float] | None:
    """The values of a column that holds categories, rising; None where it holds numbers."""
    if column.levels is not None:
        if len(column.levels) > MOST_CATEGORIES:
            raise DataError(
                f"data.condition: {column.name!r} holds {len(column.levels):,} different texts, more than "
                f"{MOST_CATEGORIES:,}. Group them, or leave it away."
            )
        return [float(code) for code in range(len(column.levels))]
    if column.dtype == "bool":
        return [0.0, 1.0]
    found = np.unique(values)
    few = len(found) <= min(FEW_VALUES, len(values) / FEWEST_A_VALUE)
    is_whole = not column.is_date and bool((found == np.rint(found)).all())
    return found.tolist() if few and is_whole else None
