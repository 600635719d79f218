"""How well empty cells are filled, ours beside others' ways: one table of numbers.

    python scripts/imputation.py DATA                                      four public tables, all ways
    python scripts/imputation.py DATA --sets wine --fractions 0.2          a first look
    python scripts/imputation.py DATA --methods mean knn vae --rows 3000   some of the ways

DATA is a folder with the files that docs/benchmarks.md names. Of each table some rows are taken (`--rows`), and of
these a share of all cells is removed at random, the same for every way, which sees the other cells only. What it fills
in is held against what was there: the root mean squared error of numbers over the column's standard deviation (nrmse),
the share of wrong categories (errors), means over columns; and how many of the numbers removed lie in their 90 %
intervals, where a way gives such. All ways use one core.

Numbers are standardized for the others. Categories are 0 and 1 for each category but one to KNN and to the iterative
ridge regression, both at scikit-learn's defaults. The forest is missForest's manner: in turns each column is predicted
from all others, 100 trees a column, `--rounds` turns, starting from means and modes.
"""

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from scripts.synthetic_tables import SETS  # noqa: E402

FRACTIONS = (0.1, 0.2, 0.5)
DRAWS = 100
INTERVAL = (0.05, 0.95)


class Filled(NamedTuple):
    """A completed table; and bounds of each number by column, where a way gives them."""

    table: pd.DataFrame
    low: pd.DataFrame | None = None
    high: pd.DataFrame | None = None


def is_number(series: pd.Series) -> bool:
    return bool(pd.api.types.is_numeric_dtype(series) and not pd.api.types.is_bool_dtype(series))


def remove(table: pd.DataFrame, fraction: float, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """The table with cells removed at random, and which of those held something."""
    hole = np.random.default_rng(seed).random(table.shape) < fraction
    known = table.notna().to_numpy() & hole
    columns = {}
    for index, name in enumerate(table.columns):
        dtype = np.float64 if is_number(table[name]) else object
        columns[name] = table[name].astype(dtype).mask(hole[:, index], np.nan if dtype is np.float64 else None)
    return pd.DataFrame(columns), known


class Codes:
    """A table as standardized numbers, and back: categories as codes, or as 0 and 1 for each but the first."""

    def __init__(self, table: pd.DataFrame, one_hot: bool) -> None:
        self.table, self.one_hot = table, one_hot
        self.levels = {n: sorted(table[n].dropna().unique(), key=str) for n in table if not is_number(table[n])}
        self.mean, self.scale = table.mean(numeric_only=True), table.std(numeric_only=True).replace(0, 1)

    def encode(self) -> np.ndarray:
        parts = []
        for name, series in self.table.items():
            if name not in self.levels:
                parts.append(((series - self.mean[name]) / self.scale[name]).to_numpy()[:, None])
                continue
            codes = pd.Index(self.levels[name]).get_indexer(series).astype(float)
            codes[series.isna()] = np.nan
            width = len(self.levels[name])
            hot = np.where(np.isnan(codes)[:, None], np.nan, codes[:, None] == np.arange(1, width))
            parts.append(hot if self.one_hot else codes[:, None])
        return np.concatenate(parts, axis=1)

    def decode(self, x: np.ndarray) -> pd.DataFrame:
        columns, start = {}, 0
        for name in self.table.columns:
            levels = self.levels.get(name)
            width = len(levels) - 1 if levels is not None and self.one_hot else 1
            part, start = x[:, start : start + width], start + width
            if levels is None:
                columns[name] = part[:, 0] * self.scale[name] + self.mean[name]
                continue
            all_levels = np.concatenate([1 - part.sum(1, keepdims=True), part], axis=1)
            codes = all_levels.argmax(1) if self.one_hot else part[:, 0].astype(int)
            columns[name] = np.array(levels, dtype=object)[codes]
        found = pd.DataFrame(columns, index=self.table.index)
        return found.where(self.table.isna(), self.table)


def mean(table: pd.DataFrame, _: argparse.Namespace) -> Filled:
    """The mean of numbers, the most frequent category."""
    values = {name: table[name].mean() if is_number(table[name]) else table[name].mode()[0] for name in table}
    return Filled(table.fillna(values))


def knn(table: pd.DataFrame, _: argparse.Namespace) -> Filled:
    """scikit-learn's KNNImputer: the mean of the five nearest rows."""
    from sklearn.impute import KNNImputer

    codes = Codes(table, one_hot=True)
    return Filled(codes.decode(KNNImputer().fit_transform(codes.encode())))


def iterative(table: pd.DataFrame, _: argparse.Namespace) -> Filled:
    """scikit-learn's IterativeImputer: Bayesian ridge regressions in turns."""
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401 - makes the next line possible
    from sklearn.impute import IterativeImputer

    codes = Codes(table, one_hot=True)
    return Filled(codes.decode(IterativeImputer(random_state=0).fit_transform(codes.encode())))


def forest(table: pd.DataFrame, options: argparse.Namespace) -> Filled:
    """Random forests in turns, as missForest has them (Stekhoven & Bühlmann 2012)."""
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    codes = Codes(table, one_hot=False)
    x = codes.encode()
    hole = np.isnan(x)
    is_category = [name in codes.levels for name in table]
    for column, category in enumerate(is_category):
        seen = x[~hole[:, column], column]
        x[hole[:, column], column] = np.bincount(seen.astype(int)).argmax() if category else seen.mean()
    for _ in range(options.rounds):
        for column in np.argsort(hole.sum(0)):
            empty, others = hole[:, column], np.delete(x, column, axis=1)
            if not empty.any():
                continue
            kind = RandomForestClassifier if is_category[column] else RandomForestRegressor
            model = kind(100, max_features="sqrt", random_state=0).fit(others[~empty], x[~empty, column])
            x[empty, column] = model.predict(others[empty])
    return Filled(codes.decode(x))


def vae(table: pd.DataFrame, options: argparse.Namespace) -> Filled:
    """Ours, at its defaults; intervals are quantiles over completed tables."""
    import torch

    from vae_lightning import VAEImputer

    torch.set_num_threads(1)
    imputer = VAEImputer(random_state=options.seed, verbose=False)
    filled = imputer.fit_transform(table)
    numbers = [name for name in table if is_number(table[name])]
    drawn = np.stack([one[numbers].to_numpy() for one in imputer.model_.impute(table, draws=DRAWS)])
    low, high = (pd.DataFrame(q, columns=numbers) for q in np.quantile(drawn, INTERVAL, axis=0))
    return Filled(filled, low, high)


METHODS: dict[str, Callable[[pd.DataFrame, argparse.Namespace], Filled]] = {
    "mean": mean,
    "knn": knn,
    "iterative": iterative,
    "forest": forest,
    "vae": vae,
}


def measure(truth: pd.DataFrame, known: np.ndarray, filled: Filled) -> dict[str, Any]:
    """Errors over the cells that were removed: means over columns, and by column."""
    errors: dict[str, float] = {}
    kinds: dict[str, list[float]] = {"nrmse": [], "errors": [], "coverage": []}
    for index, name in enumerate(truth.columns):
        at = known[:, index]
        was, found = truth[name][at], filled.table[name][at]
        if is_number(truth[name]):
            spread = truth[name].std(ddof=0)
            errors[name] = float(np.sqrt(((was - found) ** 2).mean()) / spread)
            kinds["nrmse"].append(errors[name])
            if filled.low is not None and filled.high is not None:
                inside = (was >= filled.low[name][at]) & (was <= filled.high[name][at])
                kinds["coverage"].append(float(inside.mean()))
        else:
            errors[name] = float((was.astype(str) != found.astype(str)).mean())
            kinds["errors"].append(errors[name])
    return {**{kind: float(np.mean(values)) if values else None for kind, values in kinds.items()}, "columns": errors}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--fractions", nargs="+", type=float, default=FRACTIONS)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--rows", type=int, default=3000, help="rows of each table, taken at random; 0 for all")
    parser.add_argument("--rounds", type=int, default=4, help="turns of the forest")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="a line for each result is added to this file")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"{'set':10}{'removed':>8}  {'way':10}{'nrmse':>8}{'errors':>8}{'coverage':>10}{'seconds':>9}{'cpu':>8}")
    for name in options.sets:
        table = SETS[name].read(options.data).sample(frac=1, random_state=options.seed)
        table = table[: options.rows or None].reset_index(drop=True)
        for fraction in options.fractions:
            holes, known = remove(table, fraction, options.seed)
            for method in options.methods:
                started, used = time.perf_counter(), time.process_time()
                filled = METHODS[method](holes, options)
                seconds, cpu = time.perf_counter() - started, time.process_time() - used
                found = measure(table, known, filled)
                cells = [f"{found[k]:{w}.3f}" if found[k] is not None else " " * w for k, w in WIDTHS.items()]
                print(f"{name:10}{fraction:8.0%}  {method:10}{''.join(cells)}{seconds:9.0f}{cpu:8.0f}", flush=True)
                if options.json:
                    line = {"set": name, "removed": fraction, "way": method, "rows": len(table), "cpu": cpu, **found}
                    with options.json.open("a") as file:
                        file.write(json.dumps({**line, "seconds": seconds}) + "\n")


WIDTHS = {"nrmse": 8, "errors": 8, "coverage": 10}

if __name__ == "__main__":
    main()
