"""What the numbers of a table's columns mean for a likelihood: kinds, repeated values, tails, spread."""

from collections.abc import Sequence

import numpy as np

from vae_lightning.data.wording import count, shorten
from vae_lightning.doctor.losses.blackbox.arrays import Array
from vae_lightning.doctor.report import Finding
from vae_lightning.doctor.runs.fits import Fit
from vae_lightning.errors import Setting
from vae_lightning.likelihoods.support import BINARY, REAL, UNIT

REPEATED, OFTEN = 0.6, 0.4  # of the rows: a value that more of them share is a point mass to a density, or nearly
SKEWED = 3.0
NARROW = 0.5  # of the mean: no variance of a Poisson
DEPENDENT = 1e-13  # of the greatest eigenvalue of the correlations: rounding, not variation


def ranges_of(x: Array) -> tuple[Array, Array]:
    """The least and the greatest observed value of each column, (C,), each; every column has one."""
    return np.fmin.reduce(x), np.fmax.reduce(x)


def observed(x: Array) -> list[Array]:
    """The values of each column without its empty cells."""
    return [column[~np.isnan(column)] for column in x.T]


def describe_columns(x: Array) -> str:
    """How many columns hold which kind of numbers; each column counts once, for the narrowest kind."""
    low, high = ranges_of(x)
    hole = np.isnan(x)
    whole = (hole | (x == np.round(x))).all(axis=0)
    kinds = {
        "constant": low == high,
        "0 and 1": (hole | (x == 0) | (x == 1)).all(axis=0),
        "within [0, 1]": (low >= 0) & (high <= 1),
        "whole numbers from 0": whole & (low >= 0),
        "whole numbers": whole,
        "positive": low > 0,
        "real": np.ones(x.shape[1], dtype=bool),
    }
    left = np.ones(x.shape[1], dtype=bool)
    described = []
    for name, mask in kinds.items():
        if np.any(mask & left):
            described.append(f"{int((mask & left).sum())} {name}")
        left &= ~mask
    return ", ".join(described)


def find_holes(x: Array, names: Sequence[str]) -> list[Finding]:
    """Which cells are empty, and what becomes of them."""
    sizes = np.isnan(x).sum(axis=0)
    if not sizes.any():
        return []
    most = np.argsort(-sizes, kind="stable")[: int((sizes > 0).sum())]
    told = shorten(f"{names[i]!r} ({sizes[i]:,} of {len(x):,})" for i in most)
    says = f"{int(sizes.sum()):,} of {count(x.size, 'cell')} are empty, in {len(most):,} of "
    says += (
        f"{count(len(names), 'column')}: {told}. A run leaves them out of the loss and tells its encoder which they "
    )
    says += "are; the numbers here are of the others."
    return [Finding("HOLES", True, says, evidence={names[i]: int(sizes[i]) for i in most}, about="data")]


def check_grey(fit: Fit, x: Array) -> list[Finding]:
    """Values between 0 and 1 under a likelihood of zeros and ones."""
    grey = (x > 0) & (x < 1)
    if BINARY not in fit.supports or not grey.any():
        return []
    says = f"{int(grey.sum()):,} of {int((~np.isnan(x)).sum()):,} values lie strictly between 0 and 1. There "
    says += "cross-entropy is no likelihood, "
    says += f"and cannot fall below {fit.floor:.4f} nats per row however good the model is."
    bits = [setting for setting in fit.preprocess_alternatives() if setting.value == "binarize"]
    settings = (Setting("likelihood", UNIT.likelihood), *bits)
    return [Finding("UNNORMALISED", False, says, "", {"grey values": int(grey.sum())}, (), "data", settings)]


def check_degenerate(x: Array, names: list[str]) -> list[Finding]:
    """What lets a density rise without end: a value that most rows share, a column that others determine.

    Args:
        x: the columns that have densities, (N, C).
        names: of these columns.
    """
    shares = [float(np.unique(column, return_counts=True)[1].max()) / len(column) for column in observed(x)]
    repeated = [f"{name!r} ({share:.0%})" for name, share in zip(names, shares, strict=True) if share > REPEATED]
    often = [f"{name!r} ({share:.0%})" for name, share in zip(names, shares, strict=True) if OFTEN < share <= REPEATED]
    findings = []
    if often:
        says = f"{count(len(often), 'column')} of {len(names)} have one and the same value in about half their rows: "
        says += f"{shorten(often)}. Part of the loss tells of that value's density rather than of the model."
        findings.append(Finding("DEGENERATE", True, says, "Compare models by more than their NLL.", about="data"))
    if repeated:
        says = (
            f"{count(len(repeated), 'column')} of {len(names)} hold one and the same value in far more than half their "
        )
        says += f"rows: {shorten(repeated)}. There a density grows until it meets its floor, and the loss tells of the "
        says += "floor rather than of the model."
        advice = "Drop constant columns; binarize the others, or compare models by something else than their NLL."
        findings.append(Finding("DEGENERATE", False, says, advice, about="data"))
    whole = x[~np.isnan(x).any(axis=1)]
    varied = whole[:, np.ptp(whole, axis=0) > 0] if len(whole) else whole
    if 1 < varied.shape[1] < len(varied):
        scaled = (varied - varied.mean(axis=0)) / varied.std(axis=0)
        eigenvalues = np.linalg.eigvalsh(scaled.T @ scaled / len(scaled))
        dependent = int(np.sum(eigenvalues < DEPENDENT * eigenvalues[-1]))
        if dependent:
            says = (
                f"{count(dependent, 'column')} of {varied.shape[1]} that vary follow exactly from the others (a sum, a "
            )
            says += "copy, a change of units): a model that finds it out drives σ to its floor."
            advice = "Drop one column of each such relation."
            findings.append(Finding("DEGENERATE", False, says, advice, {"dependent": dependent}, about="data"))
    return findings


def check_tails(x: Array, names: list[str], fit: Fit) -> list[Finding]:
    """Columns whose few large values a Gaussian spends its loss on."""
    if fit.likelihood.name() != "gaussian":
        return []
    spread = np.nanstd(x, axis=0)
    centred = (x - np.nanmean(x, axis=0)) / np.where(spread > 0, spread, 1.0)
    skewed = (np.nanmean(centred**3, axis=0) > SKEWED) & (ranges_of(x)[0] >= 0)
    if not skewed.any():
        return []
    chosen = [repr(name) for name, bent in zip(names, skewed, strict=True) if bent]
    says = (
        f"{count(len(chosen), 'column')} of {len(names)} are never negative and have a long upper tail (skewness above "
    )
    says += f"{SKEWED:g}): {shorten(chosen)}. A Gaussian spends its loss on a few large values there."
    return [Finding("SUPPORT", True, says, "Take log(1 + x) of them before training.", about="data")]


def check_spread(x: Array, names: list[str], fit: Fit) -> list[Finding]:
    """Whole numbers that are no counts of events: ages, years, scores."""
    if fit.likelihood.name() != "poisson":
        return []
    narrow = np.nanvar(x, axis=0) < NARROW * np.nanmean(x, axis=0)
    if not narrow.any():
        return []
    chosen = [repr(name) for name, small in zip(names, narrow, strict=True) if small]
    says = f"{count(len(chosen), 'column')} of {len(names)} vary less than half as much as a Poisson of their mean: "
    says += f"{shorten(chosen)}. Its variance is its mean, and no z makes it less."
    settings = (Setting("likelihood", REAL.likelihood, "its variance is learned"),)
    return [Finding("SUPPORT", True, says, about="data", settings=settings)]
