"""Models to export: every family, preprocessing, kind of score and variant of the networks among them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from tests.models import rows_of
from vae_lightning.data.columns import Column
from vae_lightning.data.preprocess.base import Scaling
from vae_lightning.data.preprocess.binarize import Binarize
from vae_lightning.data.preprocess.gaussianize import Gaussianize
from vae_lightning.data.preprocess.minmax import MinMax
from vae_lightning.data.preprocess.none import Identity
from vae_lightning.data.preprocess.standardize import Standardize
from vae_lightning.export.files import TOLERANCE, probes
from vae_lightning.export.graphs import Encoder
from vae_lightning.inference.model import VAEModel
from vae_lightning.likelihoods.base import Likelihood
from vae_lightning.likelihoods.bernoulli import Bernoulli
from vae_lightning.likelihoods.continuous_bernoulli import ContinuousBernoulli
from vae_lightning.likelihoods.gaussian import Gaussian
from vae_lightning.model.linear import LinearPath
from vae_lightning.model.vae import VAE

C = 5
CASES: dict[str, tuple[Any, Callable[[], Scaling], Any, dict[str, Any]]] = {
    # likelihood, preprocessing, kind of score, architecture
    "bernoulli": (Bernoulli, lambda: Binarize(C), "elbo", {"normalization": "batch", "activation": "relu"}),
    "continuous_bernoulli": (ContinuousBernoulli, lambda: MinMax(C), "nll", {"activation": "leaky_relu"}),
    "gaussian": (Gaussian, lambda: Standardize(C), "elbo", {"normalization": "layer", "activation": "gelu"}),
    "gaussian fixed": (lambda c: Gaussian(c, "fixed", 0.3), lambda: Identity(C), "nll", {"activation": "silu"}),
    "gaussian shared": (lambda c: Gaussian(c, "shared"), lambda: Standardize(C), "nll", {"residual": True}),
    "gaussian predicted": (
        lambda c: Gaussian(c, "predicted", min_scale=0.01),  # random weights use it: float32 has few digits below
        lambda: Standardize(C),
        "reconstruction",
        {"residual": True, "normalization": "batch", "dropout": 0.5, "activation": "elu"},
    ),
    "gaussian optimal": (lambda c: Gaussian(c, "optimal"), lambda: Standardize(C), "elbo", {"activation": "softplus"}),
    "gaussian of normal scores": (Gaussian, lambda: Gaussianize(C), "elbo", {}),
    "linear": (Gaussian, lambda: MinMax(C), "elbo", {"hidden_dims": [], "activation": "tanh"}),
}
NEW = {
    name: (family, lambda: Identity(C), "elbo", {})
    for name, family in Likelihood.families().items()
    if name not in CASES
}
CASES |= NEW
"""A family that is added needs no line here: its rows are what it draws."""
UNITS = {
    "bernoulli": (7.0, 1e-3),
    "gaussian": (1e6, 3.0),
    "gaussian shared": (-3e-7, 1e-7),
    "gaussian optimal": (1e6, 1e-4),
    "continuous_bernoulli": (1e6, 1e3),
}
"""Mean and scale of the data, where they are not 0 and 1."""


def data(name: str, n: int, seed: int) -> np.ndarray:
    """Rows in data units, whose columns differ in scale."""
    mean, scale = UNITS.get(name, (0.0, 1.0))
    rows = mean + scale * np.random.default_rng(seed).normal(size=(n, C)) * [1, 2, 0.5, 3, 1]
    return np.stack([np.exp(rows[:, 0]), *rows.T[1:4], rows[:, 4].clip(0)], 1) if "scores" in name else rows


def trained(name: str, record: dict[str, Any] | None = None) -> VAEModel:
    """A model whose every weight and statistic has moved from where it starts."""
    likelihood, preprocess, _, options = CASES[name]
    torch.manual_seed(sorted(CASES).index(name))
    vae = VAE(likelihood(C), 3, **{"hidden_dims": [8, 6], **options})
    for parameter in vae.parameters():
        nn.init.normal_(parameter, std=0.3)
    for layer in vae.modules():
        if isinstance(layer, nn.BatchNorm1d):
            nn.init.normal_(layer.running_mean)  # type: ignore[arg-type]
            nn.init.uniform_(layer.running_var, 0.5, 2)  # type: ignore[arg-type]
        if isinstance(layer, LinearPath):
            # Small, as it sees features without bound: of large residuals float32 has too few digits.
            nn.init.normal_(layer.weight, std=0.1)
            nn.init.uniform_(layer.unit, 0.5, 2)
    fitted = preprocess().fit(rows_of(torch.from_numpy(data(name, 200, 0))))
    return VAEModel(vae, fitted, [Column(f"x{i}", "float64") for i in range(C)], record).eval()


def unseen(name: str, model: VAEModel, n: int, seed: int) -> np.ndarray:
    """Legal rows that nothing was fitted to."""
    if name in NEW:
        return probes(Encoder(model.vae, model.scaling), n, 100 + seed).numpy()
    return data(name, n, seed)


def onnx(path: Path) -> Callable[[np.ndarray], list[np.ndarray]]:
    """A file's function, as its users run it."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    return lambda rows: session.run(None, {given.name: rows})


def close(found: np.ndarray, model: np.ndarray, unit: Any = 1.0, origin: Any = 0.0) -> bool:
    """Whether numbers agree within the package's tolerance."""
    return bool((np.abs(found - model) <= TOLERANCE * (unit + np.abs(model - origin)) + 1e-15 * np.abs(model)).all())


def own_units(model: VAEModel) -> tuple[np.ndarray, np.ndarray]:
    """What is 1 and what is 0 to each column, in data units."""
    return model.scaling.inverse_stddev(torch.ones(C), torch.zeros(C)).numpy(), model.scaling.inverse(
        torch.zeros(C)
    ).numpy()
