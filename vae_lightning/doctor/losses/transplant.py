"""A model's own step as a loss of (x, out, m, s): its layers with weights hand back what they are told.

Layers are replaced, one call at a time, by what they returned once, so that only the code between them runs. The one
input that is then still random is the draw; the layers before it that move it are the heads; the layers after it that
move the loss are the decoder's outputs. No name is read, and neither is what the layers compute.
"""

import importlib
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FunctionType, SimpleNamespace
from typing import Any

import numpy as np
import torch

from vae_lightning.doctor.losses.blackbox.arrays import Array
from vae_lightning.doctor.losses.blackbox.box import seed
from vae_lightning.doctor.losses.whole import in_mode

BATCH = 6
SIZES = ((1, 28, 28), (3, 32, 32), (3, 64, 64), (28, 28))  # of images, where the first layer does not tell
LAST = ((28, 28, 1), (32, 32, 3), (64, 64, 3))  # the same as Keras has them


def is_model(value: Any) -> bool:
    """Whether it is a module of torch or a layer of Keras."""
    return isinstance(value, torch.nn.Module) or (hasattr(value, "weights") and hasattr(value, "_flatten_layers"))


def _is_native(value: Any) -> bool:
    """Whether it is a module of torch itself; layers of Keras on torch are modules, too."""
    return isinstance(value, torch.nn.Module) and not hasattr(value, "_flatten_layers")


def find_models(function: Callable[..., Any], model: Any = None) -> list[Any]:
    """The models that a function may call: handed over, its owner, in its closure or among its globals."""
    plain = getattr(function, "__func__", function)
    places = [model, getattr(function, "__self__", None)]
    if isinstance(plain, FunctionType):
        seen = inspect.getclosurevars(plain)
        places += [getattr(one, "__self__", one) for one in (*seen.nonlocals.values(), *seen.globals.values())]
    return list({id(one): one for one in places if is_model(one)}.values())


def _list_layers(model: Any) -> list[Any]:
    if _is_native(model):
        parts = [part for part in model.modules() if not list(part.children())]
        return [part for part in parts if list(part.parameters())]
    layers = (part for part in model._flatten_layers() if part.weights)
    return [part for part in layers if not list(part._flatten_layers(include_self=False))]


@dataclass(frozen=True)
class _Place:
    """Columns of what one call returns."""

    call: int
    columns: slice


class _ReachedError(BaseException):
    """Ends a step at the call that is waited for; no Exception, so that user code rarely catches it."""


class Transplant:
    """The parts of a step, if its draw and its heads can be found.

    Args:
        models: What it calls.
        step: x -> loss.
        x: Rows that it accepts.

    Attributes:
        columns: How many each row has.
        found: Whether `loss` and `sample` can be called.
        is_loss: Whether the step returns a number, or one for each row.
    """

    def __init__(self, models: list[Any], step: Callable[[Any], Any], x: Any) -> None:
        self._layers = list(dict.fromkeys(layer for model in models for layer in _list_layers(model)))
        self._step, self._x, self.columns = step, x, int(np.prod(x.shape[1:]))
        self._torch = all(_is_native(layer) for layer in self._layers)
        self._recorded: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._modules = [part for model in models if self._torch for part in model.modules()]
        self._keras = [] if self._torch else models
        self._run(x, None)
        self._recorded = [self._settle(one) for one in self._outputs]
        self._x = self._settle(x)
        self.found = self._find()

    def loss(self, x: Any, out: Any, m: Any, s: Any) -> Any:
        """The step's loss for these outputs of the decoder and heads."""
        outs = out if isinstance(out, tuple) else (out,)
        if len(outs) != len(self._outs):
            raise TypeError(f"the decoder has {len(self._outs)} outputs")
        given = {**self._place(m, s), **dict(zip(self._outs, outs, strict=True))}
        try:
            return self._run(_shape(x, self._x), given)
        except Exception as error:
            if np.prod(x.shape[1:]) == self.columns:
                raise
            raise TypeError(f"the step was made for {self.columns} columns") from error

    def sample(self, m: Any, s: Any) -> Any:
        """The draw that reaches the decoder."""
        with suppress(_ReachedError):
            self._run(_repeat(self._x, m.shape[0]), self._place(m, s), self._draw.call)
        z = self._inputs[self._draw.call]
        start = self._draw.columns.start
        return z[:, start : start + m.shape[1]]

    def _run(self, x: Any, given: dict[int, Any] | None, until: int | None = None) -> Any:
        """One step, as far as the call `until`; without `given` the layers work, and what they return is kept."""
        self._inputs, self._outputs = [], []

        def replace(work: Callable[..., Any]) -> Callable[..., Any]:
            def replaced(*arguments: Any, **options: Any) -> Any:
                call = len(self._inputs)
                self._inputs.append(arguments[0] if arguments else next(iter(options.values())))
                if call == until:
                    raise _ReachedError
                if given is None:
                    self._outputs.append(work(*arguments, **options))
                    return self._outputs[call]
                if call not in given:
                    return _repeat(self._recorded[call], x.shape[0])
                return _shape(self._convert(given[call]), self._recorded[call])

            return replaced

        with self._patched(replace), _rest(self._keras):
            value = self._step(self._convert(x))
        if not self._keras or not isinstance(value, dict):
            return value
        return {name: _to_array(one).astype(np.float32) for name, one in value.items()}  # metrics have no gradient

    def _settle(self, value: Any) -> Any:
        """Its first row throughout; in float64, unless Keras would only turn it back."""
        value = _repeat(value, value.shape[0])
        return value.double() if self._torch else value

    def _convert(self, value: Any) -> Any:
        return torch.as_tensor(value) if self._torch else importlib.import_module("keras").ops.convert_to_tensor(value)

    @contextmanager
    def _patched(self, replace: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Iterator[None]:
        name = "forward" if self._torch else "call"
        checked = [] if self._torch else [part for model in self._keras for part in model._flatten_layers()]
        specs = [part.input_spec for part in checked]
        for part in checked:
            part.input_spec = None  # Keras refuses other widths
        for layer in self._layers:
            object.__setattr__(layer, name, replace(getattr(layer, name)))
        try:
            with in_mode(self._modules, True):
                yield
        finally:
            for layer in self._layers:
                object.__delattr__(layer, name)
            for part, spec in zip(checked, specs, strict=True):
                part.input_spec = spec

    def _look(self, changes: dict[int, Any], number: int = 1) -> tuple[float, list[Array]]:
        """The loss and what reaches each layer, from one seed, where some calls return something else."""
        seed(number)
        given = {call: self._recorded[call] + change for call, change in changes.items()}
        value = self._run(self._x, given)
        value = list(value.values()) if isinstance(value, dict) else value
        values = [value] if hasattr(value, "shape") else list(value)
        self.is_loss = np.prod(values[0].shape) in (1, len(self._x))
        total = sum(float(_to_array(one).mean()) for one in values if hasattr(one, "shape"))
        return total, [_to_array(one) for one in self._inputs]

    def _find(self) -> bool:
        loss, inputs = self._look({})
        _, others = self._look({}, 2)
        random = [call for call, pair in enumerate(zip(inputs, others, strict=True)) if not np.array_equal(*pair)]
        if not random or inputs[random[0]].ndim != 2:
            return False
        draw = random[0]
        columns = np.flatnonzero(np.any(inputs[draw] != others[draw], axis=0))
        size = columns.size
        self._draw = _Place(draw, slice(int(columns[0]), int(columns[0]) + size))
        self._mean = self._second = None
        for call in range(draw):
            width = self._recorded[call].shape[-1]
            for start in range(0, width, size) if width in (size, 2 * size) else ():
                half = slice(start, start + size)
                change = np.zeros(tuple(self._recorded[call].shape), dtype=np.float32)
                change[..., half] = 1.0
                moved = self._look({call: self._convert(change)})[1][draw] - inputs[draw]
                moved = moved[:, self._draw.columns]
                if np.allclose(moved, 1.0, atol=1e-4):
                    self._mean = _Place(call, half)
                elif np.any(moved != 0):
                    self._second = _Place(call, half)
        moves = 1e-7 * max(1.0, abs(loss))
        self._outs = [call for call in range(draw, len(inputs)) if abs(self._look({call: 0.1})[0] - loss) > moves]
        return self._mean is not None and bool(self._outs)

    def _place(self, m: Any, s: Any) -> dict[int, Any]:
        mean, second = self._mean, self._second
        assert mean is not None
        if second is None or second.call != mean.call:
            return {mean.call: m} if second is None else {mean.call: m, second.call: s}
        first, last = (m, s) if mean.columns.start == 0 else (s, m)
        if self._torch:
            return {mean.call: torch.cat([torch.as_tensor(first), torch.as_tensor(last)], dim=1)}
        return {mean.call: importlib.import_module("keras").ops.concatenate([first, last], axis=1)}


@contextmanager
def _rest(models: list[Any]) -> Iterator[None]:
    """Inside, training steps of these models of Keras train nothing, forget the steps before and draw by our seeds."""
    optimizers, backward = [getattr(model, "optimizer", None) for model in models], torch.Tensor.backward
    for model in models:
        object.__setattr__(model, "optimizer", SimpleNamespace(apply=_idle, apply_gradients=_idle))
        model.reset_metrics() if hasattr(model, "reset_metrics") else None
        for state in model.non_trainable_variables:
            if state.path.endswith("seed_generator_state"):
                state.assign(np.random.randint(2**31, size=state.shape))
        torch.Tensor.backward = _idle  # type: ignore[method-assign]
    try:
        yield
    finally:
        for model, optimizer in zip(models, optimizers, strict=True):
            object.__setattr__(model, "optimizer", optimizer)
        torch.Tensor.backward = backward  # type: ignore[method-assign]


def _idle(*_arguments: Any, **_options: Any) -> None:
    return None


def _to_array(value: Any) -> Array:
    return np.asarray(value.detach().cpu() if isinstance(value, torch.Tensor) else value, dtype=np.float64)


def _shape(value: Any, like: Any) -> Any:
    """Rows of numbers in the shape of an image, where their number fits."""
    same = value.ndim == like.ndim or np.prod(value.shape[1:]) != np.prod(like.shape[1:])
    return value if same else value.reshape((value.shape[0], *like.shape[1:]))


def _repeat(value: Any, rows: int) -> Any:
    """As many rows as wanted, each the first."""
    first = value[:1]
    if isinstance(first, torch.Tensor):
        return first.detach().expand(rows, *first.shape[1:])
    return np.repeat(np.asarray(first), rows, axis=0)


def transplant(step: Callable[[Any], Any], models: list[Any], rows: Array | None) -> Transplant | None:
    """The parts of ``step(x)``, which calls these models; None where they cannot be found.

    Without rows some between 0 and 1 are made, of every width that a layer takes and of the usual sizes of images.
    """
    if not models:
        return None
    native = all(_is_native(one) for one in models)
    widths = ((width,) for one in models for width in _list_widths(one))
    shapes = dict.fromkeys([*widths, *(() if native else LAST), *SIZES])
    generator = np.random.default_rng(0)
    for batch in (generator.uniform(0.1, 0.9, (BATCH, *shape)) for shape in shapes) if rows is None else [rows[:BATCH]]:
        try:
            x: Any = batch.astype(np.float32)
            if native:
                x = torch.as_tensor(x).to(next(weight.dtype for one in models for weight in one.parameters()))
            else:
                x = importlib.import_module("keras").ops.convert_to_tensor(x)
                with _rest(models), suppress(Exception):  # only then Keras makes the weights
                    step(x)
            found = Transplant(models, step, x)
        except Exception:  # whatever the user's code raises: these rows are not for it
            continue
        if found.found:
            return found
    return None


def _list_widths(model: Any) -> list[int]:
    """The widths that its layers take; those that they give, the last first, where they do not say."""
    if _is_native(model):
        return [int(weight.shape[1]) for weight in model.parameters() if weight.ndim == 2]
    return [int(layer.units) for layer in reversed(list(model._flatten_layers())) if hasattr(layer, "units")]
