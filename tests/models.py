"""What several tests are made of: every likelihood of the package, small models, passes over rows, a training loop."""

import inspect
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from vae_lightning.data.batch import Batch
from vae_lightning.data.store import RowsInMemory
from vae_lightning.likelihoods.base import Likelihood
from vae_lightning.likelihoods.bernoulli import Bernoulli
from vae_lightning.likelihoods.by_column import ByColumn
from vae_lightning.likelihoods.categorical import Categorical
from vae_lightning.likelihoods.gaussian import Gaussian
from vae_lightning.likelihoods.poisson import Poisson
from vae_lightning.likelihoods.scale import SCALE_KINDS, ScaleKind
from vae_lightning.model.vae import VAE
from vae_lightning.objectives.terms import Pass

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
    """Four families side by side, their columns interleaved."""
    families: list[Callable[[int], Likelihood]] = [Gaussian, Poisson, Bernoulli, lambda size: Categorical(size, 3)]
    blocks = [list(range(start, num_columns, 4)) for start in range(4)]
    return ByColumn(num_columns, [(family(len(block)), block) for family, block in zip(families, blocks, strict=True)])


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


def forward(vae: VAE, x: Tensor, num_samples: int = 1, densities: bool = False) -> Pass:
    return vae(Batch(x), vae.noise(num_samples, len(x)), densities)


def rows_of(x: Tensor) -> RowsInMemory:
    return RowsInMemory(Batch(x))


def train(vae: VAE, x: Tensor, lr: float, batch_size: int, epochs: int, warm_up: float = 0.05) -> None:
    """The textbook loop: Adam on the mean ELBO, the learning rate warming up and decaying to nothing."""
    optimizer = torch.optim.Adam(vae.parameters(), lr=lr, fused=True)
    batches = len(x) // batch_size
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=epochs * batches, pct_start=warm_up)
    for _ in range(epochs):
        for index in torch.randperm(len(x)).split(batch_size)[:batches]:
            rows = x[index]
            optimizer.zero_grad()
            forward(vae, rows).nelbo.mean().backward()
            optimizer.step()
            scheduler.step()
    vae.eval()
