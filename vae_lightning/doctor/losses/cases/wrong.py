"""The public cases of wrong losses: a recipe with one change where it has one, a few lines where not."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vae_lightning.doctor.losses.cases.question import FAULTS, write_version
from vae_lightning.doctor.losses.cases.recipe import Case, Changes, Recipe, build_functions, change

GOOD = build_functions(Recipe())
log_var_kl, log_var_sample, bce = GOOD.values()
half_sse = build_functions(Recipe(family="half squared"))["reconstruction"]


def _z_scores(rows: int = 60, columns: int = 11) -> Tensor:
    return torch.randn(rows, columns, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def _binary_rows(rows: int = 60, columns: int = 11) -> Tensor:
    return (_z_scores(rows, columns) > 0).double()


class _Halves(torch.nn.Module):
    """A VAE of one linear layer each, for losses of which only the whole is at hand."""

    def __init__(self, unused: bool = False) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            self.encoder, self.decoder = torch.nn.Linear(6, 4).double(), torch.nn.Linear(2, 6).double()
            self.second = torch.nn.Linear(6, 2).double() if unused else None

    def terms(self, x: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
        """log p(x|z), log p(z) and log q(z|x) of k draws."""
        m, s = self.encoder(x).chunk(2, -1)
        prior = torch.distributions.Normal(torch.zeros_like(m), torch.ones_like(m))
        posterior = torch.distributions.Normal(m, (s / 2).exp())
        z = posterior.rsample((k,))
        likelihood = -F.binary_cross_entropy_with_logits(self.decoder(z), x.expand(k, *x.shape), reduction="none").sum(
            -1
        )
        return likelihood, prior.log_prob(z).sum(-1), posterior.log_prob(z).sum(-1)


def _worst_weighs_most(x: Tensor) -> Tensor:
    likelihood, prior, posterior = _Halves().terms(x, 8)
    kl = torch.mean(posterior - prior, dim=0)
    return -(torch.logsumexp(likelihood, 0) - torch.log(torch.tensor(8.0)) - kl + 1.0)


def _other_in_evaluation(model: _Halves, x: Tensor) -> Tensor:
    likelihood, prior, posterior = model.terms(x, 1)
    weight = 0.00025 if model.training else 1.0
    return (-likelihood + 100 * weight * (posterior - prior)).mean()


def _without_the_draw(model: _Halves, x: Tensor) -> Tensor:
    m = model.encoder(x)[:, :2]
    return bce(x, model.decoder(m)) + 0.5 * (m**2).sum(1).mean()


EXPONENTIAL: Changes = {"sigma": ("log variance", "log sigma")}
BINARY: Changes = {"family": ("bce logits",)}
MEAN_OF_SUM: Changes = {"kl_rows": ("mean",), "kl_columns": ("sum",), "rows": ("mean",), "columns": ("sum",)}
SHARED = ("shared rows", "shared latents", "shared")

RECIPES: dict[str, tuple[str, Changes]] = {
    "KL reported and minimised with its sign flipped": ("SIGN-FLIP", {"kl_sign": (-1.0,)}),
    "log-likelihood minimised": ("SIGN-FLIP", {"reconstruction_sign": (-1.0,)}),
    "plus instead of minus s": ("LOG-SIGN", {**EXPONENTIAL, "log_factor": (-1.0,)}),
    "log σ where 2 log σ belongs": ("LOG-FACTOR", {**EXPONENTIAL, "log_factor": (0.5, 0.0, 2.0)}),
    "FluxML/model-zoo 73: the logarithm squared": ("LOG-SQUARED", {**EXPONENTIAL, "log_power": (2,)}),
    "the ½ forgotten": ("HALF", {**BINARY, "kl_scale": (2.0,)}),
    "m² without its ½": ("HALF", {"m_factor": (2.0,)}),
    "no − 1": ("CONST", {"constant_factor": (0.0, 2.0, -1.0)}),
    "keras-molecules 59, grammarVAE 2: mean over latents": ("KL-MEAN-L", {**MEAN_OF_SUM, "kl_columns": ("mean",)}),
    "GlassyWing/nvae 3: KL summed over the batch": (
        "KL-BATCH-SUM",
        {**MEAN_OF_SUM, "kl_rows": ("sum",), "rows": ("mean", "keep")},
    ),
    "KL of detached heads": ("KL-DEAD", {"dead": (True,), "library": ("torch",)}),
    "ibp_vae 3, vae_tacotron2 3: exp(s) of a log-variance": (
        "VAR-AS-STD",
        {"sigma": ("log variance",), "sampler_sigma": ("log sigma",)},
    ),
    "scMVAE 1: the raw head": ("RAW-AS-STD", {**EXPONENTIAL, "sampler_sigma": ("raw",)}),
    "keras 3283: halved in the sampler, not in the KL": (
        "MISMATCH",
        {"sigma": ("log sigma", "minus log sigma"), "sampler_sigma": ("log variance", "softplus", "softplus variance")},
    ),
    "keras_lstm_vae 1: the mean instead of a draw": ("NO-NOISE", {"noise": ("none",)}),
    "seeded inside": ("EPS-FROZEN", {"noise": ("frozen",)}),
    "one noise vector for the batch": ("EPS-SHARED", {"noise": SHARED}),
    "one number for all latents": ("EPS-SHARED", {"noise": SHARED[1:]}),
    "epsilon_std = 0.01": ("EPS-SCALE", {"noise_scale": (0.01, 0.1, 0.5, 2.0)}),
    "rand for randn": ("NOISE-DIST", {"noise": ("uniform", "laplace")}),
    "ml-agents 5546: sample for rsample": ("NO-GRAD", {"noise": ("detached",), "library": ("torch",)}),
    "pytorch_coma 21: an activation on the mean": ("HEAD-ACT", {"mean_activation": (True,)}),
    "keras 3383: mean over columns": ("MEAN-SUM", {**MEAN_OF_SUM, "family": ("squared",), "columns": ("mean",)}),
    "MMVAE 19: mean cross-entropy": ("MEAN-SUM", {**MEAN_OF_SUM, "columns": ("mean",)}),
    "PyTorch-VAE: mean over columns + 0.00025 KL": (
        "SCALE",
        {**MEAN_OF_SUM, "kl_scale": (0.00025,), "family": ("squared",), "columns": ("mean",)},
    ),
    "tensorflow_tutorials 23: tanh and cross-entropy": (
        "OUT-ACT",
        {"family": ("bce probabilities",), "defect": ("tanh",)},
    ),
    "logits loss fed with probabilities": ("DOUBLE-SIGMOID", {**BINARY, "defect": ("double sigmoid",)}),
    "sledge 4: target and prediction swapped": (
        "ARG-SWAP",
        {"family": ("bce logits", "bce probabilities", "poisson"), "defect": ("swapped",)},
    ),
    "a learned scale without its log": ("UNNORMALISED", {"family": ("gaussian",), "defect": ("no log",)}),
}
"""Public case -> code, and what its makers decided otherwise: field -> values, the case's own first."""

WRITTEN: tuple[tuple[str, str, dict[str, Any]], ...] = (
    (
        "σ² of one parameterisation, log σ² of another",
        "MIXED",
        {"kl": lambda m, s: 0.5 * (m**2 + s**2 - 1 - s).sum(1).mean()},
    ),
    ("pyod: clamped to [0, 0]", "KL-DEAD", {"kl": lambda m, s: log_var_kl(m, s).clamp(0, 0)}),
    (
        "semi-supervised-pytorch 16: softplus on the log-variance",
        "HEAD-ACT",
        {
            "kl": lambda m, s: log_var_kl(m, F.softplus(s)),
            "sample": lambda m, s: log_var_sample(m, F.softplus(s)),
        },
    ),
    ("e to the e", "OVERFLOW", {"kl": lambda m, s: log_var_kl(m, s) + 0 * s.exp().exp().mean()}),
    ("MONAI 8413: mean plus deviation", "NO-NOISE", {"sample": lambda m, s: m + (s / 2).exp()}),
    (
        "pyod 651: a ReLU cannot reach z-scores",
        "OUT-ACT",
        {"reconstruction": lambda x, out: half_sse(x, torch.relu(out)), "data": _z_scores()},
    ),
    ("Lasagne 54, bolts 177, stats.SE 630079: cross-entropy on z-scores", "BCE-RANGE", {"data": _z_scores()}),
    ("Bernoulli on grey levels", "UNNORMALISED", {"data": torch.sigmoid(_z_scores())}),
)
"""The same with functions and data in place of the good ones."""


def question_cases() -> list[Case]:
    """The three losses of the question that this project grew from, each fault of each in torch and in numpy."""
    cases = []
    for library in ("torch", "numpy"):
        for name, codes in FAULTS.items():
            cases += [Case(f"the question, {name}, in {library}", code, write_version(name, library)) for code in codes]
    parts = write_version("second")
    return [*cases, Case("the question, on z-scores", "BCE-RANGE", {**parts, "data": _z_scores()})]


def wrong_cases() -> list[Case]:
    """Every kind of error, in the words of a public case."""
    rows = _binary_rows(40, 6)
    return [
        *question_cases(),
        *(Case(name, code, build_functions(change(Recipe(), changes))) for name, (code, changes) in RECIPES.items()),
        *(Case(name, code, {**GOOD, **parts}) for name, code, parts in WRITTEN),
        Case("generative-tf 1: the KL outside the log-mean", "ESTIMATOR", {"loss": _worst_weighs_most, "data": rows}),
        Case(
            "PyTorch-VAE: another weight in validation",
            "EVAL",
            {"loss": _other_in_evaluation, "data": rows, "model": _Halves()},
        ),
        Case(
            "VAECox 6: the second head is never used",
            "Z-UNUSED",
            {"loss": _without_the_draw, "data": rows, "model": _Halves(unused=True)},
        ),
    ]
