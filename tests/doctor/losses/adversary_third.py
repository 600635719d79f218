"""Losses that an earlier doctor judged wrongly: open supports, many classes, many heads, and faults it did not see."""

import math

import numpy as np
import torch
from torch import nn
from torch.distributions import Beta, Categorical, ContinuousBernoulli, Gamma, Laplace, LogNormal, Normal, Weibull
from torch.nn import functional as F

from vae_lightning.doctor.losses.cases.wrong import log_var_sample as draw

_random = np.random.default_rng(7)
REAL = _random.normal(size=(200, 9))
BITS = (_random.random((200, 9)) < 0.4).astype(np.float32)
COUNTS = _random.poisson(4.0, (200, 9)).astype(float)
RARE = _random.poisson(0.2, (200, 9)).astype(float)
BYTES = np.round(_random.random((200, 9)) * 255)
FIVE = _random.integers(0, 5, (200, 9))
POSITIVE = _random.gamma(2.0, 1.0, (200, 9))


def kl_of_log_variance(m, s):
    return -0.5 * torch.sum(1 + s - m**2 - s.exp(), 1)


def bce(x, out):
    return F.binary_cross_entropy_with_logits(out, x, reduction="none").sum(-1)


def inverse_gamma(x, out):
    a, b = F.softplus(out[0]) + 0.5, F.softplus(out[1]) + 0.1
    return (-a * torch.log(b) + torch.lgamma(a) + (a + 1) * torch.log(x) + b / x).sum(1)


def shaped(family, first, second):
    def reconstruction(x, out):
        a, b = F.softplus(out[0]) + first, F.softplus(out[1]) + second
        return -family(a, b, validate_args=False).log_prob(x).sum(1)

    return reconstruction


def log_normal(x, out):
    return -LogNormal(out[0], F.softplus(out[1]) + 1e-3, validate_args=False).log_prob(x).sum(1)


def gamma_inside(x, out, m, s):
    return (shaped(Gamma, 0.01, 0.01)(x, out) + kl_of_log_variance(m, s)).mean()


def classes(x, out):
    flat = F.cross_entropy(out.reshape(-1, out.shape[-1]), x.long().reshape(-1), reduction="none")
    return flat.reshape(x.shape).sum(1)


def classes_by_hand(x, out):
    log_p = out - torch.logsumexp(out, -1, keepdim=True)
    return -log_p.gather(-1, x.long().unsqueeze(-1)).squeeze(-1).sum(1)


def two_normals(first, second, scale, other):
    return lambda x: torch.logaddexp(Normal(first, scale.exp()).log_prob(x), Normal(second, other.exp()).log_prob(x))


def mixture(x, out):
    return -(two_normals(*out.unbind(-1))(x) - math.log(2)).sum(1)


def mixture_in_a_tuple(x, out):
    one, other, scale, second = out
    return -(two_normals(one, other, scale, second)(x) - math.log(2)).sum(1)


def weighted_mixture(x, out):
    weight, *heads = out
    first, second, scale, other = heads
    one, two = Normal(first, scale.exp()).log_prob(x), Normal(second, other.exp()).log_prob(x)
    return -torch.logaddexp(F.logsigmoid(weight) + one, F.logsigmoid(-weight) + two).sum(1)


def single_precision_inside(m, s):
    return m + torch.exp(0.5 * s.float()).to(m.dtype) * torch.randn_like(m)


def sampled_kl(count):
    def kl(m, s):
        q = Normal(m, torch.exp(s))
        z = q.rsample((count,))
        return (q.log_prob(z) - Normal(0.0, 1.0).log_prob(z)).mean(0).sum(1)

    return kl


def fixed_size(x, out, m, s):
    return F.binary_cross_entropy(out, x.view(-1, 784), reduction="sum") + kl_of_log_variance(m, s).sum()


def mean_kl(m, s):
    return kl_of_log_variance(m, s).mean()


def half_square(x, out):
    return 0.5 * ((x - out) ** 2).sum(1).mean()


def float_of_numpy(x, out, m, s):
    x, out, m, s = (a.detach().numpy() if torch.is_tensor(a) else a for a in (x, out, m, s))
    cross_entropy = np.sum(np.maximum(out, 0) - out * x + np.log1p(np.exp(-np.abs(out))), 1)
    return float(np.mean(cross_entropy - 0.5 * np.sum(1 + s - m**2 - np.exp(s), -1)))


ONE_HOT = np.eye(9)[_random.integers(0, 9, 60)]
MEANS = {
    "σ = 0.3": lambda x, out: F.mse_loss(out, x) / 0.18,
    "σ = 0.29": lambda x, out: F.mse_loss(out, x) / (2 * 0.29**2),
    "normal": lambda x, out: -Normal(out, 0.3).log_prob(x).mean(),
    "Laplace": lambda x, out: -Laplace(out, 0.5).log_prob(x).mean(),
    "absolute": lambda x, out: 3 * F.l1_loss(out, x),
    "Bernoulli": lambda x, out: F.binary_cross_entropy_with_logits(out, x),
}


def variance_of_either_sign(m, s):
    return 0.5 * (m**2 + s.abs() - 1 - s.abs().log()).sum(1)


def deviation_with_a_floor(m, s):
    deviation = s.abs() + 1e-3
    return (0.5 * (m**2 + deviation**2 - 1) - deviation.log()).sum(1)


def means_of_everything(x, out, m, s):
    return F.mse_loss(out, x) + kl_of_log_variance(m, s).sum() / x.numel()


RIGHT = {
    "variance |s|": {
        "kl": variance_of_either_sign,
        "sample": lambda m, s: m + s.abs().sqrt() * torch.randn_like(m),
    },
    "σ = |s| + 0.001": {
        "kl": deviation_with_a_floor,
        "sample": lambda m, s: m + (s.abs() + 1e-3) * torch.randn_like(m),
    },
    "σ = |s| + 0.001, the KL alone": {"kl": deviation_with_a_floor},
    "divided by the number of entries": {"loss": means_of_everything},
    "rounded ones": {"reconstruction": bce, "data": np.where(BITS > 0, 1 + 1e-7, 0)},
    "constant of 16 latents": {"kl": lambda m, s: 0.5 * ((m**2 + s.exp() - s).sum(1) - 16)},
    "gamma": {"reconstruction": shaped(Gamma, 0.01, 0.01), "data": POSITIVE},
    "gamma in a whole loss": {"loss": gamma_inside},
    "log-normal": {"reconstruction": log_normal, "data": np.exp(REAL)},
    "beta": {"reconstruction": shaped(Beta, 0.1, 0.1), "data": _random.beta(2, 3, (200, 9))},
    "weibull": {"reconstruction": shaped(Weibull, 0.1, 0.5), "data": _random.weibull(1.5, (200, 9)) + 0.01},
    "inverse gamma": {"reconstruction": inverse_gamma, "data": 1 / POSITIVE},
    "five classes": {"reconstruction": classes, "data": FIVE, "kl": kl_of_log_variance, "sample": draw},
    "categorical of five": {
        "reconstruction": lambda x, out: -Categorical(logits=out, validate_args=False).log_prob(x).sum(1),
        "data": FIVE,
    },
    "three classes by hand": {"reconstruction": classes_by_hand, "data": FIVE % 3},
    "mixture on the last axis": {"reconstruction": mixture},
    "mixture in a tuple": {"reconstruction": mixture_in_a_tuple},
    "weighted mixture in a tuple of five": {"reconstruction": weighted_mixture},
    "single precision inside": {"kl": kl_of_log_variance, "sample": single_precision_inside},
    "KL of 64 draws": {"kl": sampled_kl(64)},
    "784 columns written into the code": {"loss": fixed_size},
    "a float of numpy inside": {"loss": float_of_numpy},
    "one-hot rows by argmax": {
        "reconstruction": lambda x, out: F.cross_entropy(out, x.argmax(1), reduction="none"),
        "data": ONE_HOT,
    },
    "capacity in a whole loss": {"loss": lambda x, out, m, s: half_square(x, out) + (mean_kl(m, s) - 25.0).abs()},
    "capacity of the KL": {"kl": lambda m, s: (mean_kl(m, s) - 25.0).abs(), "sample": draw},
    **{
        f"everything over D, {name}": {
            "loss": lambda x, out, m, s, mean=mean: mean(x, out) + mean_kl(m, s) / x.shape[1]
        }
        for name, mean in MEANS.items()
    },
}


class Model(nn.Module):
    """A small VAE; `decode` says what its decoder sees."""

    def __init__(self, decode: str = "draw") -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            self.hidden, self.mean, self.second = nn.Linear(9, 3), nn.Linear(3, 3), nn.Linear(3, 3)
            self.output = nn.Linear(3, 9)
        self.decode = decode

    def forward(self, x):
        h = torch.tanh(self.hidden(x))
        m, s = self.mean(h), self.second(h)
        return self.output({"draw": draw(m, s), "hidden": h, "mean": m}[self.decode]), m, s


class Normalised(Model):
    """The same with layers that differ between training and evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Sequential(self.hidden, nn.BatchNorm1d(3), nn.Dropout(0.1))


def another_weight_in_evaluation(model, x):
    out, m, s = model(x)
    return (bce(x, out) + (0.00025 if model.training else 1.0) * kl_of_log_variance(m, s)).mean()


def without_noise(model, x):
    h = torch.tanh(model.hidden(x))
    m, s = model.mean(h), model.second(h)
    return (bce(x, model.output(m)) + kl_of_log_variance(m, s)).mean()


def whole(model, x):
    out, m, s = model(x)
    return (bce(x, out) + kl_of_log_variance(m, s)).mean()


def double_softmax(x, out):
    return F.cross_entropy(torch.softmax(out, -1).permute(0, 2, 1), x.long(), reduction="none").sum(1)


def heads_exchanged(mean, log_variance):
    return -0.5 * torch.sum(1 + mean - log_variance**2 - mean.exp(), dim=1)


def without_rate(x, out):
    return (-x * out + torch.lgamma(x + 1)).sum(1)


def sampled_without_log(m, s):
    noise = torch.randn_like(m)
    return (0.5 * (m + torch.exp(s) * noise) ** 2 - 0.5 * noise**2).sum(1)


def student_without_gamma(x, out):
    mean, raw = out
    freedom = F.softplus(raw) + 2
    return (0.5 * (freedom + 1) * torch.log1p((x - mean) ** 2 / freedom)).sum(1)


def softplus_mean(x, out):
    mean, log_variance = out
    return (0.5 * (x - F.softplus(mean)) ** 2 / log_variance.exp() + 0.5 * log_variance).sum(1)


def sigmoid_mean_inside(x, out, m, s):
    mean, log_variance = out
    error = (x - torch.sigmoid(mean)) ** 2
    return (0.5 * (log_variance + error / log_variance.exp()).sum(1) + kl_of_log_variance(m, s)).mean()


def rate_of_relu(x, out):
    return F.poisson_nll_loss(F.relu(out), x, log_input=True, full=True, reduction="none").sum(-1)


def summed_over_the_batch(model, x):
    out, m, s = model(x)
    return bce(x, out).mean() + kl_of_log_variance(m, s).sum()


def sigmoid_exchanged(x, out):
    p, q = torch.sigmoid(out), x.clamp(1e-6, 1 - 1e-6)
    return -(p * q.log() + (1 - p) * (1 - q).log()).sum(1)


def logits_exchanged(x, out):
    return F.binary_cross_entropy_with_logits(x, out.sigmoid(), reduction="none").sum(1)


def rate_exchanged(x, out):
    return F.poisson_nll_loss(x, out.exp(), log_input=False, reduction="none").sum(1)


def clipped_tanh(x, out):
    p = torch.tanh(out).clamp(1e-6, 1 - 1e-6)
    return -(x * p.log() + (1 - x) * (1 - p).log()).sum(1)


def log_normal_without_log(x, out):
    return (x.log() + 0.5 * ((x.log() - out[0]) / out[1].exp()) ** 2).sum(1)


def focal(x, out):
    right = torch.where(x > 0.5, out.sigmoid(), 1 - out.sigmoid())
    return -((1 - right) ** 2 * torch.log(right + 1e-9)).sum(1)


def continuous_bernoulli_twice(x, out):
    return -ContinuousBernoulli(logits=torch.sigmoid(out), validate_args=False).log_prob(x).sum(1)


def learned_scale(x, out):
    return (0.5 * (x - out[0]) ** 2 / out[1].exp() + 0.5 * out[1]).sum(1)


def naive_log_cosh(x, out):
    t = 10.0 * (out - x)
    return ((t + torch.log(1 + torch.exp(-2 * t)) - math.log(2)) / 10.0).sum(1)


WRONG = [
    (
        "naive sigmoid",
        {"OVERFLOW"},
        {"reconstruction": lambda x, out: -(x * out.sigmoid().log() + (1 - x) * (1 - out.sigmoid()).log()).sum(1)},
    ),
    ("naive log cosh", {"OVERFLOW"}, {"reconstruction": naive_log_cosh}),
    (
        "softmax twice, argmax",
        {"DOUBLE-SIGMOID"},
        {
            "reconstruction": lambda x, out: F.cross_entropy(F.softmax(out, 1), x.argmax(1), reduction="none"),
            "data": ONE_HOT,
        },
    ),
    (
        "mean beside a sum, σ = 0.3",
        {"MEAN-SUM"},
        {"loss": lambda x, out, m, s: MEANS["σ = 0.3"](x, out) + mean_kl(m, s)},
    ),
    (
        "cross-entropy over D, three KL over D",
        {"SCALE"},
        {"loss": lambda x, out, m, s: MEANS["Bernoulli"](x, out) + 3 * mean_kl(m, s) / x.shape[1]},
    ),
    ("Welsch", {"UNNORMALISED"}, {"reconstruction": lambda x, out: (1 - torch.exp(-((x - out) ** 2))).sum(1)}),
    ("clipped square", {"UNNORMALISED"}, {"reconstruction": lambda x, out: ((x - out) ** 2).clamp(max=4).sum(1)}),
    (
        "bounded ratio",
        {"UNNORMALISED"},
        {"reconstruction": lambda x, out: ((x - out) ** 2 / (1 + (x - out) ** 2)).sum(1)},
    ),
    ("cosine", {"UNNORMALISED"}, {"reconstruction": lambda x, out: 1 - F.cosine_similarity(x, out, dim=1)}),
    ("focal", {"UNNORMALISED"}, {"reconstruction": focal}),
    ("one class only", {"UNNORMALISED"}, {"reconstruction": lambda x, out: -(x * F.logsigmoid(out)).sum(1)}),
    (
        "no class at all",
        {"UNNORMALISED"},
        {"reconstruction": lambda x, out: -(x * F.logsigmoid(out) + (1 - x) * F.logsigmoid(out)).sum(1)},
    ),
    ("log-normal without log σ", {"UNNORMALISED"}, {"reconstruction": log_normal_without_log, "data": POSITIVE}),
    ("sigmoid exchanged", {"ARG-SWAP"}, {"reconstruction": sigmoid_exchanged}),
    ("logits exchanged", {"ARG-SWAP"}, {"reconstruction": logits_exchanged}),
    ("rate exchanged", {"ARG-SWAP"}, {"reconstruction": rate_exchanged, "data": COUNTS}),
    ("clipped tanh", {"OUT-ACT"}, {"reconstruction": clipped_tanh}),
    ("sigmoid before the logits", {"DOUBLE-SIGMOID"}, {"reconstruction": continuous_bernoulli_twice}),
    ("exponential of the mean", {"MIXED"}, {"kl": lambda m, s: kl_of_log_variance(m.exp(), s)}),
    ("heads exchanged in the sampler", {"ARG-SWAP"}, {"sample": lambda m, s: draw(s, m)}),
    (
        "another weight behind dropout",
        {"EVAL"},
        {"loss": another_weight_in_evaluation, "model": Normalised(), "data": BITS},
    ),
    ("KL summed, the rest averaged", {"KL-BATCH-SUM"}, {"loss": summed_over_the_batch, "model": Model(), "data": BITS}),
    (
        "a column of one value",
        {"DEGENERATE"},
        {"reconstruction": learned_scale, "data": np.column_stack([REAL, np.ones(200)])},
    ),
    ("softmax twice", {"DOUBLE-SIGMOID"}, {"reconstruction": double_softmax}),
    ("softmax twice, with data", {"DOUBLE-SIGMOID"}, {"reconstruction": double_softmax, "data": FIVE}),
    ("heads exchanged in the KL", {"ARG-SWAP"}, {"kl": heads_exchanged}),
    ("Poisson without its rate", {"UNNORMALISED"}, {"reconstruction": without_rate, "data": COUNTS}),
    ("another weight in evaluation", {"EVAL"}, {"loss": another_weight_in_evaluation, "model": Model(), "data": BITS}),
    ("the hidden layer is decoded", {"Z-UNUSED"}, {"loss": whole, "model": Model("hidden"), "data": BITS}),
    ("noise is never drawn", {"NO-NOISE"}, {"loss": without_noise, "model": Model(), "data": BITS}),
    ("sampled KL without log σ", {"LOG-FACTOR"}, {"kl": sampled_without_log}),
    ("tanh on the mean, in the KL", {"HEAD-ACT"}, {"kl": lambda m, s: kl_of_log_variance(torch.tanh(m), s)}),
    ("ReLU on the mean, in the KL", {"HEAD-ACT"}, {"kl": lambda m, s: kl_of_log_variance(torch.relu(m), s)}),
    ("Student with learned ν", {"UNNORMALISED"}, {"reconstruction": student_without_gamma}),
    ("softplus mean, real data", {"OUT-ACT"}, {"reconstruction": softplus_mean, "data": REAL}),
    ("sigmoid mean, bytes", {"OUT-ACT"}, {"loss": sigmoid_mean_inside, "data": BYTES}),
    (
        "ReLU and absolute error",
        {"OUT-ACT"},
        {"reconstruction": lambda x, out: np.sum(np.abs(x - np.maximum(out, 0)), axis=1), "data": REAL},
    ),
    ("rate of at least one", {"OUT-ACT"}, {"reconstruction": rate_of_relu, "data": RARE}),
    (
        "a loss of three numbers",
        {"SHAPE"},
        {"loss": lambda x, out, m, s: (bce(x, out), kl_of_log_variance(m, s), 0.0)},
    ),
]

# Layers that differ between the modes are no fault, not even where single rows are asked for.
RIGHT["batch normalisation and dropout"] = {"loss": whole, "model": Normalised(), "data": BITS[:, :9]}
RIGHT["few bits behind batch normalisation"] = {
    "loss": lambda model, x: whole(model, F.pad(x, (0, 4))),
    "model": Normalised(),
    "data": BITS[:, :5],
}
