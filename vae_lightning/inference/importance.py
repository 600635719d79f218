"""log p(x) of a trained model by importance sampling, in bounded memory."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vae_lightning.errors import check_parameter
from vae_lightning.model.vae import VAE, Posterior

MAX_ELEMENTS = 2**22
"""Largest number of decoder outputs or hidden units held at once: 16 MiB in float32, per intermediate result."""


class Estimate(NamedTuple):
    """Per row, shape ``(N,)``, nats.

    Attributes:
        log_prob: the estimate of log p(x).
        standard_error: its Monte-Carlo standard error; NaN from a single sample.
        log_px: the mean of log p(x|z) over the same draws: the ELBO's first term, with as little noise.
    """

    log_prob: Tensor
    standard_error: Tensor
    log_px: Tensor


@torch.no_grad()
def log_prob(vae: VAE, x: Tensor, num_samples: int = 1000, progress: Callable[[int], None] | None = None) -> Estimate:
    """Importance-sampled log-likelihood of rows ``x`` (N, C), model units.

    ``log 1/K Σ_k p(x|z_k) p(z_k) / q(z_k|x)``, z_k drawn from the posterior: the IWAE bound with K samples, which
    approaches log p(x) from below as K grows (Burda et al. 2015, theorem 1). The standard error follows from the
    delta method: ``sd(w) / (sqrt(K) mean(w))`` for importance weights w.

    Args:
        vae: the model; evaluated as it is, so call ``eval()`` first.
        x: rows, on the model's device.
        num_samples: importance samples K per row.
        progress: called with the number of rows just finished.

    Raises:
        ConfigError: when ``num_samples`` is below 1.
    """
    check_parameter("log_prob", "num_samples", num_samples >= 1, "at least 1", num_samples)
    draws = max(1, min(num_samples, MAX_ELEMENTS // _width(vae)))
    parts = []
    for chunk in x.split(rows_at_once(vae, draws)):
        parts.append(_estimate_chunk(vae, chunk, num_samples, draws))
        if progress is not None:
            progress(len(chunk))
    return Estimate(*(torch.cat(column) for column in zip(*parts, strict=True)))


def rows_at_once(vae: VAE, draws: int) -> int:
    """How many rows, with ``draws`` latent points each, may be decoded together."""
    return max(1, MAX_ELEMENTS // (_width(vae) * draws))


def _width(vae: VAE) -> int:
    layers = [vae.output, *(m for m in vae.decoder.modules() if isinstance(m, nn.Linear))]
    return max(layer.out_features for layer in layers)


def _estimate_chunk(vae: VAE, x: Tensor, num_samples: int, draws: int) -> tuple[Tensor, Tensor, Tensor]:
    posterior = vae.encode(x)
    sum_log_px = posterior.loc.new_zeros(x.shape[0])
    log_sum = torch.full_like(sum_log_px, -torch.inf)
    log_sum_of_squares = log_sum.clone()
    for start in range(0, num_samples, draws):
        log_px, log_weights = _log_weights(vae, x, posterior, min(draws, num_samples - start))
        sum_log_px += log_px.sum(0)
        log_sum = torch.logaddexp(log_sum, log_weights.logsumexp(0))
        log_sum_of_squares = torch.logaddexp(log_sum_of_squares, (2 * log_weights).logsumexp(0))
    # Var(w) / (K mean(w)²) = Σw² / (Σw)² - 1/K, in logarithms up to here because weights span hundreds of nats.
    relative_variance = (torch.exp(log_sum_of_squares - 2 * log_sum) - 1 / num_samples).clamp_min(0)
    if num_samples == 1:
        relative_variance.fill_(torch.nan)
    return log_sum - math.log(num_samples), relative_variance.sqrt(), sum_log_px / num_samples


def _log_weights(vae: VAE, x: Tensor, posterior: Posterior, num_samples: int) -> tuple[Tensor, Tensor]:
    z = posterior.rsample(num_samples)
    log_px = vae.decode(z).log_prob(x).sum(-1)
    return log_px, log_px + vae.prior.log_prob(z) - posterior.distribution.log_prob(z)
