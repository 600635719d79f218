"""The question that this project grew from: its four losses in torch, numpy and Keras, and the numbers it published.

A network 224-256-128-64-32-16 with two heads of 16, mirrored, ends at a training loss of −1.2e18 after ten epochs. Its
second head, called sigma and documented as a log-variance, multiplies the noise as it is.
"""

import importlib
from typing import Any

import numpy as np
import torch

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


def _write(name: str, xp: Any, clip: Function, normal: Function, array: Function = lambda a: a) -> dict[str, Function]:
    """kl, sample and reconstruction (of probabilities) of one version, with the functions of one library."""

    def entropy(x: Any, p: Any) -> Any:
        x, p = array(x), clip(array(p), EPSILON, 1 - EPSILON)
        return -(x * xp.log(p) + (1 - x) * xp.log(1 - p))

    terms = {
        "first": lambda m, s: -(m**2 + s**2 - xp.log(s**2) - 1),
        "second": lambda m, s: -(1 + s - m**2 - xp.exp(s)),
        "third": lambda m, s: m**2 + xp.exp(s) ** 2 - s - 1,
        "corrected": lambda m, s: m**2 + xp.exp(s) - s - 1,
    }
    reductions = {"second": xp.sum, "corrected": lambda each: xp.sum(each, -1)}
    reduce = reductions.get(name, lambda each: xp.mean(each, -1))
    sigma = (lambda s: xp.exp(s / 2)) if name == "corrected" else lambda s: s
    return {
        "kl": lambda m, s: 0.5 * xp.sum(terms[name](array(m), array(s)), -1),
        "sample": lambda m, s: array(m) + sigma(array(s)) * normal(array(m)),
        "reconstruction": lambda x, p: reduce(entropy(x, p)),
    }


def torch_version(name: str) -> dict[str, Function]:
    """One version in torch."""
    return _write(name, torch, torch.clamp, torch.randn_like)


def numpy_version(name: str) -> dict[str, Function]:
    """One version in numpy."""
    return _write(name, np, np.clip, lambda m: np.random.standard_normal(m.shape))


def keras_version(name: str) -> dict[str, Function]:
    """One version in Keras 3, with whatever backend it has.

    Raises:
        ImportError: Keras or its backend is not installed.
    """
    keras = importlib.import_module("keras")

    def normal(m: Any) -> Any:
        return keras.random.normal(tuple(m.shape), dtype=m.dtype)

    return _write(name, keras.ops, keras.ops.clip, normal, keras.ops.convert_to_tensor)
