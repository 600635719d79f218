"""A loss of which only the whole is at hand: ``loss(x)`` or ``loss(model, x)``."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any

import numpy as np
import torch

from vae_lightning.doctor.losses.blackbox.arrays import Array
from vae_lightning.doctor.losses.blackbox.box import BlackBox, CallFailed, seed
from vae_lightning.doctor.report import Finding

DRAWS = 24
BATCH = 32
DISCRETE = ("bernoulli", "categorical", "poisson", "negative_binomial")


def examine_whole(box: BlackBox, rows: Array | None, likelihood: str | None, model: Any) -> list[Finding]:
    """What a whole loss shows by itself.

    Args:
        box: The loss.
        rows: The user's data; nothing can be asked without them.
        likelihood: The name of the family, if the user says it.
        model: The model handed to the loss, if any.

    Raises:
        CallFailed: It gives no numbers.
    """
    if rows is None:
        says = "A loss of x alone can only be examined on rows that it accepts."
        return [Finding("NOTHING", None, says, "Give data=, or the terms themselves: kl=, sample=, reconstruction=.")]
    batch = rows[:BATCH]
    box.find_framework(batch)
    seed(0)
    values = _draw_values(box, batch)
    if not np.all(np.isfinite(values)):
        raise CallFailed("NOT-FINITE", "on the user's own rows its value is NaN or infinite")
    with in_mode(model.modules() if isinstance(model, torch.nn.Module) else [], False):
        findings = [_check_reduction(box, batch)]
        findings += _check_floor(values, rows, likelihood)
        findings += _check_total(box, rows, likelihood, values.ndim == 2)
        if isinstance(model, torch.nn.Module):
            findings += _check_model(box, model, batch)
    says = "From the whole alone neither the KL's terms nor β can be read off."
    advice = "Give kl=, sample= and reconstruction=, or a loss of four arguments (x, out, m, s)."
    return [*findings, Finding("SCALE", None, says, advice)]


def _draw_values(box: BlackBox, batch: Array) -> Array:
    """(DRAWS,) means over the batch, or (DRAWS, rows) where the loss is given per row."""
    first = box(batch)
    if first.size not in (1, len(batch)):
        raise CallFailed("SHAPE", f"for {len(batch)} rows it returns the shape {first.shape}")
    values = [first, *(box(batch) for _ in range(DRAWS - 1))]
    return np.array([value.ravel() if value.size > 1 else float(value.ravel()[0]) for value in values])


@contextmanager
def in_mode(parts: Iterable[torch.nn.Module], training: bool) -> Iterator[None]:
    """Training or evaluation inside, for all but the layers that are made to differ between the two, which rest.

    Afterwards every part has the mode and the statistics that it had.
    """
    before = [(part, part.training, [one.clone() for one in part.buffers(recurse=False)]) for part in parts]
    for part, _, _ in before:
        part.training = training and not changes_with_mode(part)
    try:
        yield
    finally:
        for part, mode, buffers in before:
            part.training = mode
            for buffer, value in zip(part.buffers(recurse=False), buffers, strict=True):
                buffer.copy_(value)


def _check_reduction(box: BlackBox, batch: Array) -> Finding:
    values = _draw_values(box, batch)
    if values.ndim == 2:
        return Finding("SCALE", True, "The loss is given per row.")
    doubled = _draw_values(box, np.concatenate([batch, batch]))
    ratio = float(doubled.mean() / values.mean()) if values.mean() else np.nan
    error = 6 * float(np.hypot(values.std() / values.mean(), doubled.std() / doubled.mean())) / np.sqrt(DRAWS)
    says = f"Doubling the batch multiplies the loss by {ratio:.3g}: it is "
    evidence = {"ratio": ratio, "six standard errors": error}
    if not error < 0.4:
        return Finding("SCALE", None, "The loss is too noisy to tell how rows are reduced.", "", evidence)
    if abs(ratio - 1) < max(0.02, error):
        return Finding("SCALE", True, says + "averaged over rows.", "", evidence)
    if abs(ratio - 2) < max(0.04, 2 * error):
        advice = "Sums make loss and step size depend on the batch size."
        return Finding("SCALE", True, says + "summed over rows.", advice, evidence)
    if not 1 < ratio < 2:
        return Finding("SCALE", None, says + "neither a mean nor a sum.", "", evidence)
    says += "a sum over rows of one term beside a mean of another."
    others = ("SCALE: the reconstruction is the one that is summed",)
    return Finding("KL-BATCH-SUM", False, says, "Average every term over rows.", evidence, others)


def _check_floor(values: Array, rows: Array, likelihood: str | None) -> list[Finding]:
    least = float(values.mean(axis=0).min())
    error = float(np.max(values.std(axis=0))) / np.sqrt(DRAWS)
    findings = []
    if likelihood == "bernoulli" and (rows.min() < 0 or rows.max() > 1):
        says = f"The data range from {rows.min():.4g} to {rows.max():.4g}; a Bernoulli's are 0 and 1."
        advice = "Cross-entropy is unbounded below there. Use a Gaussian likelihood, or scale the data."
        findings.append(Finding("BCE-RANGE", False, says, advice, about="data"))
    if least >= -6 * error - 1e-9:
        return findings
    if likelihood in DISCRETE:
        says = f"The loss is {least:.6g}; with a discrete likelihood −log p(x) and the KL are both at least 0."
        advice = "Look for a flipped sign, or for cross-entropy on data outside [0, 1]."
        findings.append(Finding("BELOW-FLOOR", False, says, advice, {"loss": least}))
    else:
        says = f"The loss is {least:.6g}: legal for a density of real data, impossible for discrete data."
        findings.append(Finding("BELOW-FLOOR", True, says, "Say likelihood= to have it judged."))
    return findings


def _check_total(box: BlackBox, rows: Array, likelihood: str | None, per_row: bool) -> list[Finding]:
    """Σ over all binary rows of exp(−loss): at most one for any bound on log p(x)."""
    columns = rows.shape[1]
    binary = bool(np.all((rows == 0) | (rows == 1)))
    if not binary or columns > 10 or likelihood not in (None, "bernoulli") or (not per_row and columns > 7):
        return []
    everything = np.array(list(product((0.0, 1.0), repeat=columns)))
    repeats = DRAWS if per_row else DRAWS // 2  # row by row it takes long
    draws = np.stack([_evaluate_each(box, everything, per_row) for _ in range(repeats)])
    mean, error = draws.mean(axis=0), draws.std(axis=0, ddof=1) / np.sqrt(repeats)
    masses = np.exp(-np.clip(mean, -700, 700))
    total, noise = float(masses.sum()), float(np.sqrt(np.sum((masses * error) ** 2)))
    evidence = {"sum of exp(-loss)": total, "standard error": noise}
    says = f"Over all {len(everything)} binary rows exp(−loss) adds up to {total:.4g}:"
    if total <= 1 + 6 * noise + 1e-6:
        return [Finding("ESTIMATOR", True, f"{says} at most one, within the noise.", evidence=evidence)]
    says += " it is no bound on log p(x)."
    advice = "An importance-weighted bound is −log mean_k exp(log p(x, z_k) − log q(z_k|x)), nothing outside the log."
    others = ("MEAN-SUM: the loss is averaged over columns", "SIGN-FLIP: a term has the wrong sign")
    return [Finding("ESTIMATOR", False, says, advice, evidence, others)]


def _evaluate_each(box: BlackBox, rows: Array, per_row: bool) -> Array:
    if per_row:
        return box(rows).ravel()
    return np.array([float(box(row[None]).ravel()[0]) for row in rows])


def _check_model(box: BlackBox, model: torch.nn.Module, batch: Array) -> list[Finding]:
    findings = []
    train, evaluate = _evaluate_with_seeds(box, model, batch, True), _evaluate_with_seeds(box, model, batch, False)
    if _differ(train, evaluate, seeded=_are_equal(train, _evaluate_with_seeds(box, model, batch, True))):
        says = f"With the same seeds, dropout and batch normalisation held still, the loss is {train.mean():.6g} in "
        says += f"training mode, {evaluate.mean():.6g} in evaluation mode."
        advice = "Use one function for training and evaluation: the same draw, weights and β."
        findings.append(Finding("EVAL", False, says, advice))
    return [*findings, *_check_noise(box, model, batch, train), *_check_gradients(box, model, batch)]


def _evaluate_with_seeds(box: BlackBox, model: torch.nn.Module, batch: Array, mode: bool) -> Array:
    """The mean loss for several seeds."""
    values = []
    with in_mode(model.modules(), mode):
        for number in range(DRAWS):
            seed(number)
            values.append(float(box(batch).mean()))
    return np.array(values)


def _are_equal(one: Array, other: Array) -> bool:
    return bool(np.allclose(one, other, rtol=1e-5, atol=1e-7))


def _differ(train: Array, evaluate: Array, seeded: bool) -> bool:
    if seeded:
        return not _are_equal(train, evaluate)
    noise = (train.std() + evaluate.std()) / np.sqrt(DRAWS)
    return bool(abs(train.mean() - evaluate.mean()) > 6 * noise + 1e-6 * abs(train.mean()))


def _check_noise(box: BlackBox, model: torch.nn.Module, batch: Array, values: Array) -> list[Finding]:
    """Whether the loss is random at all: a posterior that is drawn from and decoded makes it so."""
    state = torch.get_rng_state(), str(np.random.get_state())
    with in_mode(model.modules(), True):
        box(batch)
    draws = not torch.equal(state[0], torch.get_rng_state()) or state[1] != str(np.random.get_state())
    if np.ptp(values) > 1e-9 * max(1.0, float(np.abs(values).max())):
        return []
    if draws:
        says = "Noise is drawn, and the loss is the same whatever it is: the draw is never decoded."
        return [Finding("Z-UNUSED", False, says, "Decode z, not the mean or the hidden layer.", about="model")]
    says = "The loss is the same at every call: nothing is drawn from the posterior."
    same = ("EPS-FROZEN: noise that is drawn once, or from a fixed seed",)
    return [Finding("NO-NOISE", False, says, "Decode z = m + σ(s)·eps with eps drawn anew.", {}, same, about="model")]


def changes_with_mode(part: torch.nn.Module) -> bool:
    """Whether a layer is made to differ between training and evaluation."""
    return isinstance(part, torch.nn.modules.dropout._DropoutNd | torch.nn.modules.batchnorm._NormBase)


def _check_gradients(box: BlackBox, model: torch.nn.Module, batch: Array) -> list[Finding]:
    parameters = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    with in_mode(model.modules(), True):
        reached = box.reaches(list(parameters.values()), batch)
    unreached = [name for name, flag in zip(parameters, reached, strict=True) if not flag]
    if not unreached:
        return [Finding("Z-UNUSED", True, "A gradient reaches every parameter.", about="model")]
    says = f"No gradient reaches {', '.join(unreached[:6])}{' and others' if len(unreached) > 6 else ''}."
    return [Finding("Z-UNUSED", False, says, "Check that the draw is decoded and nothing is detached.", about="model")]
