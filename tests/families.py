"""Every likelihood of the package with every way to set its scale, a mixture of several; variants of the network."""

import inspect
from collections.abc import Iterator

import torch
from torch import Tensor

from vae_lightning.likelihoods.base import Likelihood
from vae_lightning.likelihoods.by_column import ByColumn
from vae_lightning.likelihoods.scale import SCALE_KINDS, ScaleKind
from vae_lightning.model.vae import VAE

VARIANTS = [
    {},
    {"hidden_dims": []},
    {"normalization": "layer"},
    {"normalization": "batch"},
    {"residual": True},
    {"dropout": 0.3},
    {"normalization": "batch", "residual": True, "dropout": 0.2, "activation": "gelu"},
    {"decoder_dims": [5, 9]},
]


def every_likelihood(num_columns: int = 6) -> Iterator[tuple[str, Likelihood]]:
    """New ones each time; families are found in their folder."""
    for name, family in Likelihood.families().items():
        kinds = [key for key, p in inspect.signature(family).parameters.items() if p.annotation == ScaleKind]
        if not kinds:
            yield name, family(num_columns)
        for kind in SCALE_KINDS if kinds else ():
            yield f"{name} {kind}", family(num_columns, **{kinds[0]: kind})
    yield "by column", mixed(num_columns)


def mixed(num_columns: int = 6) -> ByColumn:
    """Three families side by side, their columns interleaved."""
    blocks = [list(range(start, num_columns, 3)) for start in range(3)]
    known = Likelihood.families()
    parts = [known["gaussian"], known["poisson"], known["bernoulli"]]
    return ByColumn(num_columns, [(part(len(block)), block) for part, block in zip(parts, blocks, strict=True)])


def rows_for(likelihood: Likelihood, num_rows: int) -> Tensor:
    """Legal rows: draws of the family."""
    return likelihood(torch.randn(num_rows, likelihood.raw_size)).sample()


def small_vae(likelihood: Likelihood, **options) -> VAE:
    return VAE(likelihood, latent_dim=3, **{"hidden_dims": [12, 8], **options})


def randomise(vae: VAE, scale: float) -> VAE:
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.normal_(0, scale)
    return vae
