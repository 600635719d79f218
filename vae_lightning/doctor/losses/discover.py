"""The functions of a file, told apart by what they do: a draw follows m, a KL is a parabola in it."""

import inspect
import re
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from functools import partial
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
import torch

from vae_lightning.doctor.losses.blackbox.arrays import Array
from vae_lightning.doctor.losses.blackbox.box import BlackBox, CallFailed, seed
from vae_lightning.doctor.losses.parts import ORDERS, Order, arrange, count_arguments, try_columns
from vae_lightning.doctor.losses.transplant import is_model, transplant

Function: TypeAlias = Callable[..., Any]
Definitions: TypeAlias = Sequence[tuple[str, Any, Any]]
ARGUMENTS = ((), (11,), (11, 7), (11, 9, 7), (11, 9, 9, 7), (11, [9], 7))
"""What constructors are tried with: nothing, then numbers of columns, hidden units and latents."""

_LOSS = re.compile(r"loss|elbo|objective|criterion|entropy|backward|train(ing)?_step", re.IGNORECASE)


def list_definitions(module: ModuleType) -> list[tuple[str, Any, Any]]:
    """Name and definition of each function of a module, and of each method of its classes and their instances.

    The third is what can be called: None for the methods of a class of which no instance can be made.
    """
    found: list[tuple[str, Any, Any]] = []
    for name, value in list(vars(module).items()):
        kind = value if inspect.isclass(value) else type(value)
        if kind.__module__ == module.__name__:
            instance = _make(value) if inspect.isclass(value) else value
            parts = [part for part in reversed(kind.__mro__) if part.__module__ == module.__name__]
            members = [(key, one) for part in parts for key, one in vars(part).items() if key != "__init__"]
            methods = [(key, one) for key, one in members if callable(one) and not inspect.isclass(one)]
            found += [(f"{name}.{key}", one, getattr(instance, key, None)) for key, one in methods]
        elif callable(value) and getattr(value, "__module__", None) == module.__name__:
            found.append((name, value, value))
    return found


def find_functions(definitions: Definitions, rows: Array | None = None) -> dict[str, tuple[str, Function]]:
    """Role -> name and function, of what a module defines; of several for one role the first.

    A model's own step, which holds everything, comes before its parts, one that is named for training before others.
    """
    candidates = [(name, function) for name, _, function in definitions if callable(function) and "__" not in name]
    found: dict[str, tuple[str, Function]] = {}
    for name, function in sorted(candidates, key=lambda one: not re.search("train|compute_loss", one[0])):
        models = [one for one in (getattr(function, "__self__", None),) if is_model(one)]
        for step in _list_steps(function) if models else ():
            graft = transplant(step, models, rows)
            if graft is not None and graft.is_loss:
                return {"loss": (f"{name}, at its layers", step)}
            if graft is not None:
                found.setdefault("sample", (f"{name}, at its layers", graft.sample))
    for name, function in candidates:
        for role, one in _find_role(function):
            found.setdefault(role, (name, one))
    return found if "loss" not in found else {role: found[role] for role in ("loss", "sample") if role in found}


def list_unexamined(definitions: Definitions, examined: Collection[str]) -> list[str]:
    """Functions and methods beside `examined`, and not called by them, that look as if they computed a loss.

    Most could not be run, so that nothing but their names and the names in their code tells.
    """
    codes = {name: getattr(inspect.unwrap(one), "__code__", None) for name, one, _ in definitions}
    words = {name: (*code.co_names, *code.co_varnames) if code else () for name, code in codes.items()}
    known = {*examined, *(word for name in examined for word in words.get(name, ()))}
    first = {code or name: name for name, code in reversed(codes.items())}  # methods are inherited, too
    first |= {codes[name]: name for name in examined if name in codes}
    others = [name for name in first.values() if name not in known and name.rpartition(".")[2] not in known]
    return [name for name in others if any(_LOSS.search(word) for word in (name, *words[name]))]


def _list_steps(function: Function) -> list[Function]:
    """The ways in which a step of a model may be called with rows: alone, with labels, with the number of the batch."""

    def label(x: Any) -> Any:
        return torch.zeros(len(x), dtype=torch.long) if isinstance(x, torch.Tensor) else x

    count = count_arguments(function)
    if count == 0:
        return [lambda x: function(x=x, y=x, y_pred=function.__self__(x))]  # type: ignore[attr-defined]
    rest = (0,) if count == 2 else ()
    ways = (lambda x: x, lambda x: (x, label(x)), lambda x: [x])
    return [lambda x, way=way: function(way(x), *rest) for way in ways] if count in (1, 2) else []


def resolve(module: ModuleType, name: str) -> Function | None:
    """The function of that name, or ``Class.method`` of an instance made as it can be; None if there is none."""
    owner, _, method = name.partition(".")
    value = getattr(module, owner, None)
    if method:
        value = getattr(_make(value) if inspect.isclass(value) else value, method, None)
    return value if callable(value) else None


def _make(kind: type) -> Any:
    """An instance: from whatever arguments make one, or bare, without its constructor; None where neither works."""
    for arguments in ARGUMENTS:
        try:
            return kind(*arguments)
        except Exception:
            continue
    try:
        instance: Any = object.__new__(kind)
        foreign: Any = next(part for part in kind.__mro__ if part.__module__ != kind.__module__)
        foreign.__init__(instance)
        return instance
    except Exception:
        return None


def _find_role(function: Function) -> list[tuple[str, Function]]:
    """The role that its values show, and the function with the arguments of that role."""
    count = count_arguments(function)
    if count == 1:
        pair = function

        def function(m: Any, s: Any) -> Any:
            return pair((m, s))

    try:
        few = count in (1, 2)
        role = _judge_two(BlackBox("", function)) if few else _judge_four(function) if count in (4, 5) else None
    except (CallFailed, ArithmeticError, ValueError, IndexError):
        return []
    return [] if role is None else [(role, function)]


def _judge_four(function: Function) -> str | None:
    m = np.full((5, 7), 0.3)

    def accepts(order: Order, columns: int) -> bool:
        x, box = np.full((5, columns), 0.4), BlackBox("", arrange(function, order))
        box.find_framework(x, x + 0.2, m, m + 0.1)
        return bool(np.all(np.isfinite(box(x, x + 0.2, m, m + 0.1))))

    for order in ORDERS[::2]:
        with suppress(CallFailed):
            if try_columns(partial(accepts, order)):
                return "loss"
    return None


def _judge_two(box: BlackBox) -> str | None:
    generator = np.random.default_rng(0)
    m, s, other, scale = generator.uniform(0.2, 0.8, (4, 5, 7))
    box.find_framework(m, s)

    def value(first: Array, second: Array) -> Array:
        seed(0)
        return box(first, second)

    start = value(m, s)
    unseeded = not np.array_equal(start, value(m, s), equal_nan=True)
    if start.shape == m.shape and (unseeded or np.allclose(value(m + 1.0, s) - start, 1.0, atol=1e-5)):
        return "sample"
    crossed = float(np.sum(start + value(other, scale) - value(m, scale) - value(other, s)))
    size = float(np.sum(np.abs(start)))
    if abs(crossed) > 1e-5 * size:
        return "reconstruction"
    nothing, once, twice = (float(np.sum(value(k * m, s))) for k in (0.0, 2.0, 4.0))
    return "kl" if abs(once - nothing) > 1e-6 and abs((twice - nothing) / (once - nothing) - 4) < 1e-3 else None
