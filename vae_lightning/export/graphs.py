"""What an exported model computes: data units in, tensors out, no Python around it."""

import copy
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from vae_lightning.data.batch import Batch
from vae_lightning.data.preprocess.base import Scaling
from vae_lightning.inference.scoring import NUM_SAMPLES, ScoreKind, check_kind, noise, score_batch
from vae_lightning.model.vae import VAE

GraphName = Literal["encoder", "decoder", "score"]


class Graph(nn.Module):
    """One function of a trained model, its preprocessing inside.

    It computes and does not check: rows that are not finite or lie outside the likelihood's support are refused by the
    model and not by a graph. Its parts are copies, on the CPU, in evaluation mode and without gradients.

    Args:
        vae: the network.
        scaling: the map between data units and model units.
    """

    name: ClassVar[GraphName]
    #: Names of the one input and of the outputs.
    takes: ClassVar[str]
    gives: ClassVar[tuple[str, ...]]
    meaning: ClassVar[str]
    takes_dtype: ClassVar[torch.dtype]

    def __init__(self, vae: VAE, scaling: Scaling) -> None:
        super().__init__()
        self.vae = copy.deepcopy(vae).cpu().requires_grad_(False)
        self.scaling = copy.deepcopy(scaling).cpu()
        self.eval()

    @property
    def gives_dtype(self) -> torch.dtype:
        """Of every output."""
        return torch.float64

    def model_units(self, x: Tensor) -> Batch:
        """Rows as the network sees them; NaN is an empty cell, for a model that was trained with some."""
        u = self.scaling.transform(x).to(self.vae.output.weight.dtype)
        if not self.vae.features.sees_mask:
            return Batch(u)
        mask = ~torch.isnan(x)
        return Batch(torch.where(mask, u, 0.0), mask)

    def comparison_scales(self) -> list[tuple[Tensor, Tensor]]:
        """For each output the origin and the unit that differences are measured in, both broadcastable."""
        return [(torch.zeros(()), torch.ones(()))] * len(self.gives)


class Encoder(Graph):
    """Rows ``x`` (N, C), data units, float64 → ``loc`` and ``std`` of q(z|x), both (N, L)."""

    name = "encoder"
    takes, takes_dtype = "x", torch.float64
    gives = ("loc", "std")
    meaning = "mean and standard deviation of q(z|x), by latent dimension"

    @property
    def gives_dtype(self) -> torch.dtype:
        """That of the weights."""
        return self.vae.output.weight.dtype

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``loc, std``."""
        posterior = self.vae.encode(self.model_units(x))
        return posterior.mean, posterior.stddev


class Decoder(Graph):
    """Latent points ``z`` (N, L), float32 → ``mean`` and ``std`` of p(x|z), both (N, C), data units, float64.

    What they are of a scaling that is not linear, :class:`Scaling` says.
    """

    name = "decoder"
    takes, takes_dtype = "z", torch.float32
    gives = ("mean", "std")
    meaning = (
        "mean (of categories the likeliest) and standard deviation of p(x|z), column by column, data units; after "
        "gaussianize the median and half of what lies between a standard deviation below and one above"
    )

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """``mean, std``."""
        # In float64 from here: the moments of some families are differences of numbers that nearly cancel.
        px = self.vae.likelihood(self.vae.raw(z.to(self.vae.output.weight.dtype)).double())
        return self.scaling.inverse(px.point), self.scaling.inverse_stddev(px.stddev, px.mean)

    def comparison_scales(self) -> list[tuple[Tensor, Tensor]]:
        # A column's own origin and scale: around 1e6, or in units of 1e-6, plain differences would say nothing.
        like = torch.zeros(self.scaling.num_columns)
        origin, scale = self.scaling.inverse(like), self.scaling.inverse_stddev(like + 1, like)
        return [(origin, scale), (torch.zeros_like(origin), scale)]


class ScoreGraph(Graph):
    """Rows ``x`` (N, C), data units, float64 → how unusual they are, nats in data units, float64.

    ``anomaly_score`` (N,) = ``by_column`` (N, C) summed over the columns + ``kl`` (N,), which is 0 for the kind
    ``reconstruction``. The draws of z are fixed and part of the graph, so it is a function of ``x`` alone. Memory grows
    with ``num_samples`` · N: give it some hundred rows at a time.

    Args:
        vae: the network.
        scaling: the map between data units and model units.
        kind: ``elbo``, ``nll`` or ``reconstruction``.
        num_samples: draws of z.
        seed: of the draws.

    Raises:
        ConfigError: for another ``kind``.
    """

    name = "score"
    takes, takes_dtype = "x", torch.float64
    gives = ("anomaly_score", "by_column", "kl")
    meaning = "how unusual a row is, nats in data units; anomaly_score = sum of by_column + kl"
    noise: Tensor
    density_columns: Tensor

    def __init__(
        self,
        vae: VAE,
        scaling: Scaling,
        kind: ScoreKind = "elbo",
        num_samples: int = NUM_SAMPLES,
        seed: int = 0,
    ) -> None:
        check_kind(kind, "export")
        super().__init__(vae, scaling)
        self.kind: ScoreKind = kind
        self.register_buffer("noise", noise(self.vae, num_samples, seed))
        # A probability does not change with the units.
        self.register_buffer("density_columns", vae.likelihood.density_columns.cpu())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``anomaly_score, by_column, kl``."""
        batch = self.model_units(x)
        has_density = self.density_columns if batch.mask is None else self.density_columns & batch.mask
        slopes = torch.where(has_density, self.scaling.log_slopes(batch.x), 0.0)
        score = score_batch(self.vae, batch, self.noise).shift(slopes).of(self.kind)
        return score.total, score.by_column, score.kl


def graphs(vae: VAE, scaling: Scaling, kind: ScoreKind = "elbo") -> tuple[Graph, ...]:
    """The three graphs of a model; ``kind`` is that of the score.

    Raises:
        ConfigError: for a ``kind`` that does not exist.
    """
    return Encoder(vae, scaling), Decoder(vae, scaling), ScoreGraph(vae, scaling, kind)
