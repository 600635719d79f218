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


def _elu(s: Array) -> Array:
    return np.where(s > 0, s + 1, np.exp(np.minimum(s, 0)))


_Map = Callable[[Array], Array]

_LOGARITHMS: dict[str, _Map] = {
    "s": lambda s: s,
    "-s": np.negative,
    "softplus(s)": softplus,
    "-softplus(s)": lambda s: -softplus(s),
    "relu(s)": lambda s: np.maximum(s, 0),
    "-relu(s)": lambda s: -np.maximum(s, 0),
    "tanh(s)": np.tanh,
    "sigmoid(s)": _sigmoid,
    "-sigmoid(s)": lambda s: -_sigmoid(s),
    "|s|": np.abs,
    "-|s|": lambda s: -np.abs(s),
    "s²": np.square,
    "-s²": lambda s: -np.square(s),
}
_SIZES: dict[str, _Map] = {
    "s": np.abs,
    "softplus(s)": softplus,
    "sigmoid(s)": _sigmoid,
    "elu(s) + 1": _elu,
    "1 + softplus(s)": lambda s: 1 + softplus(s),
}


def _of_logarithm(name: str, base: str = "exp({})", scale: float = 1.0) -> tuple[Sigma, Sigma]:
    t, canonical = _LOGARITHMS[name], name in ("s", "-s") and scale == 1.0
    half = base.format(f"{name}/2")
    return (
        Sigma(half, lambda s: np.exp(scale * t(s) / 2), f"{name} is the log-variance", canonical),
        Sigma(base.format(name), lambda s: np.exp(scale * t(s)), f"{name} is the log standard deviation", canonical),
    )


def _of_size(name: str) -> tuple[Sigma, ...]:
    size, canonical, plain = _SIZES[name], name == "s", "|s|" if name == "s" else name
    return (
        Sigma(plain, size, f"{name} is the standard deviation", canonical),
        Sigma(f"sqrt({name})", lambda s: np.sqrt(size(s)), f"{name} is the variance", canonical),
        Sigma(f"1/{plain}", lambda s: 1 / size(s), f"{name} is the inverse standard deviation"),
        Sigma(f"1/sqrt({name})", lambda s: 1 / np.sqrt(size(s)), f"{name} is the precision"),
    )


LOG_VAR, LOG_STD = _of_logarithm("s")
STD, VAR, *_INVERSE = _of_size("s")

KNOWN: Sequence[Sigma] = (
    *(LOG_VAR, LOG_STD, STD, VAR, *_of_size("softplus(s)")[:2], *_of_logarithm("-s")),
    *(*_INVERSE, *_of_size("softplus(s)")[2:]),
    *(sigma for name in list(_SIZES)[2:] for sigma in _of_size(name)),
    *(*_of_logarithm("s", "2^({})", float(np.log(2))), *_of_logarithm("s", "10^({})", float(np.log(10)))),
    *(sigma for name in list(_LOGARITHMS)[2:] for sigma in _of_logarithm(name)),
)
"""The readings tried, the commonest first: every way to make σ of a logarithm or of a size, behind every activation."""


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
