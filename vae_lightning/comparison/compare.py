"""Is a synthetic table any good? Every measure of it, beside two controls."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vae_lightning.comparison.privacy import Closeness, closeness
from vae_lightning.comparison.shapes import column_shapes
from vae_lightning.comparison.tables import Coded, code_tables
from vae_lightning.comparison.trends import Pair, choose_pairs, pair_trends
from vae_lightning.comparison.two_sample import two_sample_auroc
from vae_lightning.comparison.usefulness import name_measure, usefulness
from vae_lightning.data.seeds import stream_seed
from vae_lightning.data.wording import count
from vae_lightning.errors import DataError, check_parameter, is_count, suggest

if TYPE_CHECKING:
    import pandas as pd

MAX_ROWS, MAX_PAIRS, MAX_COLUMNS = 10_000, 1_000, 50
"""Of each table; of columns; and of those that classifiers and distances look at."""
MAX_DISTANCES = 2_000
"""Rows whose closest neighbours are looked for."""
SYNTHETIC, SECOND, INDEPENDENT = "synthetic", "second real sample", "independent columns"


@dataclass(frozen=True)
class Measures:
    """One table beside real rows; NaN is what cannot be measured.

    Attributes:
        shape_error: 1 − the mean likeness of the columns.
        trend_error: 1 − the mean likeness of the pairs.
        two_sample: AUROC of a classifier that tells its rows from real ones.
        usefulness: of a prediction of real rows learned from this table.
        privacy: how close its rows are to the rows that were trained on.
        columns: 1 − likeness by column.
        pairs: 1 − likeness by pair.
    """

    shape_error: float
    trend_error: float
    two_sample: float
    usefulness: float
    privacy: Closeness
    columns: Mapping[str, float]
    pairs: Mapping[Pair, float]

    def as_dict(self) -> dict[str, Any]:
        """Plain values by name."""
        return {
            "shape_error": self.shape_error,
            "trend_error": self.trend_error,
            "two_sample_auroc": self.two_sample,
            "usefulness": self.usefulness,
            **self.privacy._asdict(),
            "columns": dict(self.columns),
            "pairs": [{"columns": list(pair), "error": error} for pair, error in self.pairs.items()],
        }


@dataclass(frozen=True)
class Comparison:
    """What a synthetic table is worth.

    Attributes:
        tables: the measures of each table by name.
        num_real: real rows that they were held against.
        num_rows: rows of each of these tables.
        target: the column whose prediction is judged.
        measure: of that prediction.
        copied: what :attr:`Closeness.closer_to_training` would be of a copy of the training rows; NaN without these.
        notes: what was left out to keep the cost bounded, and what could not be measured.
    """

    tables: Mapping[str, Measures]
    num_real: int
    num_rows: int
    target: str
    measure: str
    copied: float
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values by name."""
        return {
            "real_rows": self.num_real,
            "rows": self.num_rows,
            "target": self.target,
            "usefulness_measure": self.measure,
            "closer_to_training_if_copied": self.copied,
            "notes": list(self.notes),
            "tables": {name: measures.as_dict() for name, measures in self.tables.items()},
        }


def with_controls(
    synthetic: "pd.DataFrame", second: "pd.DataFrame", train: "pd.DataFrame | None" = None, seed: int = 0
) -> "dict[str, pd.DataFrame]":
    """A synthetic table and its two controls, for :func:`compare`.

    What no generator can beat is a second real sample; what any should beat are independent columns, each shuffled by
    itself.

    Args:
        synthetic: the table in question.
        second: real rows that its maker has not been fitted to, other than those that it is compared with.
        train: the rows that it was fitted to, whose columns are shuffled; None shuffles those of ``second``.
        seed: of the shuffle.
    """
    known = second if train is None else train
    return {SYNTHETIC: synthetic, SECOND: second, INDEPENDENT: shuffle_columns(known, seed)}


def shuffle_columns(table: "pd.DataFrame", seed: int) -> "pd.DataFrame":
    """Each column in an order of its own: what is left when columns have nothing to do with one another."""
    import pandas as pd

    rng = np.random.default_rng(stream_seed(seed, "compare", "shuffle"))
    columns = {name: table[name].iloc[rng.permutation(len(table))].reset_index(drop=True) for name in table.columns}
    return pd.DataFrame(columns)


def compare(
    real: "pd.DataFrame",
    tables: "Mapping[str, pd.DataFrame]",
    train: "pd.DataFrame | None" = None,
    target: str | None = None,
    seed: int = 0,
    max_rows: int = MAX_ROWS,
    max_pairs: int = MAX_PAIRS,
) -> Comparison:
    """Hold tables against real rows; as many rows of each, so that chance is the same for all.

    See :func:`code_tables` for what is a number and what a category.

    Args:
        real: rows that the others are to be like, and that their makers have not seen.
        tables: by name, with the same columns in any order; see :func:`with_controls`.
        train: the rows that the makers were fitted to; None leaves privacy out.
        target: the column whose prediction is judged; by default the last one of ``real``.
        seed: of every draw and split.
        max_rows: more rows of a table are left out at random.
        max_pairs: likewise of the pairs of columns.

    Raises:
        DataError: when the tables do not have the same columns, or there is no column ``target``.
        ConfigError: when ``seed``, ``max_rows`` or ``max_pairs`` is no whole number, or too small.
    """
    check_parameter("compare", "seed", is_count(seed, 0), "a whole number from 0 on", seed)
    check_parameter("compare", "max_rows", is_count(max_rows), "a whole number from 1 on", max_rows)
    check_parameter("compare", "max_pairs", is_count(max_pairs), "a whole number from 1 on", max_pairs)
    target = _find_target(real, target)
    named = {"real rows": real, **{f"{name} rows": table for name, table in tables.items()}}
    coded = code_tables(named | ({} if train is None else {"training rows": train}))

    def rng(*purpose: str) -> np.random.Generator:
        return np.random.default_rng(stream_seed(seed, "compare", *purpose))

    notes: list[str] = []
    shortest = min(map(len, tables.values()))
    num_rows = min(max_rows, shortest)
    if max(len(real), shortest) > max_rows:
        notes.append(f"No table is compared by more than {count(max_rows, 'row')}, drawn at random.")
    kept = _take(coded[0], max_rows, rng("real"))
    judged = {name: _take(table, num_rows, rng(name)) for name, table in zip(tables, coded[1:], strict=False)}
    columns = [*kept.kinds.numbers, *kept.kinds.categories]
    pairs = choose_pairs(kept.kinds, max_pairs, rng("pairs"))
    if len(pairs) < math.comb(len(columns), 2):
        notes.append(f"Of {math.comb(len(columns), 2):,} pairs of columns {len(pairs):,} were drawn at random.")
    looked_at = columns
    if len(columns) > MAX_COLUMNS:
        others = [name for name in columns if name != target]
        looked_at = [target, *rng("columns").choice(others, MAX_COLUMNS - 1, replace=False).tolist()]
        notes.append(f"Classifiers and distances look at {MAX_COLUMNS} of {len(columns):,} columns, drawn at random.")
    nearby, copied = None, math.nan
    if train is None:
        notes.append("Privacy needs the rows that the synthetic ones were made from.")
    else:
        size = min(len(kept), len(coded[-1]))
        copied = 0.5 + size / len(coded[-1]) / 2
        nearby = [_take(table, size, rng("nearby")).select(looked_at) for table in (coded[-1], kept)]
    narrow, state = kept.select(looked_at), stream_seed(seed, "compare", "trees") % 2**32

    def measure(table: Coded) -> Measures:
        shapes, trends, part = column_shapes(kept, table), pair_trends(kept, table, pairs), table.select(looked_at)
        queries = _take(part, MAX_DISTANCES, rng("queries"))
        return Measures(
            _error(shapes),
            _error(trends),
            two_sample_auroc(narrow, part, state),
            usefulness(part, narrow, target, state),
            Closeness(math.nan, math.nan) if nearby is None else closeness(queries, *nearby),
            {name: 1 - score for name, score in shapes.items()},
            {pair: 1 - score for pair, score in trends.items()},
        )

    measured = {name: measure(table) for name, table in judged.items()}
    return Comparison(measured, len(kept), num_rows, target, name_measure(kept, target), copied, tuple(notes))


def _find_target(real: "pd.DataFrame", target: str | None) -> str:
    names = [str(name) for name in real.columns]
    if target is None:
        if not names:
            raise DataError("There are no real rows to compare: they hold no columns.")
        return names[-1]
    if target not in names:
        raise DataError(f"There is no column {target!r} to predict. {suggest(target, names)}")
    return target


def _take(table: Coded, most: int, rng: np.random.Generator) -> Coded:
    return table if len(table) <= most else table.take(np.sort(rng.choice(len(table), most, replace=False)))


def _error(scores: Mapping[Any, float]) -> float:
    return 1 - float(np.mean(list(scores.values()))) if scores else math.nan
