"""A loss of four arguments, ``loss(x, out, m, s)``, taken apart into its reconstruction and its KL by differences."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from vae_lightning.doctor.losses.blackbox.arrays import Array
from vae_lightning.doctor.losses.blackbox.box import BlackBox
from vae_lightning.doctor.losses.posterior.noise import LATENTS
from vae_lightning.doctor.losses.reconstruction.layout import Layout, Term


def count_arguments(function: Callable[..., Any]) -> int:
    """The number of positional arguments that a function needs; 1 if it does not say."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 1
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(1 for one in parameters if one.kind in positional and one.default is inspect.Parameter.empty)


def _full_like(template: Any, shape: tuple[int, ...], value: float) -> Any:
    """An array of one value in the framework of `template`."""
    if isinstance(template, torch.Tensor):
        return torch.full(shape, value, dtype=template.dtype)
    return np.full(shape, value, dtype=getattr(template, "dtype", np.float64))


def _is_finite(value: Any) -> bool:
    nothing = value * 0.0  # NaN where it is NaN or infinite, in every framework
    return bool((nothing.sum() if hasattr(nothing, "sum") else nothing) == 0.0)


def extract_reconstruction(loss: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    """(x, out) -> loss at m = 0, s = 1, less its value at x = 0 and an output of 0.35: the KL drops out.

    Where the loss is not finite at x = 0 (a density of positive numbers), x = 0.3 serves.
    """

    def reconstruction(x: Any, out: Any) -> Any:
        m, s = _full_like(x, (x.shape[0], LATENTS), 0.0), _full_like(x, (x.shape[0], LATENTS), 1.0)
        usual = tuple(part * 0 + 0.35 for part in out) if isinstance(out, tuple) else out * 0 + 0.35
        value = loss(x, out, m, s)
        if isinstance(value, tuple | list | dict):
            return value  # which is refused by its name
        base = loss(x * 0, usual, m, s)
        return value - (base if _is_finite(base) else loss(x * 0 + 0.3, usual, m, s))

    return reconstruction


def extract_kl(loss: Callable[..., Any], layout: Layout, columns: int, zero: float) -> Callable[[Any, Any], Any]:
    """(m, s) -> loss at x = `zero` and an output of 0.35, less that at m = 0, s = 1: the reconstruction drops out."""

    def kl(m: Any, s: Any) -> Any:
        rows = m.shape[0]
        x = _full_like(m, (rows, columns), zero)
        shapes = {"plain": (rows, columns), "concat": (rows, columns * layout.heads)}
        if layout.kind == "tuple":
            out: Any = tuple(_full_like(m, (rows, columns), 0.35) for _ in range(layout.heads))
        else:
            out = _full_like(m, shapes.get(layout.kind, (rows, columns, layout.heads)), 0.35)
        return loss(x, out, m, s) - loss(x, out, m * 0, s * 0 + 1.0)

    return kl


def is_separable(box: BlackBox, term: Term) -> bool:
    """Whether the loss is a function of (x, out) plus a function of (m, s)."""
    generator = np.random.default_rng(5)
    rows = 5

    def loss(which: int, other: int) -> float:
        x = np.asarray(term.pair)[(np.arange(rows * term.columns).reshape(rows, -1) % (2 + which)) % 2]
        heads = [np.full(x.shape, 0.3 + 0.2 * which + 0.05 * i) for i in range(term.layout.heads)]
        m: Array = latents[other]
        return float(np.mean(box(x, term.layout.out(heads), m, np.abs(m) + 0.3)))

    latents = generator.normal(size=(2, rows, LATENTS))
    crossed = loss(0, 0) + loss(1, 1) - loss(0, 1) - loss(1, 0)
    return abs(crossed) < 1e-5 * (abs(loss(0, 0)) + abs(loss(1, 1)))
