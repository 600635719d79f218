"""The variational autoencoder as a torch module: encode, decode, terms, reconstruct, sample."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from vae_lightning.errors import check_parameter
from vae_lightning.likelihoods.base import Likelihood, smooth_bound
from vae_lightning.networks.mlp import mlp
from vae_lightning.objectives.elbo import Terms
from vae_lightning.priors.standard_normal import StandardNormal


class Posterior(NamedTuple):
    """q(z|x) = N(loc, exp(log_var)), one normal per latent dimension; both of shape ``(B, L)``."""

    loc: Tensor
    log_var: Tensor

    @property
    def distribution(self) -> Independent:
        """The same as a torch distribution over whole latent vectors."""
        return Independent(Normal(self.loc, torch.exp(0.5 * self.log_var), validate_args=False), 1, validate_args=False)

    def rsample(self, num_samples: int) -> Tensor:
        """``z = loc + exp(log_var / 2) * eps``: one eps for each draw, row and dimension; shape ``(S, B, L)``."""
        eps = torch.randn(num_samples, *self.loc.shape, device=self.loc.device, dtype=self.loc.dtype)
        return self.loc + torch.exp(0.5 * self.log_var) * eps


class Output(NamedTuple):
    """One forward pass: the posterior, its draws ``z`` (S, B, L) and p(x|z), batch shape ``(S, B, C)``."""

    posterior: Posterior
    z: Tensor
    px: Distribution


class VAE(nn.Module):
    """MLP encoder and decoder around a reparameterised Gaussian posterior (Kingma & Welling 2013).

    Everything is in model units: rows as the preprocessing hands them over.

    Args:
        likelihood: p(x|z); its ``num_columns`` and ``raw_size`` fix the sizes of the networks.
        latent_dim: latent dimensions L.
        hidden_dims: widths of the encoder; an empty list makes a linear model.
        decoder_dims: widths of the decoder; by default the encoder's in reverse.
        activation: relu, leaky_relu, elu, gelu, silu, softplus or tanh.
        normalization: none, layer or batch.
        dropout: probability of zeroing a hidden unit in training.
        residual: add each hidden layer's input to its output.
        log_var_bound: the posterior's log-variance is bounded smoothly to ± this.

    Raises:
        ConfigError: for sizes below 1 or unknown choices.
    """

    def __init__(
        self,
        likelihood: Likelihood,
        latent_dim: int = 16,
        hidden_dims: Sequence[int] = (256, 128),
        decoder_dims: Sequence[int] | None = None,
        activation: str = "relu",
        normalization: str = "none",
        dropout: float = 0.0,
        residual: bool = False,
        log_var_bound: float = 15.0,
    ) -> None:
        super().__init__()
        check_parameter("VAE", "latent_dim", latent_dim >= 1, "at least 1", latent_dim)
        check_parameter("VAE", "log_var_bound", 0 < log_var_bound < math.inf, "positive and finite", log_var_bound)
        encoder_dims = list(hidden_dims)
        decoder_dims = encoder_dims[::-1] if decoder_dims is None else list(decoder_dims)
        options = (activation, normalization, dropout, residual)
        num_columns = likelihood.num_columns
        self.latent_dim = latent_dim
        self.log_var_bound = log_var_bound
        self.encoder = mlp(num_columns, encoder_dims, *options)
        # loc and log_var are two linear heads; one matrix product computes both.
        self.heads = nn.Linear([num_columns, *encoder_dims][-1], 2 * latent_dim)
        self.decoder = mlp(latent_dim, decoder_dims, *options)
        self.output = nn.Linear([latent_dim, *decoder_dims][-1], likelihood.raw_size * num_columns)
        self.likelihood = likelihood
        self.prior = StandardNormal(latent_dim)
        self._start_knowing_nothing()

    def _start_knowing_nothing(self) -> None:
        """KL near 0 and a constant decoder, whatever the widths: nothing can blow up before it has learned something.

        The loc head keeps a tenth of its usual size: were it zero too, a linear model would start on a saddle.
        """
        with torch.no_grad():
            self.heads.weight[: self.latent_dim] *= 0.1
            self.heads.weight[self.latent_dim :] = 0.0
            self.heads.bias.zero_()
            self.output.weight.zero_()
            self.output.bias.zero_()

    @torch.no_grad()
    def start_from(self, x: Tensor) -> None:
        """Let the untrained decoder say what the training rows ``x`` (N, C) say without z (see ``Likelihood``)."""
        self.output.bias.copy_(self.likelihood.start_from(x))

    def encode(self, x: Tensor) -> Posterior:
        """q(z|x) of rows ``x`` (B, C)."""
        loc, log_var = self.heads(self.encoder(x)).chunk(2, dim=-1)
        return Posterior(loc, smooth_bound(log_var, self.log_var_bound))

    def decode(self, z: Tensor) -> Distribution:
        """p(x|z) of latent points ``z`` (..., L): a distribution of batch shape ``(..., C)``."""
        return self.likelihood(self.raw(z))

    def raw(self, z: Tensor) -> Tensor:
        """The decoder's output at ``z`` (..., L), before the likelihood reads it: ``(..., raw_size * C)``."""
        # Batch normalisation counts rows along the first dimension, so draws and rows are folded into one.
        raw = self.output(self.decoder(z.reshape(-1, self.latent_dim)))
        return raw.view(*z.shape[:-1], raw.shape[-1])

    def forward(self, x: Tensor, num_samples: int = 1) -> Output:
        """Encode rows ``x`` (B, C), draw S latent points for each, decode them."""
        posterior = self.encode(x)
        z = posterior.rsample(num_samples)
        return Output(posterior, z, self.decode(z))

    def terms(self, x: Tensor, output: Output, densities: bool = False) -> Terms:
        """The terms of every bound, from a forward pass over the same rows ``x`` (B, C); nats, model units.

        Args:
            x: the rows.
            output: what ``forward`` returned for them.
            densities: also evaluate log p(z) and log q(z|x) at the draws, which importance-weighted bounds need.
        """
        posterior, z, px = output
        log_px = px.log_prob(x).sum(-1)
        kl = self.prior.kl(*posterior)
        if not densities:
            return Terms(log_px, kl)
        return Terms(log_px, kl, self.prior.log_prob(z), posterior.distribution.log_prob(z))

    def reconstruct(self, x: Tensor) -> Tensor:
        """The mean of p(x|z) at the posterior mean of each row; (B, C), model units."""
        return self.decode(self.encode(x).loc).mean

    def sample(self, num_rows: int, mean: bool = False, temperature: float = 1.0) -> Tensor:
        """New rows (num_rows, C) in model units: draws from p(x|z), z = temperature · prior; or p(x|z)'s means."""
        px = self.decode(temperature * self.prior.sample(num_rows, like=self.output.weight))
        return px.mean if mean else px.sample()
