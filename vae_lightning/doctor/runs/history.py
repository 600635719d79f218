"""`examine_history`: what a curve alone proves."""

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np

from vae_lightning.doctor.losses.blackbox.arrays import Array
from vae_lightning.doctor.losses.blackbox.box import CallFailed
from vae_lightning.doctor.losses.rows import as_rows
from vae_lightning.doctor.report import Finding, Report
from vae_lightning.doctor.runs.curves import Curves, first_bad, read_curves
from vae_lightning.errors import check_parameter
from vae_lightning.likelihoods.base import Likelihood

OWN = Likelihood.families()
ZERO_FLOOR = {
    *("categorical", "negative_binomial", "quantised", "squared_error"),
    *(name for name, family in OWN.items() if family.support.is_probability),
}
LIKELIHOODS = sorted({*OWN, *ZERO_FLOOR, "student", "lognormal"})
"""Families that people train with, those of this package among them."""
SHARPEST = 90.0  # nats per column: a density of single precision cannot be sharper than 1/1.2e-38
GIVEN = "it is the floor that follows from the likelihood and its least variance"
CLIPPED = 16.2  # −log 1e-7: the most that a clipped cross-entropy can say per unit of x


def examine_history(
    history: "str | PathLike[str] | Mapping[str, Sequence[float]] | Sequence[Any] | Array",
    columns: int | None = None,
    likelihood: str | None = None,
    *,
    least_sigma: float | None = None,
    floor: float | None = None,
    independent: float | None = None,
    data: Any = None,
) -> Report:
    r"""Say what the losses of a run prove about its loss.

    The laws: with a discrete likelihood :math:`-\log p(x|z) \ge 0` and :math:`\mathrm{KL} \ge 0`, so the loss cannot be
    negative; with a density of scale at least :math:`\sigma_{min}` each column gives at most
    :math:`-\tfrac12\log(2\pi\sigma_{min}^2)` nats. A collapsed model ends at the loss of independent columns.

    Args:
        history: A CSV (Lightning's metrics.csv, Keras' CSVLogger), a pasted log, the path of either, a mapping of names
            to values per epoch, or numbers; see `read_curves`.
        columns: The number of columns of x.
        likelihood: The family: ``bernoulli``, ``gaussian``, ...
        least_sigma: The least standard deviation that a Gaussian may take, in the units of the loss.
        floor: The least loss per row that is possible, where it is known; it replaces what follows from the others.
        independent: The loss, per row, of the model in which columns are independent.
        data: The training rows, from which `columns` and `independent` are computed.

    Raises:
        DataError: No loss can be found in `history`, or `data` is no matrix.
        ConfigError: `likelihood`, `columns` or `least_sigma` is illegal.

    Source:
        The floor of a Gaussian: Mattei & Frellsen 2018, theorem 1.

    >>> examine_history([-28.0, -1.4e5, -1.5e10, -3e12, -1e14], columns=224, likelihood="bernoulli").codes
    ('BELOW-FLOOR', 'SIGN-FLIP')
    """
    names = f"one of {', '.join(LIKELIHOODS)} or None"
    check_parameter("examine_history", "likelihood", likelihood in (None, *LIKELIHOODS), names, likelihood)
    check_parameter("examine_history", "columns", columns is None or columns > 0, "positive", columns)
    check_parameter("examine_history", "least_sigma", least_sigma is None or least_sigma > 0, "positive", least_sigma)
    curves = read_curves(history)
    measured: dict[str, Any] = {"curves": ", ".join(curves.names), "epochs": int(curves.main.size)}
    if curves.assumed:
        measured["assumed"] = curves.assumed
    findings: list[Finding] = []
    if data is not None:
        try:
            rows = as_rows(data)
        except CallFailed as failure:
            return Report([Finding("DATA", None, failure.message, about="data")], measured)
        columns = rows.shape[1]
        independent = _fit_independent(rows, likelihood) if independent is None else independent
        findings += _check_range(rows, likelihood)
    if independent is not None:
        measured["independent columns"] = independent
    findings += _check_floor(curves, *(floor_of(columns, likelihood, least_sigma) if floor is None else (floor, GIVEN)))
    findings += _check_growth(curves.main, columns, likelihood)
    findings += _check_finite(curves)
    findings += _check_kl(curves.kl)
    findings += _check_plateau(curves.main, columns, likelihood, independent)
    if not findings:
        says = "Nothing in the curve contradicts a correct loss; a curve cannot show more than that."
        findings.append(Finding("BELOW-FLOOR", True, says, "Give the functions to have the loss itself examined."))
    return Report(findings, measured)


def _fit_independent(rows: Array, likelihood: str | None) -> float | None:
    if likelihood == "bernoulli" and rows.min() >= 0 and rows.max() <= 1:
        p = rows.mean(axis=0).clip(1e-12, 1 - 1e-12)
        return float(-np.sum(p * np.log(p) + (1 - p) * np.log(1 - p)))
    if likelihood == "gaussian":
        return float(0.5 * np.sum(1 + np.log(2 * np.pi * rows.var(axis=0).clip(1e-12))))
    if likelihood == "squared_error":
        return float(np.sum(rows.var(axis=0)))
    return None


def _check_range(rows: Array, likelihood: str | None) -> list[Finding]:
    if likelihood != "bernoulli" or (rows.min() >= 0 and rows.max() <= 1):
        return []
    says = f"The data range from {rows.min():.4g} to {rows.max():.4g}; cross-entropy is bounded below on [0, 1] only."
    return [Finding("BCE-RANGE", False, says, "Use a Gaussian likelihood, or scale the data to [0, 1].", about="data")]


def floor_of(columns: int | None, likelihood: str | None, least_sigma: float | None) -> tuple[float | None, str]:
    """The least loss per row that a likelihood allows, and the reason; None if it allows any."""
    if likelihood in ZERO_FLOOR:
        return (
            0.0,
            f"with a {likelihood.replace('_', ' ')} reconstruction and a KL, both at least 0, no loss is negative",
        )
    if columns is None:
        return None, "the number of columns is not known"
    if least_sigma is not None:
        return columns * 0.5 * float(np.log(2 * np.pi * least_sigma**2)), f"σ ≥ {least_sigma:g} in {columns} columns"
    return -SHARPEST * columns, f"no density in single precision gives more than {SHARPEST:g} nats per column"


def _check_floor(curves: Curves, floor: float | None, reason: str) -> list[Finding]:
    for name, values in (("training", curves.train), ("validation", curves.validation)):
        finite = values[np.isfinite(values)]
        if not finite.size or floor is None or finite.min() >= floor - 1e-6 * max(1.0, abs(floor)):
            continue
        epoch = int(np.flatnonzero(values < floor)[0]) + 1
        says = (
            f"The {name} loss is below the least possible {floor:.6g} from epoch {epoch} on ({values[epoch - 1]:.4g}, "
        )
        says += f"later {finite.min():.4g}): {reason}."
        advice = "The loss is no bound on −log p(x). Look for a flipped sign in the KL, or data outside the support."
        evidence = {"floor": floor, "epoch": epoch, "least": float(finite.min())}
        return [Finding("BELOW-FLOOR", False, says, advice, evidence, about="history")]
    both = np.concatenate([curves.train, curves.validation])
    least = float(min(both[np.isfinite(both)], default=0.0))
    if least < 0 and floor is None:
        says = f"The loss is negative ({least:.4g}): legal for the density of real data, impossible for discrete data."
        return [Finding("BELOW-FLOOR", True, says, "Say likelihood= and columns= to have it judged.", about="history")]
    return []


def growth_power(values: Array) -> float:
    """p of −loss ∝ epoch^p over the later half: Adam moves every weight by at most a constant per step, so that a term
    which is a power of a network's output grows as a power of time."""
    negative = [(index + 1, -value) for index, value in enumerate(values) if np.isfinite(value) and value < 0]
    later = negative[len(negative) // 2 :] if len(negative) >= 6 else negative[-3:]
    if len(later) < 2:
        return 0.0
    epochs, sizes = np.log([epoch for epoch, _ in later]), np.log([size for _, size in later])
    return float(np.polyfit(epochs, sizes, 1)[0])


def _check_growth(values: Array, columns: int | None, likelihood: str | None) -> list[Finding]:
    finite = values[np.isfinite(values)]
    if finite.size < 3 or finite.min() >= 0:
        return []
    steps = np.diff(finite[np.argmax(finite < 0) :])
    falling = steps.size > 0 and float(np.mean(steps < 0)) > 0.8
    per_column = -float(finite.min()) / (columns or 1)
    first = abs(float(finite[finite < 0][0]))
    growth = -float(finite.min()) / max(first, 1e-12)
    if not falling or per_column < SHARPEST * (1 if columns else 100) or growth < 5:
        return []
    power = growth_power(values)
    evidence = {"power of time": power, "least loss": float(finite.min()), "growth since first negative": growth}
    seen = f"From {finite[0]:.4g} the loss falls to {finite.min():.4g} and keeps falling ever faster, about as epoch^"
    seen += f"{power:.1f} in the later half: a term without lower bound is minimised."
    limit = CLIPPED * 1e4 * (columns or 1000)
    if -finite.min() > limit and (power > 5 or growth > 1e6):
        says = (
            f"{seen} Cross-entropy cannot do that: clipped at 1e-7 it gives at most {CLIPPED:.0f} nats per column and "
        )
        says += (
            "unit of x. A square or an exponential of the encoder's output with a minus before it can: a flipped KL."
        )
        advice = (
            "KL = ½ Σ (m² + σ² − 1 − 2 log σ), added, not subtracted; keep s in range and use one σ(s) in the sampler."
        )
        same = ("BCE-RANGE: cross-entropy on logits with data far outside [0, 1]",)
        return [Finding("SIGN-FLIP", False, says, advice, evidence, same, about="history")]
    advice = "Check the range of the data against the likelihood, then the sign of the KL."
    others: tuple[str, ...] = (
        "BCE-RANGE: cross-entropy on data outside [0, 1]",
        "SIGN-FLIP: the KL is subtracted",
    )
    code = "BCE-RANGE" if likelihood == "bernoulli" and power < 5 else "RUNAWAY"
    others = tuple(other for other in others if not other.startswith(code))
    return [Finding(code, False, seen, advice, evidence, others, about="history")]


def _check_finite(curves: Curves) -> list[Finding]:
    for name, values in (("training loss", curves.train), ("validation loss", curves.validation), ("KL", curves.kl)):
        place = first_bad(values)
        if place is None:
            continue
        before = values[:place]
        grown = before.size >= 2 and abs(before[-1]) > 1e3 * max(
            abs(float(np.median(before[: max(1, place // 2)]))), 1e-3
        )
        what = (
            "The loss had grown before, so an exponential overflowed" if grown else "Nothing in the curve announced it"
        )
        last = f" after {before[-1]:.4g}" if before.size else ""
        says = f"The {name} is not finite from epoch {place + 1} on{last}. {what}."
        advice = "Bound the log-variance by a smooth map, scale the data, lower the step size or clip the gradient."
        code = "OVERFLOW" if grown or not before.size else "DIVERGED"
        others = () if code == "OVERFLOW" else ("OVERFLOW: e^s ends at s = 88 in single precision",)
        return [Finding(code, False, says, advice, {"epoch": place + 1}, others, about="history")]
    return []


def _check_kl(values: Array) -> list[Finding]:
    finite = values[np.isfinite(values)]
    if not finite.size:
        return []
    if np.sum(finite < -1e-3 * max(1.0, float(np.max(np.abs(finite))))) >= max(1, min(2, finite.size)):
        says = f"The KL is negative ({finite.min():.4g}); averaged over rows it cannot be."
        advice = "Check its sign, and its terms with diagnose(kl=…)."
        return [Finding("SIGN-FLIP", False, says, advice, {"least": float(finite.min())}, about="history")]
    if np.all(finite == finite[0]) and finite.size >= 2:
        says = f"The logged KL is {finite[0]:.6g} in every epoch: it is constant."
        return [Finding("KL-DEAD", False, says, "A clamp, a detached graph or a capacity of 0.", about="history")]
    small = finite < 0.01
    if small[-1]:
        start = int(finite.size - np.argmin(small[::-1])) if not small.all() else 0
        if finite.size - start >= 2:
            says = f"The KL is below 0.01 nats from epoch {start + 1} on: the posterior has collapsed onto the prior."
            advice = (
                "Warm the KL up, use free bits, check that both terms are sums over columns (MEAN-SUM makes β = D)."
            )
            others = ("MEAN-SUM: a reconstruction averaged over columns, so that β = D",)
            return [Finding("COLLAPSE", False, says, advice, {"epoch": start + 1}, others, about="history")]
    return []


def _check_plateau(
    values: Array, columns: int | None, likelihood: str | None, independent: float | None
) -> list[Finding]:
    finite = values[np.isfinite(values)]
    if finite.size < 4:
        return []
    tail = finite[-max(3, finite.size // 3) :]
    level, spread = float(tail.mean()), float(np.ptp(tail))
    if spread > 0.01 * max(abs(level), 1e-9):
        return []
    start = int(np.argmax(np.abs(finite - level) <= 0.01 * max(abs(level), 1e-9))) + 1
    evidence = {"level": level, "epoch": start}
    references = [] if not independent else [(independent, "a sum")]
    references += [(independent / columns, "a mean")] if independent and columns else []
    for reference, factor in references:
        if abs(level - reference) < 0.01 * max(abs(reference), 1e-9):
            says = f"From epoch {start} on the loss stays at {level:.5g}, the loss of independent columns "
            says += f"({reference:.5g}, {factor} over columns): nothing was learnt of how columns belong together."
            advice = (
                "The posterior has collapsed: check β (MEAN-SUM makes it D), warm the KL up, check that z is decoded."
            )
            return [
                Finding(
                    "COLLAPSE", False, says, advice, evidence, ("Z-UNUSED: the draw is not decoded",), about="history"
                )
            ]
    if likelihood == "bernoulli" and columns:
        for reference in (columns * np.log(2), np.log(2)):
            if abs(level - reference) < 2e-3 * reference:
                says = f"The loss stays at {level:.5g} = ln 2 per column: the decoder says ½ everywhere."
                advice = "Check that the optimiser holds the parameters and that gradients reach them."
                return [Finding("COLLAPSE", False, says, advice, evidence, about="history")]
    if independent is None and start < finite.size / 2:
        says = f"From epoch {start} on the loss stays at {level:.5g}. Is it collapse or convergence?"
        return [
            Finding(
                "COLLAPSE", True, says, "Give data= or independent= to have it compared.", evidence, about="history"
            )
        ]
    return []
