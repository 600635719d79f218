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
from vae_lightning.data.order import are_in_order
from vae_lightning.data.wording import count, shorten
from vae_lightning.errors import ConfigError, Setting, did_you_mean
from vae_lightning.likelihoods.base import Likelihood

Candidate = tuple[Node, Node]
"""A family and a scaling."""
MOST_PLACES, MOST_NAMES = 512, 256
"""Most different numbers that become levels in an order, and categories; texts have no such limit."""
FEWEST_A_PLACE = 4.0
"""Rows that there must be for each of them, on average."""
SHARE = 0.05
"""Of the rows: a value that so many share has a probability of its own."""
FEW_PLACES = 4
"""Most different numbers that are categories whatever their order says."""
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
        in_order: whether other columns follow the order of its numbers, where these come again and again.
        exposure: of the rows of ``x``, their mean 1; None where there is none.
    """

    column: Column
    known: np.ndarray
    x: np.ndarray
    decimals: int | None
    in_order: bool = False
    exposure: np.ndarray | None = None

    @property
    def comes_again(self) -> bool:
        """Whether it holds numbers so few that each comes again and again."""
        few = min(MOST_PLACES, len(self.x) / FEWEST_A_PLACE)
        return self.column.levels is None and self.decimals is not None and len(self.known) <= few


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
    seen = _mind_order([_look(dataset, index) for index in range(len(names))], dataset)
    families = [next((asked[key] for key in asked if fnmatch.fnmatch(name, key)), None) for name in names]
    chosen = [
        _known_at_once(one) if family is None else _as_asked(one, preprocess, family)
        for one, family in zip(seen, families, strict=True)
    ]
    measured = iter(_measure([one for one, choice in zip(seen, chosen, strict=True) if choice is None], preprocess))
    found = [choice or next(measured) for choice in chosen]
    return [
        replace(choice, decimals=one.decimals, kind=_date_unit(one.column) or choice.kind)
        for choice, one in zip(found, seen, strict=True)
    ]


def _date_unit(column: Column) -> str:
    return "" if column.part is None else f"{column.part.unit}s of dates"


def _look(dataset: Dataset, index: int) -> Seen:
    column = dataset.columns[index]
    train, valid, test = (_observed(part.x[:, index]) for part in dataset.parts)
    x = np.concatenate([train, valid])
    known = np.unique(np.concatenate([x, test]))
    return Seen(
        column, known, x, None if column.is_date else find_decimals(known), exposure=_find_exposure(dataset, index)
    )


def _find_exposure(dataset: Dataset, index: int) -> np.ndarray | None:
    """The exposures of the training and validation rows that have a value in a column, their mean 1."""
    place = dataset.exposure_place
    if place is None:
        return None
    parts = (part for part in (dataset.train, dataset.valid) if part.condition is not None)
    exposure = np.concatenate([part.condition[~np.isnan(part.x[:, index]), place] for part in parts])  # type: ignore[index]
    return exposure / exposure.mean()


def _mind_order(columns: list[Seen], dataset: Dataset) -> list[Seen]:
    """The columns, those marked whose numbers come again and again and are no levels in an order."""
    asked = [index for index, one in enumerate(columns) if one.comes_again and len(one.known) > FEW_PLACES]
    if asked:
        x = np.concatenate([dataset.train.x, dataset.valid.x])
        for index, in_order in zip(asked, are_in_order(x, asked), strict=True):
            columns[index] = replace(columns[index], in_order=in_order)
    return columns


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
                Trial(seen.x, family, scaling, seen.decimals or 0, seen.exposure)
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
    candidates = _repeated(seen)
    if seen.decimals == 0:
        candidates += _counts(seen)
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
    nodes: dict[str, Node] = {"categorical": _categorical(levels), "ordinal": _ordinal(levels)}
    takes_levels = name in nodes
    node = nodes.get(name, {"name": name})
    if column.levels is not None and not (takes_levels or (name == "bernoulli" and levels <= 2)):
        raise ConfigError(
            f"likelihood.columns: the column {column.name!r} holds {count(levels, 'text')}, which {name} cannot take.",
            [Setting("likelihood.columns", {column.name: "categorical"})],
        )
    if takes_levels and column.levels is None:
        return Choice(column, node, _places(known, nearest=name == "ordinal"), "numbers as levels", "as asked for")
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


def _ordinal(levels: int) -> Node:
    return {"name": "ordinal", "levels": [levels]}


def _places(known: np.ndarray, nearest: bool = False) -> Node:
    """Places of known values; of a level in an order another number is taken for the nearest."""
    return {"name": "places", "known": [known.tolist()]} | ({"nearest": True} if nearest else {})


def _repeated(seen: Seen) -> list[Candidate]:
    """Numbers that come again and again, as levels in an order or as categories."""
    size = len(seen.known)
    if not seen.comes_again or (size > MOST_NAMES and not seen.in_order):
        return []
    family = _ordinal(size) if seen.in_order else _categorical(size)
    return [(family, _places(seen.known, nearest=seen.in_order))]


def _counts(seen: Seen) -> list[Candidate]:
    """Families of counts, where the numbers are none too many to be told apart, or have an exposure."""
    if seen.known.min() < 0 or (seen.known.max() > MOST_COUNT and seen.exposure is None):
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
