"""The question that this project grew from: its four losses in torch, numpy and Keras, and the numbers it published.

A network 224-256-128-64-32-16 with two heads of 16, mirrored, ends at a training loss of −1.2e18 after ten epochs. Its
second head, called sigma and documented as a log-variance, multiplies the noise as it is.
"""

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vae_lightning.doctor.losses.cases.base import Function

PUBLISHED = (
    (-28.0, -34.0),
    (-1.4e5, -3.7e6),
    (-1.5e10, -1.1e11),
    (-3.0e12, -1.3e13),
    (-1.0e14, -3.2e14),
    (-1.4e15, -3.7e15),
    (-1.2e16, -2.7e16),
    (-7.0e16, -1.4e17),
    (-3.2e17, -6.0e17),
    (-1.2e18, -2.1e18),
)
"""Training and validation loss of the ten epochs of the first version."""

EPSILON = 1e-7  # Keras keeps probabilities this far from 0 and 1

VERSIONS = ("first", "second", "third", "corrected")

FAULTS = {
    "first": ("SIGN-FLIP", "MEAN-SUM"),
    "second": ("RAW-AS-STD", "SCALE"),
    "third": ("RAW-AS-STD", "LOG-FACTOR", "MEAN-SUM"),
    "corrected": (),
}
"""The codes that each version must be found by. The first one's raw σ agrees with its KL, so it is no fault there."""


def _cross_entropy(x: Any, p: Any, log: Callable[[Any], Any], clip: Callable[[Any, float, float], Any]) -> Any:
    p = clip(p, EPSILON, 1 - EPSILON)
    return -(x * log(p) + (1 - x) * log(1 - p))


def torch_version(name: str) -> dict[str, Function]:
    """kl, sample and reconstruction (of probabilities) of one version, in torch."""

    def entropy(x: Tensor, p: Tensor) -> Tensor:
        return _cross_entropy(x, p, torch.log, torch.clamp)

    def raw(m: Tensor, s: Tensor) -> Tensor:
        return m + s * torch.randn_like(m)

    versions: dict[str, dict[str, Function]] = {
        "first": {
            "kl": lambda m, s: -0.5 * (m**2 + s**2 - torch.log(s**2) - 1).sum(-1),
            "reconstruction": lambda x, p: entropy(x, p).mean(-1),
            "sample": raw,
        },
        "second": {
            "kl": lambda m, s: -0.5 * (1 + s - m**2 - torch.exp(s)).sum(-1),
            "reconstruction": lambda x, p: entropy(x, p).sum(),
            "sample": raw,
        },
        "third": {
            "kl": lambda m, s: 0.5 * (m**2 + torch.exp(s) ** 2 - s - 1).sum(-1),
            "reconstruction": lambda x, p: entropy(x, p).mean(-1),
            "sample": raw,
        },
        "corrected": {
            "kl": lambda m, s: 0.5 * (m**2 + torch.exp(s) - s - 1).sum(-1),
            "reconstruction": lambda x, p: entropy(x, p).sum(-1),
            "sample": lambda m, s: m + torch.exp(s / 2) * torch.randn_like(m),
        },
    }
    return versions[name]


def numpy_version(name: str) -> dict[str, Function]:
    """The same in numpy."""

    def entropy(x: Any, p: Any) -> Any:
        return _cross_entropy(x, p, np.log, np.clip)

    def raw(m: Any, s: Any) -> Any:
        return m + s * np.random.standard_normal(m.shape)

    versions: dict[str, dict[str, Function]] = {
        "first": {
            "kl": lambda m, s: -0.5 * np.sum(m**2 + s**2 - np.log(s**2) - 1, axis=-1),
            "reconstruction": lambda x, p: np.mean(entropy(x, p), axis=-1),
            "sample": raw,
        },
        "second": {
            "kl": lambda m, s: -0.5 * np.sum(1 + s - m**2 - np.exp(s), axis=-1),
            "reconstruction": lambda x, p: np.sum(entropy(x, p)),
            "sample": raw,
        },
        "third": {
            "kl": lambda m, s: 0.5 * np.sum(m**2 + np.exp(s) ** 2 - s - 1, axis=-1),
            "reconstruction": lambda x, p: np.mean(entropy(x, p), axis=-1),
            "sample": raw,
        },
        "corrected": {
            "kl": lambda m, s: 0.5 * np.sum(m**2 + np.exp(s) - s - 1, axis=-1),
            "reconstruction": lambda x, p: np.sum(entropy(x, p), axis=-1),
            "sample": lambda m, s: m + np.exp(s / 2) * np.random.standard_normal(m.shape),
        },
    }
    return versions[name]


def keras_version(name: str) -> dict[str, Function]:
    """The same in Keras 3, with whatever backend it has.

    Raises:
        ImportError: Keras or its backend is not installed.
    """
    keras = importlib.import_module("keras")
    ops = keras.ops

    def heads(m: Any, s: Any) -> tuple[Any, Any]:
        return ops.convert_to_tensor(m), ops.convert_to_tensor(s)

    def entropy(x: Any, p: Any) -> Any:
        return _cross_entropy(ops.convert_to_tensor(x), ops.convert_to_tensor(p), ops.log, ops.clip)

    def kl(term: Callable[[Any, Any], Any]) -> Function:
        return lambda m, s: ops.sum(term(*heads(m, s)), axis=-1)

    def sample(sigma: Callable[[Any], Any]) -> Function:
        return lambda m, s: m + sigma(heads(m, s)[1]) * keras.random.normal(tuple(m.shape), dtype=heads(m, s)[0].dtype)

    versions: dict[str, dict[str, Function]] = {
        "first": {
            "kl": kl(lambda m, s: -0.5 * (m**2 + s**2 - ops.log(s**2) - 1)),
            "reconstruction": lambda x, p: ops.mean(entropy(x, p), axis=-1),
            "sample": sample(lambda s: s),
        },
        "second": {
            "kl": kl(lambda m, s: -0.5 * (1 + s - m**2 - ops.exp(s))),
            "reconstruction": lambda x, p: ops.sum(entropy(x, p)),
            "sample": sample(lambda s: s),
        },
        "third": {
            "kl": kl(lambda m, s: 0.5 * (m**2 + ops.exp(s) ** 2 - s - 1)),
            "reconstruction": lambda x, p: ops.mean(entropy(x, p), axis=-1),
            "sample": sample(lambda s: s),
        },
        "corrected": {
            "kl": kl(lambda m, s: 0.5 * (m**2 + ops.exp(s) - s - 1)),
            "reconstruction": lambda x, p: ops.sum(entropy(x, p), axis=-1),
            "sample": sample(lambda s: ops.exp(s / 2)),
        },
    }
    return versions[name]
