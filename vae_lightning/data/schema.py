"""What kind of values each column holds, and the family and the scaling that suit it: what ``likelihood=auto`` means.

A choice between families is a measurement: each candidate is fitted to most rows of the column alone, and the one that
gives the others the greatest log-density in data units is taken. Probabilities of numbers that are rounded to some
decimals compare with densities as those of the intervals that they are rounded from.
"""

import fnmatch
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vae_lightning.data.choices import Choice, Node
from vae_lightning.data.columns import Column
from vae_lightning.data.dataset import Dataset
from vae_lightning.data.held_out import Trial, build, held_out_losses
from vae_lightning.data.wording import count, shorten
from vae_lightning.errors import ConfigError, Setting, did_you_mean
from vae_lightning.likelihoods.base import Likelihood

Candidate = tuple[Node, Node]
"""A family and a scaling."""
MOST_PLACES = 256
"""Most different numbers that become categories; texts have no such limit."""
FEWEST_A_PLACE = 4.0
"""Rows that there must be for each of them, on average."""
SHARE = 0.05
"""Of the rows: a value that so many share has a probability of its own."""
MANY = 100
"""Different whole numbers above which they may as well be real."""
MOST_COUNT = 1_000
"""Greatest number of a column of counts; above, numbers are as good as real."""
MOST_DECIMALS = 6
GAIN = 0.01
"""Nats a row by which a candidate must be better than one before it, the simpler one."""


@dataclass(frozen=True)
class Seen:
    """One column's values.

    Attributes:
        column: its name, dtype and levels.
        known: the different values of all rows, rising.
        x: the values of training and validation rows, float64, without empty cells.
        decimals: to how many decimals they are given; None for all that a float64 has, and for dates.
    """

    column: Column
    known: np.ndarray
    x: np.ndarray
    decimals: int | None


def infer_choices(dataset: Dataset, asked: Mapping[str, str], preprocess: str | None = None) -> list[Choice]:
    """A family and a scaling for each column of a data set.

    Args:
        dataset: of which training and validation rows are looked at; of the test rows, which values occur.
        asked: names of families by column, or by pattern such as ``visits_*``; the first that fits counts.
        preprocess: the scaling of columns of real numbers; None measures which.

    Raises:
        ConfigError: for a column that is not there, or a family that its column contradicts.
    """
    names = [column.name for column in dataset.columns]
    for pattern in asked:
        if not fnmatch.filter(names, pattern):
            raise ConfigError(
                f"likelihood.columns: there is no column {pattern!r} in {dataset.name}. "
                f"{did_you_mean(pattern, names) or f'Its columns are {shorten(names, 10)}.'}"
            )
    seen = [_look(dataset, index) for index in range(len(dataset.columns))]
    families = [next((asked[key] for key in asked if fnmatch.fnmatch(name, key)), None) for name in names]
    chosen = [
        _known_at_once(one) if family is None else _as_asked(one, preprocess, family)
        for one, family in zip(seen, families, strict=True)
    ]
    open_ = [index for index, choice in enumerate(chosen) if choice is None]
    for index, choice in zip(open_, _measure([seen[index] for index in open_], preprocess), strict=True):
        chosen[index] = choice
    return [
        replace(choice, decimals=one.decimals, kind=_date_unit(one.column) or choice.kind)
        for choice, one in zip(chosen, seen, strict=True)
        if choice
    ]


def _date_unit(column: Column) -> str:
    return "" if column.part is None else f"{column.part.unit}s of dates"


def _look(dataset: Dataset, index: int) -> Seen:
    column = dataset.columns[index]
    train, valid, test = (_observed(part.x[:, index]) for part in dataset.parts)
    x = np.concatenate([train, valid])
    known = np.unique(np.concatenate([x, test]))
    return Seen(column, known, x, None if column.is_date else find_decimals(known))


def _observed(x: np.ndarray) -> np.ndarray:
    return x[~np.isnan(x)].astype(np.float64)


def find_decimals(known: np.ndarray) -> int | None:
    """To how many decimals numbers are given; None where these are more than measuring gives.

    >>> find_decimals(np.array([0.25, 1.5])), find_decimals(np.array([1.0, 20.0])), find_decimals(np.array([0.1 / 3]))
    (2, 0, None)
    """
    for decimals in range(MOST_DECIMALS + 1):
        if (np.abs(known - known.round(decimals)) <= 1e-12 * np.abs(known)).all():
            return decimals
    return None


def _known_at_once(seen: Seen) -> Choice | None:
    """The choice where there is nothing to measure."""
    column, known = seen.column, seen.known
    if column.levels is not None:
        levels = len(column.levels)
        kind = "texts" if levels > 2 else "two texts"
        return Choice(column, _categorical(levels), {"name": "none"}, kind, f"{count(levels, 'level')}")
    if len(known) > 2:
        return None
    if set(known.tolist()) <= {0.0, 1.0}:
        return Choice(column, {"name": "bernoulli"}, {"name": "none"}, "0 and 1", "two values")
    return Choice(column, _categorical(len(known)), _places(known), "two numbers", "two values")


def _measure(columns: Sequence[Seen], preprocess: str | None) -> list[Choice]:
    """For each column the candidate that gives values which it was not fitted to the greatest density."""
    candidates = [_candidates(seen, preprocess) for seen in columns]
    losses = iter(
        held_out_losses(
            [
                Trial(seen.x, family, scaling, seen.decimals or 0)
                for seen, some in zip(columns, candidates, strict=True)
                for family, scaling in some
            ]
        )
    )
    return [
        _take_best(seen, some, [next(losses) for _ in some]) for seen, some in zip(columns, candidates, strict=True)
    ]


def _candidates(seen: Seen, preprocess: str | None) -> list[Candidate]:
    """What a column's values could be of, the simpler before the others."""
    candidates = [] if seen.decimals is None else _repeated(seen.known, len(seen.x))
    if seen.decimals == 0:
        candidates += _counts(seen.known)
    shared = _find_shared(seen.x)
    if shared is not None:
        candidates += [({"name": "hurdle"}, {"name": "hurdle", "shared": [shared]})]
    elif not candidates or seen.decimals != 0 or len(seen.known) > MANY:
        candidates += _real(preprocess)
    return candidates


def _take_best(seen: Seen, candidates: Sequence[Candidate], losses: Sequence[float]) -> Choice:
    best = 0
    for index, loss in enumerate(losses):
        if loss < losses[best] - GAIN:
            best = index
    family, scaling = candidates[best]
    others = [
        f"{_name(*candidate)} {loss:.2f}"
        for candidate, loss in zip(candidates, losses, strict=True)
        if candidate is not candidates[best] and loss < math.inf
    ]
    kind = "dates" if seen.column.is_date else "whole numbers" if seen.decimals == 0 else "real numbers"
    measured = f"{losses[best]:.2f} nats a row ({shorten(others, 3)})" if others else "the only one that fits"
    return Choice(seen.column, family, scaling, kind, measured)


def _as_asked(seen: Seen, preprocess: str | None, name: str) -> Choice:
    """A family that somebody asked for, unless the values contradict it."""
    column, known = seen.column, seen.known
    Likelihood.named(name, f"likelihood.columns.{column.name}")
    levels = len(column.levels or known)
    takes_levels = name in ("categorical", "ordinal")
    node: Node = {"name": name, "levels": levels} if takes_levels else {"name": name}
    if column.levels is not None and not (takes_levels or (name == "bernoulli" and levels <= 2)):
        raise ConfigError(
            f"likelihood.columns: the column {column.name!r} holds {count(levels, 'text')}, which {name} cannot take.",
            [Setting("likelihood.columns", {column.name: "categorical"})],
        )
    if takes_levels and column.levels is None:
        return Choice(column, node, _places(known), "numbers as levels", "as asked for")
    support = build(Likelihood, node).supports[0]
    wish, _ = support.default_preprocess(float(known.min()), float(known.max()), None)
    scaling = {"name": preprocess if preprocess and wish == "standardize" else wish}
    if not math.isfinite(held_out_losses([Trial(seen.x, node, scaling)])[0]):
        raise ConfigError(
            f"likelihood.columns: {name} takes {support.words}, and the column {column.name!r} holds values from "
            f"{known.min():.6g} to {known.max():.6g} that are something else.",
            [Setting("likelihood.columns", {column.name: "gaussian"}, "takes all real numbers")],
        )
    return Choice(column, node, scaling, support.noun, "as asked for")


def _categorical(levels: int) -> Node:
    return {"name": "categorical", "levels": levels}


def _places(known: np.ndarray) -> Node:
    return {"name": "places", "known": [known.tolist()]}


def _repeated(known: np.ndarray, num_rows: int) -> list[Candidate]:
    """Numbers that come again and again, as categories."""
    few = len(known) <= min(MOST_PLACES, num_rows / FEWEST_A_PLACE)
    return [(_categorical(len(known)), _places(known))] if few else []


def _counts(known: np.ndarray) -> list[Candidate]:
    """Families of counts, where the numbers are none too many to be told apart."""
    if known.min() < 0 or known.max() > MOST_COUNT:
        return []
    return [({"name": name}, {"name": "none"}) for name in ("poisson", "negative_binomial")]


def _find_shared(x: np.ndarray) -> float | None:
    """The value that a good part of the rows share, where there is one: it has no density."""
    values, counts = np.unique(x, return_counts=True)
    return float(values[counts.argmax()]) if counts.max() >= SHARE * len(x) else None


def _real(preprocess: str | None) -> list[Candidate]:
    """Families of real numbers."""
    scalings = (preprocess,) if preprocess else ("standardize", "gaussianize")
    return [({"name": "gaussian"}, {"name": name}) for name in scalings]


def _name(family: Node, scaling: Node) -> str:
    return str(family["name"] if scaling["name"] in ("none", "places", "hurdle") else scaling["name"])
