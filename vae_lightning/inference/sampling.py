"""New rows in data units: for any conditions or chosen ones, and with cells that are given."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from vae_lightning.data.columns import Column
from vae_lightning.data.dates import join_columns
from vae_lightning.data.frames import from_matrix, to_number
from vae_lightning.data.seeds import random_stream, stream_seed
from vae_lightning.data.store import ROWS_AT_ONCE
from vae_lightning.data.wording import shorten
from vae_lightning.errors import DataError, check_parameter, did_you_mean, is_count
from vae_lightning.inference.evaluating import evaluating
from vae_lightning.inference.given import Pool, check_given, draw_pool, find_cells
from vae_lightning.inference.units import DataUnits


@dataclass(frozen=True)
class Draws:
    """Which rows are wanted, beside how many.

    Args:
        seed: the same seed gives the same rows; without one they follow torch's global random stream.
        mean: the means of p(x|z) instead of draws.
        temperature: standard deviations of z are multiplied by it.
        prior: draw z from the prior in any case.
        where: values of condition columns, by name.
        given: values of modelled columns, by name.
    """

    seed: int | None = None
    mean: bool = False
    temperature: float = 1.0
    prior: bool = False
    where: Mapping[str, Any] = field(default_factory=dict)
    given: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        legal_seed = self.seed is None or (is_count(self.seed, 0) and self.seed < 2**63)
        check_parameter("sample", "seed", legal_seed, "a whole number from 0 on and below 2**63, or None", self.seed)
        legal = 0 <= self.temperature < np.inf
        check_parameter("sample", "temperature", legal, "0 or more, and finite", self.temperature)
        for name in ("where", "given"):
            asked = getattr(self, name)
            check_parameter("sample", name, isinstance(asked, Mapping), "values by name of column", asked)

    def stream(self, *purpose: str | int) -> Any:
        """The random stream of some of the draws."""
        return random_stream(None if self.seed is None else stream_seed(self.seed, *purpose))


def sample_batches(
    model: DataUnits, num_rows: int, draws: Draws, notify: Callable[[str], None]
) -> Iterator[pd.DataFrame]:
    """New rows, a batch at a time.

    Args:
        model: trained.
        num_rows: how many.
        draws: which.
        notify: is told how well cells that are given could be met.
    """
    check_parameter("sample", "num_rows", is_count(num_rows), "a whole number from 1 on", num_rows)
    fixed, given = find_conditions(model, draws.where), _find_given(model, draws.given)
    pool = None
    if given:
        with draws.stream("given"):
            pool = evaluating(draw_pool)(model, given, fixed, draws.temperature, draws.prior)
        notify(pool.describe(draws.given))
    dtypes = [
        np.dtype(np.float64) if draws.mean and _is_modelled_whole(model, column) else column.dtype
        for column in model.table_columns
    ]
    for start in range(0, num_rows, ROWS_AT_ONCE):
        with draws.stream("sample", start):
            rows = _draw(model, min(ROWS_AT_ONCE, num_rows - start), draws, fixed, given, pool)
        yield from_matrix(rows, model.input_columns, pd.RangeIndex(start, start + len(rows)), dtypes)


@evaluating
def _draw(
    model: DataUnits,
    num_rows: int,
    draws: Draws,
    fixed: Mapping[int, float],
    given: Mapping[int, float],
    pool: Pool | None,
) -> np.ndarray:
    """Rows (num_rows, C + J), data units."""
    told: Tensor | None
    if pool is None:
        told = model.draw_conditions(num_rows, fixed)
        z = model.draw_codes(num_rows, draws.temperature, draws.prior)
    else:
        z, told = pool.draw(num_rows)
    px, scaling = model.vae.decode(z, model.tell(told)), model.scaling
    drawn = scaling.inverse(px.point) if draws.mean else scaling.bound_rows(scaling.inverse(px.sample()))
    values: np.ndarray = drawn.cpu().numpy()
    for column, value in given.items():
        values[:, column] = value
    if told is None or model.conditions is None:
        return values
    return model.conditions.join(values, told.numpy())


def find_conditions(model: DataUnits, where: Mapping[str, Any]) -> dict[int, float]:
    """Values of condition columns by their numbers.

    Raises:
        DataError: for what is no condition of the model, or a value that it does not know.
    """
    if not where:
        return {}
    conditions = model.conditions
    if conditions is None:
        raise DataError(
            f"The model has no conditions, so that nothing can be drawn where {_words(where)}: train it with "
            "data.condition. Columns that it models are given instead (--given NAME=VALUE, given={...})."
        )
    fixed = {}
    for name, value in where.items():
        j = _find(name, conditions.columns, "condition", [c.name for c in join_columns(model.columns)], "given")
        column, known = conditions.columns[j], conditions.known[j]
        words = None if known is None else f"one of {conditions.list_known(j, seen=True)}"
        number = to_number(value, column, words)
        if known is not None and not conditions.is_seen(j, number):
            raise DataError(f"The column {column.name!r} must be {words}. Got {value!r} instead.")
        if j == conditions.exposure and number <= 0:
            raise DataError(f"The column {column.name!r} must be a number above 0. Got {value!r} instead.")
        fixed[j] = number
    return fixed


def _find_given(model: DataUnits, given: Mapping[str, Any]) -> dict[int, float]:
    told = [] if model.conditions is None else model.conditions.names
    table = join_columns(model.columns)
    parts = tuple(column for column in model.columns if column.part is not None)
    found, typed = dict[int, float](), dict[int, Any]()
    for name, value in given.items():
        _find(name, (*table, *parts), "column", told, "where")
        cells = find_cells(model, name, value)
        found |= cells
        typed |= dict.fromkeys(cells, value)
    check_given(model, found, typed)
    return found


def _find(name: str, columns: tuple[Column, ...], noun: str, elsewhere: list[str], other: str) -> int:
    names = [column.name for column in columns]
    if name in names:
        return names.index(name)
    if name in elsewhere:
        kind = "modelled" if other == "given" else "a condition"
        raise DataError(f"The column {name!r} is {kind}: fix it with --{other} {name}=VALUE, or {other}={{...}}.")
    hint = did_you_mean(name, names) or f"There are {shorten(map(repr, names), 10)}."
    raise DataError(f"The model has no {noun} {name!r}. {hint}")


def _words(cells: Mapping[str, Any]) -> str:
    return " and ".join(f"{name}={value}" for name, value in cells.items())


def _is_modelled_whole(model: DataUnits, column: Column) -> bool:
    return column in model.columns and np.dtype(column.dtype).kind in "iub"
