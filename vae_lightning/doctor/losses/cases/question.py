"""The question that this project grew from: its four losses in torch, numpy and Keras, and the numbers it published.

A network 224-256-128-64-32-16 with two heads of 16, mirrored, ends at a training loss of −1.2e18 after ten epochs. Its
second head, called sigma and documented as a log-variance, multiplies the noise as it is.
"""

from dataclasses import replace

from vae_lightning.doctor.losses.cases.recipe import Function, Recipe, build_functions

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

_CORRECTED = Recipe(family="bce probabilities", kl_rows="keep", rows="keep")
_RECIPES = {
    "first": replace(_CORRECTED, sigma="sigma", sampler_sigma="raw", kl_sign=-1.0, columns="mean"),
    "second": replace(_CORRECTED, sampler_sigma="raw", rows="sum"),
    "third": replace(_CORRECTED, sigma="log sigma", sampler_sigma="raw", log_factor=0.5, columns="mean"),
    "corrected": _CORRECTED,
}

FAULTS = {
    "first": ("SIGN-FLIP", "MEAN-SUM"),
    "second": ("RAW-AS-STD", "SCALE"),
    "third": ("RAW-AS-STD", "LOG-FACTOR", "MEAN-SUM"),
    "corrected": (),
}
"""The codes that each version must be found by. The first one's raw σ agrees with its KL, so it is no fault there."""


def write_version(name: str, library: str = "torch") -> dict[str, Function]:
    """kl, sample and reconstruction (of probabilities) of one version."""
    return build_functions(replace(_RECIPES[name], library=library))
