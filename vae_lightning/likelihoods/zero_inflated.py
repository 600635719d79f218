"""Zero-inflated likelihood: columns that are 0 more often than their other values would have it."""

from collections.abc import Iterator
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from vae_lightning.errors import check_parameter
from vae_lightning.likelihoods.base import Likelihood, Predictive
from vae_lightning.likelihoods.gamma import Gamma
from vae_lightning.likelihoods.log_normal import LogNormal
from vae_lightning.likelihoods.logarithms import log_sigmoid
from vae_lightning.likelihoods.moments import RowBatch, RowBatches, Together, column_sums
from vae_lightning.likelihoods.negative_binomial import NegativeBinomial
from vae_lightning.likelihoods.poisson import Poisson
from vae_lightning.likelihoods.support import COUNT, NONNEGATIVE

Inner = Literal["poisson", "negative_binomial", "log_normal", "gamma"]
INNER: dict[str, type[Likelihood]] = {one.name(): one for one in (Poisson, NegativeBinomial, LogNormal, Gamma)}
GUESSES, ROUNDS = torch.linspace(0, 1, 9), 2
"""Shares of the zeros that are tried as the other values' own, and how often, each time between two of them."""


class ZeroInflated(Likelihood):
    """``p(0) = g + (1 - g) f(0)`` and ``p(x) = (1 - g) f(x)`` else: with probability g a cell is 0, else drawn from f.

    The logit of g is the last raw number of a column; those before are the raw numbers of f. Of positive numbers, whose
    f says nothing of 0, a zero has a probability and any other value a density.

    Args:
        num_columns: number of columns C.
        family: f, with a shape of its own for each column: ``poisson`` or ``negative_binomial`` for counts,
            ``log_normal`` or ``gamma`` for zeros and positive numbers.

    Raises:
        ConfigError: for another ``family``.
    """

    support = COUNT

    def __init__(self, num_columns: int, family: Inner = "negative_binomial") -> None:
        check_parameter("ZeroInflated", "family", family in INNER, f"one of {', '.join(get_args(Inner))}", family)
        super().__init__(num_columns, [COUNT if INNER[family].support == COUNT else NONNEGATIVE] * num_columns)
        self.inner = INNER[family](num_columns)
        self.has_zeros = self.inner.support.is_probability
        self.raw_size = self.inner.raw_size + num_columns

    def forward(self, raw: Tensor) -> Predictive:
        inner, gate = raw.split([self.inner.raw_size, self.num_columns], -1)
        return ZeroInflatedPredictive(self.inner(inner), gate, self.has_zeros)

    def max_log_prob(self) -> Tensor:
        return self.inner.max_log_prob()

    def start_from(  # what f has of locations is lost among the zeros
        self,
        rows: RowBatches,
        residual: Tensor | None = None,  # noqa: ARG002
        held: Tensor | None = None,  # noqa: ARG002
    ) -> Tensor:
        inner_rows, gate = self._separate(rows)
        return torch.cat([self.inner.start_from(inner_rows), gate.float()])

    def independent_columns(self, rows: RowBatches) -> Predictive:
        inner_rows, gate = self._separate(rows)
        inner = self.inner.independent_columns(inner_rows)
        return ZeroInflatedPredictive(inner, gate.float(), self.has_zeros)

    def entropy_floor(self, x: Tensor) -> Tensor:
        is_zero = x == 0
        of_others = self.inner.entropy_floor(torch.where(is_zero, 1.0, x))
        return torch.where(is_zero, -self.max_log_prob().to(x).clamp_max(0), of_others)

    def at_floor(self, p: Predictive) -> Tensor:
        assert isinstance(p, ZeroInflatedPredictive)
        return self.inner.at_floor(p.inner)

    def _separate(self, rows: RowBatches) -> tuple[RowBatches, Tensor]:
        """The rows that are f's, and the logit of g of each column (C,), float64: where the likelihood is greatest.

        Of w zeros that are f's own, f fitted to them and to all other values expects ``(w + others) f(0)``: as many as
        they are, where the likelihood is greatest. Half a cell of each kind is imagined, so that g is never 0 or 1.
        """
        zeros, cells = column_sums(rows, lambda x: (x == 0).double())
        others = _Others(rows)
        if not self.has_zeros:
            return others, _logit((zeros + 0.5) / (cells + 1))
        own = self._find_own(others, zeros, cells - zeros)
        return Together(others, _Zeros(own)), _logit((zeros - own + 0.5) / (cells + 1))

    def _find_own(self, others: RowBatches, zeros: Tensor, num_others: Tensor) -> Tensor:
        """How many of the zeros are f's own, (C,): several guesses are fitted at a time, as columns side by side."""
        low, high = torch.zeros_like(zeros), zeros
        many = type(self.inner)(len(GUESSES) * self.num_columns)
        for _ in range(ROUNDS):
            own = low + (high - low) * GUESSES.to(low)[:, None]
            f = many.independent_columns(Together(_Repeated(others, len(GUESSES)), _Zeros(own.flatten())))
            at_zero = f.log_prob(torch.zeros(own.numel(), device=own.device)).double().exp().view(own.shape)
            missing = (num_others + own) * at_zero - own
            # It falls from above 0 at no zeros: where it crosses 0 between two guesses, or never does.
            before = ((missing > 0).cumprod(0).sum(0) - 1).clamp(0, len(GUESSES) - 2)[None]
            low, high = own.gather(0, before)[0], own.gather(0, before + 1)[0]
            over, under = missing.gather(0, before)[0], missing.gather(0, before + 1)[0]
        share = (over / (over - under).clamp_min(torch.finfo(torch.float64).tiny)).clamp(0, 1)
        return low + (high - low) * torch.where(under > 0, 1.0, share)


class ZeroInflatedPredictive(Predictive):
    """Draws of f, or 0.

    Args:
        inner: f.
        gate: logit of g, shape (..., C).
        has_zeros: whether f itself may be 0.
    """

    def __init__(self, inner: Predictive, gate: Tensor, has_zeros: bool) -> None:
        self.inner = inner
        self.gate = gate
        self.has_zeros = has_zeros

    def log_prob(self, x: Tensor) -> Tensor:
        is_zero = x == 0
        log_zero, log_other = log_sigmoid(self.gate), log_sigmoid(-self.gate)
        of_inner = log_other + self.inner.log_prob(x if self.has_zeros else torch.where(is_zero, 1.0, x))
        at_zero = torch.logaddexp(log_zero, of_inner) if self.has_zeros else log_zero.expand_as(of_inner)
        return torch.where(is_zero, at_zero, of_inner)

    def sample(self) -> Tensor:
        drawn = self.inner.sample()
        with torch.no_grad():
            return torch.where(torch.rand_like(drawn) < torch.sigmoid(self.gate), 0.0, drawn)

    def expose(self, log_exposure: Tensor) -> Predictive:
        return ZeroInflatedPredictive(self.inner.expose(log_exposure), self.gate, self.has_zeros)

    @property
    def mean(self) -> Tensor:
        return torch.sigmoid(-self.gate) * self.inner.mean

    @property
    def stddev(self) -> Tensor:
        # In multiples of the mean, whose square may be more than single precision holds.
        relative = ((self.inner.stddev / self.inner.mean).square() + torch.sigmoid(self.gate)).sqrt()
        return torch.sigmoid(-self.gate).sqrt() * self.inner.mean * relative

    @property
    def bulk(self) -> tuple[Tensor, Tensor]:
        return self.inner.bulk


class _SomeCells(NamedTuple):
    """A batch."""

    x: Tensor
    mask: Tensor | None
    weight: Tensor | None


class _Others:
    """Rows without the cells that are 0."""

    def __init__(self, rows: RowBatches) -> None:
        self.rows = rows

    def batches(self) -> Iterator[RowBatch]:
        """As of the rows."""
        for batch in self.rows.batches():
            mask = batch.x != 0
            yield _SomeCells(batch.x, mask if batch.mask is None else mask & batch.mask, batch.weight)


class _Zeros:
    """As many zeros in each column as ``weight`` (C,) says."""

    def __init__(self, weight: Tensor) -> None:
        self.weight = weight

    def batches(self) -> Iterator[RowBatch]:
        """A single row."""
        yield _SomeCells(torch.zeros_like(self.weight[None]), None, self.weight[None])


class _Repeated:
    """The columns of rows several times, side by side."""

    def __init__(self, rows: RowBatches, times: int) -> None:
        self.rows = rows
        self.times = times

    def batches(self) -> Iterator[RowBatch]:
        """As of the rows."""
        for batch in self.rows.batches():
            mask = None if batch.mask is None else batch.mask.repeat(1, self.times)
            of_cells = batch.weight is not None and batch.weight.dim() == 2
            weight = batch.weight.repeat(1, self.times) if of_cells else batch.weight  # type: ignore[union-attr]
            yield _SomeCells(batch.x.repeat(1, self.times), mask, weight)


def _logit(share: Tensor) -> Tensor:
    return share.log() - torch.log1p(-share)
