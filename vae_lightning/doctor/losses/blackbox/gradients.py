"""Gradients of black boxes, in whichever framework has them.

Each function returns the gradient of the sum of all values with respect to each array; None where the graph is cut, and
an empty list where the answer has no graph at all.
"""

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from vae_lightning.doctor.losses.blackbox.arrays import Argument, Array, convert, flatten, unflatten

LOST = ("none", "wrong")
"""What `BlackBox.judge_gradients` says of a gradient that does not arrive as it should."""


def torch_gradient(function: Callable[..., Any], arguments: tuple[Argument, ...], framework: str) -> list[Array] | None:
    """Differentiate by autograd."""
    leaves = [convert(array, framework).detach().requires_grad_() for array in flatten(arguments)]
    # Clones, because functions that change their arguments in place may not do so to leaves.
    result = function(*unflatten(arguments, [leaf.clone() for leaf in leaves]))
    if not isinstance(result, torch.Tensor):
        return []
    if not result.requires_grad:
        return None
    gradients = torch.autograd.grad(first_draw(result).sum(), leaves, allow_unused=True)
    return [_to_array(gradient, leaf) for gradient, leaf in zip(gradients, leaves, strict=True)]


def tensorflow_gradient(
    function: Callable[..., Any], arguments: tuple[Argument, ...], framework: str
) -> list[Array] | None:
    """Differentiate by a gradient tape."""
    tensorflow = importlib.import_module("tensorflow")
    single = framework.endswith("32") or framework == "tensorflow"
    leaves = [tensorflow.constant(array.astype(np.float32 if single else np.float64)) for array in flatten(arguments)]
    with tensorflow.GradientTape() as tape:
        for leaf in leaves:
            tape.watch(leaf)
        result = first_draw(function(*unflatten(arguments, leaves)))
    gradients = tape.gradient(result, leaves)
    if all(gradient is None for gradient in gradients):
        return None
    return [_to_array(gradient, leaf) for gradient, leaf in zip(gradients, leaves, strict=True)]


def jax_gradient(function: Callable[..., Any], arguments: tuple[Argument, ...], framework: str) -> list[Array] | None:
    """Differentiate by reverse-mode differentiation."""
    del framework  # JAX itself decides the precision
    jax, jnp = importlib.import_module("jax"), importlib.import_module("jax.numpy")
    leaves = [jnp.asarray(array) for array in flatten(arguments)]
    value, pull_back = jax.vjp(lambda *arrays: first_draw(function(*unflatten(arguments, arrays))), *leaves)
    return [_to_array(gradient, leaf) for gradient, leaf in zip(pull_back(jnp.ones_like(value)), leaves, strict=True)]


def _to_array(gradient: Any, leaf: Any) -> Array:
    return np.zeros(tuple(leaf.shape)) if gradient is None else np.array(gradient, dtype=np.float64)


def first_draw(result: Any) -> Any:
    """The first of several draws made at once; anything else as it is."""
    return result[0] if len(result.shape) > 2 else result
