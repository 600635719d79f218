"""A VAE loss as a recipe, and the functions made from it, in any library: right ones, and wrong by one change."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import torch

Function: TypeAlias = Callable[..., Any]
EPSILON = 1e-7  # Keras keeps probabilities this far from 0 and 1
SIGMAS = ("sigma", "log sigma", "log variance", "softplus", "variance", "softplus variance", "minus log sigma")


@dataclass(frozen=True)
class Case:
    """Some parts of a loss, and the code that must be found.

    Args:
        name: What it is, and who published it.
        code: The code expected; empty if no alarm may sound.
        parts: The arguments of ``diagnose``.
        also: Codes that may be found in its stead: other readings of the same algebra.
    """

    name: str
    code: str
    parts: Mapping[str, Any]
    also: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """Everything that the makers of a loss decide.

    Args:
        library: What it is written in: ``torch``, ``numpy``, or Keras 3 with whatever backend it has: ``keras``.
        sigma: What the KL takes s for, one of `SIGMAS`.
        sampler_sigma: What the sampler takes it for.
        m_factor, variance_factor, log_factor, constant_factor: Factors in front of the KL's terms.
        log_power: The power of the log term.
        kl_sign, reconstruction_sign: 1, or −1 for the opposite sign.
        kl_scale, reconstruction_scale: Factors in front of the two terms.
        kl_rows, kl_columns: ``sum``, ``mean`` or ``keep``.
        rows, columns: The same for the reconstruction.
        noise: ``normal``, or what has become of it.
        noise_scale: Its standard deviation.
        mean_activation: Whether a tanh sits on m.
        family: ``bce logits``, ``bce probabilities``, ``squared``, ``half squared``, ``fixed gaussian``, ``gaussian``,
            ``laplace``, ``poisson``, ``student``.
        defect: What has become of the reconstruction: "", ``swapped``, ``double sigmoid``, ``no log``, ``tanh``,
            ``weighted``, ``detached``.
        offset: A constant added to every entry of the reconstruction.
        spread: The fixed standard deviation, scale or degrees of freedom of the families that have one.
        dead: Whether the KL is detached.
        clamp: Bounds of s, if it is clamped before use.
    """

    library: str = "torch"
    sigma: str = "log variance"
    sampler_sigma: str = "log variance"
    m_factor: float = 1.0
    variance_factor: float = 1.0
    log_factor: float = 1.0
    constant_factor: float = 1.0
    log_power: int = 1
    kl_sign: float = 1.0
    reconstruction_sign: float = 1.0
    kl_scale: float = 1.0
    reconstruction_scale: float = 1.0
    kl_rows: str = "mean"
    kl_columns: str = "sum"
    rows: str = "mean"
    columns: str = "sum"
    noise: str = "normal"
    noise_scale: float = 1.0
    mean_activation: bool = False
    family: str = "bce logits"
    defect: str = ""
    offset: float = 0.0
    spread: float = 1.0
    dead: bool = False
    clamp: tuple[float, float] | None = None


Changes: TypeAlias = Mapping[str, tuple[Any, ...]]
"""Field of a recipe -> the values that it may be given."""


def change(
    recipe: Recipe, changes: Changes, choose: Callable[[tuple[Any, ...]], Any] = lambda values: values[0]
) -> Recipe:
    """`recipe` with other fields, each given the value that `choose` takes; the sampler follows the KL's σ."""
    chosen = {name: choose(values) for name, values in changes.items()}
    if "sigma" in chosen:
        chosen = {"sampler_sigma": chosen["sigma"], **chosen}
    changed = replace(recipe, **chosen)
    return replace(changed, offset=0.0) if changed.family == "bce logits" else changed


def build_functions(recipe: Recipe) -> dict[str, Function]:
    """kl, sample and reconstruction as the recipe has them.

    Raises:
        ImportError: The library is not installed.
    """
    xp = importlib.import_module("keras.ops" if recipe.library == "keras" else recipe.library)
    builders = {"kl": _build_kl, "sample": _build_sample, "reconstruction": _build_reconstruction}
    return {name: build(recipe, xp) for name, build in builders.items()}


def _sigma(name: str, s: Any, xp: Any) -> Any:
    softened = xp.log1p(xp.exp(-abs(s))) + (s + abs(s)) / 2
    return {
        "sigma": lambda: abs(s),
        "log sigma": lambda: xp.exp(s),
        "log variance": lambda: xp.exp(s / 2),
        "softplus": lambda: softened,
        "variance": lambda: xp.sqrt(s),
        "softplus variance": lambda: xp.sqrt(softened),
        "minus log sigma": lambda: xp.exp(-s),
        "raw": lambda: s,
    }[name]()


def _reduce(value: Any, rows: str, columns: str, xp: Any) -> Any:
    for axis, how in ((1, columns), (0, rows)):
        value = value if how == "keep" else xp.sum(value, axis) if how == "sum" else xp.mean(value, axis)
    return value


def _build_kl(recipe: Recipe, xp: Any) -> Function:
    def kl(m: Any, s: Any) -> Any:
        if recipe.dead:
            m, s = m.detach(), s.detach()
        if recipe.clamp:
            s = xp.clip(s, *recipe.clamp)
        sigma = _sigma(recipe.sigma, s, xp)
        log = xp.log(sigma) if recipe.log_power == 1 else -(xp.log(sigma) ** 2)
        terms = recipe.m_factor * m**2 + recipe.variance_factor * sigma**2
        terms = terms - recipe.constant_factor - 2 * recipe.log_factor * log
        return recipe.kl_sign * recipe.kl_scale * _reduce(0.5 * terms, recipe.kl_rows, recipe.kl_columns, xp)

    return kl


def _build_sample(recipe: Recipe, xp: Any) -> Function:
    def noise(m: Any) -> Any:
        rows, latents = m.shape
        shared = {"shared rows": (1, latents), "shared latents": (rows, 1), "shared": (1, 1)}
        drawn = shared.get(recipe.noise, (rows, latents))
        if recipe.library == "keras":
            keras = importlib.import_module("keras")
            return keras.random.normal(drawn, dtype=keras.backend.standardize_dtype(m.dtype))
        if recipe.library == "numpy":
            source: Any = np.random.RandomState(3) if recipe.noise == "frozen" else np.random
            kinds = {"uniform": source.uniform, "laplace": source.laplace}
            return kinds.get(recipe.noise, source.normal)(size=drawn)
        generator = torch.Generator().manual_seed(3) if recipe.noise == "frozen" else None
        if recipe.noise == "uniform":
            return torch.rand(drawn, dtype=m.dtype)
        if recipe.noise == "laplace":
            return torch.distributions.Laplace(0.0, 1.0).sample(drawn)
        return torch.randn(drawn, dtype=m.dtype, generator=generator)

    def sample(m: Any, s: Any) -> Any:
        if recipe.clamp:
            s = xp.clip(s, *recipe.clamp)
        if recipe.mean_activation:
            m = xp.tanh(m)
        if recipe.noise == "none":
            return m + 0 * s
        z = m + recipe.noise_scale * _sigma(recipe.sampler_sigma, s, xp) * noise(m)
        return z.detach() if recipe.noise == "detached" else z

    return sample


def _build_reconstruction(recipe: Recipe, xp: Any) -> Function:
    def reconstruction(x: Any, out: Any) -> Any:
        if recipe.defect == "swapped":
            x, out = out, x
        if recipe.defect == "detached":
            out = out.detach()
        if recipe.defect == "double sigmoid":
            out = 1 / (1 + xp.exp(-out))
        if recipe.defect == "tanh":
            out = xp.tanh(out)
        value = _compute_entries(recipe, x, out, xp) + recipe.offset
        factor = recipe.reconstruction_sign * recipe.reconstruction_scale
        return factor * _reduce(value, recipe.rows, recipe.columns, xp)

    return reconstruction


def _compute_entries(recipe: Recipe, x: Any, out: Any, xp: Any) -> Any:
    heavy = 5.0 if recipe.defect == "weighted" else 1.0
    if recipe.family == "bce logits":
        softened = xp.log1p(xp.exp(-abs(out))) + (out + abs(out)) / 2
        return (softened - x * out) if heavy == 1.0 else heavy * x * (softened - out) + (1 - x) * softened
    if recipe.family == "bce probabilities":
        p = xp.clip(out, EPSILON, 1 - EPSILON)
        return -(heavy * x * xp.log(p) + (1 - x) * xp.log(1 - p))
    if recipe.family in ("squared", "half squared", "fixed gaussian"):
        factor = {"squared": 1.0, "half squared": 0.5}.get(recipe.family, 0.5 / recipe.spread**2)
        return factor * (x - out) ** 2
    if recipe.family == "gaussian":
        mean, log_var = out[:, : x.shape[1]], out[:, x.shape[1] :]
        log = 0.0 if recipe.defect == "no log" else heavy * log_var
        return 0.5 * (log + (x - mean) ** 2 * xp.exp(-log_var) + np.log(2 * np.pi))
    if recipe.family == "laplace":
        return abs(x - out) / recipe.spread + np.log(2 * recipe.spread)
    if recipe.family == "student":
        nu = 2.0 + recipe.spread
        return (nu + 1) / 2 * xp.log(1 + (x - out) ** 2 / nu)
    return xp.exp(out) - x * out
