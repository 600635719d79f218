"""Wrong losses written to slip through, each with the codes that name its fault."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch.distributions import Laplace, NegativeBinomial, Normal, Uniform, kl_divergence

from vae_lightning.doctor.losses.cases.wrong import log_var_sample as rs

RNG = np.random.default_rng(5)


def kl_lv(m, s):
    return -0.5 * torch.sum(1 + s - m.pow(2) - s.exp(), dim=-1)


def bce(x, o):
    return F.binary_cross_entropy_with_logits(o, x, reduction="sum") / x.shape[0]


def np_sample(sigma):
    return lambda m, s: m + sigma(s) * RNG.standard_normal(m.shape)


_CACHE: dict[Any, torch.Tensor] = {}


def cached(m, s):
    if m.shape not in _CACHE:
        _CACHE[m.shape] = torch.randn(m.shape, dtype=m.dtype, generator=torch.Generator().manual_seed(0))
    return m + _CACHE[m.shape] * (s / 2).exp()


def reseeding(m, s):
    torch.manual_seed(42)
    return m + torch.randn_like(m) * (s / 2).exp()


def z_rows():
    return np.random.default_rng(0).normal(size=(70, 13))


def wrong() -> list[tuple[str, set[str], dict[str, Any]]]:
    std: dict[str, Any] = {"kl": lambda m, s: kl_lv(m, s).mean(), "sample": rs, "reconstruction": bce}

    def with_(**parts):
        return {**std, **parts}

    half = 0.5
    return [
        ("flip, kl alone numpy", {"SIGN-FLIP"}, {"kl": lambda m, s: half * np.sum(1 + s - m**2 - np.exp(s), 1)}),
        (
            "flip, one-sample",
            {"SIGN-FLIP"},
            with_(
                kl=lambda m, s: (
                    (
                        Normal(0.0, 1.0).log_prob(z := Normal(m, (s / 2).exp()).rsample())
                        - Normal(m, (s / 2).exp()).log_prob(z)
                    )
                    .sum(1)
                    .mean()
                )
            ),
        ),
        ("flip, loss of four", {"SIGN-FLIP"}, {"loss": lambda x, o, m, s: bce(x, o) - kl_lv(m, s).mean()}),
        (
            "flip of the reconstruction",
            {"SIGN-FLIP"},
            with_(reconstruction=lambda x, o: Normal(o, 1.0).log_prob(x).sum(1).mean()),
        ),
        (
            "flip, Poisson",
            {"SIGN-FLIP"},
            with_(reconstruction=lambda x, o: -F.poisson_nll_loss(o, x, reduction="none").sum(1).mean()),
        ),
        (
            "flip, gaussian heads",
            {"SIGN-FLIP"},
            with_(reconstruction=lambda x, o: Normal(o[0], o[1].exp()).log_prob(x).sum(1).mean()),
        ),
        ("log sign in log σ", {"LOG-SIGN"}, {"kl": lambda m, s: (half * (m**2 + (2 * s).exp() - 1) + s).sum(1).mean()}),
        (
            "log sign, raw σ",
            {"LOG-SIGN"},
            {
                "kl": lambda m, s: half * (m**2 + s**2 - 1 + torch.log(s**2)).sum(1).mean(),
                "sample": lambda m, s: m + s * torch.randn_like(m),
            },
        ),
        ("log missing", {"LOG-FACTOR"}, with_(kl=lambda m, s: half * (m**2 + s.exp() - 1).sum(1).mean())),
        (
            "log σ for log σ², σ head",
            {"LOG-FACTOR"},
            {
                "kl": lambda m, s: half * (m**2 + s**2 - 1 - torch.log(s.abs())).sum(1).mean(),
                "sample": lambda m, s: m + s * torch.randn_like(m),
            },
        ),
        ("log doubled", {"LOG-FACTOR"}, with_(kl=lambda m, s: half * (m**2 + s.exp() - 1 - 2 * s).sum(1).mean())),
        (
            "log squared, log-variance",
            {"LOG-SQUARED"},
            with_(kl=lambda m, s: half * (m**2 + s.exp() - 1 - s**2).sum(1).mean()),
        ),
        (
            "log squared, σ",
            {"LOG-SQUARED"},
            {
                "kl": lambda m, s: half * (m**2 + s**2 - 1 - torch.log(s**2) ** 2).sum(1).mean(),
                "sample": lambda m, s: m + s * torch.randn_like(m),
            },
        ),
        (
            "no half, numpy rows",
            {"HALF", "SCALE"},
            {"kl": lambda m, s: (m**2 + np.exp(s) - s - 1).sum(1), "sample": np_sample(lambda s: np.exp(s / 2))},
        ),
        (
            "half on one side",
            {"HALF", "LOG-FACTOR", "CONST"},
            with_(kl=lambda m, s: (half * (m**2 + s.exp()) - s - 1).sum(1).mean()),
        ),
        ("m not squared", {"MIXED", "HALF"}, with_(kl=lambda m, s: half * (m.abs() + s.exp() - s - 1).sum(1).mean())),
        ("m lost", {"KL-DEAD", "MIXED"}, with_(kl=lambda _m, s: half * (s.exp() - s - 1).sum(1).mean())),
        (
            "σ for σ²",
            {"MIXED", "LOG-FACTOR"},
            with_(kl=lambda m, s: half * (m**2 + (s / 2).exp() - s - 1).sum(1).mean()),
        ),
        ("σ² of raw, log of exp", {"MIXED"}, with_(kl=lambda m, s: half * (m**2 + s**2 - s - 1).sum(1).mean())),
        ("constant doubled", {"CONST"}, with_(kl=lambda m, s: half * (m**2 + s.exp() - s - 2).sum(1).mean())),
        (
            "constant outside the sum",
            {"CONST"},
            with_(kl=lambda m, s: half * (m**2 + s.exp() - s).sum(1).mean() - half),
        ),
        (
            "reverse KL",
            {"ARG-SWAP"},
            with_(kl=lambda m, s: kl_divergence(Normal(0.0, 1.0), Normal(m, (s / 2).exp())).sum(1).mean()),
        ),
        (
            "var as std, softplus",
            {"VAR-AS-STD"},
            {
                "kl": lambda m, s: half * (m**2 + F.softplus(s) - 1 - F.softplus(s).log()).sum(1).mean(),
                "sample": lambda m, s: m + F.softplus(s) * torch.randn_like(m),
            },
        ),
        (
            "var as std, numpy",
            {"VAR-AS-STD"},
            {"kl": lambda m, s: half * np.mean(np.sum(m**2 + np.exp(s) - s - 1, 1)), "sample": np_sample(np.exp)},
        ),
        (
            "var as std, positive head",
            {"VAR-AS-STD", "RAW-AS-STD"},
            {
                "kl": lambda m, v: half * (m**2 + v - 1 - v.log()).sum(1).mean(),
                "sample": lambda m, v: m + v * torch.randn_like(m),
            },
        ),
        (
            "raw beside log σ",
            {"RAW-AS-STD"},
            {"kl": lambda m, s: kl_lv(m, 2 * s).mean(), "sample": lambda m, s: m + s * torch.randn_like(m)},
        ),
        (
            "raw beside torch.distributions",
            {"RAW-AS-STD"},
            {
                "kl": lambda m, s: kl_divergence(Normal(m, (s / 2).exp()), Normal(0.0, 1.0)).sum(1).mean(),
                "sample": lambda m, s: torch.randn_like(m) * s + m,
            },
        ),
        (
            "softplus in one, exp in the other",
            {"MISMATCH"},
            {"kl": lambda m, s: kl_lv(m, s).mean(), "sample": lambda m, s: m + F.softplus(s) * torch.randn_like(m)},
        ),
        (
            "exp(s)/2",
            {"MISMATCH", "VAR-AS-STD", "EPS-SCALE"},
            with_(sample=lambda m, s: m + s.exp() / 2 * torch.randn_like(m)),
        ),
        (
            "square root of σ",
            {"MISMATCH"},
            {
                "kl": lambda m, s: kl_lv(m, 2 * s).mean(),
                "sample": lambda m, s: m + s.exp().sqrt() * torch.randn_like(m),
            },
        ),
        (
            "mc kl, mismatch",
            {"MISMATCH", "VAR-AS-STD"},
            {
                "kl": lambda m, s: (
                    (
                        Normal(m, (s / 2).exp()).log_prob(z := Normal(m, (s / 2).exp()).rsample())
                        - Normal(0.0, 1.0).log_prob(z)
                    )
                    .sum(1)
                    .mean()
                ),
                "sample": lambda m, s: m + s.exp() * torch.randn_like(m),
            },
        ),
        ("m scaled by σ", {"MISMATCH"}, with_(sample=lambda m, s: (m + torch.randn_like(m)) * (s / 2).exp())),
        ("mean over everything", {"KL-MEAN-L"}, {"kl": lambda m, s: half * torch.mean(m**2 + s.exp() - s - 1)}),
        (
            "keras mean over axis -1",
            {"KL-MEAN-L"},
            {
                "kl": lambda m, s: -half * np.mean(1 + s - m**2 - np.exp(s), axis=-1),
                "reconstruction": lambda x, p: -(x * np.log(p) + (1 - x) * np.log(1 - p)).sum(-1),
            },
        ),
        (
            "kl batch sum, per row mse",
            {"KL-BATCH-SUM"},
            with_(kl=lambda m, s: kl_lv(m, s).sum(), reconstruction=lambda x, o: ((x - o) ** 2).sum(1)),
        ),
        (
            "both batch sums except mean",
            {"SCALE"},
            with_(reconstruction=lambda x, o: F.binary_cross_entropy_with_logits(o, x, reduction="sum")),
        ),
        ("mean mse, rows", {"MEAN-SUM"}, with_(kl=kl_lv, reconstruction=lambda x, o: ((x - o) ** 2).mean(1))),
        (
            "mean gaussian nll",
            {"MEAN-SUM"},
            with_(reconstruction=lambda x, o: F.gaussian_nll_loss(o[0], x, o[1].exp(), full=True)),
        ),
        ("mean poisson", {"MEAN-SUM"}, with_(reconstruction=lambda x, o: F.poisson_nll_loss(o, x))),
        ("mean, data known", {"MEAN-SUM"}, with_(reconstruction=lambda x, o: F.mse_loss(o, x), data=z_rows())),
        ("β = 0.1 on bce", {"SCALE"}, with_(kl=lambda m, s: 0.1 * kl_lv(m, s).mean())),
        (
            "β = 5 on mse",
            {"SCALE"},
            with_(kl=lambda m, s: 5 * kl_lv(m, s).mean(), reconstruction=lambda x, o: ((x - o) ** 2).sum(1).mean()),
        ),
        ("reconstruction times 100", {"SCALE"}, with_(reconstruction=lambda x, o: 100 * bce(x, o))),
        ("divided by B twice", {"SCALE"}, with_(kl=lambda m, s: kl_lv(m, s).mean() / m.shape[0])),
        ("β in four", {"SCALE"}, {"loss": lambda x, o, m, s: bce(x, o) + 0.02 * kl_lv(m, s).mean()}),
        ("mean in four", {"MEAN-SUM"}, {"loss": lambda x, o, m, s: F.mse_loss(o, x) + kl_lv(m, s).mean()}),
        ("capped", {"KL-DEAD"}, with_(kl=lambda m, s: kl_lv(m, s).mean().clamp(max=5.0))),
        ("times zero", {"KL-DEAD"}, with_(kl=lambda m, s: 0.0 * kl_lv(m, s).mean())),
        ("no_grad", {"KL-DEAD"}, with_(kl=torch.no_grad()(lambda m, s: kl_lv(m, s).mean()))),
        ("no noise in numpy", {"NO-NOISE"}, {"sample": lambda m, _s: np.array(m)}),
        ("cached noise", {"EPS-FROZEN"}, with_(sample=cached)),
        ("reseeding", {"EPS-FROZEN"}, with_(sample=reseeding)),
        ("scalar noise", {"EPS-SHARED"}, with_(sample=lambda m, s: m + torch.randn(()).double() * (s / 2).exp())),
        (
            "numpy row noise",
            {"EPS-SHARED"},
            {"sample": lambda m, s: m + np.exp(s / 2) * np.random.randn(m.shape[0], 1)},
        ),
        ("temperature 0.5", {"EPS-SCALE"}, with_(sample=lambda m, s: m + 0.5 * torch.randn_like(m) * (s / 2).exp())),
        (
            "temperature, sampler alone",
            {"EPS-SCALE"},
            {"sample": lambda m, s: m + np.random.normal(0, 0.1, m.shape) * np.exp(s / 2)},
        ),
        (
            "centred uniform",
            {"NOISE-DIST"},
            with_(sample=lambda m, s: m + (torch.rand_like(m) - 0.5) * 12**0.5 * (s / 2).exp()),
        ),
        (
            "unit laplace",
            {"NOISE-DIST"},
            with_(sample=lambda m, s: m + Laplace(0.0, 0.5**0.5).sample(m.shape) * (s / 2).exp()),
        ),
        (
            "truncated",
            {"NOISE-DIST", "EPS-SCALE"},
            with_(sample=lambda m, s: m + torch.randn_like(m).clamp(-2, 2) * (s / 2).exp()),
        ),
        (
            "distributions uniform",
            {"NOISE-DIST"},
            with_(sample=lambda m, s: m + Uniform(-1.0, 1.0).sample(m.shape) * (s / 2).exp()),
        ),
        ("normal().sample()", {"NO-GRAD"}, with_(sample=lambda m, s: Normal(m, (s / 2).exp()).sample())),
        ("torch.normal", {"NO-GRAD"}, with_(sample=lambda m, s: torch.normal(m, (s / 2).exp()))),
        ("σ detached", {"NO-GRAD"}, with_(sample=lambda m, s: m + torch.randn_like(m) * (s / 2).exp().detach())),
        (
            "relu on log-variance",
            {"HEAD-ACT"},
            {
                "kl": lambda m, s: kl_lv(m, F.relu(s)).mean(),
                "sample": lambda m, s: rs(m, F.relu(s)),
                "reconstruction": bce,
            },
        ),
        (
            "tanh on log-variance",
            {"HEAD-ACT"},
            {"kl": lambda m, s: kl_lv(m, torch.tanh(s)).mean(), "sample": lambda m, s: rs(m, torch.tanh(s))},
        ),
        (
            "autoencodix: clamp above 0",
            {"HEAD-ACT"},
            {"kl": lambda m, s: kl_lv(m, s.clamp(0.01, 20)).mean(), "sample": lambda m, s: rs(m, s.clamp(0.01, 20))},
        ),
        ("softplus log-variance, kl alone", {"HEAD-ACT"}, {"kl": lambda m, s: kl_lv(m, F.softplus(s)).mean()}),
        ("sigmoid mean", {"HEAD-ACT"}, with_(sample=lambda m, s: rs(torch.sigmoid(m), s))),
        ("negative means erased", {"HEAD-ACT"}, with_(sample=lambda m, s: rs(torch.where(m < 1e-7, 0.0 * m, m), s))),
        (
            "sigmoid on z-scores",
            {"OUT-ACT"},
            with_(reconstruction=lambda x, o: ((x - torch.sigmoid(o)) ** 2).sum(1).mean(), data=z_rows()),
        ),
        (
            "tanh on counts",
            {"OUT-ACT"},
            with_(
                reconstruction=lambda x, o: 0.5 * ((x - torch.tanh(o)) ** 2).sum(1).mean(), data=np.abs(3 * z_rows())
            ),
        ),
        ("bce on 0-255", {"BCE-RANGE"}, with_(data=255 * np.abs(z_rows()))),
        (
            "probabilities on z-scores",
            {"BCE-RANGE"},
            with_(reconstruction=lambda x, p: F.binary_cross_entropy(p, x, reduction="sum") / len(x), data=z_rows()),
        ),
        (
            "numpy bce on z-scores",
            {"BCE-RANGE"},
            {
                "reconstruction": lambda x, p: -(x * np.log(p + 1e-9) + (1 - x) * np.log(1 - p + 1e-9)).sum(1).mean(),
                "data": z_rows(),
            },
        ),
        ("softmax twice", {"DOUBLE-SIGMOID"}, with_(reconstruction=lambda x, o: F.cross_entropy(F.softmax(o, 1), x))),
        (
            "sigmoid twice then bce",
            {"DOUBLE-SIGMOID"},
            with_(
                reconstruction=lambda x, o: F.binary_cross_entropy(o.sigmoid().sigmoid(), x, reduction="sum") / len(x)
            ),
        ),
        (
            "swapped probabilities",
            {"ARG-SWAP"},
            with_(reconstruction=lambda x, p: F.binary_cross_entropy(x, p, reduction="none").sum(1).mean()),
        ),
        (
            "swapped numpy",
            {"ARG-SWAP"},
            {"reconstruction": lambda x, p: -(p * np.log(x + 1e-7) + (1 - p) * np.log(1 - x + 1e-7)).sum(1).mean()},
        ),
        (
            "swapped poisson",
            {"ARG-SWAP"},
            with_(reconstruction=lambda x, o: F.poisson_nll_loss(x, o, reduction="none").sum(1).mean()),
        ),
        (
            "σ without log, concat",
            {"UNNORMALISED"},
            with_(
                reconstruction=lambda x, o: (
                    (0.5 * (x - o.chunk(2, 1)[0]) ** 2 / F.softplus(o.chunk(2, 1)[1]) ** 2).sum(1).mean()
                )
            ),
        ),
        (
            "log σ² for log σ",
            {"UNNORMALISED", "LOG-FACTOR", "SCALE"},
            with_(reconstruction=lambda x, o: (0.5 * (x - o[0]) ** 2 / o[1].exp() + o[1]).sum(1).mean()),
        ),
        (
            "log with wrong sign",
            {"UNNORMALISED"},
            with_(reconstruction=lambda x, o: 0.5 * ((x - o[0]) ** 2 / o[1].exp() - o[1]).sum(1).mean()),
        ),
        (
            "focal",
            {"UNNORMALISED"},
            with_(
                reconstruction=lambda x, o: (
                    (
                        (1 - torch.exp(-F.binary_cross_entropy_with_logits(o, x, reduction="none"))) ** 2
                        * F.binary_cross_entropy_with_logits(o, x, reduction="none")
                    )
                    .sum(1)
                    .mean()
                )
            ),
        ),
        (
            "pos_weight",
            {"UNNORMALISED"},
            with_(
                reconstruction=lambda x, o: (
                    F.binary_cross_entropy_with_logits(o, x, pos_weight=torch.tensor(3.0), reduction="sum") / len(x)
                )
            ),
        ),
        (
            "relative error",
            {"UNNORMALISED"},
            with_(reconstruction=lambda x, o: (((x - o) / (o.abs() + 0.1)) ** 2).sum(1).mean()),
        ),
        (
            "bce plus mse",
            {"UNNORMALISED"},
            with_(reconstruction=lambda x, o: bce(x, o) + ((x - torch.sigmoid(o)) ** 2).sum(1).mean()),
        ),
        ("grey levels", {"UNNORMALISED"}, with_(data=np.random.default_rng(0).random((50, 13)))),
        (
            "continuous bernoulli without its constant, grey",
            {"UNNORMALISED"},
            with_(
                reconstruction=lambda x, p: -(x * p.log() + (1 - x) * (1 - p).log()).sum(1).mean(),
                data=np.random.default_rng(0).random((50, 13)),
            ),
        ),
        (
            "counts for a z-score",
            {"SUPPORT"},
            with_(reconstruction=lambda x, o: F.poisson_nll_loss(o, x, reduction="none").sum(1).mean(), data=z_rows()),
        ),
        (
            "overflow at 40",
            {"OVERFLOW"},
            with_(kl=lambda m, s: half * (m**2 + s.exp() - 1 - torch.log(s.exp() ** 20) / 20).sum(1).mean()),
        ),
        ("nan gradient", {"OVERFLOW"}, with_(kl=lambda m, s: (kl_lv(m, s) + 0 * torch.sqrt((s - s).sum(1))).mean())),
        (
            "negative binomial without its constant",
            {"UNNORMALISED"},
            with_(
                reconstruction=lambda x, o: (
                    (
                        -NegativeBinomial(o[0].exp(), logits=o[1], validate_args=False).log_prob(x)
                        + torch.lgamma(x + o[0].exp())
                        - torch.lgamma(o[0].exp())
                    )
                    .sum(1)
                    .mean()
                )
            ),
        ),
    ]
