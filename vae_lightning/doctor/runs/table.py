"""`examine_data`: which likelihoods can take a table, what stands in the way, and what its losses will be."""

from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from vae_lightning.data.columns import Column
from vae_lightning.data.dataset import Dataset, Rows
from vae_lightning.data.sources.table import Table, as_numbers
from vae_lightning.data.split import split_rows
from vae_lightning.data.wording import count, listed
from vae_lightning.doctor.losses.blackbox.arrays import Array
from vae_lightning.doctor.report import Finding, Report
from vae_lightning.doctor.runs.fits import Fit, fit_of, helping, parts_of
from vae_lightning.errors import Setting, UserError, check_parameter, on_the_command_line
from vae_lightning.likelihoods.base import Likelihood

if TYPE_CHECKING:
    import pandas as pd

REPEATED = 0.5  # of the rows: a value that more of them share is a point mass to a density
SKEWED = 3.0
DEPENDENT = 1e-13  # of the greatest eigenvalue of the correlations: rounding, not variation


def examine_data(data: "str | PathLike[str] | pd.DataFrame | Array", likelihood: str | None = None) -> Report:
    """Say which likelihoods can take a table, and what its losses will be.

    The rows are split and preprocessed as ``python train.py data=table data.path=FILE`` does it with its defaults, so
    that *independent columns* is the baseline and *floor* the least possible loss that such a run prints.

    Args:
        data: A file (CSV, TSV, Parquet, Feather, NPY, NPZ), a data frame or an array (N, C).
        likelihood: The one that is meant: ``bernoulli``, ``gaussian``, ...; None judges the one that suits best.

    Returns:
        The report. Values outside the support of the likelihood meant, and columns that no likelihood can take, are
        findings; data that cannot be read at all end in *cannot judge*.

    Raises:
        ConfigError: `likelihood` is none of this package's.
    """
    known = Likelihood.families()
    names = f"one of {', '.join(known)} or None"
    check_parameter("examine_data", "likelihood", likelihood in (None, *known), names, likelihood)
    try:
        sheets = Table(str(data)).sheets() if isinstance(data, str | PathLike) else None
        usable, findings = _usable_columns(_frame_of(data) if sheets is None else sheets["train"].frame)
        if usable.shape[1] == 0:
            return Report([*findings, Finding("DATA", None, "No column of numbers is left to judge.", about="data")])
        dataset = _split(usable) if sheets is None else Table(str(data), columns=list(usable.columns)).load(sheets)
    except UserError as error:
        return Report([Finding("DATA", None, str(error), about="data")])
    fits = {name: fit_of(name, family, dataset) for name, family in known.items()}
    x = np.concatenate([part.x for part in parts_of(dataset)]).astype(np.float64)
    suggested = _suggestion(x)
    judged = likelihood or suggested
    measured: dict[str, Any] = {"rows": len(x), "columns": f"{x.shape[1]}: {_kinds(x)}", "suggested": suggested}
    measured |= {f"likelihood={name}": _told(fit) for name, fit in fits.items()}
    findings.append(_support(fits[judged], dataset, meant=likelihood is not None))
    if fits[judged].baseline is not None:
        findings += _grey(fits[judged], x)
        findings += _degenerate(x, list(usable.columns), fits[judged])
        findings += _skewed(x, list(usable.columns), judged)
    return Report(findings, measured)


def read_rows(path: str | PathLike[str]) -> Array:
    """All rows (N, C) of a file, float64.

    Raises:
        DataError: It cannot be read, or not every column is one of finite numbers.
    """
    dataset = Table(str(path)).load()
    return np.concatenate([part.x for part in parts_of(dataset)]).astype(np.float64)


def _frame_of(data: Any) -> "pd.DataFrame":
    import pandas as pd

    if isinstance(data, pd.DataFrame):
        return data.rename(columns=str)
    array = np.asarray(data)
    return pd.DataFrame(array.reshape(len(array), -1)).rename(columns=str) if array.ndim > 1 else pd.DataFrame(array)


def _usable_columns(frame: "pd.DataFrame") -> tuple["pd.DataFrame", list[Finding]]:
    """The columns of finite numbers, as float64, and what is wrong with the others."""
    import pandas as pd

    good, told, first = {}, [], ""
    for name, series in frame.items():
        numbers, wrong = as_numbers(series)
        values = numbers.to_numpy(dtype=np.float64) if not wrong.any() else np.full(len(series), np.nan)
        bad = wrong if wrong.any() else ~np.isfinite(values)
        if not bad.any():
            good[str(name)] = values
            continue
        what = "text or dates" if wrong.any() else "infinite" if np.isinf(values).any() else "missing"
        told.append(f"'{name}' ({what}, {int(bad.sum()):,} of {len(bad):,})")
        row = int(bad.argmax())
        first = first or f"The first is {series.iloc[row]!r} in column '{name}', row {row + 1}."
    usable = pd.DataFrame(good, index=frame.index)
    if not told:
        return usable, []
    says = f"{len(told)} of {count(frame.shape[1], 'column')} hold what no likelihood can take: {listed(told)}. {first}"
    others = [str(name) for name in frame if str(name) not in good]
    advice = f"Drop or fill them: {on_the_command_line(Setting('data.drop', others))}."
    advice += " The others were judged without them." if good else ""
    return usable, [Finding("COLUMNS", False, says, advice, about="data")]


def _split(usable: "pd.DataFrame") -> Dataset:
    columns = tuple(Column(str(name), "float64") for name in usable.columns)
    return Dataset("data", columns, *split_rows(Rows(np.ascontiguousarray(usable.to_numpy())), 0.1, 0.1, seed=0))


def _suggestion(x: Array) -> str:
    if np.all((x == 0) | (x == 1)):
        return "bernoulli"
    return "continuous_bernoulli" if x.min() >= 0 and x.max() <= 1 else "gaussian"


def _kinds(x: Array) -> str:
    """How many columns hold which kind of numbers; each column counts once, for the narrowest kind."""
    whole = (x == np.round(x)).all(axis=0)
    kinds = {
        "constant": (x == x[:1]).all(axis=0),
        "0 and 1": ((x == 0) | (x == 1)).all(axis=0),
        "within [0, 1]": (x.min(axis=0) >= 0) & (x.max(axis=0) <= 1),
        "counts": whole & (x.min(axis=0) >= 0),
        "whole numbers": whole,
        "positive": x.min(axis=0) > 0,
        "real": np.ones(x.shape[1], dtype=bool),
    }
    left = np.ones(x.shape[1], dtype=bool)
    told = []
    for name, mask in kinds.items():
        if np.any(mask & left):
            told.append(f"{int((mask & left).sum())} {name}")
        left &= ~mask
    return ", ".join(told)


def _told(fit: Fit) -> str:
    if fit.baseline is None:
        return f"refuses {int((fit.refused > 0).sum())} of {count(len(fit.refused), 'column')}"
    words = f"accepts (preprocess={fit.kind}); independent columns {fit.baseline:.4g} nats per row"
    return f"{words}, floor {fit.floor + 0.0:.4g}" if fit.floor is not None else words


def _support(fit: Fit, dataset: Dataset, meant: bool) -> Finding:
    if fit.baseline is not None:
        says = f"All {count(len(dataset.columns), 'column')} lie in the support of likelihood={fit.name} after "
        says += f"preprocess={fit.kind}. Independent columns cost {fit.baseline:.4f} nats per row: what a model has to "
        says += f"beat. No model goes below {fit.floor:.4f}."
        advice = "" if meant else f"python train.py data=table likelihood={fit.name}"
        return Finding("SUPPORT", True, says, advice, about="data")
    likelihood = Likelihood.families()[fit.name](num_columns=len(dataset.columns))
    bad = [column.name for column, size in zip(dataset.columns, fit.refused, strict=True) if size]
    x = np.concatenate([part.x for part in parts_of(dataset)])
    values = x[:, fit.refused > 0]
    says = f"likelihood={fit.name} takes {likelihood.support.words}; {int(fit.refused.sum()):,} values in "
    says += f"{len(bad)} of {count(len(dataset.columns), 'column')} are something else: {listed(bad)} (range "
    says += f"{values.min():.6g} to {values.max():.6g})."
    if fit.name == "bernoulli":
        says += " On such data cross-entropy has no lower end: the loss can fall without limit."
    advice = f"Use likelihood={_suggestion(x)}" + helping(likelihood, dataset) + "."
    return Finding("BCE-RANGE" if fit.name == "bernoulli" else "SUPPORT", False, says, advice, about="data")


def _grey(fit: Fit, x: Array) -> list[Finding]:
    if fit.name != "bernoulli" or fit.kind == "binarize":
        return []
    grey = (x > 0) & (x < 1)
    if not grey.any():
        return []
    says = (
        f"{int(grey.sum()):,} of {x.size:,} values lie strictly between 0 and 1. There cross-entropy is no likelihood, "
    )
    says += f"and cannot fall below {fit.floor:.4f} nats per row however good the model is."
    advice = "Use likelihood=continuous_bernoulli, or data.preprocess=binarize."
    return [Finding("UNNORMALISED", False, says, advice, {"grey values": int(grey.sum())}, about="data")]


def _degenerate(x: Array, names: list[str], fit: Fit) -> list[Finding]:
    """What lets a density rise without end: a value that most rows share, a column that others determine."""
    if not fit.continuous:
        return []
    shares = [float(np.unique(column, return_counts=True)[1].max()) / len(column) for column in x.T]
    repeated = [f"'{name}' ({share:.0%})" for name, share in zip(names, shares, strict=True) if share > REPEATED]
    findings = []
    if repeated:
        says = (
            f"{count(len(repeated), 'column')} of {len(names)} hold one and the same value in more than half of their "
        )
        says += f"rows: {listed(repeated)}. There a density grows until it meets its floor, and the loss tells of the "
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


def _skewed(x: Array, names: list[str], judged: str) -> list[Finding]:
    if judged != "gaussian":
        return []
    spread = x.std(axis=0)
    centred = (x - x.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    skewed = (np.mean(centred**3, axis=0) > SKEWED) & (x.min(axis=0) >= 0)
    if not skewed.any():
        return []
    chosen = [f"'{name}'" for name, bent in zip(names, skewed, strict=True) if bent]
    says = (
        f"{count(len(chosen), 'column')} of {len(names)} are never negative and have a long upper tail (skewness above "
    )
    says += f"{SKEWED:g}): {listed(chosen)}. A Gaussian spends its loss on a few large values there."
    return [Finding("SUPPORT", True, says, "Take log(1 + x) of them before training.", about="data")]
