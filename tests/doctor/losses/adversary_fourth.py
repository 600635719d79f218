"""Losses as strangers wrote them: constant σ, one-sided heads, mixed columns, raw scales, arguments in any order."""

import math

import numpy as np
import torch
from torch.distributions import Bernoulli, Categorical, Normal
from torch.nn import functional as F

from vae_lightning.doctor.losses.cases.wrong import bce, half_sse, log_var_kl, log_var_sample

GOOD = {"kl": log_var_kl, "sample": log_var_sample, "reconstruction": bce}


def with_(**parts):
    return {**GOOD, **parts}


def constant(sigma):
    return lambda m, _s: m + sigma * torch.randn_like(m)


def behind(activation):
    """KL and draw of a log-variance behind an activation."""
    return with_(kl=lambda m, s: log_var_kl(m, activation(s)), sample=lambda m, s: log_var_sample(m, activation(s)))


def flags_and_numbers(flags, numbers):
    """The first four columns are flags, the others numbers; each with its reduction."""

    def reconstruction(x, out):
        each = F.binary_cross_entropy_with_logits(out[:, :4], x[:, :4], reduction="none")
        return flags(each) + numbers(0.5 * (x[:, 4:] - out[:, 4:]) ** 2)

    return reconstruction


def total(value):
    return value.sum(1)


def mean(value):
    return value.mean(1)


def two_kinds(x, out):
    """Two one-hot groups and numbers, as table synthesisers write them."""
    first = F.cross_entropy(out[:, :3], x[:, :3].argmax(1), reduction="none")
    second = -(x[:, 3:7] * F.log_softmax(out[:, 3:7], 1)).sum(1)
    return (first + second + ((x[:, 7:] - out[:, 7:]) ** 2).sum(1)).mean()


def in_numpy(x, out):
    flags = np.logaddexp(0, out[:, :2]) - x[:, :2] * out[:, :2]
    return flags.sum(1) + np.abs(x[:, 2:] - out[:, 2:]).sum(1)


def several(recon_x, x, mu, logvar):
    return {"loss": bce(x, recon_x) + log_var_kl(mu, logvar), "kl": log_var_kl(mu, logvar).detach()}


def with_options(*args, **kwargs):
    recons, inputs, mu, log_var = args
    return {
        "Reconstruction": bce(inputs, recons),
        "loss": bce(inputs, recons) + kwargs["M_N"] * log_var_kl(mu, log_var),
    }


def weighted(recon, target, mu, log_var, weight):
    return half_sse(target, recon) + weight * log_var_kl(mu, log_var), half_sse(target, recon)


def latents_first(z_mean, z_log_var, x, x_hat):
    return (np.sum((x - x_hat) ** 2, 1) - 0.5 * np.sum(1 + z_log_var - z_mean**2 - np.exp(z_log_var), 1)).mean()


def second_head_first(log_var, mu):
    return log_var_kl(mu, log_var)


def prediction_first(recon, x):
    return F.binary_cross_entropy(recon, x, reduction="none").sum(1)


def exchanged_inside(x, recon, mu, logvar):
    return F.binary_cross_entropy(x, recon, reduction="sum") + len(x) * log_var_kl(mu, logvar)


def heads_exchanged_inside(recon_x, x, mu, log_var):
    return bce(x, recon_x) + log_var_kl(log_var, mu)


def sampled_kl(x, out, m, s):
    q = Normal(m, (s / 2).exp())
    z = q.rsample()
    return (q.log_prob(z) - Normal(0.0, 1.0).log_prob(z)).sum(1).mean() + half_sse(x, out)


def sampled_output(x, out):
    drawn = out[0] + (out[1] / 2).exp() * torch.randn_like(out[0])
    return 0.5 * ((x - drawn) ** 2).sum(1)


def gaussian(scale, reduction=total):
    return lambda x, out: -reduction(Normal(out[0], scale(out[1]), validate_args=False).log_prob(x))


RIGHT = {
    "σ = 1 whatever s is": with_(kl=lambda m, _s: 0.5 * (m**2).sum(1), sample=constant(1.0)),
    "σ = 1, the KL alone": {"kl": lambda m, _s: 0.5 * (m**2).sum(1)},
    "σ = 0.3 with its constant": with_(
        kl=lambda m, _s: 0.5 * (m**2 + 0.09 - 1 - 2 * math.log(0.3)).sum(1), sample=constant(0.3)
    ),
    "log-variance between -8 and 3": behind(lambda s: -8 + 11 * torch.sigmoid(s)),
    "softplus less five": behind(lambda s: F.softplus(s) - 5),
    "softplus less five, the KL alone": {"kl": lambda m, s: log_var_kl(m, F.softplus(s) - 5)},
    "flags and numbers, both summed": with_(reconstruction=flags_and_numbers(total, total)),
    "two one-hot groups and numbers": with_(reconstruction=two_kinds),
    "flags and absolute errors in numpy": {
        "kl": lambda m, s: 0.5 * (m**2 + np.exp(s) - 1 - s).sum(1),
        "reconstruction": in_numpy,
    },
    "counts under a softmax": with_(reconstruction=lambda x, out: -(F.log_softmax(out, 1) * x).sum(1).mean()),
    "raw scale made positive": with_(reconstruction=gaussian(lambda raw: F.softplus(raw) + 1e-3)),
    "raw scale squared": with_(
        reconstruction=lambda x, out: 0.5 * (torch.log(out[1] ** 2) + (x - out[0]) ** 2 / out[1] ** 2).sum(1)
    ),
    "prediction first, by its name": with_(reconstruction=prediction_first),
    "second head first, by its name": {"kl": second_head_first},
    "a dictionary, prediction first": {"loss": several},
    "any arguments and an option": {"loss": with_options},
    "a weight as fifth argument, a pair handed back": {"loss": weighted},
    "latents first, in numpy": {"loss": latents_first},
    "a KL of one draw inside the whole": {"loss": sampled_kl},
    "a KL beside the whole": {"kl": log_var_kl, "loss": lambda x, out, m, s: bce(x, out) + log_var_kl(m, s)},
    "distributions": with_(reconstruction=lambda x, out: -Bernoulli(logits=out).log_prob(x).sum(-1)),
}
WRONG = [
    (
        "σ = 0.3 with the constant of σ = 1",
        {"CONST"},
        with_(kl=lambda m, _s: 0.5 * (m**2).sum(1), sample=constant(0.3)),
    ),
    ("constant σ without the ½", {"HALF"}, with_(kl=lambda m, _s: (m**2).sum(1), sample=constant(1.0))),
    ("a constant below zero", {"CONST"}, {"kl": lambda m, _s: 0.5 * (m**2 - 1).sum(1)}),
    ("a KL without s beside a draw with it", {"MISMATCH"}, with_(kl=lambda m, _s: 0.5 * (m**2).sum(1))),
    *(
        (f"{name} before the log-variance", {"HEAD-ACT"}, behind(activation))
        for name, activation in {
            "-|s|": lambda s: -s.abs(),
            "s²": lambda s: (s**2).clamp(max=60),
            "-softplus": lambda s: -F.softplus(s),
            "logsigmoid, half": lambda s: 0.5 * F.logsigmoid(s),
            "sqrt(s² + 1)": lambda s: torch.sqrt(s**2 + 1),
            "sine": torch.sin,
            "GELU": F.gelu,
        }.items()
    ),
    ("-relu, the draw alone", {"HEAD-ACT"}, {"sample": lambda m, s: log_var_sample(m, -F.relu(s))}),
    ("-|s|, the KL alone", {"HEAD-ACT"}, {"kl": lambda m, s: log_var_kl(m, -s.abs())}),
    ("flags averaged, numbers summed", {"MEAN-SUM"}, with_(reconstruction=flags_and_numbers(mean, total))),
    ("flags summed, numbers averaged", {"MEAN-SUM"}, with_(reconstruction=flags_and_numbers(total, mean))),
    ("both averaged", {"MEAN-SUM"}, with_(reconstruction=flags_and_numbers(mean, mean))),
    ("averaged beside summed, without a KL", {"MEAN-SUM"}, {"reconstruction": flags_and_numbers(mean, total)}),
    (
        "flags count three times",
        {"SCALE"},
        with_(reconstruction=flags_and_numbers(lambda each: 3 * total(each), total)),
    ),
    (
        "flags with the wrong sign",
        {"SIGN-FLIP"},
        with_(reconstruction=flags_and_numbers(lambda each: -total(each), total)),
    ),
    (
        "counts averaged",
        {"MEAN-SUM"},
        with_(reconstruction=lambda x, out: -(F.log_softmax(out, 1) * x).mean(1).mean()),
    ),
    (
        "one-hot rows averaged",
        {"MEAN-SUM"},
        with_(reconstruction=lambda x, out: -(x * torch.log(F.softmax(out, 1))).mean()),
    ),
    (
        "classes counted twice",
        {"SCALE", "HALF"},
        with_(reconstruction=lambda x, out: -2 * Categorical(logits=out).log_prob(x).mean()),
    ),
    ("raw scale", {"OVERFLOW"}, with_(reconstruction=gaussian(lambda raw: raw))),
    ("raw variance", {"OVERFLOW"}, with_(reconstruction=gaussian(lambda raw: raw.sqrt()))),
    (
        "raw scale of a Laplace",
        {"OVERFLOW"},
        with_(reconstruction=lambda x, out: ((x - out[0]).abs() / out[1] + out[1].log()).sum(1)),
    ),
    (
        "raw scale in blocks",
        {"OVERFLOW"},
        with_(reconstruction=lambda x, out: gaussian(lambda raw: raw)(x, out.chunk(2, 1))),
    ),
    ("target and prediction exchanged inside", {"ARG-SWAP"}, {"loss": exchanged_inside}),
    ("heads exchanged inside", {"ARG-SWAP"}, {"loss": heads_exchanged_inside}),
    (
        "a weight only the whole has",
        {"SCALE"},
        {"kl": log_var_kl, "loss": lambda x, out, m, s: F.mse_loss(out, x) + 0.00025 * log_var_kl(m, s)},
    ),
    ("the output is drawn", {"UNNORMALISED"}, with_(reconstruction=sampled_output)),
]
