"""The standard deviations σ(s) that people make of a second head s."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vae_lightning.doctor.losses.blackbox.arrays import Array

_NEGATIVE = (-3.9, -3.4, -2.9, -2.5, -2.1, -1.7, -1.35, -1.05, -0.8, -0.55, -0.35, -0.15)
_POSITIVE = (0.15, 0.3, 0.5, 0.75, 1.0, 1.3, 1.65, 2.0, 2.4, 2.8, 3.3, 3.8)
REAL_GRID: Array = np.array([*_NEGATIVE, *_POSITIVE])
"""Values of s of both signs; zero is left out because σ = s has no logarithm there."""

POSITIVE_GRID: Array = REAL_GRID[REAL_GRID > 0]
"""Values of s for functions that accept positive ones only."""


@dataclass(frozen=True)
class Sigma:
    """One way to make a standard deviation of s.

    Args:
        text: The formula, as the report prints it.
        function: s -> σ, element by element.
        reads: What s is called under this reading.
        canonical: Whether a constant factor in front can only be a mistake.
    """

    text: str
    function: Callable[[Array], Array]
    reads: str
    canonical: bool = False

    def __call__(self, s: Array) -> Array:
        """σ(s)."""
        return self.function(s)


def softplus(s: Array) -> Array:
    """log(1 + e^s), without overflow."""
    return np.logaddexp(0.0, s)


def _sigmoid(s: Array) -> Array:
    return np.exp(-softplus(-s))


LOG_VAR = Sigma("exp(s/2)", lambda s: np.exp(s / 2), "s is the log-variance", canonical=True)
LOG_STD = Sigma("exp(s)", np.exp, "s is the log standard deviation", canonical=True)
STD = Sigma("|s|", np.abs, "s is the standard deviation", canonical=True)
VAR = Sigma("sqrt(s)", lambda s: np.sqrt(np.abs(s)), "s is the variance", canonical=True)
SOFTPLUS_LOG_VAR = Sigma("exp(softplus(s)/2)", lambda s: np.sqrt(1 + np.exp(s)), "softplus on the log-variance")

KNOWN: Sequence[Sigma] = (
    LOG_VAR,
    LOG_STD,
    STD,
    VAR,
    Sigma("softplus(s)", softplus, "softplus makes the standard deviation"),
    Sigma("sqrt(softplus(s))", lambda s: np.sqrt(softplus(s)), "softplus makes the variance"),
    Sigma("exp(-s/2)", lambda s: np.exp(-s / 2), "s is the log-precision", canonical=True),
    Sigma("exp(-s)", lambda s: np.exp(-s), "s is minus the log standard deviation", canonical=True),
    Sigma("1/sqrt(s)", lambda s: 1 / np.sqrt(np.abs(s)), "s is the precision"),
    Sigma("1/|s|", lambda s: 1 / np.abs(s), "s is the inverse standard deviation"),
    Sigma("1/softplus(s)", lambda s: 1 / softplus(s), "softplus makes the inverse standard deviation"),
    Sigma("1/sqrt(softplus(s))", lambda s: 1 / np.sqrt(softplus(s)), "softplus makes the precision"),
    Sigma("sigmoid(s)", _sigmoid, "a sigmoid makes the standard deviation"),
    Sigma("sqrt(sigmoid(s))", lambda s: np.sqrt(_sigmoid(s)), "a sigmoid makes the variance"),
    Sigma("elu(s) + 1", lambda s: np.where(s > 0, s + 1, np.exp(np.minimum(s, 0))), "elu makes the standard deviation"),
    Sigma(
        "sqrt(elu(s) + 1)",
        lambda s: np.sqrt(np.where(s > 0, s + 1, np.exp(np.minimum(s, 0)))),
        "elu makes the variance",
    ),
    Sigma("2^s", lambda s: 2.0**s, "s is the binary logarithm of the standard deviation"),
    Sigma("2^(s/2)", lambda s: 2.0 ** (s / 2), "s is the binary logarithm of the variance"),
    Sigma("10^s", lambda s: 10.0**s, "s is the decimal logarithm of the standard deviation"),
    SOFTPLUS_LOG_VAR,
    Sigma("exp(relu(s)/2)", lambda s: np.exp(np.maximum(s, 0) / 2), "a ReLU on the log-variance"),
    Sigma("exp(tanh(s)/2)", lambda s: np.exp(np.tanh(s) / 2), "a tanh on the log-variance"),
    Sigma("exp(tanh(s))", lambda s: np.exp(np.tanh(s)), "a tanh on the log standard deviation"),
    Sigma("exp(sigmoid(s)/2)", lambda s: np.exp(_sigmoid(s) / 2), "a sigmoid on the log-variance"),
    Sigma("exp(sigmoid(s))", lambda s: np.exp(_sigmoid(s)), "a sigmoid on the log standard deviation"),
    Sigma("1 + softplus(s)", lambda s: 1 + softplus(s), "one plus a softplus"),
    Sigma("exp(softplus(s))", lambda s: 1 + np.exp(s), "softplus on the log standard deviation"),
    Sigma("exp(-softplus(s)/2)", lambda s: np.exp(-softplus(s) / 2), "minus a softplus as log-variance"),
)
"""The readings tried, the commonest first."""


def identify_sigma(grid: Array, sigma: Array, tolerance: float) -> tuple[Sigma | None, float]:
    """The known σ(s) that `sigma` is a constant multiple of, and that multiple.

    Args:
        grid: Values of s.
        sigma: The measured standard deviations there.
        tolerance: How far the ratio may wander.
    """
    best: tuple[Sigma | None, float] = (None, 1.0)
    least = tolerance
    for known in KNOWN:
        ratio = sigma / known(grid)
        factor = float(np.median(ratio))
        spread = float(np.max(np.abs(ratio / factor - 1))) if factor > 0 else np.inf
        if spread < least:
            best, least = (known, factor), spread / 10
    return best
