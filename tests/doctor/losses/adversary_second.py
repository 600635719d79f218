"""A second set of losses, right and wrong, written after the first had been answered."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch.distributions import (
    Binomial,
    Cauchy,
    ContinuousBernoulli,
    Geometric,
    MultivariateNormal,
    Normal,
    StudentT,
    VonMises,
    kl_divergence,
)

from vae_lightning.doctor.losses.cases.wrong import bce
from vae_lightning.doctor.losses.cases.wrong import log_var_kl as kl
from vae_lightning.doctor.losses.cases.wrong import log_var_sample as rs

RNG = np.random.default_rng(3)


STD = {"kl": kl, "sample": rs, "reconstruction": bce}


def with_(**parts):
    return {**STD, **parts}


def dlogistic(x, o):
    s = 0.1
    h = 1 / 255
    c = x - o
    plus = torch.sigmoid((c + h / 2) / s)
    minus = torch.sigmoid((c - h / 2) / s)
    lp = torch.where(
        x < 0.001,
        torch.log(plus.clamp(min=1e-12)),
        torch.where(x > 0.999, torch.log((1 - minus).clamp(min=1e-12)), torch.log((plus - minus).clamp(min=1e-12))),
    )
    return -lp.sum(1).mean()


SIG = torch.linspace(0.3, 2, 13, dtype=torch.float64)
rows13 = RNG.normal(size=(60, 13))


def zip_(x, o):
    pi = torch.sigmoid(o[0])
    lam = o[1].exp()
    pois = torch.exp(-lam + x * o[1] - torch.lgamma(x + 1))
    return -torch.log(torch.where(x == 0, pi + (1 - pi) * pois, (1 - pi) * pois)).sum(1).mean()


RIGHT = {
    "np clip": {
        "kl": lambda m, s: 0.5 * (m**2 + np.exp(s) - s - 1).sum(1),
        "sample": lambda m, s: m + np.exp(0.5 * s) * RNG.normal(size=m.shape),
        "reconstruction": lambda x, p: (
            -(x * np.log(np.clip(p, 1e-7, 1 - 1e-7)) + (1 - x) * np.log(1 - np.clip(p, 1e-7, 1 - 1e-7))).sum(1)
        ),
    },
    "clamp20": with_(kl=lambda m, s: kl(m, s.clamp(-20, 20)), sample=lambda m, s: rs(m, s.clamp(-20, 20))),
    "entropies": with_(
        kl=lambda m, s: (
            (0.5 * (math.log(2 * math.pi) + m**2 + s.exp()) - 0.5 * (1 + math.log(2 * math.pi) + s)).sum(1).mean()
        )
    ),
    "softplus var eps": with_(
        kl=lambda m, s: 0.5 * (m**2 + F.softplus(s) + 1e-5 - 1 - torch.log(F.softplus(s) + 1e-5)).sum(1).mean(),
        sample=lambda m, s: m + torch.sqrt(F.softplus(s) + 1e-5) * torch.randn_like(m),
    ),
    "eps.mul.add": with_(sample=lambda m, s: torch.randn_like(s).mul(torch.exp(0.5 * s)).add_(m)),
    "mvn sample": with_(
        sample=lambda m, s: MultivariateNormal(m, scale_tril=torch.diag_embed((s / 2).exp())).rsample()
    ),
    "dist squared": with_(kl=lambda m, s: kl(m, s), reconstruction=lambda x, o: torch.dist(x, o) ** 2 / len(x)),
    "gnll const": with_(
        reconstruction=lambda x, o: F.gaussian_nll_loss(o, x, torch.ones_like(x), reduction="none").sum(1).mean()
    ),
    "logistic": with_(reconstruction=lambda x, o: (-(x - o) / 0.3 + 2 * F.softplus((x - o) / 0.3)).sum(1).mean()),
    "dlogistic": with_(reconstruction=dlogistic),
    "binomial": with_(reconstruction=lambda x, o: -Binomial(10, logits=o).log_prob(x).sum(1).mean()),
    "zip": with_(reconstruction=zip_),
    "vonmises": with_(
        reconstruction=lambda x, o: -VonMises(o, torch.tensor(2.0, dtype=torch.float64)).log_prob(x).sum(1).mean()
    ),
    "vonmises kappa": with_(reconstruction=lambda x, o: -VonMises(o[0], o[1].exp()).log_prob(x).sum(1).mean()),
    "per column sigma": with_(reconstruction=lambda x, o: -Normal(o, SIG).log_prob(x).sum(1).mean(), data=rows13),
    "fourth power": with_(reconstruction=lambda x, o: ((x - o) ** 4).sum(1).mean()),
    "cauchy": with_(reconstruction=lambda x, o: torch.log1p((x - o) ** 2).sum(1).mean()),
    "gaussian 3 heads mixture": with_(
        reconstruction=lambda x, o: (
            -torch.log(
                torch.sigmoid(o[2]) * Normal(o[0], 1.0).log_prob(x).exp()
                + (1 - torch.sigmoid(o[2])) * Normal(o[1], 2.0).log_prob(x).exp()
                + 1e-300
            )
            .sum(1)
            .mean()
        )
    ),
    "gaussian geometric": with_(reconstruction=lambda x, o: -Geometric(logits=o).log_prob(x).sum(1).mean()),
    "kl keepdim": with_(
        kl=lambda m, s: 0.5 * (m**2 + s.exp() - s - 1).sum(1, keepdim=True),
        reconstruction=lambda x, o: ((x - o) ** 2).sum(1, keepdim=True),
    ),
    "kl per latent mean rows": {"kl": lambda m, s: 0.5 * (m**2 + s.exp() - s - 1).mean(0), "sample": rs},
    "rec per column": with_(
        kl=lambda m, s: 0.5 * (m**2 + s.exp() - s - 1).mean(0), reconstruction=lambda x, o: ((x - o) ** 2).mean(0)
    ),
    "capacity gamma 10": with_(kl=lambda m, s: 10 * (kl(m, s) - 5).abs(), beta=10.0),
    "tanh mean output in [-1,1]": with_(
        reconstruction=lambda x, o: ((x - torch.tanh(o)) ** 2).sum(1).mean(), data=np.tanh(rows13)
    ),
    "relu output positive data": with_(
        reconstruction=lambda x, o: ((x - F.relu(o)) ** 2).sum(1).mean(), data=np.abs(rows13)
    ),
    "exp minus s": {
        "kl": lambda m, s: 0.5 * (m**2 + torch.exp(-2 * s) - 1 + 2 * s).sum(1).mean(),
        "sample": lambda m, s: m + torch.exp(-s) * torch.randn_like(m),
    },
    "float(): scalar": {
        "kl": lambda m, s: float(0.5 * np.sum(np.asarray(m) ** 2 + np.exp(np.asarray(s)) - np.asarray(s) - 1))
    },
    "masked mean by count": with_(
        kl=lambda m, s: kl(m, s) / 1, reconstruction=lambda x, o: F.mse_loss(o, x) * x.shape[-1] / 2
    ),
    "normal log_prob elements": with_(
        kl=lambda m, s: kl_divergence(Normal(m, (s / 2).exp()), Normal(torch.zeros_like(m), torch.ones_like(m))),
        reconstruction=lambda x, o: -Normal(o, 1.0).log_prob(x),
    ),
    "logvar scaled head": {"kl": lambda m, s: kl(m, s - 3), "sample": lambda m, s: rs(m, s - 3)},
    "sigma floor": {
        "kl": lambda m, s: (0.5 * (m**2 + (s.exp() + 0.01) ** 2 - 1) - torch.log(s.exp() + 0.01)).sum(1).mean(),
        "sample": lambda m, s: m + (s.exp() + 0.01) * torch.randn_like(m),
    },
    "double negative": with_(kl=lambda m, s: -(0.5 * (1 + s - m**2 - s.exp())).sum(1).mean()),
    "iwae style normal": {
        "loss": lambda x, o, m, s: F.mse_loss(o, x, reduction="none").sum(1) + 0.5 * (m**2 + s.exp() - s - 1).sum(1)
    },
    "gaussian concat four": {
        "loss": lambda x, o, m, s: (
            -Normal(o.chunk(2, 1)[0], (o.chunk(2, 1)[1] / 2).exp()).log_prob(x).sum(1)
            + 0.5 * (m**2 + s.exp() - s - 1).sum(1)
        ).mean()
    },
    "mc kl, std rows": with_(
        kl=lambda m, s: (lambda z: (Normal(m, (s / 2).exp()).log_prob(z) - Normal(0.0, 1.0).log_prob(z)).sum(1))(
            rs(m, s)
        )
    ),
    "class stack": with_(
        reconstruction=lambda x, o: F.cross_entropy(o.reshape(-1, o.shape[-1]), x.reshape(-1), reduction="sum") / len(x)
    ),
    "nll of log-probabilities": with_(reconstruction=lambda x, o: F.nll_loss(o, x)),
    "mse 255": with_(reconstruction=lambda x, o: 0.5 * ((x - o) ** 2 / (0.05**2)).sum((1,)).mean()),
}
h = 0.5
WRONG = [
    ("sum0 mean", {"KL-BATCH-SUM", "KL-MEAN-L"}, with_(kl=lambda m, s: h * (m**2 + s.exp() - s - 1).sum(0).mean())),
    ("const +1", {"CONST"}, with_(kl=lambda m, s: h * (m**2 + s.exp() - s + 1).sum(1).mean())),
    ("m sign", {"SIGN-FLIP"}, with_(kl=lambda m, s: -h * (1 + s + m**2 - s.exp()).sum(1).mean())),
    ("e^s sign", {"SIGN-FLIP"}, with_(kl=lambda m, s: -h * (1 + s - m**2 + s.exp()).sum(1).mean())),
    ("e^-s", {"LOG-SIGN", "MIXED"}, with_(kl=lambda m, s: h * (m**2 + torch.exp(-s) - s - 1).sum(1).mean())),
    ("m2 over var", {"MIXED", "ARG-SWAP"}, with_(kl=lambda m, s: h * (m**2 / s.exp() + s.exp() - s - 1).sum(1).mean())),
    (
        "precedence: half inside",
        {"HALF", "LOG-FACTOR", "CONST"},
        with_(kl=lambda m, s: (h * m**2 + s.exp() - s - 1).sum(1).mean()),
    ),
    (
        "softplus var as std",
        {"VAR-AS-STD"},
        {
            "kl": lambda m, s: h * (m**2 + F.softplus(s) - torch.log(F.softplus(s)) - 1).sum(1).mean(),
            "sample": lambda m, s: m + torch.randn_like(m) * F.softplus(s),
        },
    ),
    ("inverse sigma", {"MISMATCH"}, with_(sample=lambda m, s: m + torch.exp(-s / 2) * torch.randn_like(m))),
    ("sigma^2 const", {"MISMATCH"}, with_(sample=lambda m, s: m + torch.randn_like(m) + 0 * s)),
    ("half normal", {"NOISE-DIST"}, with_(sample=lambda m, s: m + (s / 2).exp() * torch.randn_like(m).abs())),
    ("rademacher", {"NOISE-DIST"}, with_(sample=lambda m, s: m + (s / 2).exp() * torch.randn_like(m).sign())),
    ("cauchy noise", {"NOISE-DIST"}, with_(sample=lambda m, s: m + (s / 2).exp() * Cauchy(0.0, 1.0).sample(m.shape))),
    ("twice", {"EPS-SCALE"}, with_(sample=lambda m, s: rs(rs(m, s), s))),
    (
        "vector noise",
        {"EPS-SHARED"},
        with_(sample=lambda m, s: m + (s / 2).exp() * torch.randn(m.shape[-1], dtype=m.dtype)),
    ),
    (
        "repeat noise",
        {"EPS-SHARED"},
        with_(sample=lambda m, s: m + (s / 2).exp() * torch.randn(1, m.shape[1], dtype=m.dtype).repeat(len(m), 1)),
    ),
    ("m detached", {"NO-GRAD"}, with_(sample=lambda m, s: rs(m.detach(), s))),
    ("softplus m", {"HEAD-ACT"}, with_(sample=lambda m, s: rs(F.softplus(m), s))),
    ("clamped m", {"HEAD-ACT"}, with_(sample=lambda m, s: rs(m.clamp(-1, 1), s))),
    (
        "exp sigmoid",
        {"HEAD-ACT"},
        with_(kl=lambda m, s: kl(m, torch.sigmoid(s)), sample=lambda m, s: rs(m, torch.sigmoid(s))),
    ),
    (
        "relu std",
        {"MISMATCH", "HEAD-ACT", "NOT-FINITE", "RAW-AS-STD"},
        with_(sample=lambda m, s: m + F.relu(s) * torch.randn_like(m)),
    ),
    (
        "double sigmoid mse data",
        {"OUT-ACT"},
        with_(reconstruction=lambda x, o: ((x - o.sigmoid().sigmoid()) ** 2).sum(1).mean(), data=(rows13 > 0) * 1.0),
    ),
    ("unsquared", {"UNNORMALISED"}, with_(reconstruction=lambda x, o: (x - o).sum(1).mean())),
    ("cubed", {"UNNORMALISED"}, with_(reconstruction=lambda x, o: ((x - o) ** 3).sum(1).mean())),
    ("half bce", {"UNNORMALISED"}, with_(reconstruction=lambda x, o: -(x * torch.log(o.sigmoid())).sum(1).mean())),
    (
        "bce minus",
        {"UNNORMALISED"},
        with_(reconstruction=lambda x, p: -(x * torch.log(p) - (1 - x) * torch.log(1 - p)).sum(1).mean()),
    ),
    (
        "sigma for var",
        {"UNNORMALISED"},
        with_(reconstruction=lambda x, o: h * (o[1] + (x - o[0]) ** 2 / (o[1] / 2).exp()).sum(1).mean()),
    ),
    (
        "laplace log b2",
        {"UNNORMALISED", "SCALE"},
        with_(reconstruction=lambda x, o: ((x - o[0]).abs() / o[1].exp() + 2 * o[1]).sum(1).mean()),
    ),
    ("poisson rate x", {"UNNORMALISED"}, with_(reconstruction=lambda x, o: (o.exp() - x * o.exp()).sum(1).mean())),
    ("nll of probs", {"UNNORMALISED"}, with_(reconstruction=lambda x, o: F.nll_loss(F.softmax(o, 1), x))),
    ("16/224", {"SCALE"}, with_(kl=lambda m, s: kl(m, s) * 16 / 224)),
    ("kl/L bce sum", {"KL-MEAN-L"}, with_(kl=lambda m, s: kl(m, s) / m.shape[1])),
    (
        "rec/D and kl sum numpy",
        {"MEAN-SUM"},
        {
            "kl": lambda m, s: h * np.sum(m**2 + np.exp(s) - s - 1, 1),
            "reconstruction": lambda x, o: np.mean((x - o) ** 2, axis=1),
        },
    ),
    (
        "rec mean D gauss heads sum rows",
        {"MEAN-SUM"},
        with_(
            reconstruction=lambda x, o: (-Normal(o[0], o[1].exp()).log_prob(x)).mean(1).sum(),
            kl=lambda m, s: kl(m, s) * len(m),
        ),
    ),
    ("four flipped whole rec", {"SIGN-FLIP"}, {"loss": lambda x, o, m, s: -bce(x, o) + kl(m, s)}),
    (
        "four log sign",
        {"LOG-SIGN"},
        {"loss": lambda x, o, m, s: bce(x, o) + h * (m**2 + s.exp() + s - 1).sum(1).mean()},
    ),
    (
        "four raw",
        {"RAW-AS-STD"},
        {"loss": lambda x, o, m, s: bce(x, o) + kl(m, s), "sample": lambda m, s: m + s * torch.randn_like(m)},
    ),
    ("four batch", {"KL-BATCH-SUM"}, {"loss": lambda x, o, m, s: bce(x, o) + kl(m, s) * len(m)}),
    ("item()", {"KL-DEAD"}, with_(kl=lambda m, s: torch.tensor(kl(m, s).item()))),
    ("kl data", {"KL-DEAD"}, with_(kl=lambda m, s: kl(m.data, s))),
    (
        "log10",
        {"LOG-FACTOR"},
        {
            "kl": lambda m, s: h * (m**2 + s**2 - 1 - 2 * torch.log10(s.abs())).sum(1).mean(),
            "sample": lambda m, s: m + s * torch.randn_like(m),
        },
    ),
    (
        "log2 of var",
        {"LOG-FACTOR"},
        {
            "kl": lambda m, v: h * (m**2 + v - 1 - torch.log2(v)).sum(1).mean(),
            "sample": lambda m, v: m + v.sqrt() * torch.randn_like(m),
        },
    ),
    (
        "log1p var",
        {"LOG-FACTOR", "MIXED", "MISMATCH"},
        {
            "kl": lambda m, v: h * (m**2 + v - 1 - torch.log1p(v)).sum(1).mean(),
            "sample": lambda m, v: m + v.sqrt() * torch.randn_like(m),
        },
    ),
    (
        "var squared",
        {"MIXED", "MISMATCH"},
        {
            "kl": lambda m, s: h * (m**2 + s**4 - 1 - torch.log(s**2)).sum(1).mean(),
            "sample": lambda m, s: m + s * torch.randn_like(m),
        },
    ),
    (
        "prior var 1 in one term",
        {"HALF", "MIXED"},
        with_(kl=lambda m, s: h * (m**2 / 4 + s.exp() - s - 1).sum(1).mean()),
    ),
    ("bce 1/B twice", {"SCALE"}, with_(reconstruction=lambda x, o: bce(x, o) / len(x))),
    ("mse/2D", {"MEAN-SUM"}, with_(reconstruction=lambda x, o: 0.5 * F.mse_loss(o, x))),
    ("l1 mean", {"MEAN-SUM"}, with_(reconstruction=lambda x, o: F.l1_loss(o, x))),
    ("student mean", {"MEAN-SUM"}, with_(reconstruction=lambda x, o: -StudentT(4.0, o, 1.0).log_prob(x).mean())),
    (
        "cat x2",
        {"SCALE", "HALF"},
        with_(kl=lambda m, s: 3 * kl(m, s), reconstruction=lambda x, o: F.cross_entropy(o, x)),
    ),
    (
        "overflow exp exp sampler",
        {"OVERFLOW", "MISMATCH"},
        with_(sample=lambda m, s: m + torch.randn_like(m) * torch.exp(s.exp())),
    ),
    ("bce on ints", {"BCE-RANGE"}, with_(data=RNG.poisson(3, (50, 13)))),
    (
        "cb outside",
        {"BCE-RANGE"},
        with_(
            reconstruction=lambda x, o: -ContinuousBernoulli(logits=o, validate_args=False).log_prob(x).sum(1).mean(),
            data=rows13,
        ),
    ),
    ("tanh + bce logits?", {"OUT-ACT"}, with_(reconstruction=lambda x, o: bce(x, torch.tanh(o)))),
]
