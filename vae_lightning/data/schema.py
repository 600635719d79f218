"""What kind of values each column holds, and the family and the scaling that suit it: what ``likelihood=auto`` means.

A choice between families is a measurement: each candidate is fitted to most rows of the column alone, and the one that
gives the others the greatest log-density in data units is taken. Probabilities of numbers that are rounded to some
decimals compare with densities as those of the intervals that they are rounded from.
"""

import fnmatch
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from vae_lightning.data.batch import Batch
from vae_lightning.data.columns import Column
from vae_lightning.data.dataset import Dataset
from vae_lightning.data.preprocess.base import Scaling
from vae_lightning.data.store import RowsInMemory
from vae_lightning.data.wording import count, shorten
from vae_lightning.errors import ConfigError, Setting, did_you_mean
from vae_lightning.likelihoods.base import Likelihood

Node = Mapping[str, Any]
MOST_PLACES = 256
"""Most different numbers that become categories; texts have no such limit."""
FEWEST_A_PLACE = 4.0
"""Rows that there must be for each of them, on average."""
SHARE = 0.05
"""Of the rows: a value that so many share has a probability of its own."""
MANY = 100
"""Different whole numbers above which they may as well be real."""
OWN = ("known", "shared")
"""Options that hold an entry for each column of a block."""
MOST_COUNT = 1_000
"""Greatest number of a column of counts; above, numbers are as good as real."""
MOST_ROWS = 20_000
"""Rows that a choice is measured on."""
EVERY = 5
"""One row in so many is held out."""
MOST_DECIMALS = 6
GAIN = 0.01
"""Nats a row by which a candidate must be better than one before it, the simpler one."""


@dataclass(frozen=True)
class Choice:
    """What one column is taken for.

    Attributes:
        column: its name, dtype and levels.
        family: name and options of its likelihood.
        scaling: name and options of its scaling.
        kind: what its values are, in a word or two.
        why: a clause.
        decimals: to how many decimals its numbers are given; None for all that a float64 has.
    """

    column: Column
    family: Node
    scaling: Node
    kind: str
    why: str
    decimals: int | None = None


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
    choices = []
    for index, column in enumerate(dataset.columns):
        train, valid, test = (_observed(part.x[:, index]) for part in dataset.parts)
        fitted = np.concatenate([train, valid])
        known = np.unique(np.concatenate([fitted, test]))
        decimals = None if column.is_date else find_decimals(known)
        family = next((asked[pattern] for pattern in asked if fnmatch.fnmatch(column.name, pattern)), None)
        if family is None:
            choice = _choose(column, known, fitted, preprocess, decimals)
        else:
            choice = _as_asked(column, known, fitted, preprocess, family)
        choices.append(replace(choice, decimals=decimals))
    return choices


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


def by_column(choices: Sequence[Choice], what: str) -> dict[str, Any]:
    """The likelihood (``family``) or the scaling (``scaling``) of all columns, those of one kind in one block."""
    blocks: dict[str, dict[str, Any]] = {}
    for index, choice in enumerate(choices):
        node: Node = getattr(choice, what)
        # Columns with as many known values share a block.
        key = repr([(name, np.shape(value) if name in OWN else value) for name, value in sorted(node.items())])
        block = blocks.setdefault(key, {**node, "columns": []})
        block["columns"].append(index)
        if len(block["columns"]) > 1:
            block |= {key: [*block[key], *node[key]] for key in OWN if key in node}
    block = next(iter(blocks.values()))
    if what == "family" and len(blocks) == 1 and block["name"] in Likelihood.families():
        return {key: value for key, value in block.items() if key != "columns"}
    return {"name": "by_column", "blocks": list(blocks.values())}


def tabulate_choices(choices: Sequence[Choice]) -> list[list[str]]:
    """Name, kind, family and reason of each column, in words: what a record keeps of the choices."""
    return [[choice.column.name, choice.kind, _words(choice), choice.why] for choice in choices]


def join_alike(rows: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """The rows of :func:`tabulate_choices`, columns of one kind, family and reason together."""
    told: dict[tuple[str, ...], list[str]] = {}
    for name, *others in rows:
        told.setdefault(tuple(others), []).append(name)
    return [(shorten(names, 6), *others) for others, names in told.items()]


def describe_choices(choices: Sequence[Choice]) -> str:
    """The choices as lines, columns of one kind and reason together."""
    return align_choices(tabulate_choices(choices))


def align_choices(table: Sequence[Sequence[str]]) -> str:
    """The rows of :func:`tabulate_choices` as lines."""
    rows = join_alike(table)
    widths = [min(max(len(row[i]) for row in rows), 60) for i in range(3)]
    return "\n".join("  " + "  ".join(f"{row[i]:{widths[i]}}" for i in range(3)) + f"  {row[3]}" for row in rows)


def _words(choice: Choice) -> str:
    options = [f"{key}={value}" for key, value in choice.family.items() if key not in ("name", "levels")]
    scaling = choice.scaling["name"]
    words = " ".join([choice.family["name"], *options])
    return words if scaling in ("none", "places", "hurdle") else f"{words}, {scaling}"


def _choose(column: Column, known: np.ndarray, x: np.ndarray, preprocess: str | None, decimals: int | None) -> Choice:
    """By what the values are, and where that leaves several families, by measurement."""
    if column.levels is not None:
        levels = len(column.levels)
        kind = "texts" if levels > 2 else "two texts"
        return Choice(column, _categorical(levels), {"name": "none"}, kind, f"{count(levels, 'level')}")
    if len(known) <= 2:
        if set(known.tolist()) <= {0.0, 1.0}:
            return Choice(column, {"name": "bernoulli"}, {"name": "none"}, "0 and 1", "two values")
        return Choice(column, _categorical(len(known)), _places(known), "two numbers", "two values")
    candidates = _repeated(known, len(x)) if decimals is not None else []
    if decimals == 0:
        candidates += _counts(known)
    shared = _find_shared(x)
    if shared is not None:
        candidates += [({"name": "hurdle"}, {"name": "hurdle", "shared": [shared]})]
    elif not candidates or decimals != 0 or len(known) > MANY:
        candidates += _real(preprocess)
    kind = "dates" if column.is_date else "whole numbers" if decimals == 0 else "real numbers"
    losses = [_held_out_loss(x, family, scaling, decimals or 0) for family, scaling in candidates]
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
    measured = f"{losses[best]:.2f} nats a row ({shorten(others, 3)})" if others else "the only one that fits"
    return Choice(column, family, scaling, kind, measured)


def _as_asked(column: Column, known: np.ndarray, x: np.ndarray, preprocess: str | None, name: str) -> Choice:
    """A family that somebody asked for, unless the values contradict it."""
    Likelihood.named(name, f"likelihood.columns.{column.name}")
    levels = len(column.levels or known)
    takes_levels = name in ("categorical", "ordinal")
    node: Node = {"name": name, "levels": levels} if takes_levels else {"name": name}
    if column.levels is not None and not (takes_levels or (name == "bernoulli" and levels <= 2)):
        raise ConfigError(
            f"likelihood.columns: the column {column.name!r} holds {count(levels, 'text')}, which {name} cannot take.",
            [Setting(f"likelihood.columns.{column.name}", "categorical")],
        )
    if takes_levels and column.levels is None:
        return Choice(column, node, _places(known), "numbers as levels", "as asked for")
    support = _build(Likelihood, node).supports[0]
    wish, _ = support.default_preprocess(float(known.min()), float(known.max()), None)
    scaling = {"name": preprocess if preprocess and wish == "standardize" else wish}
    if not math.isfinite(_held_out_loss(x, node, scaling)):
        raise ConfigError(
            f"likelihood.columns: {name} takes {support.words}, and the column {column.name!r} holds values from "
            f"{known.min():.6g} to {known.max():.6g} that are something else.",
            [Setting(f"likelihood.columns.{column.name}", "gaussian", "takes all real numbers")],
        )
    return Choice(column, node, scaling, support.noun, "as asked for")


def _categorical(levels: int) -> Node:
    return {"name": "categorical", "levels": levels}


def _places(known: np.ndarray) -> Node:
    return {"name": "places", "known": [known.tolist()]}


def _repeated(known: np.ndarray, num_rows: int) -> list[tuple[Node, Node]]:
    """Numbers that come again and again, as categories."""
    few = len(known) <= min(MOST_PLACES, num_rows / FEWEST_A_PLACE)
    return [(_categorical(len(known)), _places(known))] if few else []


def _counts(known: np.ndarray) -> list[tuple[Node, Node]]:
    """Families of counts, where the numbers are none too many to be told apart."""
    if known.min() < 0 or known.max() > MOST_COUNT:
        return []
    return [({"name": name}, {"name": "none"}) for name in ("poisson", "negative_binomial")]


def _find_shared(x: np.ndarray) -> float | None:
    """The value that a good part of the rows share, where there is one: it has no density."""
    values, counts = np.unique(x, return_counts=True)
    return float(values[counts.argmax()]) if counts.max() >= SHARE * len(x) else None


def _real(preprocess: str | None) -> list[tuple[Node, Node]]:
    """Families of real numbers."""
    scalings = (preprocess,) if preprocess else ("standardize", "gaussianize")
    return [({"name": "gaussian"}, {"name": name}) for name in scalings]


def _name(family: Node, scaling: Node) -> str:
    return str(family["name"] if scaling["name"] in ("none", "places", "hurdle") else scaling["name"])


def _held_out_loss(x: np.ndarray, family: Node, scaling: Node, decimals: int = 0) -> float:
    """-log p of every fifth value under the family fitted to the others, mean, nats in data units; inf if illegal.

    A probability of a number is one of the interval that is rounded to it, of ``decimals``.
    """
    x = x[:: -(-len(x) // MOST_ROWS)]
    held_out = np.arange(len(x)) % EVERY == 0
    if held_out.all():
        return math.inf
    train, valid = (torch.from_numpy(part[:, None]) for part in (x[~held_out], x[held_out]))
    map_ = _build(Scaling, scaling).fit(RowsInMemory(Batch(train)))
    likelihood = _build(Likelihood, family)
    u_train, u_valid = map_.transform(train).double(), map_.transform(valid).double()
    if not bool(likelihood.supports[0].contains(torch.cat([u_train, u_valid])).all()):
        return math.inf
    predictive = likelihood.double().independent_columns(RowsInMemory(Batch(u_train)))
    log_prob = predictive.log_prob(u_valid).double()
    if not likelihood.is_probability:
        log_prob = log_prob + map_.log_slopes(u_valid)
    else:
        log_prob = log_prob + math.log(10.0) * decimals
    loss = -float(log_prob.mean())
    return loss if math.isfinite(loss) else math.inf


def _build(base: Any, node: Node) -> Any:
    options = {key: value for key, value in node.items() if key != "name"}
    return base.named(node["name"], "likelihood", recorded=True)(num_columns=1, **options)
