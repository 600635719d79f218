"""Reconstructions that are no sum over columns: scores of classes, one-hot rows, anything else."""

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np

from vae_lightning.doctor.losses.blackbox.arrays import Array
from vae_lightning.doctor.losses.blackbox.box import BlackBox
from vae_lightning.doctor.losses.blackbox.reductions import Reduction
from vae_lightning.doctor.losses.reconstruction.layout import CLASSES, ROWS, ReconstructionReading
from vae_lightning.doctor.report import Finding

Cost = Callable[[int, Array], float]
"""(class, scores of all classes) -> the value of one row and column; NaN where the function refuses."""


def examine_classes(box: BlackBox, reading: ReconstructionReading, expected: Sequence[float]) -> None:
    """A reconstruction of class numbers: Σ over the classes of exp(−reconstruction) must be one."""
    kind = reading.term.layout.kind
    columns = 1 if kind == "classes" else reading.term.columns

    def arguments(label: int, scores: Array, rows: int, width: int) -> tuple[Array, Array]:
        if kind == "classes":
            return np.full((rows,), label), np.tile(scores, (rows, 1))
        if kind == "class columns":
            return np.full((rows, width), label), np.tile(scores[None, :, None], (rows, 1, width))
        return np.full((rows, width), label), np.tile(scores, (rows, width, 1))

    scores = np.linspace(0.2, 0.8, CLASSES)
    base = box(*arguments(0, scores, ROWS, columns))
    rows = _read_power(box(*arguments(0, scores, 2 * ROWS, columns)), base)
    width = _read_power(box(*arguments(0, scores, ROWS, 2 * columns)), base) if kind != "classes" else 1
    form = "scalar" if base.size == 1 else "row" if base.shape == (ROWS,) else "element"
    reading.term.reduction = Reduction(form, rows, width - (1 if form != "element" else 0))
    entries = ROWS**rows * columns**width

    def cost(label: int, scores: Array) -> float:
        value = box.attempt(*arguments(label, scores, ROWS, columns))
        return np.nan if value is None else float(np.mean(value)) / entries

    for reading.sign in (1.0, -1.0):
        if _read_categorical(reading, cost, CLASSES, expected):
            return
    reading.sign = 1.0
    reading.likelihood = False
    says = "Σ exp(−reconstruction) over the classes depends on the scores: probabilities that do not add up."
    advice = "Give the categorical cross-entropy what it expects: logits, or log-probabilities that are normalised."
    reading.findings.append(Finding("UNNORMALISED", False, says, advice, about="reconstruction"))


def _read_power(doubled: Array, single: Array) -> int:
    ratio = float(np.mean(doubled)) / (float(np.mean(single)) or np.nan)
    return 1 if abs(ratio - 2) < 0.01 else 0


def _read_categorical(reading: ReconstructionReading, cost: Cost, count: int, expected: Sequence[float]) -> bool:
    """Whether it is a likelihood of classes, given logits, probabilities or log-probabilities.

    Nothing but its factor may be missing: Σ exp(−cost) over the classes is one, not only the same for all scores (a sum
    of nearly linear functions of probabilities is that, too).
    """
    generator = np.random.default_rng(3)
    scores = [generator.uniform(0.05, 1.0, count) * scale for scale in (0.5, 1.0, 3.0, 8.0)]
    probabilities = [np.exp(one) / np.exp(one).sum() for one in scores]
    inputs = {"logits": scores, "probabilities": probabilities, "log-probabilities": [np.log(p) for p in probabilities]}
    for (name, vectors), weight in product(inputs.items(), expected):
        log_z = np.array([_log_z(cost, vector, reading.sign / weight) for vector in vectors])
        if np.all(np.isfinite(log_z)) and np.max(np.abs(log_z)) < 6e-3:
            reading.family, reading.likelihood, reading.weight = "categorical", True, weight
            reading.findings.append(_check_reach(cost, count, name))
            return True
    return False


def _log_z(cost: Cost, scores: Array, factor: float) -> float:
    return float(np.log(np.sum(np.exp([-factor * cost(label, scores) for label in range(scores.size)]))))


def _check_reach(cost: Cost, count: int, name: str) -> Finding:
    best = min(cost(label, 40.0 * np.eye(count)[label]) for label in range(count)) if name == "logits" else 0.0
    if best > 0.02:
        says = f"However sure the decoder is, a class costs at least {best:.3g} nats: softmax of softmax."
        advice = "Give the cross-entropy the scores as they are."
        return Finding("DOUBLE-SIGMOID", False, says, advice, about="reconstruction")
    says = f"Given {name}, the probabilities of the classes add up to one."
    return Finding("UNNORMALISED", True, says, about="reconstruction")


def read_one_hot(box: BlackBox, reading: ReconstructionReading, columns: int, expected: Sequence[float]) -> bool:
    """Whether it is a categorical likelihood of one-hot rows; if so, `reading` says it."""
    if reading.term.layout.heads != 1:
        return False

    def arguments(label: int, scores: Array, rows: int) -> tuple[Array, Array]:
        x = np.zeros((rows, columns))
        x[:, label] = 1.0
        return x, np.tile(scores, (rows, 1))

    scores = np.linspace(0.1, 0.9, columns) / columns
    base, doubled = (box.attempt(*arguments(0, scores, rows)) for rows in (ROWS, 2 * ROWS))
    if base is None or doubled is None:
        return False
    form = "scalar" if base.size == 1 else "row" if base.shape[0] == ROWS and base.size == ROWS else "element"
    power = _read_power(doubled, base) if form == "scalar" else 0

    def cost(label: int, scores: Array) -> float:
        value = box.attempt(*arguments(label, scores, ROWS))
        if value is None:
            return np.nan
        return float(np.sum(value)) / ROWS if form == "element" else float(np.mean(value)) / ROWS**power

    if not _takes_labels(box, arguments(0, scores, ROWS)) or not _read_categorical(reading, cost, columns, expected):
        return False
    reading.term.reduction = Reduction(form, power, 0)
    return True


def read_signed_one_hot(box: BlackBox, reading: ReconstructionReading, columns: int, expected: Sequence[float]) -> bool:
    """Whether it is, with either sign, a categorical likelihood of one-hot rows."""
    for reading.sign in (1.0, -1.0):
        if read_one_hot(box, reading, columns, expected):
            return True
    reading.sign = 1.0
    return False


def _is_bounded(box: BlackBox, reading: ReconstructionReading, columns: int) -> bool:
    """Whether real rows a thousand times as far out cost the same."""
    if reading.term.layout.heads != 1:
        return False
    generator = np.random.default_rng(6)
    x, out = generator.normal(size=(2, ROWS, columns))
    near, far = box.attempt(1e3 * x, out), box.attempt(1e6 * x, out)
    return near is not None and far is not None and bool(np.allclose(near, far, rtol=1e-3, atol=1e-3))


def _takes_labels(box: BlackBox, arguments: tuple[Array, Array]) -> bool:
    """Whether doubled one-hot rows cost twice as much (x · log p) or the same (their argmax); unlike counts."""
    x, scores = arguments
    once, twice = box(x, scores), box.attempt(2 * x, scores)
    return twice is None or any(np.allclose(twice, factor * once, rtol=1e-4) for factor in (1.0, 2.0))


def examine_coupled(box: BlackBox, reading: ReconstructionReading, columns: int, expected: Sequence[float]) -> None:
    """A reconstruction that is no sum over columns: one-hot rows with a softmax, or something unknown."""
    if read_signed_one_hot(box, reading, columns, expected):
        return
    if _is_bounded(box, reading, columns):
        says = (
            "However far x is from the output, the reconstruction stays the same: exp(−reconstruction) is no density."
        )
        advice = "Use a squared error or another likelihood of the columns."
        reading.findings.append(Finding("UNNORMALISED", False, says, advice, about="reconstruction"))
        return
    says = "The reconstruction is neither a sum nor a mean over rows and columns: it cannot be judged column by column."
    reading.findings.append(Finding("UNNORMALISED", None, says, about="reconstruction"))
