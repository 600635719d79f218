"""The public cases of wrong losses, each rewritten as a few lines."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vae_lightning.doctor.losses.cases.base import Case
from vae_lightning.doctor.losses.cases.question import FAULTS, numpy_version, torch_version


def log_var_kl(m: Tensor, s: Tensor) -> Tensor:
    """The KL with s = log σ², summed over latents and averaged over rows."""
    return 0.5 * (m**2 + s.exp() - 1 - s).sum(1).mean()


def log_std_kl(m: Tensor, s: Tensor) -> Tensor:
    """The KL with s = log σ."""
    return 0.5 * (m**2 + (2 * s).exp() - 1 - 2 * s).sum(1).mean()


def log_var_sample(m: Tensor, s: Tensor) -> Tensor:
    """z = m + exp(s/2)·eps."""
    return m + (s / 2).exp() * torch.randn_like(m)


def log_std_sample(m: Tensor, s: Tensor) -> Tensor:
    """z = m + exp(s)·eps."""
    return m + s.exp() * torch.randn_like(m)


def raw_sample(m: Tensor, s: Tensor) -> Tensor:
    """z = m + s·eps."""
    return m + s * torch.randn_like(m)


def bce(x: Tensor, out: Tensor) -> Tensor:
    """Cross-entropy from logits, summed over columns and averaged over rows."""
    return F.binary_cross_entropy_with_logits(out, x, reduction="none").sum(1).mean()


def half_sse(x: Tensor, out: Tensor) -> Tensor:
    """½ Σ (x − out)², averaged over rows."""
    return 0.5 * ((x - out) ** 2).sum(1).mean()


def _z_scores(rows: int = 60, columns: int = 11) -> Tensor:
    return torch.randn(rows, columns, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def _binary_rows(rows: int = 60, columns: int = 11) -> Tensor:
    return (_z_scores(rows, columns) > 0).double()


def _frozen(m: Tensor, s: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    return m + (s / 2).exp() * torch.randn(m.shape, generator=generator, dtype=m.dtype)


class _Halves(torch.nn.Module):
    """A VAE of one linear layer each, for losses of which only the whole is at hand."""

    def __init__(self, columns: int = 6, latents: int = 2) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            self.encoder = torch.nn.Linear(columns, 2 * latents).double()
            self.decoder = torch.nn.Linear(latents, columns).double()

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


def question_cases() -> list[Case]:
    """The three losses of the question that this project grew from, each fault of each in torch and in numpy."""
    cases = []
    for language, version in (("torch", torch_version), ("numpy", numpy_version)):
        for name, codes in FAULTS.items():
            cases += [Case(f"the question, {name}, in {language}", code, version(name)) for code in codes]
    parts = torch_version("second")
    return [*cases, Case("the question, on z-scores", "BCE-RANGE", {**parts, "data": _z_scores()})]


def wrong_cases() -> list[Case]:
    """Every kind of error, in the words of a public case."""
    return [*question_cases(), *_kl_cases(), *_sampler_cases(), *_reconstruction_cases(), *_whole_cases()]


def _kl_cases() -> list[Case]:
    good: dict[str, Any] = {"sample": log_var_sample, "reconstruction": bce}
    squared = {"sample": log_std_sample, "reconstruction": bce}
    return [
        Case(
            "KL reported and minimised with its sign flipped",
            "SIGN-FLIP",
            {**good, "kl": lambda m, s: -log_var_kl(m, s)},
        ),
        Case(
            "plus instead of minus s",
            "LOG-SIGN",
            {**good, "kl": lambda m, s: 0.5 * (m**2 + s.exp() - 1 + s).sum(1).mean()},
        ),
        Case(
            "FluxML/model-zoo 73: the logarithm squared",
            "LOG-SQUARED",
            {**squared, "kl": lambda m, s: 0.5 * ((2 * s).exp() + m**2 - 1 + s**2).sum(1).mean()},
        ),
        Case(
            "log σ where 2 log σ belongs",
            "LOG-FACTOR",
            {**squared, "kl": lambda m, s: 0.5 * (m**2 + (2 * s).exp() - s - 1).sum(1).mean()},
        ),
        Case("the ½ forgotten", "HALF", {**good, "kl": lambda m, s: (m**2 + s.exp() - 1 - s).sum(1).mean()}),
        Case("m² without its ½", "HALF", {**good, "kl": lambda m, s: (m**2 + 0.5 * (s.exp() - 1 - s)).sum(1).mean()}),
        Case(
            "σ² of one parameterisation, log σ² of another",
            "MIXED",
            {**good, "kl": lambda m, s: 0.5 * (m**2 + s**2 - 1 - s).sum(1).mean()},
        ),
        Case("no − 1", "CONST", {**good, "kl": lambda m, s: 0.5 * (m**2 + s.exp() - s).sum(1).mean()}),
        Case(
            "keras-molecules 59, grammarVAE 2: mean over latents",
            "KL-MEAN-L",
            {**good, "kl": lambda m, s: -0.5 * (1 + s - m**2 - s.exp()).mean()},
        ),
        Case(
            "GlassyWing/nvae 3: KL summed over the batch",
            "KL-BATCH-SUM",
            {**good, "kl": lambda m, s: 0.5 * (m**2 + s.exp() - 1 - s).sum()},
        ),
        Case("pyod: clamped to [0, 0]", "KL-DEAD", {**good, "kl": lambda m, s: log_var_kl(m, s).clamp(0, 0)}),
        Case("KL of detached heads", "KL-DEAD", {**good, "kl": lambda m, s: log_var_kl(m.detach(), s.detach())}),
        Case(
            "semi-supervised-pytorch 16: softplus on the log-variance",
            "HEAD-ACT",
            {
                "kl": lambda m, s: log_var_kl(m, F.softplus(s)),
                "sample": lambda m, s: log_var_sample(m, F.softplus(s)),
                "reconstruction": bce,
            },
        ),
        Case("e to the e", "OVERFLOW", {**good, "kl": lambda m, s: log_var_kl(m, s) + 0 * s.exp().exp().mean()}),
    ]


def _sampler_cases() -> list[Case]:
    good: dict[str, Any] = {"kl": log_var_kl, "reconstruction": bce}
    return [
        Case("ibp_vae 3, vae_tacotron2 3: exp(s) of a log-variance", "VAR-AS-STD", {**good, "sample": log_std_sample}),
        Case("scMVAE 1: the raw head", "RAW-AS-STD", {**good, "sample": raw_sample}),
        Case(
            "keras 3283: halved in the sampler, not in the KL",
            "MISMATCH",
            {"kl": log_std_kl, "sample": log_var_sample, "reconstruction": bce},
        ),
        Case("keras_lstm_vae 1: the mean instead of a draw", "NO-NOISE", {**good, "sample": lambda m, s: m + 0 * s}),
        Case("MONAI 8413: mean plus deviation", "NO-NOISE", {**good, "sample": lambda m, s: m + (s / 2).exp()}),
        Case("seeded inside", "EPS-FROZEN", {**good, "sample": _frozen}),
        Case(
            "one noise vector for the batch",
            "EPS-SHARED",
            {**good, "sample": lambda m, s: m + (s / 2).exp() * torch.randn(1, m.shape[1], dtype=m.dtype)},
        ),
        Case(
            "one number for all latents",
            "EPS-SHARED",
            {**good, "sample": lambda m, s: m + (s / 2).exp() * torch.randn(m.shape[0], 1, dtype=m.dtype)},
        ),
        Case(
            "epsilon_std = 0.01",
            "EPS-SCALE",
            {**good, "sample": lambda m, s: m + 0.01 * (s / 2).exp() * torch.randn_like(m)},
        ),
        Case("rand for randn", "NOISE-DIST", {**good, "sample": lambda m, s: m + (s / 2).exp() * torch.rand_like(m)}),
        Case(
            "ml-agents 5546: sample for rsample",
            "NO-GRAD",
            {**good, "sample": lambda m, s: log_var_sample(m, s).detach()},
        ),
        Case(
            "pytorch_coma 21: an activation on the mean",
            "HEAD-ACT",
            {**good, "sample": lambda m, s: log_var_sample(torch.relu(m), s)},
        ),
    ]


def _reconstruction_cases() -> list[Case]:
    good: dict[str, Any] = {"kl": log_var_kl, "sample": log_var_sample}
    gaussian_without = {"reconstruction": lambda x, out: (0.5 * (x - out[0]) ** 2 / out[1].exp()).sum(1).mean()}
    return [
        Case(
            "keras 3383: mean over columns", "MEAN-SUM", {**good, "reconstruction": lambda x, out: F.mse_loss(out, x)}
        ),
        Case(
            "MMVAE 19: mean cross-entropy",
            "MEAN-SUM",
            {**good, "reconstruction": lambda x, out: F.binary_cross_entropy_with_logits(out, x)},
        ),
        Case(
            "PyTorch-VAE: mean over columns + 0.00025 KL",
            "SCALE",
            {
                "kl": lambda m, s: 0.00025 * log_var_kl(m, s),
                "sample": log_var_sample,
                "reconstruction": lambda x, out: F.mse_loss(out, x),
            },
        ),
        Case(
            "pyod 651: a ReLU cannot reach z-scores",
            "OUT-ACT",
            {**good, "reconstruction": lambda x, out: half_sse(x, torch.relu(out)), "data": _z_scores()},
        ),
        Case(
            "tensorflow_tutorials 23: tanh and cross-entropy",
            "OUT-ACT",
            {
                **good,
                "reconstruction": lambda x, out: (
                    -(x * torch.tanh(out).log() + (1 - x) * (1 - torch.tanh(out)).log()).sum(1).mean()
                ),
            },
        ),
        Case(
            "Lasagne 54, bolts 177, stats.SE 630079: cross-entropy on z-scores",
            "BCE-RANGE",
            {**good, "reconstruction": bce, "data": _z_scores()},
        ),
        Case(
            "logits loss fed with probabilities",
            "DOUBLE-SIGMOID",
            {**good, "reconstruction": lambda x, out: bce(x, out.sigmoid())},
        ),
        Case(
            "sledge 4: target and prediction swapped",
            "ARG-SWAP",
            {**good, "reconstruction": lambda x, out: bce(out, x)},
        ),
        Case("a learned scale without its log", "UNNORMALISED", {**good, **gaussian_without}),
        Case(
            "Bernoulli on grey levels",
            "UNNORMALISED",
            {**good, "reconstruction": bce, "data": torch.sigmoid(_z_scores())},
        ),
        Case("log-likelihood minimised", "SIGN-FLIP", {**good, "reconstruction": lambda x, out: -bce(x, out)}),
    ]


def _whole_cases() -> list[Case]:
    rows = _binary_rows(40, 6)
    return [
        Case("generative-tf 1: the KL outside the log-mean", "ESTIMATOR", {"loss": _worst_weighs_most, "data": rows}),
        Case(
            "PyTorch-VAE: another weight in validation",
            "EVAL",
            {"loss": _other_in_evaluation, "data": rows, "model": _Halves()},
        ),
        Case(
            "VAECox 6: the second head is never used",
            "Z-UNUSED",
            {"loss": _without_the_draw, "data": rows, "model": _UnusedHead()},
        ),
    ]


class _UnusedHead(_Halves):
    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(2)
            self.second = torch.nn.Linear(6, 2).double()
