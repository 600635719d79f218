"""Arrays on their way into a black box, from numpy to the framework that it is written in, and gradients back.

A gradient is that of the sum of all values with respect to each array: None where the graph is cut, and an empty list
where the answer has no graph at all.
"""

import importlib
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
Argument: TypeAlias = "Array | tuple[Array, ...]"

FRAMEWORKS = ("torch", "numpy", "torch, float32", "torch, no gradient", "numpy, float32", "tensorflow", "jax")
"""The kinds of arrays that are tried, in this order; functions of TensorFlow and JAX mostly take numpy's."""


def flatten(arguments: tuple[Argument, ...]) -> list[Array]:
    """All arrays of the arguments, those inside tuples too."""
    return [array for item in arguments for array in (item if isinstance(item, tuple) else (item,))]


def unflatten(arguments: tuple[Argument, ...], arrays: Sequence[Any]) -> list[Any]:
    """`arrays`, one for each of `flatten(arguments)`, in the arguments' structure."""
    left = iter(arrays)
    return [tuple(next(left) for _ in item) if isinstance(item, tuple) else next(left) for item in arguments]


def convert(argument: Argument, framework: str) -> Any:
    """A copy of the argument as the framework's arrays."""
    if isinstance(argument, tuple):
        return tuple(convert(array, framework) for array in argument)
    if framework.startswith("torch"):
        single = framework.endswith("32")
        dtype = np.int64 if argument.dtype.kind in "iu" else np.float32 if single else np.float64
        tensor = torch.from_numpy(argument.astype(dtype))
        # Not a leaf: in-place code then runs, as it does inside a network.
        gradient = framework != "torch, no gradient" and tensor.is_floating_point()
        return tensor.requires_grad_().clone() if gradient else tensor
    if framework.startswith("numpy"):
        single = framework.endswith("32") and argument.dtype.kind == "f"
        return argument.astype(np.float32) if single else argument.copy()
    if framework == "tensorflow":
        return importlib.import_module("tensorflow").constant(argument.astype(np.float32))
    return importlib.import_module("jax.numpy").asarray(argument)


def like(template: Any, argument: Argument) -> Any:
    """The argument as arrays of the framework and the precision of `template`."""
    if isinstance(argument, tuple):
        return tuple(like(template, array) for array in argument)
    if isinstance(template, torch.Tensor):
        return torch.from_numpy(argument).to(template.dtype)
    return argument.astype(getattr(template.dtype, "as_numpy_dtype", template.dtype))


def is_unchanged(before: Argument, after: Any) -> bool:
    """Whether what was handed over still has the values that it had."""
    if isinstance(before, tuple):
        return all(is_unchanged(one, other) for one, other in zip(before, after, strict=True))
    if isinstance(after, torch.Tensor):
        after = after.detach().numpy()
    elif not isinstance(after, np.ndarray):
        return True  # the arrays of the other frameworks cannot be changed
    # Bytes: NaN equals itself, and it takes a tenth of the time of np.array_equal.
    return after.shape == before.shape and after.tobytes() == before.astype(after.dtype).tobytes()


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
