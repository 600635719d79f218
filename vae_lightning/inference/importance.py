"""log p(x) of a trained model by importance sampling, in bounded memory."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vae_lightning.console import log
from vae_lightning.data.batch import Batch
from vae_lightning.errors import check_parameter
from vae_lightning.model.noise import normal_noise
from vae_lightning.model.program import as_program
from vae_lightning.model.vae import VAE
from vae_lightning.posteriors.base import Posterior

MAX_ELEMENTS = 2**19
"""Largest number of decoder outputs or hidden units held at once: 2 MiB in float32, per intermediate result, as what
leaves the processor's caches between two of them takes longer to fetch than to compute."""
WORTH_COMPILING = 3e9
"""Densities (samples, rows, columns) from which on compiling how they are evaluated, some ten seconds, is soon made up
for: one pass takes some nanoseconds less for each than a pass for every operation."""

BUDGET = 2e11
"""Multiply-adds of the decoder that the test rows' log p(x) may take where nobody asks for more: some seconds."""
FEWEST, MOST = 100, 1000


def choose_num_samples(vae: VAE, num_rows: int) -> int:
    """Importance samples a row for ``num_rows`` rows: 1,000; fewer, down to 100, where that would take minutes."""
    weights = sum(
        p.numel() for name, p in vae.named_parameters() if name.startswith(("decoder", "output", "linear_dec"))
    )
    return int(min(MOST, max(FEWEST, BUDGET / (weights * max(num_rows, 1)))))


class Estimate(NamedTuple):
    """Per row, shape ``(N,)``, nats.

    Attributes:
        log_prob: the estimate of log p(x), of the observed cells where some are masked.
        standard_error: its Monte-Carlo standard error; NaN from a single sample.
        log_px: the mean of log p(x|z) over the same draws: the ELBO's first term, with as little noise.
        kl: the mean of log q(z|x) - log p(z) over them: the ELBO's second term by Monte Carlo.
    """

    log_prob: Tensor
    standard_error: Tensor
    log_px: Tensor
    kl: Tensor


@torch.no_grad()
def log_prob(
    vae: VAE,
    batch: Batch,
    num_samples: int = 1000,
    progress: Callable[[int], None] | None = None,
    compile: bool | None = None,
) -> Estimate:
    """Importance-sampled log-likelihood of rows (N, C), model units.

    ``log 1/K Σ_k p(x|z_k) p(z_k) / q(z_k|x)``, z_k drawn from the posterior: the IWAE bound with K samples, which
    approaches log p(x) from below as K grows (Burda et al. 2015, theorem 1). The standard error follows from the
    delta method: ``sd(w) / (sqrt(K) mean(w))`` for importance weights w.

    Args:
        vae: the model; evaluated as it is, so call ``eval()`` first.
        batch: the rows, on the model's device.
        num_samples: importance samples K per row.
        progress: called with the number of rows just finished.
        compile: compile how densities are evaluated; by default where there are many, on a CPU.

    Raises:
        ConfigError: when ``num_samples`` is below 1.
    """
    check_parameter("log_prob", "num_samples", num_samples >= 1, "at least 1", num_samples)
    most = max(1, MAX_ELEMENTS // _width(vae))
    draws = -(-num_samples // -(-num_samples // most))  # in turns of equal size
    num_rows = min(batch.num_rows, rows_at_once(vae, draws))
    if compile is None:
        is_much = batch.num_rows * num_samples * batch.x.shape[1] >= WORTH_COMPILING
        compile = is_much and batch.x.device.type == "cpu"
    scores = Scores(vae, (draws, num_rows) if compile else None)
    parts = []
    for chunk in batch.split(num_rows):
        parts.append(_estimate_chunk(scores, chunk, num_samples, draws))
        if progress is not None:
            progress(chunk.num_rows)
    return Estimate(*(torch.cat(column) for column in zip(*parts, strict=True)))


def rows_at_once(vae: VAE, draws: int) -> int:
    """How many rows, with ``draws`` latent points each, may be decoded together."""
    return max(1, MAX_ELEMENTS // (_width(vae) * draws))


def _width(vae: VAE) -> int:
    layers = [vae.output, *(m for m in vae.decoder.modules() if isinstance(m, nn.Linear))]
    return max(layer.out_features for layer in layers)


class Scores:
    """log p(x|z) of rows at latent points.

    Args:
        vae: the model.
        compiled: draws and rows of the calls that a compiled program takes; None for none of them.
    """

    def __init__(self, vae: VAE, compiled: tuple[int, int] | None = None) -> None:
        self.vae = vae
        self._compiled = compiled
        self._program = as_program(self._sum)

    def __call__(self, z: Tensor, batch: Batch) -> Tensor:
        """The sums over columns, (S, B), for latent points (S, B, L)."""
        if z.shape[:2] == self._compiled:
            try:
                return self._program(z, batch)
            except Exception as error:
                self._compiled = None
                log.info(f"Densities are not compiled: torch.compile has failed ({str(error).splitlines()[0]}).")
        return self._sum(z, batch)

    def _sum(self, z: Tensor, batch: Batch) -> Tensor:
        return self.vae.log_px(self.vae.decode(z, batch.condition), batch).sum(-1)


def _estimate_chunk(
    scores: Scores, batch: Batch, num_samples: int, draws: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    posterior = scores.vae.encode(batch)
    sum_log_px = posterior.mean.new_zeros(batch.num_rows)
    sum_log_ratio = sum_log_px.clone()
    log_sum = torch.full_like(sum_log_px, -torch.inf)
    log_sum_of_squares = log_sum.clone()
    for start in range(0, num_samples, draws):
        log_px, log_ratio = _log_weights(scores, batch, posterior, min(draws, num_samples - start))
        log_weights = log_px + log_ratio
        sum_log_px += log_px.sum(0)
        sum_log_ratio += log_ratio.sum(0)
        log_sum = torch.logaddexp(log_sum, log_weights.logsumexp(0))
        log_sum_of_squares = torch.logaddexp(log_sum_of_squares, (2 * log_weights).logsumexp(0))
    # Var(w) / (K mean(w)²) = Σw² / (Σw)² - 1/K, in logarithms up to here because weights span hundreds of nats.
    relative_variance = (torch.exp(log_sum_of_squares - 2 * log_sum) - 1 / num_samples).clamp_min(0)
    if num_samples == 1:
        relative_variance.fill_(torch.nan)
    means = sum_log_px / num_samples, -sum_log_ratio / num_samples
    return log_sum - math.log(num_samples), relative_variance.sqrt(), *means


def _log_weights(scores: Scores, batch: Batch, posterior: Posterior, num_samples: int) -> tuple[Tensor, Tensor]:
    """log p(x|z) and log p(z) - log q(z|x) of draws from the posterior, both (S, B)."""
    vae = scores.vae
    noise = normal_noise(num_samples, batch.num_rows, vae.posterior.noise_size, posterior.mean)
    z = posterior.rsample(noise)
    return scores(z, batch), vae.prior.log_prob(z) - posterior.log_prob(z)
