"""Passes to hold objectives against: of random numbers, and of a model whose log p(x) is known."""

import math
from typing import Any

import numpy as np
import scipy.stats
import torch
from torch import Tensor

from vae_lightning.data.batch import Batch
from vae_lightning.likelihoods.gaussian import Gaussian
from vae_lightning.model.vae import VAE
from vae_lightning.objectives.terms import Pass

UNASKED: Any = None
"""What no bound may look at: the posterior, its draws and the predictions; all it needs are numbers."""


def random_terms(
    draws: int = 5, rows: int = 7, latents: int = 3, columns: int = 4, scale: float = 1.0, densities: bool = True
) -> Pass:
    log_px = scale * torch.randn(draws, rows, columns) - scale
    log_pz, log_qz = scale * torch.randn(2, draws, rows) if densities else (None, None)
    return Pass(UNASKED, UNASKED, UNASKED, log_px, torch.rand(rows, latents), log_pz, log_qz)


def repeated(terms: Pass, times: int) -> Pass:
    """The same rows several times over."""
    kl = terms.kl.repeat(times, 1)
    log_pz, log_qz = (None if part is None else part.repeat(1, times) for part in (terms.log_pz, terms.log_qz))
    return Pass(UNASKED, UNASKED, UNASKED, terms.log_px.repeat(1, times, 1), kl, log_pz, log_qz)


class LinearGaussian:
    """x = W z + b + noise, z from N(0, I), under a posterior that is narrower than the true one and beside it."""

    def __init__(self, columns: int = 4, latents: int = 2) -> None:
        rng = np.random.default_rng(0)
        weight, bias = 0.7 * rng.normal(size=(columns, latents)), rng.normal(size=columns)
        self.vae = (
            VAE(Gaussian(columns, "fixed", scale=0.8), latents, hidden_dims=[], linear_path=False).double().eval()
        )
        with torch.no_grad():
            self.vae.output.weight.copy_(torch.tensor(weight))
            self.vae.output.bias.copy_(torch.tensor(bias))
            self.vae.heads.weight[:latents] = 0.15 * torch.tensor(weight.T)
            self.vae.heads.bias[latents:] = -0.8
        truth = scipy.stats.multivariate_normal(bias, weight @ weight.T + 0.64 * np.eye(columns))
        x = truth.rvs(5, random_state=1)
        self.x, self.log_px = torch.tensor(x), truth.logpdf(x)

    def passes(self, num_samples: int, repeats: int) -> Pass:
        """``repeats`` independent passes over its five rows, as one over five times as many."""
        batch = Batch(self.x.repeat(repeats, 1))
        with torch.no_grad():
            return self.vae(batch, self.vae.noise(num_samples, batch.num_rows), densities=True)

    def means(self, bounds: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """The mean of each row's bound over the repeats, and its standard error."""
        by_row = bounds.view(-1, len(self.x)).numpy()
        return by_row.mean(0), by_row.std(0) / math.sqrt(len(by_row))
