"""How unusual a row is, in nats: three scores, each the sum of what its columns say."""

import math
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from vae_lightning.data.batch import Batch
from vae_lightning.errors import check_parameter, is_count
from vae_lightning.inference.importance import rows_at_once
from vae_lightning.model.noise import even_normals
from vae_lightning.model.vae import VAE

ScoreKind = Literal["elbo", "nll", "reconstruction"]
SCORE_KINDS: tuple[ScoreKind, ...] = get_args(ScoreKind)
NUM_SAMPLES = 64


class Score(NamedTuple):
    """Higher is more anomalous; nats per row.

    Attributes:
        total: ``by_column.sum(-1) + kl``, shape (N,).
        by_column: what each column adds, shape (N, C).
        kl: what the latent code adds, shape (N,); 0 for ``reconstruction``.
    """

    total: Tensor
    by_column: Tensor
    kl: Tensor


class Scores(NamedTuple):
    """Everything that the three scores are made of; float64, nats.

    Attributes:
        expected: -E_q[log p(x_c|z)] for each column, shape (N, C).
        kl: KL(q(z|x) ‖ p(z)), shape (N,).
        weighted: the same expectation under p(z|x) itself, by importance weights, shape (N, C).
        nll: importance-sampled -log p(x), shape (N,).
    """

    expected: Tensor
    kl: Tensor
    weighted: Tensor
    nll: Tensor

    def of(self, kind: ScoreKind) -> Score:
        """One of the three.

        ``reconstruction`` is -E_q[log p(x|z)]; ``elbo`` adds KL(q(z|x) ‖ p(z)). ``nll`` is -log p(x), which splits in
        the same way under the true posterior: -E[log p(x|z)] + KL(p(z|x) ‖ p(z)).
        """
        if kind == "nll":
            return Score(self.nll, self.weighted, self.nll - self.weighted.sum(-1))
        kl = self.kl if kind == "elbo" else torch.zeros_like(self.kl)
        return Score(self.expected.sum(-1) + kl, self.expected, kl)

    def shift(self, log_slopes: Tensor) -> "Scores":
        """The same of densities in other units: each cell's log-density gains ``log_slopes``, shape (N, C)."""
        return Scores(self.expected - log_slopes, self.kl, self.weighted - log_slopes, self.nll - log_slopes.sum(-1))


def check_kind(kind: str, owner: str = "score") -> None:
    """Raises:
    ConfigError: when ``kind`` is none of the three.
    """
    check_parameter(owner, "kind", kind in SCORE_KINDS, f"one of {', '.join(SCORE_KINDS)}", kind)


def noise(vae: VAE, num_samples: int = NUM_SAMPLES, seed: int = 0) -> Tensor:
    """The noise of :func:`scores`, shape ``(S, 1, N)``, in device and dtype of the model's weights."""
    check_parameter("score", "num_samples", is_count(num_samples), "a whole number from 1 on", num_samples)
    return even_normals(num_samples, vae.posterior.noise_size, seed)[:, None].to(vae.output.weight)


@torch.no_grad()
def scores(vae: VAE, batch: Batch, noise: Tensor) -> Scores:
    """The scores of rows (N, C), in model units, in bounded memory; of the observed cells where some are masked.

    Every row gets the same ``noise`` (S, 1, N): a row's score is a function of that row alone, whatever stands
    beside it, and two rows are compared on equal terms.
    """
    parts = [score_batch(vae, chunk, noise) for chunk in batch.split(rows_at_once(vae, len(noise)))]
    return Scores(*(torch.cat(column) for column in zip(*parts, strict=True)))


def score_batch(vae: VAE, batch: Batch, noise: Tensor) -> Scores:
    """As :func:`scores`, all at once."""
    terms = vae(batch, noise, densities=True)
    log_px = terms.log_px
    log_weights = (log_px.sum(-1) + (terms.log_pz - terms.log_qz)).double()
    weights = log_weights.softmax(0)[..., None].to(log_px.dtype)
    nll = math.log(len(noise)) - log_weights.logsumexp(0)
    kl = terms.kl.double().sum(-1)
    return Scores(-log_px.mean(0).double(), kl, -(weights * log_px).sum(0).double(), nll)
