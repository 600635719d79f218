"""The variational autoencoder as a torch module: encode, decode, forward, reconstruct, sample."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from vae_lightning.controls.factor_model import FactorAnalysis
from vae_lightning.controls.independent import Rates, start_exposed
from vae_lightning.data.batch import Batch, Batches
from vae_lightning.errors import check_parameter, is_count
from vae_lightning.likelihoods.base import Likelihood, Predictive
from vae_lightning.model.features import Features, append_condition
from vae_lightning.model.linear import LinearPath, bound_features
from vae_lightning.model.noise import normal_noise
from vae_lightning.networks.mlp import mlp
from vae_lightning.objectives.terms import Pass
from vae_lightning.posteriors.base import Posterior, PosteriorFamily
from vae_lightning.posteriors.gaussian import Gaussian
from vae_lightning.priors.base import Prior
from vae_lightning.priors.standard_normal import StandardNormal

STARTS = ("linear", "zero")


class VAE(nn.Module):
    """MLP encoder and decoder between a posterior, a prior and a likelihood (Kingma & Welling 2013).

    Everything is in model units: rows as the scaling hands them over.

    Where a column has a location (a mean or a median), a linear path runs beside each MLP: features to the posterior's
    raw numbers, z to the likelihood's. Started from factor analysis (:meth:`start_from`) the VAE *is* factor analysis:
    its ELBO equals log p(x) of that model, and training can only improve on it.

    Args:
        likelihood: p(x|z); its ``num_columns`` and ``raw_size`` fix the sizes of the networks.
        latent_dim: latent dimensions L.
        hidden_dims: widths of the encoder; an empty list makes a linear model.
        decoder_dims: widths of the decoder; by default the encoder's in reverse.
        activation: relu, leaky_relu, elu, gelu, silu, softplus or tanh.
        normalization: none, layer or batch.
        dropout: probability of zeroing a hidden unit in training.
        residual: add each hidden layer's input to its output.
        posterior: q(z|x); by default independent normals.
        prior: p(z); by default N(0, I).
        condition_size: numbers K that encoder and decoder are told beside each row.
        exposed: whether the last of them is the logarithm of the row's exposure, which the encoder is told, and which
            multiplies the means of counts: the decoder says rates.
        sees_mask: tell the encoder which cells were observed.
        linear_path: run a linear path beside each MLP, where any column has a location.
        start: what training begins with: ``linear`` (factor analysis of the training rows, where there is a linear
            path) or ``zero`` (independent columns, KL near 0).

    Attributes:
        linear_encoder: of features, or None.
        linear_decoder: of z, or None.

    Raises:
        ConfigError: for sizes below 1, unknown choices, or a posterior or prior of another ``latent_dim``.
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
        posterior: PosteriorFamily | None = None,
        prior: Prior | None = None,
        condition_size: int = 0,
        exposed: bool = False,
        sees_mask: bool = False,
        linear_path: bool = True,
        start: Literal["linear", "zero"] = "linear",
    ) -> None:
        super().__init__()
        check_parameter("VAE", "latent_dim", is_count(latent_dim), "at least 1", latent_dim)
        check_parameter("VAE", "condition_size", is_count(condition_size, 0), "0 or more", condition_size)
        encoder_dims = list(hidden_dims)
        decoder_dims = encoder_dims[::-1] if decoder_dims is None else list(decoder_dims)
        options = (activation, normalization, dropout, residual)
        check_parameter("VAE", "start", start in STARTS, f"one of {', '.join(STARTS)}", start)
        self.start = start
        self.latent_dim = latent_dim
        check_parameter("VAE", "exposed", not exposed or condition_size > 0, "false without a condition", exposed)
        self.condition_size = condition_size
        self.exposed = exposed
        #: Numbers of a condition that the decoder is told.
        self.told_size = condition_size - exposed
        self.features = Features(likelihood.supports, condition_size, sees_mask)
        self.encoder = mlp(self.features.size, encoder_dims, *options)
        self.posterior = Gaussian(latent_dim) if posterior is None else posterior
        # Everything that the posterior is made of comes from one matrix product.
        self.heads = nn.Linear([self.features.size, *encoder_dims][-1], self.posterior.raw_size)
        self.decoder = mlp(latent_dim + self.told_size, decoder_dims, *options)
        self.output = nn.Linear([latent_dim + self.told_size, *decoder_dims][-1], likelihood.raw_size)
        has_location = linear_path and bool((likelihood.column_of_raw >= 0).any())
        self.linear_encoder = LinearPath(self.features.size, self.posterior.raw_size) if has_location else None
        self.linear_decoder = LinearPath(latent_dim + self.told_size, likelihood.raw_size) if has_location else None
        self.likelihood = likelihood
        self.prior = StandardNormal(latent_dim) if prior is None else prior
        for name, part in (("posterior", self.posterior), ("prior", self.prior)):
            fits = part.latent_dim == latent_dim
            check_parameter("VAE", name, fits, f"one of {latent_dim} latent dimensions", part.latent_dim)
        self._start_knowing_nothing()

    def _start_knowing_nothing(self) -> None:
        """KL near 0 and a constant decoder, whatever the widths: nothing blows up before it has learned something."""
        with torch.no_grad():
            self.heads.weight.mul_(self.posterior.initial_gain()[:, None])
            self.heads.bias.zero_()
            self.output.weight.zero_()
            self.output.bias.zero_()

    @torch.no_grad()
    def start_from(
        self,
        rows: Batches,
        factors: FactorAnalysis | None = None,
        held: Tensor | None = None,
        slopes: Tensor | None = None,
    ) -> None:
        """Let the untrained model say what the training rows (N, C) say without z, or what factor analysis says of z.

        Args:
            rows: the training rows; columns that have densities less what ``slopes`` say of them.
            factors: a fit to the columns that have a location, in their order, less what ``slopes`` say of them, with L
                factors.
            held: what no variance may fall below, (C,); as for ``Likelihood.start_from``. The encoder does not see
                the columns that it holds.
            slopes: what a condition c that the decoder is told adds to each column, ``slopes @ c``, (C, told_size); by
                default nothing.

        Source:
            The posterior of factor analysis: Rubin & Thayer 1982.
        """
        self.features.fit(rows, None if held is None else held > 0)
        if factors is None or not (bool(factors.signal.any()) or slopes is not None):
            self.output.bias.copy_(self._start_likelihood(rows, None, held))
            return
        assert self.linear_encoder is not None
        assert self.linear_decoder is not None
        of_raw = self.likelihood.column_of_raw
        columns = of_raw[of_raw >= 0].sort().values
        located = torch.searchsorted(columns, of_raw)  # among those that have a location
        residual = torch.zeros(self.likelihood.num_columns, dtype=torch.float64)
        residual[columns] = factors.noise
        bias = self._start_likelihood(rows, residual, held).double()

        loadings, unit = torch.zeros(len(of_raw), self.latent_dim).double(), torch.ones(len(of_raw)).double()
        is_located = of_raw >= 0
        loadings[is_located] = factors.loadings[located[is_located]]
        unit[is_located] = factors.noise.sqrt()[located[is_located]]
        told = torch.zeros(len(of_raw), self.told_size).double()
        if slopes is not None:
            told[is_located] = slopes.double()[of_raw[is_located]]
            are_levels = is_located & ~self.likelihood.density_columns[of_raw]
            bias[are_levels] = factors.mean[located[are_levels]]
        self.linear_decoder.start(torch.cat([loadings, told], 1), unit)
        self.output.bias.copy_(bias / unit)

        variance = 1 / (1 + factors.signal)
        weight = torch.zeros(self.posterior.raw_size, self.features.size).double()
        seen = self.features.feature_of_column[columns]
        weight[: self.latent_dim, seen] = variance[:, None] * (factors.loadings / factors.noise[:, None]).T
        if slopes is not None:
            first = self.features.size - self.condition_size
            explained = weight[: self.latent_dim, seen] @ slopes[columns]
            weight[: self.latent_dim, first : first + self.told_size] = -explained
        middle = factors.mean
        if self.features.changed:  # numbers that the encoder sees centred and scaled
            weight[: self.latent_dim, seen] *= self.features.scale[columns].double()
            middle = (middle - self.features.mean[columns]) / self.features.scale[columns]
        constants = self.posterior.raw_of(variance.sqrt())
        constants[: self.latent_dim] -= weight[: self.latent_dim, seen] @ middle.double()
        unit = torch.ones(self.posterior.raw_size).double()
        unit[: self.latent_dim] = variance.sqrt()
        self.linear_encoder.start(weight, unit)
        self.heads.weight.zero_()
        self.heads.bias.copy_(constants / unit)

    def _start_likelihood(self, rows: Batches, residual: Tensor | None, held: Tensor | None) -> Tensor:
        if not self.exposed:
            return self.likelihood.start_from(rows, residual, held)
        raw = self.likelihood.start_from(Rates(rows, self.likelihood.count_columns), residual, held)
        return start_exposed(self.likelihood, rows, raw)

    @property
    def kl_is_exact(self) -> bool:
        """Whether the KL has a closed form; a Monte-Carlo one may be negative for a row."""
        return self.prior.kl_is_exact and self.posterior.kl_is_exact

    def noise(self, num_draws: int, num_rows: int) -> Tensor:
        """Standard normal draws (S, B, N) for a forward pass, from torch's global random stream."""
        return normal_noise(num_draws, num_rows, self.posterior.noise_size, self.output.weight)

    def encode(self, batch: Batch) -> Posterior:
        """q(z|x) of B rows."""
        u = self.features(batch)
        if self.linear_encoder is not None:
            return self.posterior(self.linear_encoder(u, self.heads(self.encoder(bound_features(u)))))
        # Mixed precision rounds what the networks compute, but not the densities.
        return self.posterior(self.heads(self.encoder(u)).to(self.heads.weight.dtype))

    def decode(self, z: Tensor, condition: Tensor | None = None) -> Predictive:
        """p(x|z) of latent points ``z`` (..., L): one distribution for each column, shape ``(..., C)``."""
        return self.predict(self.raw(z, condition), condition)

    def predict(self, raw: Tensor, condition: Tensor | None = None) -> Predictive:
        """What raw numbers (..., B, R) say of rows with this condition (B, K): the likelihood's, times the exposure."""
        px: Predictive = self.likelihood(raw)
        if not self.exposed:
            return px
        assert condition is not None
        return px.expose(condition[..., -1:].to(raw.dtype))

    def raw(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """The decoder's output at ``z`` (..., L), before the likelihood reads it: ``(..., R)``."""
        z = append_condition(z, condition, self.condition_size)
        if self.exposed:
            z = z[..., :-1]
        # Batch normalisation counts rows along the first dimension, so draws and rows are folded into one.
        flat = z.reshape(-1, z.shape[-1])
        raw = self.output(self.decoder(flat))
        raw = raw.to(self.output.weight.dtype) if self.linear_decoder is None else self.linear_decoder(flat, raw)
        return raw.view(*z.shape[:-1], raw.shape[-1])

    def forward(self, batch: Batch, noise: Tensor, densities: bool = False) -> Pass:
        """Encode B rows, take the latent points that ``noise`` (S, B, N) makes of them, decode and score these.

        Args:
            batch: the rows, model units.
            noise: standard normal draws, such as :meth:`noise` gives.
            densities: also evaluate log p(z) and log q(z|x) at the draws, which importance-weighted bounds need.
        """
        posterior = self.encode(batch)
        z = posterior.rsample(noise)
        px = self.decode(z, batch.condition)
        log_px = self.log_px(px, batch)
        kl = self.prior.kl(posterior, z)
        if not densities:
            return Pass(posterior, z, px, log_px, kl)
        return Pass(posterior, z, px, log_px, kl, self.prior.log_prob(z), posterior.log_prob(z))

    def log_px(self, px: Predictive, batch: Batch) -> Tensor:
        """log p(x|z) of each cell, shape (..., B, C), nats; 0 where it is masked."""
        log_px = px.log_prob(self.features.fill_masked(batch))
        return log_px if batch.mask is None else torch.where(batch.mask, log_px, 0.0)

    def reconstruct(self, batch: Batch) -> Tensor:
        """The best guess of p(x|z) at the posterior mean of each row; (B, C), model units."""
        return self.decode(self.encode(batch).mean, batch.condition).point

    def sample(
        self, num_rows: int, mean: bool = False, temperature: float = 1.0, condition: Tensor | None = None
    ) -> Tensor:
        """New rows (num_rows, C) in model units: draws from p(x|z), z from the prior at ``temperature``; or means.

        Of categories the likeliest takes the place of the mean.
        """
        px = self.decode(self.prior.sample(num_rows, temperature), condition)
        return px.point if mean else px.sample()
