"""The user's own rows against the reconstruction: support, reach, floor, and the latents that can survive."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from vae_lightning.doctor.losses.blackbox.arrays import Array
from vae_lightning.doctor.losses.blackbox.box import CallFailed
from vae_lightning.doctor.losses.reconstruction.layout import ReconstructionReading
from vae_lightning.doctor.losses.reconstruction.reach import find_reach
from vae_lightning.doctor.report import Finding


def as_rows(data: Any) -> Array:
    """`data` (an array, a tensor, a data frame, nested lists) as a float64 matrix.

    Raises:
        CallFailed: It is none.
    """
    if hasattr(data, "detach"):
        data = data.detach().cpu()
    try:
        rows = np.asarray(data, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise CallFailed("DATA", f"the data hold something that is no number ({error})") from error
    if rows.ndim > 2:
        rows = rows.reshape(len(rows), -1)
    if rows.ndim != 2 or rows.size == 0:
        raise CallFailed("DATA", f"the data must be rows and columns; got the shape {rows.shape}")
    return rows


def check_rows(rows: Array, reading: ReconstructionReading) -> list[Finding]:
    """Whether the reconstruction is a likelihood of these rows."""
    missing = int(np.sum(~np.isfinite(rows)))
    if missing:
        first = np.argwhere(~np.isfinite(rows))[0]
        says = f"{missing} of {rows.size} values are NaN or infinite, the first in row {first[0]}, column {first[1]}."
        return [Finding("DATA", None, says, "Fill or drop them, or use a mask.")]
    findings = _check_support(rows, reading) if reading.family in _SUPPORTS else []
    if reading.family in ("squared error", "real"):
        findings += _check_constant_columns(rows, reading)
    if reading.family in ("squared error", "real", "counts", "Poisson"):
        findings += _check_reach(rows, reading)
    return findings


ROUNDING = 1e-6  # what single precision makes of a one
_COUNTS = ("whole numbers from 0 on", "a likelihood of counts", "SUPPORT", lambda x: (x < 0) | (x != np.round(x)))
_SUPPORTS: dict[str, tuple[str, str, str, Callable[[Array], Array]]] = {
    "counts": _COUNTS,
    "Poisson": _COUNTS,
    "unit": ("in [0, 1]", "a density on [0, 1]", "BCE-RANGE", lambda x: (x < -ROUNDING) | (x > 1 + ROUNDING)),
    "binary": ("0 or 1", "a cross-entropy", "BCE-RANGE", lambda x: (x < -ROUNDING) | (x > 1 + ROUNDING)),
    "log x": ("positive", "a density of log x", "SUPPORT", lambda x: x <= 0),
    "log(1 + x)": ("above −1", "a density of log(1 + x)", "SUPPORT", lambda x: x <= -1),
    "positive": ("positive", "a density of positive numbers", "SUPPORT", lambda x: x <= 0),
}
"""Family -> what data must be, for what, the code, and which are not."""


def _check_constant_columns(rows: Array, reading: ReconstructionReading) -> list[Finding]:
    constant = int(np.sum(np.ptp(rows, axis=0) == 0))
    if reading.term.layout.heads == 1 or not constant:
        return []
    says = f"{constant} of {rows.shape[1]} columns hold one value: with a learned scale the loss falls without end."
    return [Finding("DEGENERATE", False, says, "Drop these columns, or give σ a floor.")]


def _count(bad: Array) -> str:
    return f"{int(bad.sum())} of {bad.size} values in {int(bad.any(axis=0).sum())} of {bad.shape[1]} columns"


def _check_support(rows: Array, reading: ReconstructionReading) -> list[Finding]:
    must, what, code, outside = _SUPPORTS[reading.family]
    bad = outside(rows)
    if bad.any():
        says = f"The reconstruction is {what}, so data must be {must}; {_count(bad)} are not (from {rows.min():.4g} "
        says += f"to {rows.max():.4g})."
        if reading.family == "binary":
            says += f" On these rows it can fall to {_find_floor(rows, reading)}, and training will go there."
        advice = (
            "Choose a likelihood whose support holds the data (a Gaussian takes any number), or scale every column."
        )
        return [Finding(code, False, says, advice, {"min": rows.min(), "max": rows.max()})]
    grey = (rows > 0) & (rows < 1)
    if reading.family != "binary" or grey.mean() < 1e-3:
        return [Finding(code, True, f"The data are {must}, as {what} needs.")]
    p = torch.from_numpy(rows.clip(0, 1))
    entropy = float((torch.special.entr(p) + torch.special.entr(1 - p)).sum(1).mean())
    says = f"{_count(grey)} lie strictly between 0 and 1. Cross-entropy is a likelihood of zeros and ones only: on "
    says += f"grey levels exp(−loss) is no density, and the loss cannot fall below {entropy:.4g} nats per row."
    advice = "Binarise the data, or use a continuous Bernoulli or Gaussian likelihood. (Its optimum is right.)"
    return [Finding("UNNORMALISED", False, says, advice, {"floor": entropy})]


def _find_floor(rows: Array, reading: ReconstructionReading) -> str:
    """The least value that outputs far to either side, or at the edges of (0, 1), can give on these rows."""
    total = 0.0
    for x in (float(rows.min()), float(rows.max())):
        values = [reading.sign * reading.term.value(x, (out,)) for out in (-1e4, -40.0, 1e-9, 1 - 1e-9, 40.0, 1e4)]
        finite = [value for value in values if np.isfinite(value)]
        total = min([total, *finite])
    return f"{total:.4g} for the worst column, and below with larger outputs" if total < 0 else "minus infinity"


def _check_reach(rows: Array, reading: ReconstructionReading) -> list[Finding]:
    """Whether the decoder's mean can reach every value, of counts every column's mean."""
    counts = reading.family in ("counts", "Poisson")
    low, high = find_reach(reading.term, counts)
    slack = 0.02 if counts else 0.01 * float(np.ptp(rows))
    values, slack = (rows.mean(axis=0), slack + 3 * rows.std(axis=0) / np.sqrt(len(rows))) if counts else (rows, slack)
    bad = (values < low - slack) | (values > high + slack)
    if not bad.any():
        return [Finding("OUT-ACT", True, "The decoder's mean can reach every value of the data.")]
    says = (
        f"Inside the reconstruction the mean is kept between {low:.4g} and {high:.4g}; {int(bad.sum())} of {bad.size} "
    )
    says += f"{'column means' if counts else 'values'} (from {values.min():.4g} to {values.max():.4g}) are beyond."
    advice = "Let the decoder end in a linear layer (its exponential is a rate), or scale the data into its range."
    return [Finding("OUT-ACT", False, says, advice, {"least mean": low, "greatest mean": high})]


def count_surviving_latents(rows: Array, variance: float) -> tuple[int, Array]:
    """How many latents a linear VAE keeps active: the covariance eigenvalues above σ² (all of them returned too)."""
    eigenvalues = np.linalg.svd((rows - rows.mean(axis=0)) / np.sqrt(len(rows)), compute_uv=False) ** 2
    return int(np.sum(eigenvalues > variance)), eigenvalues
