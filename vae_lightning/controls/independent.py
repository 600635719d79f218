"""Independent columns, the best model without z, of rows whose counts may have an exposure."""

from collections.abc import Iterator
from copy import deepcopy

import torch
from torch import Tensor

from vae_lightning.controls.rows import spread
from vae_lightning.data.batch import Batch, Batches
from vae_lightning.data.store import RowsInMemory
from vae_lightning.likelihoods.base import Likelihood

MOST_ROWS, MOST_CELLS, FEWEST_ROWS = 4096, 2**20, 256
"""Rows that are fitted to: the first number, or as many as hold so many cells, but no fewer than the last."""
STEPS, FIRST_STEP = 40, 0.1
"""Of the fit to rows with exposures, and how far its first one goes in the raw numbers, which are logarithms."""
IMAGINED = 0.5
"""A row of mean counts, at least 1, beside the others: no rate is ever 0."""


def log_exposure(batch: Batch) -> Tensor:
    """log of each row's exposure, of which the mean over training rows is 1, (B, 1): the last number of a condition."""
    assert batch.condition is not None
    return batch.condition[:, -1:]


class Rates:
    """Rows with each count divided by its row's exposure e, and weighing e.

    A Poisson's best rate is the weighted mean of x / e, ``Σ x / Σ e``; and the weighted variance of a negative
    binomial's x / e is ``μ + μ² / r``, that of a row with an exposure of 1. So families that know of no exposure fit
    them, exactly or nearly.

    Args:
        rows: with exposures.
        counts: which columns hold counts, (C,), bool.
    """

    def __init__(self, rows: Batches, counts: Tensor) -> None:
        self.rows = rows
        self.counts = counts

    def batches(self) -> Iterator[Batch]:
        """As of the rows."""
        for batch in self.rows.batches():
            exposure = torch.where(self.counts.to(batch.x.device), log_exposure(batch).exp(), 1.0)
            weight = exposure if batch.weight is None else exposure * batch.weight[:, None]
            yield Batch(batch.x / exposure, batch.mask, batch.condition, weight)


class IndependentColumns:
    """The best model of a family that ignores z: one distribution for each column, of a count one for each exposure.

    Args:
        likelihood: the family, which stays as it is.
        rows: what it is fitted to.
        exposed: whether the rows have exposures.
        refined: whether rates are more than a start from which the fit goes on.
    """

    def __init__(self, likelihood: Likelihood, rows: Batches, exposed: bool = False, refined: bool = True) -> None:
        self.fill, self.counts, self.exposed = likelihood.fill, likelihood.count_columns, exposed
        self.alone = likelihood.independent_columns(Rates(rows, self.counts) if exposed else rows)
        self.of_counts = self.alone
        if exposed and refined:
            some = _thin(rows, likelihood.num_columns)
            twin, on_cpu = deepcopy(likelihood).cpu(), some.to(torch.device("cpu"))
            raw = start_exposed(twin, on_cpu, twin.start_from(Rates(on_cpu, self.counts)))
            with torch.no_grad():
                self.of_counts = twin.to(some.device)(raw.to(some.device))

    def log_prob(self, batch: Batch) -> Tensor:
        """log p of each cell, (B, C), nats; 0 where it is masked."""
        x = batch.x if batch.mask is None else torch.where(batch.mask, batch.x, self.fill.to(batch.x))
        found = self.alone.log_prob(x)
        if self.exposed:
            of_counts = self.of_counts.expose(log_exposure(batch)).log_prob(x)
            found = torch.where(self.counts.to(x.device), of_counts, found)
        return found.expand(x.shape) if batch.mask is None else torch.where(batch.mask, found, 0.0)


def start_exposed(likelihood: Likelihood, rows: Batches, raw: Tensor) -> Tensor:
    """Fit a likelihood's own parameters and constant raw numbers (R,) to the counts of rows with exposures.

    By signs of the gradient (Rprop), whose steps are as large for rare counts as for great ones. What is no count
    stays.

    Args:
        likelihood: whose parameters are set.
        rows: of which some thousand are looked at.
        raw: where to start.

    Returns:
        The raw numbers.

    Source:
        Riedmiller & Braun 1993, A direct adaptive method for faster backpropagation learning: the RPROP algorithm.
    """
    some = _thin(rows, likelihood.num_columns).rows
    counts = likelihood.count_columns.nonzero()[:, 0].to(some.x.device)
    seen = torch.ones_like(some.x, dtype=torch.bool) if some.mask is None else some.mask
    x = torch.where(seen, some.x, likelihood.fill.to(some.x)).double()
    weight = seen.double() if some.weight is None else seen * some.weight.double()[:, None]
    usual = ((weight * x).sum(0) / weight.sum(0).clamp_min(1)).round().clamp_min(1)
    usual = torch.where(likelihood.count_columns.to(x.device), usual, likelihood.fill.to(x))
    x = torch.cat([x, usual[None]])
    weight = torch.cat([weight, torch.full_like(usual, IMAGINED)[None]])[:, counts]
    exposures = torch.cat([log_exposure(some).double(), x.new_zeros(1, 1)])

    twin = deepcopy(likelihood).to(x.device).double()
    best, least = (raw, twin.state_dict()), torch.inf
    free = raw.to(x.device).double().requires_grad_()
    with torch.enable_grad():
        optimizer = torch.optim.Rprop([free, *twin.parameters()], lr=FIRST_STEP)
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss = -(weight * twin(free).expose(exposures).log_prob(x)[:, counts]).sum()
            if float(loss.detach()) < least:
                least = float(loss.detach())
                best = free.detach().to(raw), deepcopy(twin.state_dict())
            loss.backward()
            optimizer.step()
    likelihood.load_state_dict(best[1])
    return best[0]


def _thin(rows: Batches, num_columns: int) -> RowsInMemory:
    return RowsInMemory.of(spread(rows, min(MOST_ROWS, max(MOST_CELLS // num_columns, FEWEST_ROWS))))
