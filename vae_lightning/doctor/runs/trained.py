"""`examine_model`: the laws that a trained model of this package must keep, each measured on its own rows."""

import math
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vae_lightning.controls.choice import fit_control
from vae_lightning.data.batch import Batch
from vae_lightning.data.checks import is_illegal
from vae_lightning.data.seeds import random_stream
from vae_lightning.data.store import RowsInMemory, RowStore
from vae_lightning.data.wording import count
from vae_lightning.doctor.report import Finding, Report
from vae_lightning.doctor.runs.learned import (
    CELLS,
    check_activity,
    check_training,
    check_variances,
    compare_with_controls,
)
from vae_lightning.inference.evaluation import Evaluation, evaluate
from vae_lightning.inference.importance import log_prob
from vae_lightning.inference.metrics import ELBOMeter
from vae_lightning.inference.model import VAEModel
from vae_lightning.inference.verdict import Course
from vae_lightning.likelihoods.base import Likelihood, Predictive
from vae_lightning.likelihoods.support import BINARY
from vae_lightning.objectives.base import Objective

ROWS = 512  # rows that are judged; every tenth of a nat of a mean over them is beyond doubt
SAMPLES = 500
ERRORS = 6.0  # standard errors: a false alarm in some 10^8 examinations
NODES = 4001  # most that a column is integrated with
ENUMERABLE = 10  # binary columns whose rows can all be listed
EVALUATION_BATCH = 4096  # as in training: the same draws for the same rows
CHANGING = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._NormBase)


@dataclass(frozen=True)
class Trained:
    """What is known of a trained model.

    Args:
        model: In evaluation mode.
        train: Training rows (N, C), in model units.
        test: The rows that it is judged by, which it was not trained on, in model units.
        objective: What training maximised; None if that is not known.
        record: What was recorded of its validation; None if nothing was.
        table: The test table of the run, on all test rows; None where there is none.
        course: How training went; None if that is not known.
    """

    model: VAEModel
    train: RowStore
    test: Batch
    objective: Objective | None = None
    record: "Record | None" = None
    table: Evaluation | None = None
    course: Course | None = None


@dataclass(frozen=True)
class Record:
    """What a run recorded of its best epoch.

    Args:
        nelbo: The validation NELBO, data units.
        valid: The validation rows, in model units.
        seed: The seed of its draws.
    """

    nelbo: float
    valid: Batch
    seed: int


def examine_model(trained: Trained) -> Report:
    """Examine a trained model on rows; nothing of it is changed.

    The laws: rows lie in the support; p(x|z) integrates to one; NELBO ≥ −IWAE-k ≥ −IWAE-k' for k < k', and none below
    the floor; the analytic KL is the mean of log q(z|x) − log p(z); training and evaluation compute the same function;
    a gradient reaches every parameter; σ² is the mean squared residual; the model beats independent columns and is no
    worse than the control; training had ended when it ended.

    The formulas are examined on the first 512 test rows. What the model is worth is judged by the test table where the
    run has one, so by all of them.

    Source:
        The ordering: Burda et al. 2015, theorem 1.
    """
    refused = _check_support(trained)
    if refused.ok is False:
        return Report([refused])
    rows = max(1, min(ROWS, CELLS // len(trained.model.columns)))
    judged = replace(trained, test=trained.test.split(rows)[0])
    model = judged.model
    vae, record = model.vae, judged.record
    control = None
    if trained.table is None:
        valid = None if record is None else RowsInMemory(record.valid)
        control = fit_control(vae.likelihood, judged.train, valid, vae.latent_dim, vae.exposed)
    result = evaluate(vae, [judged.test], judged.train, SAMPLES, log_slopes=model.log_slopes, control=control)
    table = trained.table or result
    with random_stream(0):
        findings = [
            refused,
            *_check_normalisation(judged),
            *_check_order(judged, result),
            _check_kl(judged),
            _compare_modes(judged),
            *_compare_with_record(judged),
            _check_gradients(judged),
            *_state_weight(judged),
            check_activity(table, judged.objective),
            *compare_with_controls(table),
            *check_variances(model, judged.train, judged.test),
            *check_training(table, judged.course),
            *_check_bounds(table),
        ]
    return Report(findings, _summarise(trained, table))


def _summarise(trained: Trained, result: Evaluation) -> dict[str, Any]:
    measured: dict[str, Any] = {
        "likelihood": trained.model.vae.likelihood.words,
        "rows judged": f"{result.num_rows:,} of {trained.test.num_rows:,} that were not trained on",
        "NELBO": result.nelbo,
        "NLL": f"{result.nll:.4f} ± {result.nll_standard_error:.4f} ({result.num_samples} samples a row)",
        "independent columns": result.baseline,
        **({result.control_words: result.control} if result.control_words else {}),
        "floor": result.entropy_floor + 0.0,
        "active units": f"{result.active_units} of {result.latent_dim}",
    }
    if trained.objective is not None:
        measured["objective"] = str(trained.objective)
    if trained.course is not None:
        course = trained.course
        measured["β when training ended"] = f"{course.beta:.3g} of {course.final_beta:g}"
        measured["training"] = course.ended
    return measured


def _check_support(trained: Trained) -> Finding:
    likelihood = trained.model.vae.likelihood
    batches = (*trained.train.batches(), trained.test)
    wrong = torch.zeros(likelihood.num_columns, dtype=torch.int64)
    for batch in batches:
        illegal = is_illegal(batch.x, likelihood.supports)
        wrong += (illegal if batch.mask is None else illegal & batch.mask).sum(0)
    told = dict.fromkeys(zip(likelihood.column_names, likelihood.supports, strict=True))
    is_one = len(told) == 1
    if wrong.any():
        first = int(wrong.nonzero()[0])
        name, column = likelihood.column_names[first], trained.model.columns[first].name
        which = "" if is_one else f" of the column {column!r}"
        says = (
            f"{int(wrong.sum()):,} values of the rows lie outside the support of the {name} likelihood{which}, which "
        )
        says += f"takes {likelihood.supports[first].words}."
        return Finding("SUPPORT", False, says, "Give the rows that the model was trained on.", about="data")
    says = (
        "All rows are " + likelihood.supports[0].words if is_one else "All cells are what their columns' families take"
    )
    return Finding("SUPPORT", True, f"{says}{'' if is_one else f' ({likelihood.words})'}.", about="data")


@torch.no_grad()
def _check_normalisation(trained: Trained) -> list[Finding]:
    vae = trained.model.vae
    draws = min(8, CELLS // (NODES * vae.likelihood.num_columns))
    if not draws:
        says = f"p(x|z) is not integrated: with {vae.likelihood.num_columns:,} columns it would take gigabytes."
        return [Finding("UNNORMALISED", None, says, about="p(x|z)")]
    # In float64: the law is about the formula, and a narrow density or a great count leaves float32 few digits of it.
    condition = trained.test.condition
    if condition is not None:
        condition = condition[torch.arange(draws) % len(condition)]
    px = vae.predict(vae.raw(vae.prior.sample(draws), condition).double(), condition)
    masses = column_masses(px, vae.likelihood)
    worst = float((masses - 1).abs().max())
    says = f"At {count(draws, 'draw')} of z the mass of p(x|z) in each column is one within {worst:.1e}."
    findings = [Finding("UNNORMALISED", worst < 1e-3, says, evidence={"worst error": worst}, about="p(x|z)")]
    if vae.likelihood.num_columns <= ENUMERABLE and all(one == BINARY for one in vae.likelihood.supports):
        findings.append(_enumerate_rows(trained))
    return findings


def column_masses(p: Predictive, likelihood: Likelihood) -> Tensor:
    """The total mass of each column of ``p`` (M, C), float64: summed or integrated as its support says."""
    mean, stddev = p.bulk
    fill = mean.new_tensor([support.fill for support in likelihood.supports])
    masses = torch.zeros(mean.shape, dtype=torch.float64)
    for support in dict.fromkeys(likelihood.supports):
        columns = torch.tensor([one == support for one in likelihood.supports])
        nodes, weights = support.grid(mean, stddev)
        # The other columns cannot take these nodes: a code of a category that does not exist has no probability.
        density = p.log_prob(torch.where(columns, nodes.to(mean.dtype), fill)).double().exp()
        masses = torch.where(columns, (weights * density).sum(0), masses)
    return masses


@torch.no_grad()
def _enumerate_rows(trained: Trained) -> Finding:
    vae = trained.model.vae
    every = torch.tensor(list(product((0.0, 1.0), repeat=vae.likelihood.num_columns))).to(trained.test.x)
    condition = trained.test.condition
    if condition is not None:  # p(x|c) adds up to one for each condition
        condition = condition[:1].expand(len(every), -1)
    estimate = log_prob(vae, Batch(every, condition=condition), SAMPLES)
    masses = estimate.log_prob.double().exp()
    total, error = float(masses.sum()), float((masses * estimate.standard_error).square().sum().sqrt())
    says = f"Over all {len(every):,} binary rows p(x) adds up to {total:.4f} ± {error:.4f}."
    right = abs(total - 1) < ERRORS * error + 0.01
    return Finding("UNNORMALISED", right, says, evidence={"sum": total, "standard error": error}, about="p(x)")


def _check_order(trained: Trained, result: Evaluation) -> list[Finding]:
    bounds = {1: (result.nelbo, 0.0)}
    shift = -float(trained.model.log_abs_det(trained.test).mean())
    for k in (5, 50):
        estimate = log_prob(trained.model.vae, trained.test, k)
        error = float(estimate.standard_error.double().square().sum().sqrt()) / trained.test.num_rows
        bounds[k] = (shift - float(estimate.log_prob.double().mean()), error)
    bounds[result.num_samples] = (result.nll, bounds[50][1])
    told = " ≥ ".join(f"{value:.3f} (k = {k})" for k, (value, _) in bounds.items())
    pairs = list(zip(bounds.values(), list(bounds.values())[1:], strict=False))
    right = all(after <= before + ERRORS * math.hypot(one, other) + 0.01 for (before, one), (after, other) in pairs)
    says = f"NELBO and the importance-weighted bounds must not rise with k: {told}."
    findings = [Finding("ESTIMATOR", right, says, evidence={str(k): v for k, (v, _) in bounds.items()}, about="bounds")]
    floor = max(result.entropy_floor, trained.model.loss_floor())
    says = f"The NLL is {result.nll:.4f}, the least possible {floor + 0.0:.4f} nats per row."
    # Of a single row there is no standard error.
    right = not result.nll < floor - ERRORS * np.nan_to_num(result.nll_standard_error) - 1e-3
    return [*findings, Finding("BELOW-FLOOR", right, says, evidence={"floor": floor}, about="bounds")]


@torch.no_grad()
def _check_kl(trained: Trained) -> Finding:
    vae = trained.model.vae
    if not vae.kl_is_exact:
        says = "The KL has no closed form here; it is estimated from the draws of z that train the decoder."
        return Finding("MISMATCH", True, says, about="kl")
    posterior = vae.encode(trained.test)
    z = posterior.rsample(vae.noise(100, trained.test.num_rows))
    draws = (posterior.log_prob(z) - vae.prior.log_prob(z)).double()
    sampled = draws.mean(1)
    analytic, mean = float(vae.prior.kl(posterior, z).double().sum(-1).mean()), float(sampled.mean())
    error = float(sampled.std()) / math.sqrt(len(sampled)) if len(sampled) > 1 else float(draws.std()) / math.sqrt(100)
    says = f"The analytic KL is {analytic:.4f}, the mean of log q(z|x) − log p(z) {mean:.4f} ± {error:.4f}."
    right = abs(analytic - mean) < ERRORS * error + 1e-3
    return Finding("MISMATCH", right, says, evidence={"analytic": analytic, "standard error": error}, about="kl")


@torch.no_grad()
def _compare_modes(trained: Trained) -> Finding:
    """The same rows and draws in both modes; only layers that are made to change may make a difference."""
    vae = trained.model.vae
    states = {name: value.clone() for name, value in vae.state_dict().items()}
    values = []
    try:
        for mode in (True, False):
            vae.train(mode)
            with random_stream(1):
                terms = vae(trained.test, vae.noise(1, trained.test.num_rows))
            values.append(float((terms.nelbo.double() - trained.model.log_abs_det(trained.test)).mean()))
    finally:
        vae.eval()
        vae.load_state_dict(states)  # batch normalisation counts whatever it sees
    layers = sorted({type(part).__name__ for part in vae.modules() if isinstance(part, CHANGING)})
    says = f"On the same rows and draws the NELBO is {values[0]:.6f} in training, {values[1]:.6f} in evaluation mode"
    says += f"; {' and '.join(layers)} may make them differ." if layers else "."
    right = bool(layers) or abs(values[0] - values[1]) <= 1e-5 * max(1.0, abs(values[0]))
    return Finding("EVAL", right, says, evidence={"training": values[0], "evaluation": values[1]}, about="model")


@torch.no_grad()
def _compare_with_record(trained: Trained) -> list[Finding]:
    """Whether the checkpoint still gives the validation NELBO that was recorded for it."""
    record = trained.record
    if record is None:
        return []
    model, rows, recorded = trained.model, record.valid, record.nelbo
    now = _nelbo(model, rows, record.seed)
    says = f"Recorded was a validation NELBO of {recorded:.4f}; the checkpoint gives {now:.4f}."
    # The same draws on the same device; on another one the same seed draws other numbers.
    right = abs(now - recorded) <= 1e-4 * max(1.0, abs(recorded))
    if not right:
        draws = torch.tensor([now, *(_nelbo(model, rows, seed) for seed in range(101, 109))], dtype=torch.float64)
        right = abs(float(draws.mean()) - recorded) <= ERRORS * float(draws.std())
    advice = "" if right else "The checkpoint, the rows or the preprocessing are not those of the record."
    return [Finding("EVAL", right, says, advice, {"recorded": recorded, "now": now}, about="checkpoint")]


def _nelbo(model: VAEModel, rows: Batch, seed: int) -> float:
    vae = model.vae
    meter = ELBOMeter(vae, model.log_slopes, sync=False)
    with random_stream(seed):
        for batch in rows.split(EVALUATION_BATCH):
            terms = vae(batch, vae.noise(1, batch.num_rows))
            meter.update(terms, batch, vae.likelihood.at_floor(terms.px))
    return float(meter.compute()["nelbo"])


def _check_gradients(trained: Trained) -> Finding:
    vae = trained.model.vae
    asleep: tuple[str, ...] = ()
    if vae.linear_decoder is not None and bool(vae.linear_decoder.weight.any()):
        # The networks beside a linear path begin with weights of 0 in their last layers, and steps reach these first.
        last = {"encoder.": vae.heads, "decoder.": vae.output}
        asleep = tuple(part for part, layer in last.items() if not bool(layer.weight.any()))
    named = ((name, parameter) for name, parameter in vae.named_parameters() if parameter.requires_grad)
    parameters = {name: parameter for name, parameter in named if not name.startswith(asleep)}
    loss = vae(trained.test, vae.noise(1, trained.test.num_rows)).nelbo.mean()
    gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    unreached = [name for name, g in zip(parameters, gradients, strict=True) if g is None or not bool(g.any())]
    broken = [name for name, g in zip(parameters, gradients, strict=True) if g is not None and not g.isfinite().all()]
    if broken:
        says = f"The gradient of {', '.join(broken[:6])} is not finite."
        return Finding("OVERFLOW", False, says, "Lower the step size, or bound what grows.", about="model")
    if unreached:
        says = f"No gradient reaches {', '.join(unreached[:6])}{' and others' if len(unreached) > 6 else ''}."
        return Finding(
            "Z-UNUSED", False, says, "The model has collapsed, or units are dead for all rows.", about="model"
        )
    says = f"A gradient reaches all {len(parameters)} parameter tensors"
    says += "; the networks beside the linear path are as before the first step." if asleep else "."
    return Finding("Z-UNUSED", True, says, about="model")


def _state_weight(trained: Trained) -> list[Finding]:
    beta = getattr(trained.objective, "beta", 1)
    if beta == 1:
        return []
    says = f"Training minimised reconstruction + {beta:g} × KL: openly, so it is no fault, but no bound "
    says += "on log p(x) either. Every number here has β = 1."
    return [Finding("SCALE", True, says, about="objective")]


def _check_bounds(result: Evaluation) -> list[Finding]:
    floor, bound = result.variance_at_floor, result.log_var_at_bound
    says = f"{floor:.1%} of the likelihood's variances sit at their floor."
    advice = "Drop columns that repeat one value; there the loss tells of likelihood.min_scale, not of the model."
    at_floor = Finding("AT-FLOOR", floor <= 0.01, says, advice if floor > 0.01 else "", about="likelihood")
    says = f"{bound:.1%} of the posterior's log-variances sit at their bound."
    advice = "Look for outliers in the data; a larger posterior.log_var_bound lets the posterior go on."
    return [at_floor, Finding("AT-BOUND", bound <= 0.01, says, advice if bound > 0.01 else "", about="posterior")]
