"""What a trained model has learned: codes, variances, and whether simpler models have learned as much."""

import math
from itertools import islice

import torch
from torch import Tensor

from vae_lightning.data.batch import Batch
from vae_lightning.data.seeds import random_stream
from vae_lightning.data.store import RowStore
from vae_lightning.data.wording import count, shorten, two_digits
from vae_lightning.doctor.report import Finding
from vae_lightning.errors import Setting
from vae_lightning.inference.evaluation import Evaluation
from vae_lightning.inference.model import VAEModel
from vae_lightning.inference.verdict import MATERIAL, SMALL_KL, Course, remaining_fall
from vae_lightning.likelihoods.moments import held_variances
from vae_lightning.objectives.base import Objective

ERRORS = 2.0  # standard errors
LEAST = 0.02  # nats per row: a gain that is surely smaller is none
ROWS = 2048  # training rows that variances are held against
DRAWS = 8
CELLS = 20_000_000  # most that one tensor holds: fewer rows, draws or nodes of wide tables
FAR = 2.0  # a σ² this many times greater or smaller than it should be
NEAR_FLOOR = 1.5  # as the likelihood counts it


def check_activity(result: Evaluation, objective: Objective | None) -> Finding:
    """Whether latent dimensions vary with x, and where none does, whether it is a collapse."""
    says = (
        f"{result.active_units} of {result.latent_dim} latent dimensions vary with x; the KL is {result.kl:.4f} nats."
    )
    if result.num_rows < 2:
        return Finding("COLLAPSE", None, f"{says} Of a single row nothing can vary.", about="latents")
    if result.active_units:
        return Finding("COLLAPSE", True, says, about="latents")
    if not result.kl < SMALL_KL:
        says += " A posterior that is no prior and yet the same for all rows has run away."
        return Finding("DIVERGED", False, says, "Train with a smaller step, or scaled data.", about="latents")
    says += " The posterior is the prior."
    unwarmed = getattr(objective, "warmup", "") == "none"
    settings = (Setting("objective.warmup", "linear", "the KL counts for less at first"),) if unwarmed else ()
    advice = "Train longer, or with a smaller weight of the KL."
    return Finding("COLLAPSE", False, says, advice, about="latents", settings=settings)


def compare_with_controls(result: Evaluation) -> list[Finding]:
    """The model against independent columns, and against the control where there is one; row by row."""
    learned = result.baseline - result.nll if math.isfinite(result.baseline) else 0.0
    # As good as the control is good enough, and few importance samples leave the NLL a little too high.
    slack = max(LEAST, MATERIAL * learned)
    return [
        *_compare(
            "BASELINE", "independent columns", result, result.baseline, result.baseline_gain_standard_error, LEAST
        ),
        *_compare("LINEAR", result.control_words, result, result.control, result.control_gain_standard_error, -slack),
    ]


def _compare(code: str, name: str, result: Evaluation, nll: float, error: float, least: float) -> list[Finding]:
    """``least``: the gain below which it is wrong, in nats per row."""
    gain = nll - result.nll
    if math.isnan(gain):
        return []
    if math.isnan(error) and not math.isinf(gain):
        says = f"The model is {_than(gain)} {name} ({nll:.4f}) on a single row, which proves nothing."
        return [Finding(code, None, says, about="model")]
    says = f"The model is {_than(gain, error)} {name} ({nll:.4f})."
    evidence = {"gain": gain, "standard error": error}
    if math.isinf(gain) or gain - ERRORS * error > min(least, 0.0) or gain >= least < 0:
        return [Finding(code, True, says, evidence=evidence, about="model")]
    if gain + ERRORS * error >= least:
        return [Finding(code, None, f"{says} So few rows cannot decide it.", evidence=evidence, about="model")]
    advice = "Train longer, with more latent dimensions, or with another likelihood."
    return [Finding(code, False, says, advice, evidence, about="model")]


def _than(gain: float, error: float | None = None) -> str:
    way = "worse" if gain < 0 else "better"
    nats = f"{abs(gain):.4f} nats" if error is None else f"{abs(gain):.4f} ± {error:.4f} nats per row"
    return f"{nats} {way} than"


def check_training(result: Evaluation, course: Course | None) -> list[Finding]:
    """Whether training had come to its end when it ended."""
    if course is None:
        return []
    if course.beta < course.final_beta:
        says = f"Training ended within a warm-up: β had reached {course.beta:.2g} of {course.final_beta:g}."
        return [Finding("UNDERTRAINED", False, says, "Train longer, or warm up faster.", about="training")]
    if fall := remaining_fall(result, course):
        pace = f"{two_digits(fall)} nats a thousand steps of full size"
        says = f"The validation NELBO still fell by {pace} when training ended."
        return [Finding("UNDERTRAINED", False, says, "Train longer.", {"fall": fall}, about="training")]
    return [Finding("UNDERTRAINED", True, "The validation NELBO had stopped falling.", about="training")]


def check_variances(model: VAEModel, train: RowStore, test: Batch) -> list[Finding]:
    r"""Whether a Gaussian's σ² is the mean squared residual under q, as it is where the likelihood is greatest.

    Measured is :math:`r = E_q[(x - m)^2 / \sigma^2]` of each column, or of all where they share a σ. It must be 1 on
    the training rows. A column is far off where r is beyond a factor of two on training rows and on others alike: of
    outliers and of shrunken estimates only one of the two is.
    """
    options = model.record.get("likelihood", {})
    if options.get("name") != "gaussian" or options.get("variance") == "fixed":
        return []
    most = max(1, CELLS // (DRAWS * len(model.columns)))
    some, test = next(islice(train.batches(min(ROWS, most)), 1)), test.split(most)[0]
    ratios, floor = zip(*(_measure(model, rows) for rows in (some, test)), strict=True)
    free = (held_variances(train).cpu() == 0) & (floor[0] > (NEAR_FLOOR * float(options["min_scale"])) ** 2)
    if not free.any():
        return []
    if options.get("variance") in ("shared", "optimal"):
        ratios, names = tuple(ratio[free].mean()[None] for ratio in ratios), ["all columns"]
    else:
        ratios = tuple(ratio[free] for ratio in ratios)
        names = [f"'{column.name}'" for column, is_free in zip(model.columns, free.tolist(), strict=True) if is_free]
    trained, others = ratios
    far = ((trained > FAR) & (others > FAR)) | ((trained < 1 / FAR) & (others < 1 / FAR))
    middle = float(trained.median())
    says = f"The squared residual is {middle:.3g} times σ² in the median column of {some.num_rows:,} training rows."
    if not far.any():
        return [Finding("VARIANCE", True, says, evidence={"median": middle}, about="likelihood")]
    wrong = far.nonzero().flatten().tolist()
    wrong.sort(key=lambda i: -abs(math.log(max(float(trained[i]), 1e-30))))
    says += (
        f" {count(len(wrong), 'column')} of {len(names)} {'is' if len(wrong) == 1 else 'are'} more than a factor of "
    )
    says += (
        f"{FAR:g} off, on rows not trained on too: {shorten(f'{names[i]} ({float(trained[i]):.3g})' for i in wrong)}."
    )
    advice = "σ has not settled: train longer, or with a larger step."
    return [Finding("VARIANCE", False, says, advice, {"median": middle}, about="likelihood")]


@torch.no_grad()
def _measure(model: VAEModel, batch: Batch) -> tuple[Tensor, Tensor]:
    """r and the mean σ² of each column, (C,), float64, on the CPU."""
    vae = model.vae
    with random_stream(3):
        px = vae(batch, vae.noise(DRAWS, batch.num_rows)).px
    variance = px.stddev.double().square().expand(px.mean.shape)
    seen = torch.ones_like(batch.x, dtype=torch.bool) if batch.mask is None else batch.mask
    squares = torch.where(seen, (batch.x - px.mean).double().square() / variance, 0.0)
    cells = seen.sum(0).clamp_min(1) * len(squares)
    return (squares.sum((0, 1)) / cells).cpu(), variance.mean((0, 1)).cpu()
