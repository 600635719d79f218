"""The scale of a location-scale family: five ways to set it, a floor under each column's."""

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from vae_lightning.errors import check_parameter
from vae_lightning.likelihoods.bounds import REACHABLE, smooth_bound, smooth_bound_inverse
from vae_lightning.likelihoods.moments import RowBatch, cell_weights

ScaleKind = Literal["fixed", "shared", "per_column", "predicted", "optimal"]
SCALE_KINDS: tuple[ScaleKind, ...] = get_args(ScaleKind)


class Scale(nn.Module):
    """The scale s of each column's density, ``s² = exp(bound tanh(r / bound)) + held`` where r is learned or predicted.

    No s falls below ``min_scale``, so no density grows without limit; where a column has a scale of its own, nor below
    the square root of what is held of its variance (see :func:`~vae_lightning.likelihoods.moments.held_variances`).

    Args:
        num_columns: number of columns C.
        kind: ``fixed``: given by ``value``. ``shared``: one learned number. ``per_column``: one for each column.
            ``predicted``: emitted by the decoder for each entry, C raw numbers more. ``optimal``: the analytic
            maximiser over the training rows, tracked as a running mean over batches (Rybkin et al. 2021, eq. 5).
        value: s where it is fixed, in model units.
        min_scale: floor under s, in model units.
        momentum: weight of the newest batch in the running mean of ``optimal``.
        power: p of the family's maximum-likelihood scale, ``s^p = mean |x - m|^p``: 2 for Gaussian, 1 for Laplace.
        owner: the family, for messages.
        kind_name: what the family calls ``kind``.
        value_name: what it calls ``value``.

    Raises:
        ConfigError: for an unknown kind, a scale that is not positive, a floor outside (0, 1) or a momentum outside
            (0, 1].
    """

    fitted: Tensor
    held: Tensor

    def __init__(
        self,
        num_columns: int,
        kind: ScaleKind,
        value: float,
        min_scale: float,
        momentum: float,
        power: int,
        owner: str,
        kind_name: str,
        value_name: str,
    ) -> None:
        super().__init__()
        check_parameter(owner, kind_name, kind in SCALE_KINDS, f"one of {', '.join(SCALE_KINDS)}", kind)
        check_parameter(owner, value_name, 0 < value < math.inf, "positive and finite", value)
        check_parameter(owner, "min_scale", 0 < min_scale < 1, "between 0 and 1", min_scale)
        check_parameter(owner, "momentum", 0 < momentum <= 1, "above 0 and at most 1", momentum)
        self.kind = kind
        self.power = power
        self.momentum = momentum
        self.statistics_size = 2 if kind == "optimal" else 0
        self.floor = value if kind == "fixed" else min_scale
        #: The least s that it can be started at.
        self.least_start = value if kind == "fixed" else min_scale**REACHABLE
        self.bound = -2 * math.log(min_scale)
        self.raw_size = num_columns if kind == "predicted" else 0
        size = {"shared": 1, "per_column": num_columns}.get(kind)
        self.raw_log_var = nn.Parameter(torch.zeros(size)) if size else None
        #: Whether each column has a scale of its own.
        self.is_own = kind in ("per_column", "predicted")
        # What is not learned still belongs to the checkpoint.
        self.register_buffer("held", torch.zeros(num_columns) if self.is_own else None)
        given = {"fixed": value, "optimal": 1.0}.get(kind)
        self.register_buffer("fitted", None if given is None else torch.tensor(given))

    def split(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Raw numbers (..., C + raw_size) → locations (..., C) and scales, broadcastable to them."""
        if self.raw_size:
            location, raw_log_var = raw.chunk(2, dim=-1)
            return location, self._scale(raw_log_var)
        if self.raw_log_var is not None:
            return raw, self._scale(self.raw_log_var)
        # A copy: `update` writes into it before the gradients of this step are taken.
        return raw, self.fitted.clone()

    def _scale(self, raw_log_var: Tensor) -> Tensor:
        log_var = smooth_bound(raw_log_var, self.bound)
        return (log_var.exp() + self.held).sqrt() if self.is_own else torch.exp(0.5 * log_var)

    def tie(self, error: Tensor, held: Tensor) -> Tensor:
        """Maximum-likelihood scales from each column's mean error ``mean |x - m|^p`` (C,), tied where the kind ties.

        Args:
            error: of each column.
            held: what s² of a column with a scale of its own may not fall below, (C,).
        """
        if self.kind == "fixed":
            return self.fitted
        if not self.is_own:
            return (error.mean() ** (1 / self.power)).clamp_min(self.floor)
        return (error ** (1 / self.power)).square().clamp_min(self.floor**2).maximum(held).sqrt()

    def start(self, location: Tensor, error: Tensor, held: Tensor) -> Tensor:
        """Start from locations (C,) and mean errors (C,); the raw numbers that say the same, shape (C + raw_size,)."""
        square = self.tie(error, held).square()
        if self.is_own:
            self.held.copy_(held)
            square = (square - held).clamp_min(self.floor**2)
        raw = smooth_bound_inverse(square.log(), self.bound).to(location.dtype)
        if self.raw_log_var is not None:
            self.raw_log_var.data.copy_(raw)
        elif self.kind == "optimal":
            self.fitted.copy_(square.sqrt())
        return torch.cat([location, raw]) if self.raw_size else location

    @property
    def least(self) -> Tensor:
        """The infimum of each column's s, (C,) or 0-dim, on the CPU."""
        floor = torch.tensor(self.floor**2)
        return (floor + self.held.cpu() if self.is_own else floor).sqrt()

    def share_at_floor(self, scale: Tensor) -> Tensor:
        """Share of the scales at their floor, 0-dim; 0 where it is fixed."""
        if self.kind == "fixed":
            return torch.zeros((), device=scale.device)
        # The smooth bound approaches the floor without touching it: as near as a scale can be started counts as there.
        return (scale < 1.1 * self.least_start).to(scale.dtype).mean()

    @torch.no_grad()
    def statistics(self, location: Tensor, batch: RowBatch) -> Tensor:
        """``(Σ w |x - m|^p, Σ w)`` over a batch's cells, float64, w their weights: what ``optimal`` is fitted from."""
        weights = cell_weights(batch).expand(location.shape)
        error = torch.where(weights > 0, (batch.x - location).abs() ** self.power, 0.0)
        return torch.stack(((weights * error).sum(), weights.sum()))

    @torch.no_grad()
    def update(self, statistics: Tensor) -> None:
        """Let the running mean follow a step's statistics."""
        mean_error = (statistics[0] / statistics[1].clamp_min(1)).to(self.fitted.dtype)
        newest = torch.lerp(self.fitted**self.power, mean_error, self.momentum)
        self.fitted.copy_((newest ** (1 / self.power)).clamp(self.floor, 1 / self.floor))
