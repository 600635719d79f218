"""Cases where the asker was wrong and the code right: nearly all come from names. No alarm may sound."""

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from vae_lightning.doctor.losses.cases.question import write_version
from vae_lightning.doctor.losses.cases.recipe import Case, Recipe, build_functions
from vae_lightning.doctor.losses.cases.wrong import GOOD


def _one_sample_kl(m: Tensor, s: Tensor) -> Tensor:
    posterior, prior = Normal(m, (s / 2).exp()), Normal(torch.zeros_like(m), torch.ones_like(m))
    z = posterior.rsample()
    return (posterior.log_prob(z) - prior.log_prob(z)).sum(1)


def _gaussian(x: Tensor, out: Tensor) -> Tensor:
    mean, log_var = out.chunk(2, dim=1)
    return -Normal(mean, (log_var / 2).exp()).log_prob(x).sum(1).mean()


def silent_cases() -> list[Case]:
    """Correct losses that somebody has called wrong, and the usual right ones."""
    rows = torch.randn(60, 11, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    log_std = Recipe(sigma="log sigma", sampler_sigma="log sigma")
    cases: dict[str, dict[str, Any]] = {
        "pytorch/examples 824, 298: minus one half": {
            "kl": lambda m, s: -0.5 * (1 + s - m**2 - s.exp()).sum(1).mean(),
        },
        "pytorch/examples 225: no square, s is a log-variance": {},
        "pytorch/examples 592, 652: everything divided by B": {
            "kl": lambda m, s: -0.5 * (1 + s - m**2 - s.exp()).sum() / len(m),
            "reconstruction": lambda x, out: F.binary_cross_entropy_with_logits(out, x, reduction="sum") / len(x),
        },
        "vae-tf 3: an extra 2, s is log σ": build_functions(log_std),
        "keras3 359: sums over everything": build_functions(Recipe(kl_rows="sum", rows="sum")),
        "world-models 13: exp(s) in the sampler, log σ throughout": build_functions(replace(log_std, family="squared")),
        "deeplearning4j 4468: σ² = exp(s) in a density": {
            "kl": lambda m, s: kl_divergence(Normal(m, (s / 2).exp()), Normal(0.0, 1.0)).sum(1).mean(),
            "sample": lambda m, s: Normal(m, (s / 2).exp()).rsample(),
            "reconstruction": _gaussian,
        },
        "alibi-detect 316: a negative Gaussian loss": {"reconstruction": _gaussian, "data": 0.01 * rows},
        "one-bit-vae 1: a one-sample KL below zero": {"kl": _one_sample_kl},
        "textvae 4: a sign convention kept": build_functions(Recipe(kl_sign=-1.0, reconstruction_sign=-1.0)),
        "VAE-CVAE-MNIST 7: randn": {
            "sample": lambda m, s: m + torch.exp(0.5 * s) * torch.randn(m.shape, dtype=m.dtype),
        },
        "σ itself, from a positive head": build_functions(
            Recipe(sigma="sigma", sampler_sigma="raw", family="half squared")
        ),
        "the question, corrected, in torch": write_version("corrected"),
        "the question, corrected, in numpy": write_version("corrected", "numpy"),
        "numpy throughout": build_functions(Recipe(library="numpy", family="bce probabilities")),
    }
    return [Case(name, "", {**GOOD, **parts}) for name, parts in cases.items()]
