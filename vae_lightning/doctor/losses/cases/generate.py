"""Random recipes: correct ones, and wrong ones by a single change whose code is known.

Nothing here knows how the doctor measures; it only writes losses.
"""

import random

from vae_lightning.doctor.losses.cases.recipe import SIGMAS, Case, Changes, Recipe, build_functions, change
from vae_lightning.doctor.losses.cases.wrong import MEAN_OF_SUM, RECIPES

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
    sigma, (rows, columns), family = rng.choice(SIGMAS), rng.choice(REDUCTIONS), rng.choice(FAMILIES)
    scale, sign = rng.choice([1.0, 1.0, 0.1 + 3 * rng.random()]), rng.choice([1.0, 1.0, -1.0])
    return Recipe(
        library="numpy" if rng.random() < 0.4 else "torch",
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


MUTATIONS: dict[str, tuple[str, Changes]] = {
    **RECIPES,
    "two parameterisations": (
        "MISMATCH",
        {"sigma": ("softplus", "softplus variance"), "sampler_sigma": ("log sigma", "minus log sigma")},
    ),
    "reconstruction summed over the batch": ("SCALE", {**MEAN_OF_SUM, "rows": ("sum",)}),
    "hidden β": ("SCALE", {"kl_scale": (0.001, 0.1, 0.3, 5.0, 10.0), "family": FAMILIES[:4]}),
    "silenced KL": ("KL-DEAD", {"kl_scale": (0.0,)}),
    "class weight": ("UNNORMALISED", {"family": FAMILIES[:2], "defect": ("weighted",)}),
    "log term doubled": ("UNNORMALISED", {"family": ("gaussian",), "defect": ("weighted",)}),
    "detached output": ("NO-GRAD", {"library": ("torch",), "defect": ("detached",)}),
}
"""Changes to a correct loss, each with the code that it must be found by."""


def draw_wrong_case(rng: random.Random) -> Case:
    """A correct loss in nats, with one change."""
    name = rng.choice(list(MUTATIONS))
    code, changes = MUTATIONS[name]
    plain: Changes = dict.fromkeys(("kl_sign", "reconstruction_sign", "kl_scale", "reconstruction_scale"), (1.0,))
    recipe = change(draw_correct_recipe(rng), {**plain, "clamp": (None,), **changes}, rng.choice)
    return Case(f"{name}: {recipe}", code, build_functions(recipe))
