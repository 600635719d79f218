"""A loss of four arguments, ``loss(x, out, m, s)``, taken apart into its reconstruction and its KL by differences."""

import inspect
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import numpy as np

from vae_lightning.doctor.losses.blackbox.arrays import Array, like
from vae_lightning.doctor.losses.blackbox.box import BlackBox, CallFailed, seed
from vae_lightning.doctor.losses.posterior.noise import LATENTS, fill
from vae_lightning.doctor.losses.reconstruction.family import examine_reconstruction
from vae_lightning.doctor.losses.reconstruction.layout import Layout, ReconstructionReading, Term

Order: TypeAlias = tuple[int, int, int, int]
_T = TypeVar("_T")
COLUMNS = 11
LARGEST = 100_000  # columns that a function is tried with

ORDERS: tuple[Order, ...] = (
    *((0, 1, 2, 3), (1, 0, 2, 3), (2, 3, 0, 1), (3, 2, 0, 1), (0, 3, 1, 2), (3, 0, 1, 2)),
    *((0, 2, 1, 3), (2, 0, 1, 3), (1, 2, 0, 3), (2, 1, 0, 3), (1, 3, 0, 2), (3, 1, 0, 2)),
)
"""Where x, out, m and s may stand among the four arguments of a loss; m before s, which values exchange later."""


@dataclass
class Apart:
    """The parts of a whole loss, where it can be taken apart.

    Args:
        kl, sample: As for `diagnose`.
        term: The reconstruction, as far as it is known.
        power: As for `KLReading`, of the KL.
        latents_named: Whether the names of its arguments have s before m; None where they say nothing.
    """

    kl: Callable[..., Any] | None = None
    term: Term | None = None
    sample: Callable[..., Any] | None = None
    power: int = 0
    latents_named: bool | None = None


_OUTPUT = re.compile(r"rec|hat|pred|out|dec|logit|gen|prob|tilde|prime|_mean$|mean_x|x_mu|mu_x", re.IGNORECASE)
_SECOND = re.compile(r"var|sig|std|sd|scale|prec", re.IGNORECASE)


def count_arguments(function: Callable[..., Any]) -> int:
    """The number of positional arguments that a function needs; 4 if it takes any, 1 if it does not say."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 1
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    count = sum(1 for one in parameters if one.kind in positional and one.default is inspect.Parameter.empty)
    return count or (4 if any(one.kind is inspect.Parameter.VAR_POSITIONAL for one in parameters) else 0)


def names_are_exchanged(function: Callable[..., Any], first: int, second: int, latent: bool) -> bool | None:
    """Whether the names of two arguments say that they stand the other way round; None where they say nothing.

    Names decide nothing by themselves; they tell an order that is meant from one that is a mistake.
    """
    try:
        names = list(inspect.signature(function).parameters)
        marked = [bool((_SECOND if latent else _OUTPUT).search(names[place])) for place in (first, second)]
    except (TypeError, ValueError, IndexError):
        return None
    return None if marked[0] == marked[1] else marked[0]


def exchange(function: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    """`function` with its two arguments the other way round."""
    return lambda first, second: function(second, first)


def arrange(loss: Callable[..., Any], order: Sequence[int]) -> Callable[[Any, Any, Any, Any], Any]:
    """`loss` as a function of x, out, m and s, which stand at the places `order` among its arguments.

    A fifth argument is a weight, and so is what a dictionary of options is asked for: both are 1. Of several numbers
    handed back the one that depends on all four arguments is the loss.
    """
    more = [1.0] * max(0, count_arguments(loss) - 4)
    options: dict[str, float] = {}
    chosen: list[Any] = []

    def call(*roles: Any) -> Any:
        arguments: list[Any] = [None] * 4
        for place, role in zip(order, roles, strict=True):
            arguments[place] = role
        while True:
            try:
                return loss(*arguments, *more, **options)
            except KeyError as error:
                name = error.args[0] if error.args else None
                if not isinstance(name, str) or name in options or not _takes_options(loss):
                    raise
                options[name] = 1.0

    def total(x: Any, out: Any, m: Any, s: Any) -> Any:
        value = call(x, out, m, s)
        if not isinstance(value, tuple | list | dict):
            return value
        if not chosen:
            moved = tuple(part + 0.1 for part in out) if isinstance(out, tuple) else out + 0.1
            others = call(x, moved, m, s), call(x, out, m + 1.7, s)
            keys = value if isinstance(value, dict) else range(len(value))
            chosen.extend(key for key in keys if all(_differ(value[key], one[key]) for one in others))
        return value[chosen[0]] if chosen else value

    return total


def _takes_options(function: Callable[..., Any]) -> bool:
    return any(one.kind is inspect.Parameter.VAR_KEYWORD for one in inspect.signature(function).parameters.values())


def _differ(one: Any, other: Any) -> bool:
    if not (isinstance(one, float) or hasattr(one, "shape")):
        return False
    difference = abs(one - other)
    return bool((difference.sum() if hasattr(difference, "sum") else difference) > 0)


def _is_finite(value: Any) -> bool:
    nothing = value * 0.0  # NaN where it is NaN or infinite, in every framework
    return bool((nothing.sum() if hasattr(nothing, "sum") else nothing) == 0.0)


def extract_reconstruction(loss: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    """(x, out) -> loss at m = 0, s = 1, less its value at x = 0 and an output of 0.35: the KL drops out.

    Where the loss is not finite at x = 0 (a density of positive numbers), x = 0.3 serves.
    """

    def reconstruction(x: Any, out: Any) -> Any:
        latents = like(x, (fill(0.0, x.shape[0]), fill(1.0, x.shape[0])))
        usual = tuple(part * 0 + 0.35 for part in out) if isinstance(out, tuple) else out * 0 + 0.35
        value, base = _draw_alike(lambda: loss(x, out, *latents), lambda: loss(x * 0, usual, *latents))
        if isinstance(value, tuple | list | dict):
            return value  # which is refused by its name
        return value - (base if _is_finite(base) else loss(x * 0 + 0.3, usual, *latents))

    return reconstruction


def extract_kl(loss: Callable[..., Any], layout: Layout, columns: int, zero: float) -> Callable[[Any, Any], Any]:
    """(m, s) -> loss at x = `zero` and an output of 0.35, less that at m = 0, s = 1: the reconstruction drops out."""

    def kl(m: Any, s: Any) -> Any:
        shape = m.shape[0], columns
        x, out = like(m, fill(zero, *shape)), like(m, layout.out([fill(0.35, *shape)] * layout.heads))
        value, base = _draw_alike(lambda: loss(x, out, m, s), lambda: loss(x, out, m * 0, s * 0 + 1.0))
        return value - base

    return kl


def _draw_alike(*losses: Callable[[], Any]) -> list[Any]:
    """Their values beside the same noise, which follows from the caller's seed: a sampled term drops out, too."""
    number, values = int(np.random.randint(2**31)), []
    for loss in losses:
        seed(number)
        values.append(loss())
    return values


def try_columns(job: Callable[[int], _T], columns: int = COLUMNS) -> _T:
    """`job(columns)`, or `job` of a number of columns that its complaint about sizes names (``view(-1, 784)``)."""
    try:
        return job(columns)
    except CallFailed as failure:
        for size in dict.fromkeys(int(digits) for digits in re.findall(r"\d+", failure.message)):
            if COLUMNS < size <= LARGEST and failure.code == "RAISES":
                with suppress(CallFailed):
                    return job(size)
        raise


def find_order(
    loss: Callable[..., Any],
    read: Callable[[Callable[..., Any]], tuple[Term, list[ReconstructionReading]]],
    orders: Sequence[Order] = ORDERS,
) -> tuple[Order, Term] | None:
    """The order of its arguments with which the fewest laws are broken, and its reconstruction; None if it has none.

    Args:
        loss: Of four arguments.
        read: A loss of (x, out, m, s) -> its reconstruction and the readings of it, as `separate` gives them.
        orders: Those that are possible.

    Raises:
        CallFailed: It gives no numbers in any order.
    """
    failures: list[CallFailed] = []
    found: list[tuple[int, Order, Term]] = []  # first how much is wrong, a doubt counting half
    for order in orders:
        if order[0] > order[1] and names_are_exchanged(loss, order[1], order[0], latent=False) is False:
            continue  # x is named first
        try:
            term, readings = read(arrange(loss, order))
        except CallFailed as failure:
            failures.append(failure)
            if failure.code == "SLOW":
                break
            continue
        wrong = sum(2 - bool(one.ok is None) for each in readings for one in each.findings if one.ok is not True)
        if readings:
            found.append((wrong, order, term))
            if not wrong:
                break
    if not found and failures:
        raise failures[0]
    return min(found, key=lambda one: one[0])[1:] if found else None


def separate(loss: Callable[..., Any], columns: int) -> tuple[Term, list[ReconstructionReading]]:
    """The reconstruction in a loss of (x, out, m, s), and the readings of it; none where it is no sum of two terms."""
    box, full = BlackBox("loss", extract_reconstruction(loss)), BlackBox("loss", loss)
    term = Term(box, columns)
    full.framework = box.framework
    # A copy, because readings settle what its reduction is; what was measured of it serves again.
    return term, examine_reconstruction(copy(term), None, True) if is_separable(full, term) else []


def take_apart(loss: Callable[..., Any], order: Order, term: Term) -> Apart:
    """The parts of a loss whose arguments stand in this order, given its reconstruction."""
    whole, columns, values = arrange(loss, order), term.columns, []
    narrow, wide = (extract_kl(whole, term.layout, width, term.pair[0]) for width in (columns, 2 * columns))
    for kl in (narrow, wide):
        box, (m, s) = BlackBox("loss", kl), (fill(2.5), fill(1.2))
        with suppress(CallFailed):  # where sizes are typed into the code
            box.find_framework(m, s)
            values.append(float(np.mean(box(m, s))))
    power = np.log2(values[1] / values[0]) if len(values) == 2 and values[0] * values[1] > 0 else 0.0
    power = round(power) if abs(power - round(power)) < 0.01 else 0
    named = names_are_exchanged(loss, order[2], order[3], latent=True)
    return Apart(lambda m, s: narrow(m, s) / columns**power, term, power=power, latents_named=named)


def is_separable(box: BlackBox, term: Term) -> bool:
    """Whether the loss is a function of (x, out) plus a function of (m, s)."""
    generator = np.random.default_rng(5)
    rows = 5

    def loss(which: int, other: int) -> float:
        x = np.asarray(term.pair)[(np.arange(rows * term.columns).reshape(rows, -1) % (2 + which)) % 2]
        heads = [np.full(x.shape, 0.3 + 0.2 * which + 0.05 * i) for i in range(term.layout.heads)]
        m: Array = latents[other]
        seed(3)
        return float(np.mean(box(x, term.layout.out(heads), m, np.abs(m) + 0.3)))

    latents = generator.normal(size=(2, rows, LATENTS))
    crossed = loss(0, 0) + loss(1, 1) - loss(0, 1) - loss(1, 0)
    return abs(crossed) < 1e-5 * (abs(loss(0, 0)) + abs(loss(1, 1)))
