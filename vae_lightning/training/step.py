"""The training step as one pure function."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vae_lightning.data.batch import Batch
from vae_lightning.model.vae import VAE
from vae_lightning.objectives.base import Objective, Weights


class Statistics(NamedTuple):
    """What a step says of itself, as tensors that stay on the device; everything that watches training reads these.

    Attributes:
        terms: loss, reconstruction and KL, means over the rows, shape (3,), nats in model units, no gradient.
        weight: what those means count for: the sum of the rows' weights, a number or 0-dim.
        observed: how much of each column was observed, (C,): the weighted mean of the mask; None where nothing is
            masked.
        fitted: the likelihood's own sums for its closed form; None where it has none.
    """

    terms: Tensor
    weight: Tensor | float
    observed: Tensor | None
    fitted: Tensor | None


def loss_and_statistics(
    vae: VAE, objective: Objective, batch: Batch, noise: Tensor, weights: Weights
) -> tuple[Tensor, Statistics]:
    """The loss of B rows, ``-Σ_b w_b bound_b / Σ_b w_b``, 0-dim, and what the step says of itself.

    Nothing is drawn, kept or changed in here: the same arguments give the same answer.

    Args:
        vae: the model.
        objective: what training maximises.
        batch: the rows, model units.
        noise: standard normal draws (S, B, N).
        weights: of the objective's terms at this moment.
    """
    terms = vae(batch, noise, objective.needs_densities)
    bound = objective(terms, weights)
    likelihood = vae.likelihood
    fitted = likelihood.statistics(terms.px, batch) if likelihood.statistics_size else None
    if batch.weight is None:
        loss, rows = -bound.mean(), float(batch.num_rows)
        log_px, kl = terms.log_px.detach().sum() / (noise.shape[0] * rows), terms.kl.detach().sum() / rows
        share = None if batch.mask is None else batch.mask.to(bound.dtype).mean(0)
        return loss, Statistics(torch.stack((loss.detach(), -log_px, kl)), rows, share, fitted)
    weight = (batch.weight / batch.weight.sum()).to(bound.dtype)
    # Sums rather than matrix products, which mixed precision would round.
    loss = -(weight * bound).sum()
    parts = (weight * terms.reconstruction.detach()).sum(), (weight * terms.kl.detach().sum(-1)).sum()
    values = torch.stack((loss.detach(), *parts))
    share = None if batch.mask is None else (weight[:, None] * batch.mask).sum(0)
    return loss, Statistics(values, batch.weight.sum(), share, fitted)


def differentiate(vae: VAE, objective: Objective, batch: Batch, noise: Tensor, weights: Weights) -> Statistics:
    """Leave the gradient of :func:`loss_and_statistics` with the parameters, added to what is there."""
    loss, statistics = loss_and_statistics(vae, objective, batch, noise, weights)
    loss.backward()
    return statistics


def mean_terms(
    steps: Sequence[Statistics], log_slopes: Tensor, reduce: Callable[[Tensor], Tensor]
) -> tuple[float, float, float]:
    """Loss (model units), reconstruction (data units) and KL of some steps: means over their rows.

    Args:
        steps: at least one.
        log_slopes: what each column's log-density gains from model units to data units, (C,).
        reduce: adds up sums of all processes.
    """
    terms = torch.stack([step.terms for step in steps]).double()
    weight = torch.as_tensor([step.weight for step in steps], dtype=torch.float64, device=terms.device)
    slopes = log_slopes.to(terms.device)
    whole = slopes.sum()
    gains = torch.stack([whole if s.observed is None else s.observed.double() @ slopes for s in steps])
    sums = reduce(torch.cat([weight @ terms, weight.sum()[None], weight @ gains[:, None]]))
    loss, reconstruction, kl, rows, gained = sums.tolist()
    return loss / rows, (reconstruction - gained) / rows, kl / rows


class StepLoss(nn.Module):
    """:func:`loss_and_statistics` of a model as a module, so that ``functional_call`` can exchange its weights.

    Args:
        vae: the model.
        objective: what training maximises.
    """

    def __init__(self, vae: VAE, objective: Objective) -> None:
        super().__init__()
        self.vae, self.objective = vae, objective

    def forward(self, batch: Batch, noise: Tensor, weights: Weights) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, and by name those of the statistics that there are and that are computed from the weights."""
        loss, statistics = loss_and_statistics(self.vae, self.objective, batch, noise, weights)
        found = {name: getattr(statistics, name) for name in ("terms", "observed", "fitted")}
        return loss, {name: one for name, one in found.items() if one is not None}
