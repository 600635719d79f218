"""Reconstructions that couple columns or scores: class numbers, one-hot rows, counts under a softmax, anything else."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from vae_lightning.doctor.losses.blackbox.arrays import Array
from vae_lightning.doctor.losses.blackbox.box import CallFailed
from vae_lightning.doctor.losses.blackbox.entries import Reduction, read_reduction
from vae_lightning.doctor.losses.reconstruction.layout import CLASSES, ROWS, ReconstructionReading, Term, pack_classes
from vae_lightning.doctor.report import Finding

Cost = Callable[[int, Array], float]
"""(class, scores of all classes) -> the value of one row and column; NaN where the function refuses."""


def examine_classes(reading: ReconstructionReading) -> None:
    """A reconstruction of class numbers: Σ over the classes of exp(−reconstruction) must be one."""
    term, kind = reading.term, reading.term.layout.kind
    columns = 1 if kind == "classes" else term.columns
    scores = np.linspace(0.2, 0.8, CLASSES)
    reduction = read_reduction(lambda *shape: term.box(*pack_classes(kind, 0, scores, *shape)), ROWS, columns)
    term.reduction = replace(reduction, column_power=0) if kind == "classes" else reduction

    def cost(label: int, scores: Array) -> float:
        value = term.box.attempt(*pack_classes(kind, label, scores, ROWS, columns))
        return np.nan if value is None else float(np.mean(value)) / term.reduction.count(ROWS, columns)

    if not _read_categorical(reading, cost, CLASSES, reading.free_constant):
        reading.likelihood = False
        says = "Σ exp(−reconstruction) over the classes depends on the scores: probabilities that do not add up."
        advice = "Give the categorical cross-entropy what it expects: logits, or log-probabilities that are normalised."
        reading.findings.append(Finding("UNNORMALISED", False, says, advice))


def _read_categorical(reading: ReconstructionReading, cost: Cost, count: int, free_constant: bool) -> bool:
    """Whether cost(k, t) = w·(log Σ exp t − t_k) + c, for t that are the scores, their logarithms or their softmax.

    w is read off the differences between classes; then Σ exp(−cost/w) over the classes may not depend on the scores.
    """
    generator = np.random.default_rng(3)
    scores = [generator.uniform(0.05, 1.0, count) * scale for scale in (0.5, 1.0, 3.0, 8.0)]
    probabilities = [np.exp(one) / np.exp(one).sum() for one in scores]
    logarithms = [np.log(one) for one in probabilities]
    kinds = {
        "logits": (scores, scores),
        "probabilities": (probabilities, logarithms),
        "log-probabilities": (logarithms, logarithms),
        "softmax of softmax": (scores, probabilities),
    }
    for name, (given, meant) in kinds.items():
        costs = np.array([[cost(label, vector) for label in range(count)] for vector in given])
        change, t = (table - table.mean(axis=1, keepdims=True) for table in (costs, np.array(meant)))
        weight = -float(np.sum(change * t) / np.sum(t * t))
        if not abs(weight) > 1e-12 or np.max(np.abs(change + weight * t)) > 1e-3 * np.max(np.abs(change)):
            continue
        log_z = np.log(np.sum(np.exp(-costs / weight), axis=1))
        if np.ptp(log_z) > 6e-3 or (not free_constant and np.max(np.abs(log_z)) > 6e-3):
            continue
        reading.family, reading.likelihood = "categorical", True
        reading.weight, reading.sign = abs(weight), float(np.sign(weight))
        reading.findings.append(_report_categorical(name, np.array(meant)))
        return True
    return False


def _report_categorical(name: str, meant: Array) -> Finding:
    if name != "softmax of softmax":
        says = f"Given {name}, the probabilities of the classes add up to one."
        return Finding("UNNORMALISED", True, says)
    least = np.log(np.e + meant.shape[1] - 1) - 1
    says = f"However sure the decoder is, a class costs at least {least:.3g} nats: softmax of softmax."
    return Finding("DOUBLE-SIGMOID", False, says, "Give the cross-entropy the scores as they are.")


def read_one_hot(reading: ReconstructionReading, coupled: bool) -> bool:
    """Whether it is a categorical likelihood of one-hot rows or counts; if so, `reading` says it.

    Columns that are not coupled must cost nothing where the row is zero, as −Σ x log p does.
    """
    box, columns = reading.term.box, reading.term.columns
    if reading.term.layout.heads != 1 or columns < 2:
        return False

    def arguments(size: float, label: int, scores: Array, rows: int = ROWS) -> tuple[Array, Array]:
        return np.tile(size * np.eye(scores.size)[label], (rows, 1)), np.tile(scores, (rows, 1))

    try:
        read = read_reduction(
            lambda rows, _: box(*arguments(1.0, 0, np.full(columns, 1 / columns), rows)), ROWS, columns
        )
    except CallFailed:
        return False
    form, power = read.form, read.row_power

    def cost(label: int, scores: Array) -> float:
        value = box.attempt(*arguments(1.0, label, scores))
        nothing = 0.0 if coupled else box.attempt(*arguments(0.0, label, scores))
        if value is None or nothing is None:
            return np.nan
        value = value - nothing
        return float(np.sum(value)) / ROWS if form == "element" else float(np.mean(value)) / ROWS**power

    # Doubled one-hot rows cost twice as much (x · log p) or the same (their argmax).
    scores = np.linspace(0.1, 0.9, columns) / columns
    once, twice = (box.attempt(*arguments(size, 0, scores)) for size in (1.0, 2.0))
    labels = twice is None or once is None or any(np.allclose(twice, factor * once, rtol=1e-4) for factor in (1.0, 2.0))
    if not (labels or coupled) or not _read_categorical(reading, cost, columns, reading.free_constant and coupled):
        return False
    weight = reading.weight
    wider = ReconstructionReading(reading.term)
    averaged = (
        _read_categorical(wider, cost, 2 * columns, True) and abs((wider.weight or 0) / (weight or 1) - 0.5) < 1e-3
    )
    reading.term.reduction = Reduction(form, power, -1 if averaged else 0)
    reading.weight = weight * columns if averaged and weight else weight
    return True


def examine_coupled(reading: ReconstructionReading) -> None:
    """A reconstruction that couples its columns: one-hot rows or counts under a softmax, or something unknown."""
    if read_one_hot(reading, coupled=True):
        return
    if _is_bounded(reading.term):
        says = "However far x is from the output, the reconstruction stays the same: no density does."
        advice = "Use a squared error or another likelihood of the columns."
        reading.findings.append(Finding("UNNORMALISED", False, says, advice))
        return
    says = "The reconstruction is neither a sum nor a mean over rows and columns: it cannot be judged column by column."
    reading.findings.append(Finding("UNNORMALISED", None, says))


def _is_bounded(term: Term) -> bool:
    """Whether real rows a thousand times as far out cost the same."""
    x, out = np.random.default_rng(6).normal(size=(2, ROWS, term.columns))
    near, far = (term.box.attempt(scale * x, out) for scale in (1e3, 1e6))
    return (
        term.layout.heads == 1
        and near is not None
        and far is not None
        and bool(np.allclose(near, far, rtol=1e-3, atol=1e-3))
    )
