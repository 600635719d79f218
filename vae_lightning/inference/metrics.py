"""Metrics of an evaluation pass, as torchmetrics so that they reduce across devices."""

from collections.abc import Callable

import torch
from torch import Tensor
from torchmetrics import Metric

from vae_lightning.data.batch import Batch
from vae_lightning.model.vae import VAE
from vae_lightning.objectives.terms import Pass

ACTIVE_UNIT_VARIANCE = 0.01


class ELBOMeter(Metric):
    """Means over rows of the ELBO's terms, and the health of the latent code.

    ``compute`` returns 0-dim tensors, nats per row in data units: ``reconstruction`` = -E_q[log p(x|z)], ``kl``,
    ``nelbo`` = reconstruction + kl; ``active_units``, the latent dimensions with Var_x(E[z|x]) > 0.01 (Burda et al.
    2015, section 5.3); ``variance_at_floor``, the share of likelihood variances at their floor; and what the
    posterior's ``health`` names, such as ``log_var_at_bound``.

    Args:
        vae: the model whose passes it is given.
        log_slopes: of rows, what each cell's log-density gains from model units to data units, (B, C), 0 where it is
            masked; by default 0.
        sync: add up what all processes saw; without, ``compute`` waits for none of them.

    Attributes:
        kl_by_dimension: mean KL of each latent dimension, (L,), as of the last ``compute``; the whole KL, (1,), where
            it is estimated by Monte Carlo.
        nll_by_column: mean -E_q[log p(x|z)] of each column, (C,), data units, as of the last ``compute``.
    """

    full_state_update = False
    rows: Tensor
    kl: Tensor
    mean: Tensor
    mean_squared: Tensor
    at_floor: Tensor
    columns: Tensor
    health: Tensor

    def __init__(self, vae: VAE, log_slopes: Callable[[Batch], Tensor] | None = None, sync: bool = True) -> None:
        super().__init__(sync_on_compute=sync)
        num_columns, latent_dim = vae.likelihood.num_columns, vae.latent_dim
        self.log_slopes = log_slopes
        self.health_names = _health_names(vae)
        sizes = {
            "kl": latent_dim if vae.kl_is_exact else 1,
            "mean": latent_dim,
            "mean_squared": latent_dim,
            "columns": num_columns,
            "health": len(self.health_names),
        }
        for name in ("rows", "at_floor"):
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        for name, size in sizes.items():
            self.add_state(name, torch.zeros(size, dtype=torch.float64), dist_reduce_fx="sum")
        self.kl_by_dimension, self.nll_by_column = torch.zeros(sizes["kl"]), torch.zeros(num_columns)

    def update(self, terms: Pass, batch: Batch, at_floor: Tensor) -> None:
        """Add B rows.

        Args:
            terms: a pass over them.
            batch: the rows.
            at_floor: share of the likelihood's variances at their floor, 0-dim.
        """
        weight = torch.ones((), dtype=torch.float64) if batch.weight is None else batch.weight.double()
        weight = weight.to(terms.kl.device).expand(batch.num_rows)
        count = weight.sum()
        mean = terms.posterior.mean.double()
        self.rows += count
        self.kl += weight @ terms.kl.double()
        self.mean += weight @ mean
        self.mean_squared += weight @ mean.square()
        self.at_floor += at_floor * count
        columns = terms.log_px.mean(0).double()
        self.columns += weight @ (columns if self.log_slopes is None else columns + self.log_slopes(batch))
        health = terms.posterior.health()
        if health:
            self.health += torch.stack([weight @ health[name].double() for name in self.health_names])

    def compute(self) -> dict[str, Tensor]:
        """The means, by name."""
        self.kl_by_dimension, self.nll_by_column = self.kl / self.rows, -self.columns / self.rows
        reconstruction, kl = self.nll_by_column.sum(), self.kl_by_dimension.sum()
        variance = self.mean_squared / self.rows - (self.mean / self.rows).square()
        return {
            "nelbo": reconstruction + kl,
            "reconstruction": reconstruction,
            "kl": kl,
            "active_units": (variance > ACTIVE_UNIT_VARIANCE).sum().double(),
            **dict(zip(self.health_names, self.health / self.rows, strict=True)),
            "variance_at_floor": self.at_floor / self.rows,
        }


@torch.no_grad()
def _health_names(vae: VAE) -> list[str]:
    """What the posterior tells of its health, whatever the rows."""
    raw = vae.output.weight.new_zeros(1, vae.posterior.raw_size)
    return list(vae.posterior(raw).health())
