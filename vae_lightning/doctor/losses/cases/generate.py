"""Random recipes: correct ones, and wrong ones by a single change whose code is known.

Nothing here knows how the doctor measures; it only writes losses.
"""

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from vae_lightning.doctor.losses.cases.base import Case
from vae_lightning.doctor.losses.cases.recipe import SIGMAS, Recipe, build_functions

FAMILIES = (
    "bce logits",
    "bce probabilities",
    "squared",
    "half squared",
    "fixed gaussian",
    "gaussian",
    "laplace",
    "poisson",
    "student",
)
REDUCTIONS = (("mean", "sum"), ("sum", "sum"), ("keep", "sum"), ("keep", "keep"))


def draw_correct_recipe(rng: random.Random) -> Recipe:
    """A loss that breaks no law: any parameterisation, either sign, any factor, any reduction, if kept consistently."""
    sigma = rng.choice(SIGMAS)
    rows, columns = rng.choice(REDUCTIONS)
    family = rng.choice(FAMILIES)
    scale = rng.choice([1.0, 1.0, 0.1 + 3 * rng.random()])
    sign = rng.choice([1.0, 1.0, -1.0])
    return Recipe(
        numpy=rng.random() < 0.4,
        sigma=sigma,
        sampler_sigma=sigma,
        kl_sign=sign,
        reconstruction_sign=sign,
        kl_scale=scale,
        reconstruction_scale=scale,
        kl_rows=rows,
        kl_columns=columns,
        rows=rows,
        columns=columns,
        family=family,
        offset=rng.choice([0.0, 0.0, rng.gauss(0, 1)]) if family != "bce logits" else 0.0,
        spread=0.2 + 1.5 * rng.random(),
        clamp=(-8.0, 6.0) if sigma.startswith("log") and rng.random() < 0.2 else None,
    )


def draw_correct_case(rng: random.Random) -> Case:
    """A correct loss; now and then only some of its parts."""
    recipe = draw_correct_recipe(rng)
    given = build_functions(recipe)
    if recipe.kl_scale == 1.0 and recipe.kl_sign == 1.0 and rng.random() < 0.25:
        for name in rng.choice([("kl",), ("sample",), ("reconstruction",), ("reconstruction", "kl")]):
            del given[name]
    return Case(str(recipe), "", given)


def _draw_plain_recipe(rng: random.Random) -> Recipe:
    """A correct loss in nats, to be made wrong."""
    recipe = draw_correct_recipe(rng)
    return replace(recipe, kl_sign=1.0, reconstruction_sign=1.0, kl_scale=1.0, reconstruction_scale=1.0, clamp=None)


def _make_exponential(recipe: Recipe, rng: random.Random) -> Recipe:
    sigma = rng.choice(["log sigma", "log variance"])
    return replace(recipe, sigma=sigma, sampler_sigma=sigma)


def _make_binary(recipe: Recipe) -> Recipe:
    return replace(recipe, family="bce logits", offset=0.0)


def _make_mismatch(recipe: Recipe, rng: random.Random) -> Recipe:
    one, other = rng.sample(["log sigma", "softplus", "softplus variance", "minus log sigma"], 2)
    if {one, other} == {"softplus", "softplus variance"}:
        one, other = "softplus variance", "softplus"  # the other way round the sampler's σ is the KL's variance
        return replace(recipe, sigma="softplus", sampler_sigma="softplus variance")
    return replace(recipe, sigma=one, sampler_sigma=other)


Mutation = Callable[[Recipe, random.Random], Recipe]

MUTATIONS: dict[str, tuple[str, Mutation]] = {
    "KL flipped": ("SIGN-FLIP", lambda r, _c: replace(r, kl_sign=-1.0)),
    "reconstruction flipped": ("SIGN-FLIP", lambda r, _c: replace(r, reconstruction_sign=-1.0)),
    "log sign": ("LOG-SIGN", lambda r, c: replace(_make_exponential(r, c), log_factor=-1.0)),
    "log factor": ("LOG-FACTOR", lambda r, c: replace(_make_exponential(r, c), log_factor=c.choice([0.0, 0.5, 2.0]))),
    "log squared": ("LOG-SQUARED", lambda r, c: replace(_make_exponential(r, c), log_power=2)),
    "m² without ½": ("HALF", lambda r, _c: replace(r, m_factor=2.0)),
    "no ½ at all": ("HALF", lambda r, _c: replace(_make_binary(r), kl_scale=2.0)),
    "constant": ("CONST", lambda r, c: replace(r, constant_factor=c.choice([0.0, 2.0, -1.0]))),
    "variance as deviation": ("VAR-AS-STD", lambda r, _c: replace(r, sigma="log variance", sampler_sigma="log sigma")),
    "raw head": ("RAW-AS-STD", lambda r, c: replace(_make_exponential(r, c), sampler_sigma="raw")),
    "two parameterisations": ("MISMATCH", _make_mismatch),
    "mean over latents": (
        "KL-MEAN-L",
        lambda r, _c: replace(r, kl_columns="mean", columns="sum", rows="mean", kl_rows="mean"),
    ),
    "KL summed over the batch": (
        "KL-BATCH-SUM",
        lambda r, c: replace(r, kl_rows="sum", rows=c.choice(["mean", "keep"]), kl_columns="sum", columns="sum"),
    ),
    "mean over columns": (
        "MEAN-SUM",
        lambda r, _c: replace(r, columns="mean", kl_columns="sum", rows="mean", kl_rows="mean"),
    ),
    "reconstruction summed over the batch": (
        "SCALE",
        lambda r, _c: replace(r, rows="sum", kl_rows="mean", columns="sum", kl_columns="sum"),
    ),
    "hidden β": (
        "SCALE",
        lambda r, c: replace(r, kl_scale=c.choice([0.001, 0.1, 0.3, 5.0, 10.0]), family=c.choice(FAMILIES[:4])),
    ),
    "detached KL": ("KL-DEAD", lambda r, _c: replace(r, dead=True, numpy=False)),
    "silenced KL": ("KL-DEAD", lambda r, _c: replace(r, kl_scale=0.0)),
    "no noise": ("NO-NOISE", lambda r, _c: replace(r, noise="none")),
    "frozen noise": ("EPS-FROZEN", lambda r, _c: replace(r, noise="frozen")),
    "shared noise": (
        "EPS-SHARED",
        lambda r, c: replace(r, noise=c.choice(["shared rows", "shared latents", "shared"])),
    ),
    "scaled noise": ("EPS-SCALE", lambda r, c: replace(r, noise_scale=c.choice([0.01, 0.1, 0.5, 2.0]))),
    "other noise": ("NOISE-DIST", lambda r, c: replace(r, noise=c.choice(["uniform", "laplace"]))),
    "detached draw": ("NO-GRAD", lambda r, _c: replace(r, noise="detached", numpy=False)),
    "activation on m": ("HEAD-ACT", lambda r, _c: replace(r, mean_activation=True)),
    "double sigmoid": ("DOUBLE-SIGMOID", lambda r, _c: replace(_make_binary(r), defect="double sigmoid")),
    "swapped": (
        "ARG-SWAP",
        lambda r, c: replace(r, family=c.choice(["bce logits", "bce probabilities", "poisson"]), defect="swapped"),
    ),
    "missing log": ("UNNORMALISED", lambda r, _c: replace(r, family="gaussian", defect="no log")),
    "class weight": (
        "UNNORMALISED",
        lambda r, c: replace(r, family=c.choice(["bce logits", "bce probabilities"]), defect="weighted"),
    ),
    "log term doubled": ("UNNORMALISED", lambda r, _c: replace(r, family="gaussian", defect="weighted")),
    "tanh before cross-entropy": ("OUT-ACT", lambda r, _c: replace(r, family="bce probabilities", defect="tanh")),
    "detached output": ("NO-GRAD", lambda r, _c: replace(r, numpy=False, defect="detached")),
}
"""Changes to a correct loss, each with the code that it must be found by."""


def draw_wrong_case(rng: random.Random) -> Case:
    """A correct loss with one change."""
    name = rng.choice(list(MUTATIONS))
    code, mutation = MUTATIONS[name]
    recipe = mutation(_draw_plain_recipe(rng), rng)
    given: dict[str, Any] = dict(build_functions(recipe))
    return Case(f"{name}: {recipe}", code, given)
