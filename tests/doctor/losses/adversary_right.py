"""Correct losses written to provoke a false alarm: other styles, other parameterisations, other conventions."""

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch.distributions import (
    Bernoulli,
    Beta,
    Categorical,
    ContinuousBernoulli,
    Exponential,
    Gamma,
    Independent,
    Laplace,
    LogNormal,
    NegativeBinomial,
    Normal,
    Poisson,
    StudentT,
    kl_divergence,
)

from vae_lightning.doctor.losses.cases.wrong import log_var_sample as rs

RNG = np.random.default_rng(11)


def kl_lv(m, s):
    return -0.5 * torch.sum(1 + s - m.pow(2) - s.exp(), dim=-1)


def bce(x, o):
    return F.binary_cross_entropy_with_logits(o, x, reduction="sum") / x.shape[0]


def free_bits(m, s):
    per = 0.5 * (m**2 + s.exp() - s - 1)
    return torch.clamp(per, min=0.25).sum(1).mean()


def free_bits_row(m, s):
    return torch.clamp(0.5 * (m**2 + s.exp() - s - 1).sum(1), min=2.0).mean()


def capacity(m, s):
    return (kl_lv(m, s).mean() - 4.0).abs()


def mc_kl_np(m, s):
    eps = RNG.standard_normal(m.shape)
    z = m + np.exp(s / 2) * eps
    lq = -0.5 * (np.log(2 * np.pi) + s + eps**2)
    lp = -0.5 * (np.log(2 * np.pi) + z**2)
    return (lq - lp).sum(1).mean()


def mc_kl_torch(m, s):
    sd = F.softplus(s) + 1e-4
    q, p = Normal(m, sd), Normal(0.0, 1.0)
    z = q.rsample((5,))
    return (q.log_prob(z) - p.log_prob(z)).sum(-1).mean()


def squash(s):
    return 6 * torch.tanh(s / 6)


def antithetic(m, s):
    half = torch.randn((m.shape[0] + 1) // 2, m.shape[1], dtype=m.dtype)
    eps = torch.cat([half, -half])[: m.shape[0]]
    return m + eps * (0.5 * s).exp()


def glv_tuple(x, o):
    mu, lv = o
    return F.gaussian_nll_loss(mu, x, lv.exp(), full=True, reduction="none").sum(1).mean()


def glv_concat_bounded(x, o):
    mu, raw = o.chunk(2, 1)
    lv = -4 + F.softplus(raw + 4)
    return 0.5 * (lv + (x - mu) ** 2 / lv.exp()).sum(1)


def glv_stack_softplus(x, o):
    mu, sd = o[..., 0], F.softplus(o[..., 1]) + 1e-3
    return -Normal(mu, sd).log_prob(x).sum(-1).mean()


def glv_precision(x, o):
    mu, lp = o
    return 0.5 * ((x - mu) ** 2 * lp.exp() - lp + math.log(2 * math.pi)).sum(1).sum()


def laplace_learned(x, o):
    mu, lb = o.chunk(2, -1)
    return -Laplace(mu, lb.exp()).log_prob(x).sum(-1).mean()


def categorical_logits(x, o):
    return F.cross_entropy(o, x)


def onehot(x, o):
    return -(x * F.log_softmax(o, -1)).sum(-1).mean()


def onehot_np(x, o):
    z = o - o.max(1, keepdims=True)
    return -np.sum(x * (z - np.log(np.exp(z).sum(1, keepdims=True))), axis=1).mean()


def class_columns(x, o):
    return F.cross_entropy(o, x, reduction="none").sum(1).mean()


def sig_mse(x, o):
    return F.mse_loss(torch.sigmoid(o), x, reduction="none").sum(1).mean()


def np_kl_elem(m, s):
    return 0.5 * (np.square(m) + np.exp(2 * s) - 1.0) - s


def np_samp(m, s):
    return m + np.exp(s) * RNG.normal(size=m.shape)


def binary_rows():
    return (np.random.default_rng(0).random((80, 13)) > 0.6).astype(float)


def gauss_rows():
    return np.random.default_rng(0).normal(size=(80, 13))


def kl_precision(m, s):
    # s = log precision
    return 0.5 * (m**2 + torch.exp(-s) + s - 1).sum(1).mean()


def elu1(s):
    return F.elu(s) + 1 + 1e-6


def kl_sd(m, sd):
    return (0.5 * (m * m + sd * sd) - sd.log() - 0.5).sum(1).mean()


def right() -> dict[str, dict[str, Any]]:
    c: dict[str, dict[str, Any]] = {}
    std = {"kl": lambda m, s: kl_lv(m, s).mean(), "sample": rs}
    c["plain bce"] = {**std, "reconstruction": bce}
    c["bce data"] = {**std, "reconstruction": bce, "data": binary_rows()}
    c["free bits"] = {**std, "kl": free_bits, "reconstruction": bce}
    c["free bits row"] = {**std, "kl": free_bits_row, "reconstruction": bce}
    c["capacity"] = {**std, "kl": capacity, "reconstruction": bce}
    c["mc numpy own generator"] = {
        "kl": mc_kl_np,
        "sample": lambda m, s: m + np.exp(s / 2) * RNG.standard_normal(m.shape),
    }
    c["mc torch softplus"] = {
        "kl": mc_kl_torch,
        "sample": lambda m, s: Normal(m, F.softplus(s) + 1e-4).rsample(),
        "reconstruction": bce,
    }
    c["squash"] = {
        "kl": lambda m, s: kl_lv(m, squash(s)).mean(),
        "sample": lambda m, s: rs(m, squash(s)),
        "reconstruction": bce,
    }
    c["squash kl only"] = {"kl": lambda m, s: kl_lv(m, squash(s)).mean()}
    c["antithetic"] = {**std, "sample": antithetic}
    c["glv tuple"] = {**std, "reconstruction": glv_tuple}
    c["glv bounded rows"] = {"kl": kl_lv, "sample": rs, "reconstruction": glv_concat_bounded}
    c["glv stack softplus"] = {**std, "reconstruction": glv_stack_softplus, "data": gauss_rows()}
    c["glv precision sums"] = {"kl": lambda m, s: kl_lv(m, s).sum(), "sample": rs, "reconstruction": glv_precision}
    c["laplace learned"] = {**std, "reconstruction": laplace_learned}
    c["categorical"] = {**std, "reconstruction": categorical_logits}
    c["one-hot"] = {**std, "reconstruction": onehot}
    c["one-hot numpy"] = {
        "kl": lambda m, s: np_kl_elem(m, s).sum(1).mean(),
        "sample": np_samp,
        "reconstruction": onehot_np,
    }
    c["class columns"] = {**std, "reconstruction": class_columns}
    c["sigmoid mse"] = {**std, "reconstruction": sig_mse}
    c["sigmoid mse on [0,1]"] = {**std, "reconstruction": sig_mse, "data": 1 / (1 + np.exp(-gauss_rows()))}
    c["numpy elements"] = {"kl": np_kl_elem, "sample": np_samp, "reconstruction": lambda x, o: (x - o) ** 2}
    c["log precision"] = {
        "kl": kl_precision,
        "sample": lambda m, s: m + torch.exp(-0.5 * s) * torch.randn_like(m),
        "reconstruction": bce,
    }
    c["elu + 1"] = {
        "kl": lambda m, s: kl_sd(m, elu1(s)),
        "sample": lambda m, s: m + elu1(s) * torch.randn_like(m),
        "reconstruction": bce,
    }
    c["softplus + eps"] = {
        "kl": lambda m, s: kl_sd(m, F.softplus(s) + 0.01),
        "sample": lambda m, s: m + (F.softplus(s) + 0.01) * torch.randn_like(m),
    }
    c["softplus shifted"] = {
        "kl": lambda m, s: kl_sd(m, F.softplus(s + 0.5413)),
        "sample": lambda m, s: m + F.softplus(s + 0.5413) * torch.randn_like(m),
    }
    c["softplus shifted, sampler alone"] = {"sample": lambda m, s: m + F.softplus(s + 0.5413) * torch.randn_like(m)}
    c["sigmoid doubled"] = {
        "kl": lambda m, s: kl_sd(m, 2 * torch.sigmoid(s)),
        "sample": lambda m, s: m + 2 * torch.sigmoid(s) * torch.randn_like(m),
    }
    c["clamped log-variance"] = {
        "kl": lambda m, s: kl_lv(m, s.clamp(-6, 2)).mean(),
        "sample": lambda m, s: rs(m, s.clamp(-6, 2)),
        "reconstruction": bce,
    }
    c["clamped, kl only"] = {"kl": lambda m, s: kl_lv(m, s.clamp(-3, 2)).mean()}
    c["hard clamp in sampler only"] = {**std, "sample": lambda m, s: rs(m, s.clamp(-10, 10)), "reconstruction": bce}
    c["torch.distributions"] = {
        "kl": lambda m, s: kl_divergence(
            Independent(Normal(m, s.exp()), 1), Independent(Normal(torch.zeros_like(m), torch.ones_like(m)), 1)
        ).mean(),
        "sample": lambda m, s: Normal(m, s.exp()).rsample(),
        "reconstruction": lambda x, o: -Independent(Bernoulli(logits=o), 1).log_prob(x).mean(),
    }
    c["sigma, refuses negative"] = {
        "kl": lambda m, s: kl_divergence(Normal(m, s), Normal(0.0, 1.0)).sum(1).mean(),
        "sample": lambda m, s: Normal(m, s).rsample(),
        "reconstruction": lambda x, p: -Bernoulli(probs=p).log_prob(x).sum(1).mean(),
    }
    c["variance"] = {
        "kl": lambda m, v: 0.5 * (m**2 + v - 1 - torch.log(v)).sum(1).mean(),
        "sample": lambda m, v: m + v.sqrt() * torch.randn_like(m),
    }
    c["old keras: D times mean"] = {
        **std,
        "reconstruction": lambda x, o: 784 * F.binary_cross_entropy_with_logits(o, x),
    }
    c["D times mean, data known"] = {
        **std,
        "reconstruction": lambda x, o: 13 * F.binary_cross_entropy_with_logits(o, x),
        "data": binary_rows(),
    }
    c["shape times mean"] = {
        **std,
        "reconstruction": lambda x, o: x.shape[1] * F.binary_cross_entropy_with_logits(o, x),
    }
    c["kl over 784"] = {
        "kl": lambda m, s: kl_lv(m, s).mean() / 784,
        "sample": rs,
        "reconstruction": lambda x, o: F.binary_cross_entropy_with_logits(o, x),
    }
    c["fixed sigma 0.1"] = {**std, "reconstruction": lambda x, o: (0.5 * ((x - o) / 0.1) ** 2).sum(1).mean()}
    c["fixed sigma, normalised"] = {**std, "reconstruction": lambda x, o: -Normal(o, 0.3).log_prob(x).sum(1).mean()}
    c["huber"] = {**std, "reconstruction": lambda x, o: F.smooth_l1_loss(o, x, reduction="none").sum(1).mean()}
    c["l1"] = {**std, "reconstruction": lambda x, o: F.l1_loss(o, x, reduction="sum") / len(x)}
    c["log cosh"] = {**std, "reconstruction": lambda x, o: torch.log(torch.cosh(x - o)).sum(1).mean()}
    c["student"] = {**std, "reconstruction": lambda x, o: -StudentT(4.0, o, 0.5).log_prob(x).sum(1).mean()}
    c["student learned"] = {
        **std,
        "reconstruction": lambda x, o: -StudentT(4.0, o[0], o[1].exp()).log_prob(x).sum(1).mean(),
    }
    c["pinball"] = {**std, "reconstruction": lambda x, o: torch.maximum(0.3 * (x - o), -0.7 * (x - o)).sum(1).mean()}
    c["poisson log rate"] = {
        **std,
        "reconstruction": lambda x, o: F.poisson_nll_loss(o, x, log_input=True, reduction="none").sum(1).mean(),
    }
    c["poisson full"] = {
        **std,
        "reconstruction": lambda x, o: (
            F.poisson_nll_loss(o, x, log_input=True, full=True, reduction="none").sum(1).mean()
        ),
    }
    c["poisson softplus"] = {**std, "reconstruction": lambda x, o: -Poisson(F.softplus(o)).log_prob(x).sum(1).mean()}
    c["poisson rate"] = {
        **std,
        "reconstruction": lambda x, o: (o - x * torch.log(o + 1e-8)).sum(1).mean(),
        "data": np.random.default_rng(0).poisson(2.0, (50, 13)),
    }
    c["negative binomial"] = {
        **std,
        "reconstruction": lambda x, o: (
            -NegativeBinomial(o[0].exp(), logits=o[1], validate_args=False).log_prob(x).sum(1).mean()
        ),
    }
    c["continuous bernoulli"] = {
        **std,
        "reconstruction": lambda x, o: -ContinuousBernoulli(logits=o).log_prob(x).sum(1).mean(),
    }
    c["beta"] = {
        **std,
        "reconstruction": lambda x, o: (
            -Beta(1 + o[0].exp(), 1 + o[1].exp(), validate_args=False).log_prob(x.clamp(1e-6, 1 - 1e-6)).sum(1).mean()
        ),
    }
    c["gamma"] = {
        **std,
        "reconstruction": lambda x, o: (
            -Gamma(1 + o[0].exp(), o[1].exp(), validate_args=False).log_prob(x + 1e-8).sum(1).mean()
        ),
    }
    c["exponential"] = {**std, "reconstruction": lambda x, o: -Exponential(o.exp()).log_prob(x).sum(1).mean()}
    c["lognormal"] = {
        **std,
        "reconstruction": lambda x, o: (
            -LogNormal(o[0], o[1].exp(), validate_args=False).log_prob(x + 1e-9).sum(1).mean()
        ),
    }
    c["elbo, maximised"] = {
        "kl": lambda m, s: -kl_lv(m, s).mean(),
        "sample": rs,
        "reconstruction": lambda x, o: Bernoulli(logits=o).log_prob(x).sum(1).mean(),
    }
    c["bits"] = {
        "kl": lambda m, s: kl_lv(m, s).mean() / math.log(2),
        "sample": rs,
        "reconstruction": lambda x, o: bce(x, o) / math.log(2),
    }
    c["both per dimension"] = {
        "kl": lambda m, s: kl_lv(m, s).mean() / 13,
        "sample": rs,
        "reconstruction": lambda x, o: bce(x, o) / 13,
    }
    c["intended beta"] = {"kl": lambda m, s: 4 * kl_lv(m, s).mean(), "sample": rs, "reconstruction": bce, "beta": 4.0}
    c["loss of four"] = {"loss": lambda x, o, m, s: bce(x, o) + kl_lv(m, s).mean()}
    c["loss of four, numpy"] = {"loss": lambda x, o, m, s: np.mean(((x - o) ** 2).sum(1) + np_kl_elem(m, s).sum(1))}
    c["loss of four and parts"] = {
        "loss": lambda x, o, m, s: bce(x, o) + kl_lv(m, s).mean(),
        **std,
        "reconstruction": bce,
    }
    c["clipped probabilities"] = {
        **std,
        "reconstruction": lambda x, p: (
            F.binary_cross_entropy(p.clamp(1e-6, 1 - 1e-6), x, reduction="none").sum(1).mean()
        ),
    }
    c["sigmoid then bce"] = {
        **std,
        "reconstruction": lambda x, o: F.binary_cross_entropy(torch.sigmoid(o), x, reduction="sum") / x.size(0),
    }
    c["constant offset"] = {**std, "reconstruction": lambda x, o: (0.5 * (x - o) ** 2 + 0.9189385).sum(1).mean()}
    c["float32 inside"] = {
        "kl": lambda m, s: kl_lv(m.float(), s.float()).mean(),
        "sample": lambda m, s: rs(m.float(), s.float()),
        "reconstruction": lambda x, o: bce(x.float(), o.float()),
    }
    c["prior N(0, 2²)"] = {
        **std,
        "kl": lambda m, s: kl_divergence(Normal(m, (s / 2).exp()), Normal(0.0, 2.0)).sum(1).mean(),
    }
    c["prior N(1, 1)"] = {
        **std,
        "kl": lambda m, s: kl_divergence(Normal(m, (s / 2).exp()), Normal(1.0, 1.0)).sum(1).mean(),
    }
    c["multivariate"] = {
        **std,
        "kl": lambda m, s: kl_divergence(
            torch.distributions.MultivariateNormal(m, torch.diag_embed(s.exp())),
            torch.distributions.MultivariateNormal(
                torch.zeros(m.shape[1], dtype=m.dtype), torch.eye(m.shape[1], dtype=m.dtype)
            ),
        ).mean(),
    }
    c["categorical distribution"] = {
        **std,
        "reconstruction": lambda x, o: -Categorical(logits=o).log_prob(x).sum(-1).mean(),
    }
    c["several draws"] = {**std, "sample": lambda m, s: m + torch.randn(3, *m.shape, dtype=m.dtype) * (s / 2).exp()}
    c["kl only, two"] = {"kl": lambda m, s: (0.5 * (m.square() + (2 * s).exp()) - s - 0.5).sum()}
    c["base 2"] = {"kl": lambda m, s: kl_sd(m, 2.0**s), "sample": lambda m, s: m + 2.0**s * torch.randn_like(m)}
    return c
