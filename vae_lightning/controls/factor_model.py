"""The model of factor analysis: its density, and what it makes of cells that are empty."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from vae_lightning.controls.base import Control
from vae_lightning.likelihoods.bounds import REACHABLE
from vae_lightning.likelihoods.moments import RowBatch

LEAST_NOISE = 1e-5 ** (2 * REACHABLE)
"""Floor under the noise variances, model units: what a Gaussian likelihood can be started at."""
CELLS_AT_ONCE = 2**22
"""Numbers held at once for rows with empty cells: 32 MiB."""


class Known(NamedTuple):
    """What the observed cells of B rows, which have P patterns of holes, tell of z.

    Attributes:
        x: the rows, (B, C), float64; anything where ``mask`` is False.
        mask: which cells are observed, (B, C).
        patterns: the different masks, (P, C).
        pattern: that of each row, (B,).
        root: Cholesky factors of the posterior precisions of z, (P, L, L).
        half_mean: ``root⁻¹ loadingsᵀ (x - mean) / noise`` over observed cells, (B, L).
        log_prob: of the observed cells, (B,).
    """

    x: Tensor
    mask: Tensor
    patterns: Tensor
    pattern: Tensor
    root: Tensor
    half_mean: Tensor
    log_prob: Tensor


@dataclass(frozen=True)
class FactorAnalysis(Control):
    """``x = mean + loadings z + noise^½ ε`` with z ~ N(0, I) of L dimensions, ε ~ N(0, I) of C (Rubin & Thayer 1982).

    The loadings are rotated so that ``loadingsᵀ diag(1 / noise) loadings`` is diagonal, d: then the posterior of z has
    independent dimensions, of mean ``loadingsᵀ (x - mean) / noise / (1 + d)`` and variance ``1 / (1 + d)``.

    Attributes:
        mean: (C,), float64; all in model units.
        loadings: (C, L); columns that are not needed are 0.
        noise: variances, (C,).
    """

    mean: Tensor
    loadings: Tensor
    noise: Tensor

    @property
    def words(self) -> str:
        size = self.loadings.shape[1]
        return f"factor analysis with {size} latent dimension{'s' if size != 1 else ''}"

    @property
    def signal(self) -> Tensor:
        """d, (L,): how much of each dimension of z a row tells; its posterior variance is 1 / (1 + d)."""
        return (self.loadings.square() / self.noise[:, None]).sum(0)

    def with_noise(self, share: float, free: Tensor) -> "FactorAnalysis | None":
        """The same density of x with ``share`` of the noise of some columns: the loadings tell the rest.

        ``loadings loadingsᵀ + diag(noise)`` stays what it is. None where that takes more than L dimensions.

        Args:
            share: above 0, at most 1.
            free: which columns' noise may change, (C,), bool.
        """
        size = self.loadings.shape[1]
        if int(free.sum()) > size:
            return None
        noise = torch.where(free, (share * self.noise).clamp_min(LEAST_NOISE).minimum(self.noise), self.noise)
        root = noise.sqrt()[:, None]
        told = (self.loadings @ self.loadings.T + (self.noise - noise).diag()) / root / root.T
        values, vectors = torch.linalg.eigh(told)
        loadings = (root * vectors * values.clamp_min(0).sqrt()).flip(1)[:, :size]
        return FactorAnalysis(self.mean, torch.nn.functional.pad(loadings, (0, size - loadings.shape[1])), noise)

    def log_prob(self, batch: RowBatch) -> Tensor:
        """``log N(x; mean, loadings loadingsᵀ + diag(noise))`` of each row's observed cells, (B,), nats, float64."""
        if batch.mask is not None:
            return torch.cat([known.log_prob for known in self.observe(batch)])
        model = self._to(batch.x.device)
        whitened = (batch.x.double() - model.mean) / model.noise.sqrt()
        scaled = model.loadings / model.noise.sqrt()[:, None]
        # The determinant and the inverse of C x C through those of L x L (Woodbury).
        root = torch.linalg.cholesky(torch.eye(len(scaled.T)).to(scaled) + scaled.T @ scaled)
        explained = torch.linalg.solve_triangular(root, (whitened @ scaled).T, upper=False).square().sum(0)
        log_det = 2 * root.diagonal().log().sum()
        log_noise = (math.log(2 * math.pi) + model.noise.log()).sum()
        return -0.5 * (log_noise + log_det + whitened.square().sum(-1) - explained)

    def observe(self, batch: RowBatch) -> Iterator[Known]:
        """What the observed cells of rows with a mask tell of z, some rows at a time: ``O(P C L²)`` for P patterns."""
        assert batch.mask is not None
        model = self._to(batch.x.device)
        num_columns, size = model.loadings.shape
        scaled = model.loadings / model.noise.sqrt()[:, None]
        products = (scaled[:, :, None] * scaled[:, None]).flatten(1)
        log_noise = math.log(2 * math.pi) + model.noise.log()
        num_rows = max(1, CELLS_AT_ONCE // max(num_columns, size**2))
        for x, mask in zip(batch.x.split(num_rows), batch.mask.split(num_rows), strict=True):
            patterns, pattern = torch.unique(mask, dim=0, return_inverse=True)
            inner = (
                (patterns.double() @ products).view(-1, size, size) if size else products.new_zeros(len(patterns), 0, 0)
            )
            root = torch.linalg.cholesky(torch.eye(size).to(inner) + inner)
            log_det = (patterns * log_noise).sum(1) + 2 * root.diagonal(dim1=1, dim2=2).log().sum(1)
            whitened = torch.where(mask, (x.double() - model.mean) / model.noise.sqrt(), 0.0)
            half_mean = torch.linalg.solve_triangular(root[pattern], (whitened @ scaled)[..., None], upper=False)[
                ..., 0
            ]
            log_prob = -0.5 * (log_det[pattern] + whitened.square().sum(1) - half_mean.square().sum(1))
            yield Known(x.double(), mask, patterns, pattern, root, half_mean, log_prob)

    def fill(self, known: Known) -> Tensor:
        """Rows (B, C) with the conditional means of their masked cells, float64."""
        root = known.root[known.pattern].mT
        z = torch.linalg.solve_triangular(root, known.half_mean[..., None], upper=True)[..., 0]
        model = self._to(z.device)
        return torch.where(known.mask, known.x, model.mean + z @ model.loadings.T)

    def _to(self, device: torch.device) -> "FactorAnalysis":
        return FactorAnalysis(self.mean.to(device), self.loadings.to(device), self.noise.to(device))
