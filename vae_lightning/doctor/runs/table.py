"""`examine_data`: which likelihoods can take a table, what stands in the way, and what its losses will be."""

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from vae_lightning.data.columns import Column
from vae_lightning.data.dataset import Dataset, Rows
from vae_lightning.data.faults import Fault, check_not_masked, find_infinite, find_nameless, find_tiny, read_numbers
from vae_lightning.data.files.sheets import Sheet, array_sheet
from vae_lightning.data.sources.table import Table
from vae_lightning.data.split import split_rows
from vae_lightning.data.wording import count, shorten
from vae_lightning.doctor.losses.blackbox.arrays import Array
from vae_lightning.doctor.report import Finding, Report
from vae_lightning.doctor.runs.cells import examine_cells
from vae_lightning.doctor.runs.fits import Fit, fit_likelihood, to_matrix
from vae_lightning.errors import Setting, UserError, check_parameter, on_the_command_line
from vae_lightning.likelihoods.base import Likelihood
from vae_lightning.likelihoods.support import BINARY, COUNT, REAL, UNIT, narrowest

if TYPE_CHECKING:
    import pandas as pd

REPEATED, OFTEN = 0.6, 0.4  # of the rows: a value that more of them share is a point mass to a density, or nearly
SKEWED = 3.0
NARROW = 0.5  # of the mean: no variance of a Poisson
DEPENDENT = 1e-13  # of the greatest eigenvalue of the correlations: rounding, not variation


def examine_data(
    data: "str | PathLike[str] | pd.DataFrame | Array",
    likelihood: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Report:
    """Say which likelihoods can take a table, and what its losses will be.

    The rows are split and preprocessed as ``python train.py data=table data.path=FILE`` does it with its defaults, so
    that *independent columns* is the baseline and *floor* the least possible loss that such a run prints.

    Args:
        data: A file (CSV, TSV, Parquet, Feather, NPY, NPZ), a data frame or an array (N, C).
        likelihood: The one that is meant: ``bernoulli``, ``gaussian``, ...; None judges the one that suits best.
        settings: How a text is written, as a training run is told under ``data``: ``{"decimal": "comma"}``.

    Returns:
        The report. Values outside the support of the likelihood meant, and columns that no likelihood can take, are
        findings; data that cannot be read at all end in *cannot judge*.

    Raises:
        ConfigError: `likelihood` is none of this package's.
    """
    known = Likelihood.families()
    legal = f"one of {', '.join(known)} or None"
    check_parameter("examine_data", "likelihood", likelihood in (None, *known), legal, likelihood)
    try:
        table = Table(str(data), **(settings or {})) if isinstance(data, str | PathLike) else None
        sheets = None if table is None else table.sheets()
        sheet = _sheet_of(data) if sheets is None else sheets["train"]
        usable, findings = _usable_columns(sheet)
        if usable.shape[1] == 0:
            return Report([*findings, Finding("DATA", None, "No column of numbers is left to judge.", about="data")])
        if table is None:
            dataset = _split(usable)
        else:
            dataset = Table(str(data), columns=list(usable.columns), **(settings or {})).load(sheets)
    except UserError as error:
        return Report([Finding("DATA", None, str(error), about="data")])
    findings += examine_cells(usable.to_numpy(dtype=np.float64), list(usable.columns), sheet.place)
    fits = {name: fit_likelihood(family, dataset) for name, family in known.items()}
    x = to_matrix(dataset)
    suggested = narrowest(torch.from_numpy(x))
    if _suits_better(fits[REAL.likelihood], fits[suggested.likelihood], x):
        suggested = REAL
    fit = fits[likelihood or suggested.likelihood]
    measured: dict[str, Any] = {
        "rows": len(x),
        "columns": f"{x.shape[1]}: {_describe_columns(x)}",
        "suggested": suggested.likelihood,
        **{f"likelihood={name}": _describe(one) for name, one in fits.items()},
    }
    if not fit.accepts:
        findings.append(_describe_refusal(fit, x, list(usable.columns)))
    else:
        command = [Setting("data.path", str(data))] if sheets is not None else []
        command += [setting for finding in findings for setting in finding.settings if setting.key == "data.drop"]
        noun = None if likelihood else suggested.noun
        findings += [_describe_acceptance(fit, noun, command), *_check_grey(fit, x)]
        names = list(usable.columns)
        findings += [*_check_degenerate(x, names, fit), *_check_tails(x, names, fit), *_check_spread(x, names, fit)]
    return Report(findings, measured)


def read_rows(path: str | PathLike[str]) -> Array:
    """All rows (N, C) of a file, float64.

    Raises:
        DataError: It cannot be read, or not every column is one of finite numbers.
    """
    return to_matrix(Table(str(path)).load())


def _sheet_of(data: Any) -> Sheet:
    import pandas as pd

    if isinstance(data, pd.DataFrame):
        return Sheet(data.rename(columns=str), "The frame")
    check_not_masked(data)
    array = np.asarray(data)
    return array_sheet(array.reshape(len(array), -1) if array.ndim > 1 else array[:, None], "The array")


def _usable_columns(sheet: Sheet) -> tuple["pd.DataFrame", list[Finding]]:
    """The columns that a run would train on, as float64, and what is wrong with the others: a run refuses them."""
    names = list(sheet.frame.columns)
    faults = []

    def leave_out(fault: Fault | None) -> None:
        if fault is not None:
            faults.append(fault)
            names[:] = [name for name in names if name not in fault.columns]

    leave_out(find_nameless(sheet, names))
    frame, texts = read_numbers(sheet, names)
    leave_out(texts)
    for find in (find_infinite, find_tiny):
        leave_out(find(sheet, frame[names].to_numpy(dtype=np.float64), names) if names else None)
    usable = frame[names].astype(np.float64)
    if not faults:
        return usable, []
    out = [name for fault in faults for name in fault.columns]
    says = f"{len(out)} of {count(sheet.frame.shape[1], 'column')} cannot be trained on. "
    says += " ".join(fault.says for fault in faults)
    advice = "The others were judged without them." if names else ""
    settings = (*(setting for fault in faults for setting in fault.settings), Setting("data.drop", out))
    return usable, [Finding("COLUMNS", False, says, advice, about="data", settings=settings)]


def _split(usable: "pd.DataFrame") -> Dataset:
    columns = tuple(Column(str(name), "float64") for name in usable.columns)
    return Dataset("data", columns, *split_rows(Rows(np.ascontiguousarray(usable.to_numpy())), 0.1, 0.1, seed=0))


def _describe_columns(x: Array) -> str:
    """How many columns hold which kind of numbers; each column counts once, for the narrowest kind."""
    whole = (x == np.round(x)).all(axis=0)
    kinds = {
        "constant": (x == x[:1]).all(axis=0),
        "0 and 1": ((x == 0) | (x == 1)).all(axis=0),
        "within [0, 1]": (x.min(axis=0) >= 0) & (x.max(axis=0) <= 1),
        "whole numbers from 0": whole & (x.min(axis=0) >= 0),
        "whole numbers": whole,
        "positive": x.min(axis=0) > 0,
        "real": np.ones(x.shape[1], dtype=bool),
    }
    left = np.ones(x.shape[1], dtype=bool)
    described = []
    for name, mask in kinds.items():
        if np.any(mask & left):
            described.append(f"{int((mask & left).sum())} {name}")
        left &= ~mask
    return ", ".join(described)


def _describe(fit: Fit) -> str:
    if not fit.accepts:
        return f"refuses {int((fit.refused > 0).sum())} of {count(len(fit.refused), 'column')}"
    words = f"accepts (preprocess={fit.preprocess}); independent columns {fit.baseline:.4g} nats per row"
    return f"{words}, floor {fit.floor + 0.0:.4g}"


def _suits_better(real: Fit, narrow: Fit, x: Array) -> bool:
    """Whether independent normal columns are likelier than those of the narrowest support that suits all values.

    Densities compare as they are; counts, whose grid has steps of one, where they vary by more than their mean.
    """
    varying = x[:, np.ptp(x, axis=0) > 0]
    wide = float(np.median(varying.var(axis=0))) if varying.size else 0.0
    comparable = UNIT in narrow.supports or (COUNT in narrow.supports and wide > max(1.0, float(x.mean())))
    clear = (2.0 if COUNT in narrow.supports else 0.1) * x.shape[1]
    return comparable and narrow.accepts and real.accepts and real.baseline < narrow.baseline - clear


def _describe_acceptance(fit: Fit, noun: str | None, command: Sequence[Setting]) -> Finding:
    """What the likelihood makes of the rows; ``noun``, what all values are, where that suggested it."""
    name = fit.likelihood.name()
    says = f"All {count(len(fit.refused), 'column')} lie in the support of likelihood={name} after "
    says += f"preprocess={fit.preprocess}. Independent columns cost {fit.baseline:.4f} nats per row: what a model has "
    says += f"to beat. No model goes below {fit.floor + 0.0:.4f}."
    if noun is None:
        return Finding("SUPPORT", True, says, about="data")
    typed = " ".join(on_the_command_line(setting) for setting in (*command, Setting("likelihood", name)))
    advice = f"All values are {noun}, which likelihood={name} is made for: python train.py data=table {typed}"
    return Finding("SUPPORT", True, says, advice, about="data")


def _describe_refusal(fit: Fit, x: Array, names: list[str]) -> Finding:
    name = fit.likelihood.name()
    bad = [column for column, size in zip(names, fit.refused, strict=True) if size]
    values = x[:, fit.refused > 0]
    words = " and ".join(support.words for support in fit.supports)
    says = f"likelihood={name} takes {words}; {int(fit.refused.sum()):,} values in {len(bad)} of "
    says += f"{count(len(names), 'column')} are something else: {shorten(bad)} (range {values.min():.6g} to "
    says += f"{values.max():.6g})."
    cross_entropy = BINARY in fit.supports
    if cross_entropy:
        says += " On such data cross-entropy has no lower end: the loss can fall without limit."
    suggestion = narrowest(torch.from_numpy(x))
    other = Setting("likelihood", suggestion.likelihood, f"as all values are {suggestion.noun}")
    settings = (*([other] if other.value != name else []), *fit.preprocess_alternatives())
    return Finding("BCE-RANGE" if cross_entropy else "SUPPORT", False, says, about="data", settings=settings)


def _check_grey(fit: Fit, x: Array) -> list[Finding]:
    grey = (x > 0) & (x < 1)
    if BINARY not in fit.supports or not grey.any():
        return []
    says = (
        f"{int(grey.sum()):,} of {x.size:,} values lie strictly between 0 and 1. There cross-entropy is no likelihood, "
    )
    says += f"and cannot fall below {fit.floor:.4f} nats per row however good the model is."
    bits = [setting for setting in fit.preprocess_alternatives() if setting.value == "binarize"]
    settings = (Setting("likelihood", UNIT.likelihood), *bits)
    return [Finding("UNNORMALISED", False, says, "", {"grey values": int(grey.sum())}, (), "data", settings)]


def _check_degenerate(x: Array, names: list[str], fit: Fit) -> list[Finding]:
    """What lets a density rise without end: a value that most rows share, a column that others determine."""
    if fit.likelihood.is_probability:
        return []
    shares = [float(np.unique(column, return_counts=True)[1].max()) / len(column) for column in x.T]
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
    varied = x[:, np.ptp(x, axis=0) > 0]
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


def _check_tails(x: Array, names: list[str], fit: Fit) -> list[Finding]:
    if fit.likelihood.name() != "gaussian":
        return []
    spread = x.std(axis=0)
    centred = (x - x.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    skewed = (np.mean(centred**3, axis=0) > SKEWED) & (x.min(axis=0) >= 0)
    if not skewed.any():
        return []
    chosen = [repr(name) for name, bent in zip(names, skewed, strict=True) if bent]
    says = (
        f"{count(len(chosen), 'column')} of {len(names)} are never negative and have a long upper tail (skewness above "
    )
    says += f"{SKEWED:g}): {shorten(chosen)}. A Gaussian spends its loss on a few large values there."
    return [Finding("SUPPORT", True, says, "Take log(1 + x) of them before training.", about="data")]


def _check_spread(x: Array, names: list[str], fit: Fit) -> list[Finding]:
    """Whole numbers that are no counts of events: ages, years, scores."""
    if fit.likelihood.name() != "poisson":
        return []
    narrow = x.var(axis=0) < NARROW * x.mean(axis=0)
    if not narrow.any():
        return []
    chosen = [repr(name) for name, small in zip(names, narrow, strict=True) if small]
    says = f"{count(len(chosen), 'column')} of {len(names)} vary less than half as much as a Poisson of their mean: "
    says += f"{shorten(chosen)}. Its variance is its mean, and no z makes it less."
    settings = (Setting("likelihood", REAL.likelihood, "its variance is learned"),)
    return [Finding("SUPPORT", True, says, about="data", settings=settings)]
