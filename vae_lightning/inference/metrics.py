"""Metrics of an evaluation pass, as torchmetrics so that they reduce across devices."""

import torch
from torch import Tensor
from torchmetrics import Metric

ACTIVE_UNIT_VARIANCE = 0.01
BOUND_SHARE = 0.95


class ELBOMeter(Metric):
    """Means over rows of the ELBO's terms, and the health of the latent code.

    ``compute`` returns 0-dim tensors, nats per row in model units: ``reconstruction`` = -E_q[log p(x|z)], ``kl``,
    ``nelbo`` = reconstruction + kl; ``active_units``, the latent dimensions with Var_x(E[z|x]) > 0.01 (Burda et al.
    2015, section 5.3); ``log_var_at_bound``, the share of posterior log-variances past 95 % of their bound;
    ``variance_at_floor``, the share of likelihood variances at theirs.

    Args:
        latent_dim: latent dimensions L.
        log_var_bound: the bound of the posterior's log-variance.
        num_columns: columns C; 0 keeps no sum for each of them.
        sync: add up what all processes saw; without, ``compute`` waits for none of them.

    Attributes:
        kl_by_dimension: mean KL of each latent dimension, (L,), as of the last ``compute``.
        nll_by_column: mean -E_q[log p(x|z)] of each column, (C,), as of the last ``compute``.
    """

    full_state_update = False
    rows: Tensor
    log_px: Tensor
    kl: Tensor
    loc: Tensor
    loc_squared: Tensor
    at_bound: Tensor
    at_floor: Tensor
    columns: Tensor

    def __init__(self, latent_dim: int, log_var_bound: float, num_columns: int = 0, sync: bool = True) -> None:
        super().__init__(sync_on_compute=sync)
        self.log_var_bound = log_var_bound
        self.add_state("rows", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("log_px", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("at_bound", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("at_floor", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        sizes = {"kl": latent_dim, "loc": latent_dim, "loc_squared": latent_dim, "columns": num_columns}
        for name, size in sizes.items():
            self.add_state(name, torch.zeros(size, dtype=torch.float64), dist_reduce_fx="sum")
        self.kl_by_dimension, self.nll_by_column = torch.zeros(latent_dim), torch.zeros(num_columns)

    def update(
        self,
        log_px: Tensor,
        kl: Tensor,
        loc: Tensor,
        log_var: Tensor,
        at_floor: Tensor,
        by_column: Tensor | None = None,
    ) -> None:
        """Add B rows.

        Args:
            log_px: log p(x|z) per draw and row, ``(S, B)``.
            kl: KL per row and latent dimension, ``(B, L)``.
            loc: posterior means, ``(B, L)``.
            log_var: posterior log-variances, ``(B, L)``.
            at_floor: share of the likelihood's variances at their floor, 0-dim.
            by_column: what ``log_px`` is the sum of, ``(S, B, C)``.
        """
        self.rows += loc.shape[0]
        self.log_px += log_px.mean(0).sum(dtype=torch.float64)
        self.kl += kl.sum(0, dtype=torch.float64)
        loc = loc.double()
        self.loc += loc.sum(0)
        self.loc_squared += loc.square().sum(0)
        self.at_bound += (log_var.abs() > BOUND_SHARE * self.log_var_bound).double().mean(-1).sum()
        self.at_floor += at_floor * loc.shape[0]
        if by_column is not None:
            self.columns += by_column.sum((0, 1)).double() / len(by_column)

    def compute(self) -> dict[str, Tensor]:
        reconstruction, kl = -self.log_px / self.rows, self.kl.sum() / self.rows
        self.kl_by_dimension, self.nll_by_column = self.kl / self.rows, -self.columns / self.rows
        variance = self.loc_squared / self.rows - (self.loc / self.rows).square()
        return {
            "nelbo": reconstruction + kl,
            "reconstruction": reconstruction,
            "kl": kl,
            "active_units": (variance > ACTIVE_UNIT_VARIANCE).sum().double(),
            "log_var_at_bound": self.at_bound / self.rows,
            "variance_at_floor": self.at_floor / self.rows,
        }
