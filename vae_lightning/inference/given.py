"""Rows some of whose cells are given, from a model that was not trained for it: importance resampling.

z is drawn from where samples come from, weighted by ``p(x_given | z)``, and drawn again by the weights; the other cells
follow from p(x|z), as cells are independent given z. With many draws that is exact; how many of them speak for it is
the effective sample size, ``(Σ w)² / Σ w²``.

Source:
    Rubin 1988, Using the SIR algorithm to simulate posterior distributions; Kong 1992 for the effective sample size.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vae_lightning.data.checks import is_illegal
from vae_lightning.data.dates import check_dates, join_columns, split_values, write_number
from vae_lightning.data.frames import to_number
from vae_lightning.data.wording import shorten
from vae_lightning.errors import DataError
from vae_lightning.inference.importance import rows_at_once
from vae_lightning.inference.units import DataUnits
from vae_lightning.shell import type_setting

ROUND = 2**14
"""Draws of z, after which it is asked whether they are enough."""
MOST_DRAWS = 2**18
MOST_NUMBERS = 2**25
"""Of all z that are held: fewer draws of many latent dimensions."""
ENOUGH = 1000.0
"""An effective sample size that ends the search for more."""
FEW = 100.0
"""One that is worth a warning."""
LEAST = 5.0
"""One below which rows would be copies of one another."""
HUGE = 1e300


class Pool(NamedTuple):
    """Draws of z and how much each counts.

    Attributes:
        z: shape (S, L).
        told: conditions in data units, (S, J); None where there are none.
        weights: p(x_given | z), the greatest of them 1, (S,), float64.
    """

    z: Tensor
    told: Tensor | None
    weights: Tensor

    @property
    def effective(self) -> float:
        """The effective sample size."""
        return float(self.weights.sum().square() / self.weights.square().sum())

    def draw(self, num_rows: int) -> tuple[Tensor, Tensor | None]:
        """z and conditions by their weights, from torch's global random stream."""
        index = torch.multinomial(self.weights, num_rows, replacement=True)
        return self.z[index.to(self.z.device)], None if self.told is None else self.told[index]

    def describe(self, given: Mapping[str, Any]) -> str:
        """How far the draws carry, in a sentence."""
        cells = " and ".join(f"{name}={value}" for name, value in given.items())
        says = (
            f"Given {cells}: effective sample size {self.effective:,.0f} of {len(self.weights):,} draws of z, by "
            "importance resampling."
        )
        if self.effective < FEW:
            says += f" That is little: rows repeat what few z say. {_advice(given)}"
        return says


def _advice(given: Mapping[str, Any]) -> str:
    fewer = "Give fewer cells, or train" if len(given) > 1 else "Train"
    return f"{fewer} with {type_setting('data.condition', list(given))}."


def find_cells(model: DataUnits, name: str, value: Any) -> dict[int, float]:
    """A value of a user's column as numbers of the model's columns: one, or of a date one for each of its parts.

    Args:
        model: that has the column among those that it models.
        name: of the column, or of a part of a date.
        value: as a user types it.

    Raises:
        DataError: for what is no value of the column.
    """
    names, table = [column.name for column in model.columns], join_columns(model.columns)
    if name in names:
        return {names.index(name): to_number(value, model.columns[names.index(name)])}
    index = [column.name for column in table].index(name)
    row = np.full((1, len(table)), np.nan)
    row[0, index] = to_number(value, table[index])
    cells, unknown = split_values(row, model.columns)
    check_dates(unknown, model.columns, lambda *_: repr(value))
    return {int(place): float(cells[0, place]) for place in np.flatnonzero(~np.isnan(cells[0]))}


def check_given(model: DataUnits, found: Mapping[int, float], given: Mapping[int, Any]) -> None:
    """Hold values of cells against what draws can be.

    Args:
        model: whose columns these are.
        found: the numbers of cells, by column.
        given: as they were typed.

    Raises:
        DataError: for values that the column cannot have, or that lie beyond the bounds that draws keep.
    """
    x = torch.full((1, len(model.columns)), torch.nan, dtype=torch.float64, device=model.vae.output.weight.device)
    low, high = (model.scaling.bound(torch.full_like(x, value))[0].tolist() for value in (-HUGE, HUGE))
    for i, value in found.items():
        x[0, i] = value
    supports = model.vae.likelihood.supports
    illegal = is_illegal(model.scaling.transform(x), supports)[0].tolist()
    for i, value in found.items():
        column, support = model.columns[i], supports[i]
        if illegal[i]:
            words = support.words
            if support.levels:
                codes = torch.arange(support.levels, device=x.device)[:, None].expand(-1, len(model.columns))
                known = model.scaling.inverse(codes.to(x))[:, i].tolist()
                words = f"one of {shorten([write_number(one, column) for one in known], 20)}"
            raise DataError(f"The column {column.name!r} must be {words}. Got {given[i]!r} instead.")
        if not low[i] <= value <= high[i] and not support.levels:
            raise DataError(
                f"The column {column.name!r} must be from {write_number(low[i], column)} to "
                f"{write_number(high[i], column)}, as the training rows are, whose bounds draws keep. "
                f"Got {given[i]!r} instead."
            )


def draw_pool(
    model: DataUnits, given: Mapping[int, float], fixed: Mapping[int, float], temperature: float, prior: bool
) -> Pool:
    """Draws of z, and of conditions, weighted by how likely they make the cells that are given.

    Args:
        model: in evaluation mode.
        given: values of modelled columns, data units.
        fixed: values of condition columns.
        temperature: of z.
        prior: z from the prior in any case.

    Raises:
        DataError: when hardly any draw makes these cells likely.
    """
    vae = model.vae
    columns = list(given)
    x = torch.full((1, len(model.columns)), torch.nan, dtype=torch.float64, device=vae.output.weight.device)
    x[0, columns] = torch.tensor([given[i] for i in columns], dtype=torch.float64, device=x.device)
    u = model.scaling.transform(x).to(vae.output.weight)
    u = torch.where(torch.isnan(x), vae.features.fill.to(u), u)
    parts: list[tuple[Tensor, Tensor | None, Tensor]] = []
    most = max(ROUND, min(MOST_DRAWS, MOST_NUMBERS // vae.latent_dim))
    while True:
        told = model.draw_conditions(ROUND, fixed)
        z = model.draw_codes(ROUND, temperature, prior)
        log_weights = []
        for index in torch.arange(ROUND, device=z.device).split(rows_at_once(vae, 1)):
            condition = None if told is None else model.tell(told[index.cpu()])
            log_px = vae.decode(z[index], condition).log_prob(u)
            log_weights.append(log_px[..., columns].sum(-1).double().cpu())
        parts.append((z, told, torch.cat(log_weights)))
        pool = _gather(parts)
        if pool is not None and pool.effective >= ENOUGH:
            return pool
        if len(parts) * ROUND >= most:
            break
    if pool is None or pool.effective < LEAST:
        cells = {model.columns[i].source: value for i, value in given.items()}
        size = 0.0 if pool is None else pool.effective
        raise DataError(
            f"Cells as given are too rare: of {len(parts) * ROUND:,} draws of z an effective sample size of {size:.1f} "
            f"makes them likely, and rows would be copies of so few. {_advice(cells)}"
        )
    return pool


def _gather(parts: list[tuple[Tensor, Tensor | None, Tensor]]) -> Pool | None:
    """None where no draw has any weight."""
    zs, tolds, logs = zip(*parts, strict=True)
    log_weights = torch.cat(logs).nan_to_num(nan=-torch.inf, neginf=-torch.inf)
    top = log_weights.max()
    if not bool(torch.isfinite(top)):
        return None
    told = None if tolds[0] is None else torch.cat(tolds)
    return Pool(torch.cat(zs), told, (log_weights - top).exp())
