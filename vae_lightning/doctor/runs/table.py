"""`examine_data`: which likelihoods can take a table, what stands in the way, and what its losses will be."""

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from vae_lightning.data.columns import Column
from vae_lightning.data.dataset import Dataset, Rows
from vae_lightning.data.dates import split_dates
from vae_lightning.data.faults import (
    check_not_masked,
    read_numbers,
)
from vae_lightning.data.files.sheets import Sheet, array_sheet
from vae_lightning.data.mixed import Coded
from vae_lightning.data.sources.table import Table
from vae_lightning.data.split import split_rows
from vae_lightning.data.wording import count, shorten
from vae_lightning.doctor.losses.blackbox.arrays import Array
from vae_lightning.doctor.report import Finding, Report
from vae_lightning.doctor.runs.cells import examine_cells
from vae_lightning.doctor.runs.columns import (
    check_degenerate,
    check_grey,
    check_spread,
    check_tails,
    describe_columns,
    find_holes,
    observed,
)
from vae_lightning.doctor.runs.fits import Fit, fit_likelihood, to_matrix
from vae_lightning.doctor.runs.mixed import AUTO, compare_with_auto, examine_mixed, has_kinds, read_mixed, state_faults
from vae_lightning.doctor.runs.usable import Usable
from vae_lightning.errors import Setting, UserError, check_parameter, on_the_command_line
from vae_lightning.likelihoods.base import Likelihood
from vae_lightning.likelihoods.support import BINARY, COUNT, REAL, UNIT, narrowest

if TYPE_CHECKING:
    import pandas as pd


def examine_data(
    data: "str | PathLike[str] | pd.DataFrame | Array",
    likelihood: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Report:
    """Say which likelihoods can take a table, and what its losses will be.

    The rows are split and preprocessed as ``python train.py data=table data.path=FILE`` does it with its defaults, so
    that *independent columns* is the baseline and *floor* the least possible loss that such a run prints.

    Args:
        data: A file (CSV, TSV, Parquet, Feather, NPY, NPZ), a data frame or an array (N, C); cells may be empty.
        likelihood: The one that is meant: ``bernoulli``, ``gaussian``, ..., or ``auto``, a family for each column. None
            judges the one that suits best, which is ``auto`` where columns hold texts or dates.
        settings: How a text is written, as a training run is told under ``data``: ``{"decimal": "comma"}``.

    Returns:
        The report. Values outside the support of the likelihood meant, and columns that no likelihood can take, are
        findings; data that cannot be read at all end in *cannot judge*.

    Raises:
        ConfigError: `likelihood` is none of this package's.
    """
    known = Likelihood.families()
    legal = f"one of {', '.join(known)}, {AUTO} or None"
    check_parameter("examine_data", "likelihood", likelihood in (None, AUTO, *known), legal, likelihood)
    try:
        table = Table(str(data), **(settings or {})) if isinstance(data, str | PathLike) else None
        sheets = {"train": _sheet_of(data)} if table is None else table.sheets()
        file = None if table is None else str(data)
        sheet = sheets["train"]

        def load(coded: Sequence[Coded]) -> Dataset:
            columns = tuple(one.column for one in coded)
            if file is None:
                x = np.stack([one.values["train"] for one in coded], axis=1)
                columns, parts = split_dates(columns, {"train": x})
                return _split(parts["train"], columns)
            return Table(file, columns=[column.name for column in columns], **(settings or {})).load_mixed(sheets)

        mixed = read_mixed(sheets) if likelihood in (None, AUTO) else None
        if mixed is not None and (likelihood == AUTO or has_kinds(mixed)):
            return examine_mixed(mixed, load, sheet, file)
        usable, findings = _usable_columns(sheet)
        if usable.shape[1] == 0:
            return Report([*findings, Finding("DATA", None, "No column of numbers is left to judge.", about="data")])
        if table is None:
            dataset = _split(usable.to_numpy(), tuple(Column(str(name), "float64") for name in usable.columns))
        else:
            dataset = Table(str(data), columns=list(usable.columns), **(settings or {})).load(sheets)
    except UserError as error:
        return Report([Finding("DATA", None, str(error), about="data")])
    names = list(usable.columns)
    findings += examine_cells(usable.to_numpy(dtype=np.float64), names, sheet.place)
    fits = {name: fit_likelihood(family, dataset) for name, family in known.items()}
    x = to_matrix(dataset)
    findings += find_holes(x, names)
    suggested = narrowest(_observed(x))
    if _suits_better(fits[REAL.likelihood], fits[suggested.likelihood], x):
        suggested = REAL
    fit = fits[likelihood or suggested.likelihood]
    measured: dict[str, Any] = {
        "rows": len(x),
        "columns": f"{x.shape[1]}: {describe_columns(x)}",
        "suggested": suggested.likelihood,
        **{f"likelihood={name}": one.describe() for name, one in fits.items()},
    }
    if not fit.accepts:
        findings.append(_describe_refusal(fit, x, names))
        return Report(findings, measured)
    command = [Setting("data.path", file)] if file else []
    command += [setting for finding in findings for setting in finding.settings if setting.key == "data.drop"]
    findings += [_describe_acceptance(fit, None if likelihood else suggested.noun, command), *check_grey(fit, x)]
    if likelihood is None:
        measured, better = compare_with_auto(dataset, fit, measured, command)
        findings += better
    if not fit.likelihood.is_probability:
        findings += check_degenerate(x, names)
    return Report([*findings, *check_tails(x, names, fit), *check_spread(x, names, fit)], measured)


def _observed(x: Array) -> torch.Tensor:
    return torch.from_numpy(x[~np.isnan(x)])


def read_rows(path: str | PathLike[str]) -> Array:
    """All rows (N, C) of a file, float64, NaN where a cell is empty.

    Raises:
        DataError: It cannot be read, or not every column is one of numbers.
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
    usable = Usable(sheet)
    frame, texts = read_numbers(sheet, usable.names)
    usable.leave_out(texts)
    usable.judge(lambda names: frame[names].to_numpy(dtype=np.float64))
    findings = state_faults(usable.faults, sheet.frame.shape[1], bool(usable.names))
    return frame[usable.names].astype(np.float64), findings


def _split(x: Array, columns: tuple[Column, ...]) -> Dataset:
    return Dataset("data", columns, *split_rows(Rows(np.ascontiguousarray(x)), 0.1, 0.1, seed=0))


def _suits_better(real: Fit, narrow: Fit, x: Array) -> bool:
    """Whether independent normal columns are likelier than those of the narrowest support that suits all values.

    Densities compare as they are; counts, whose grid has steps of one, where they vary by more than their mean.
    """
    variances = np.array([column.var() for column in observed(x) if np.ptp(column) > 0])
    wide = float(np.median(variances)) if len(variances) else 0.0
    comparable = UNIT in narrow.supports or (COUNT in narrow.supports and wide > max(1.0, float(np.nanmean(x))))
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
    says += f"{count(len(names), 'column')} are something else: {shorten(bad)} (range {np.nanmin(values):.6g} to "
    says += f"{np.nanmax(values):.6g})."
    cross_entropy = BINARY in fit.supports
    if cross_entropy:
        says += " On such data cross-entropy has no lower end: the loss can fall without limit."
    suggestion = narrowest(_observed(x))
    other = Setting("likelihood", suggestion.likelihood, f"as all values are {suggestion.noun}")
    settings = (*([other] if other.value != name else []), *fit.preprocess_alternatives())
    return Finding("BCE-RANGE" if cross_entropy else "SUPPORT", False, says, about="data", settings=settings)
