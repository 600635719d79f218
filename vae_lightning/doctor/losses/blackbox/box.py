"""A user's function as a black box: arrays in, a float64 array out, and every misbehaviour named."""

import random
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

from vae_lightning.doctor.losses.blackbox.arrays import (
    FRAMEWORKS,
    Argument,
    Array,
    convert,
    first_draw,
    flatten,
    is_unchanged,
    jax_gradient,
    tensorflow_gradient,
    torch_gradient,
    unflatten,
)
from vae_lightning.doctor.losses.blackbox.deadline import Stopped, stop_if_abandoned
from vae_lightning.doctor.report import Finding

_GRADIENTS = {"tensorflow": tensorflow_gradient, "jax": jax_gradient}


class CallFailed(Exception):  # noqa: N818 - it is not an error of this program
    """A call that gave no number; `code` says in which way.

    Args:
        code: ``RAISES``, ``SHAPE`` or ``SLOW``.
        message: What happened, for the report.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class BlackBox:
    """One user's function.

    Args:
        name: What the report calls it.
        function: The function.
    """

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.name = name
        self.framework = ""
        self.library = ""  # of the answers
        self.mutates = False
        self.single_precision = False  # or less, of the values
        self.function = function

    def find_framework(self, *arguments: Argument) -> None:
        """Find the framework that the function is written for, by trying.

        Raises:
            CallFailed: No framework got a number out of it.
        """
        failures: dict[str, CallFailed] = {}
        for framework in FRAMEWORKS:
            if framework in ("tensorflow", "jax") and find_spec(framework) is None:
                continue
            self.framework = framework
            try:
                self(*arguments)
            except CallFailed as failure:
                failures[framework] = failure
            else:
                return
        self.framework = ""
        raise _most_informative(failures)

    def __call__(self, *arguments: Argument) -> Array:
        """The function's value for these arguments; its random state is the caller's business."""
        handed = [convert(argument, self.framework) for argument in arguments]
        result = self._run(lambda: self.function(*handed))
        for before, after in zip(arguments, handed, strict=True):
            self.mutates = self.mutates or not is_unchanged(before, after)
        return self._to_array(result)

    def attempt(self, *arguments: Argument) -> Array | None:
        """The value, or None where the function refuses these arguments: outside its domain many raise."""
        try:
            return self(*arguments)
        except CallFailed:
            return None

    @property
    def has_gradient(self) -> bool:
        """Whether gradients can be asked for."""
        return self.framework in ("torch", "torch, float32") or self.library in _GRADIENTS

    def gradient(self, *arguments: Argument) -> list[Array] | None:
        """The gradient of the sum of all values with respect to each array.

        None where the graph is cut, and an empty list where the function answers with something that has no graph.
        """
        way = _GRADIENTS.get(self.library, torch_gradient)
        try:
            gradients: list[Array] | None = self._run(lambda: way(self.function, arguments, self.framework))
        except CallFailed:
            if way is torch_gradient:
                raise
            return []  # the values were had from numpy's arrays; traced ones may be refused
        return gradients

    def check_gradients(
        self, code: str, names: Sequence[str], *arguments: Argument, comparable: bool = True
    ) -> list[Finding]:
        """Whether gradients pass; nothing where the function or its answer has no graph.

        Right is the slope of the values along a shift of the whole array; where two calls cannot be compared, whatever
        is not zero.

        Args:
            code: The code of one that is cut off.
            names: What the arrays of the arguments are called, the same for those of which one is enough; an empty one
                is not judged.
            arguments: Those of the function.
            comparable: Whether two calls can be compared.
        """
        seed(5)
        leaves, gradients = flatten(arguments), self.gradient(*arguments) if self.has_gradient else []
        if gradients is None:
            gradients = [np.zeros(leaf.shape) for leaf in leaves]

        def compute_slope(index: int, step: float) -> float:
            totals = []
            for shift in (step, -step):
                seed(5)
                shifted = [leaf + shift * (place == index) for place, leaf in enumerate(leaves)]
                totals.append(float(np.sum(first_draw(self(*unflatten(arguments, shifted))))))
            return (totals[0] - totals[1]) / (2 * step)

        def judge(index: int, gradient: Array) -> str:
            if not comparable or not np.all(np.isfinite(gradient)):
                return "infinite" if not np.all(np.isfinite(gradient)) else "right" if np.any(gradient) else "lost"
            # Two steps: the wider one for functions that compute in single precision inside.
            slopes, total = [compute_slope(index, step) for step in (1e-5, 1e-2)], float(np.sum(gradient))
            return "right" if any(abs(total - one) <= 0.05 * max(abs(one), 1e-3) for one in slopes) else "lost"

        states: dict[str, set[str]] = {}
        for index, (name, gradient) in enumerate(zip(names, gradients, strict=False)):
            if name:
                states.setdefault(name, set()).add(judge(index, gradient))
        infinite = [one for one, found in states.items() if "infinite" in found]
        lost = [one for one, found in states.items() if found == {"lost"}]
        if infinite:
            says = f"At ordinary values the gradient of {self.name} with respect to {infinite[0]} is NaN or infinite."
            return [Finding("OVERFLOW", False, says, "Look for a square root, log or where() at its edge.")]
        if lost:
            says = f"{self.name} changes with {' and '.join(lost)}, but its gradient does not say so: it is cut off."
            advice = "No detach(), .data, no_grad(), round() or argmax() there, and rsample() rather than sample()."
            return [Finding(code, False, says, advice)]
        return [Finding(code, True, f"Gradients pass through {self.name}.")] if states else []

    def reaches(self, parameters: Sequence[torch.Tensor], *arguments: Argument) -> list[bool]:
        """Whether a gradient reaches each of the parameters, which the function uses by itself."""

        def job() -> list[bool]:
            result = self.function(*(convert(argument, self.framework) for argument in arguments))
            if not isinstance(result, torch.Tensor) or not result.requires_grad:
                return [False] * len(parameters)
            gradients = torch.autograd.grad(result.sum(), parameters, allow_unused=True)
            return [gradient is not None and bool(gradient.any()) for gradient in gradients]

        reached: list[bool] = self._run(job)
        return reached

    def _run(self, job: Callable[[], Any]) -> Any:
        """`job()`, whose exceptions are the user's."""
        stop_if_abandoned()
        try:
            return job()
        except (KeyboardInterrupt, Stopped):
            raise
        except BaseException as error:  # SystemExit too: no user code may end the examination
            text = " ".join(str(error).split())
            raise CallFailed("RAISES", f"{type(error).__name__}: {text[:300]}") from error

    def _to_array(self, result: Any) -> Array:
        self.library = type(result).__module__.partition(".")[0].replace("jaxlib", "jax")
        if isinstance(result, torch.Tensor):
            self.single_precision |= result.dtype in (torch.float32, torch.float16, torch.bfloat16)
            result = result.detach().cpu().resolve_conj()
            if result.dtype is torch.bfloat16:
                result = result.float()
        if result is None or isinstance(result, tuple | list | dict | str):
            raise CallFailed("SHAPE", f"it returns {_describe(result)}, not a number or an array")
        try:
            array = np.asarray(result)
        except Exception as error:
            raise CallFailed("SHAPE", f"its result, {_describe(result)}, is no array ({error})") from error
        if array.dtype.kind not in "fiub":
            raise CallFailed("SHAPE", f"its result is of type {array.dtype}, not a real number")
        self.single_precision |= array.dtype in (np.float32, np.float16)
        return array.astype(np.float64)


def _describe(result: Any) -> str:
    if isinstance(result, tuple | list):
        return f"a {type(result).__name__} of {len(result)}"
    return "None" if result is None else f"a {type(result).__name__}"


def _most_informative(failures: dict[str, CallFailed]) -> CallFailed:
    # The framework that the function is written for fails at the user's own error; the others fail earlier, at the
    # first call that does not know their arrays.
    for framework in ("torch", "numpy", "tensorflow", "jax"):
        failure = failures.get(framework)
        foreign = ("TypeError: ", "AttributeError: ", "RuntimeError: Can't call numpy()")
        if failure is not None and not failure.message.startswith(foreign):
            return failure
    return failures["torch"]


def seed(number: int) -> None:
    """Set every global random state that a user's function may draw from."""
    # Without an accelerator torch.manual_seed keeps a stack trace for the day there is one: a fifth of an examination.
    (torch.manual_seed if torch.accelerator.is_available() else torch.default_generator.manual_seed)(number)
    np.random.seed(number)
    random.seed(number)
    if "keras" in sys.modules:
        sys.modules["keras"].utils.set_random_seed(number)  # TensorFlow's too
    elif "tensorflow" in sys.modules:
        sys.modules["tensorflow"].random.set_seed(number)


@contextmanager
def keep_random_states() -> Iterator[None]:
    """Leave the caller's random states as they were, and keep the black boxes' warnings to ourselves."""
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            torch.set_rng_state(states[0])
            np.random.set_state(states[1])
            random.setstate(states[2])
