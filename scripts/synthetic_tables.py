"""How good synthetic tables are, ours beside others': one table of numbers.

    python scripts/synthetic_tables.py DATA                              four public tables, three splits, all makers
    python scripts/synthetic_tables.py DATA --sets magic --seeds 1       a first look
    python scripts/synthetic_tables.py DATA --generators vae tvae        some of the makers

DATA is a folder with the files that docs/benchmarks.md names. Of each table 60 % are trained on; 20 % are what
synthetic rows are held against, and 20 % are the second real sample, which no maker can beat. The VAE is trained and
drawn from by the same two commands on every table. TVAE is that of the package ctgan at its defaults; without the
package it is left out.
"""

import argparse
import importlib.util
import json
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from vae_lightning.comparison.compare import compare, shuffle_columns  # noqa: E402
from vae_lightning.comparison.tables import code_tables  # noqa: E402

ADULT = "age work weight education marital occupation relation race sex gain loss hours"
WINE = "fixed volatile citric sugar chlorides free total density ph sulphates alcohol quality colour"


def hivae(name: str, names: str) -> Callable[[Path], pd.DataFrame]:
    """A table that is stored as numbers, with its categories as texts again and its counts as whole numbers."""

    def read(folder: Path) -> pd.DataFrame:
        with np.load(folder / f"hivae_{name}.npz", allow_pickle=False) as archive:
            x, kinds = archive["x"], [str(kind).split(",")[0] for kind in archive["types"]]
        columns: dict[str, Any] = {}
        for column, values, kind in zip(names.split(), x.T, kinds, strict=True):
            if kind == "cat":
                texts = [None if np.isnan(value) else f"{column} {value:.0f}" for value in values]
                columns[column] = np.array(texts, dtype=object)
            else:
                columns[column] = values.astype(np.int64) if (values % 1 == 0).all() else values
        return pd.DataFrame(columns)

    return read


def csv(name: str) -> Callable[[Path], pd.DataFrame]:
    return lambda folder: pd.read_csv(folder / f"{name}.csv.gz")


class Source(NamedTuple):
    """How a table is read, and which of its columns is predicted."""

    read: Callable[[Path], pd.DataFrame]
    target: str


SETS = {
    "adult": Source(hivae("adult", ADULT), "marital"),
    "shoppers": Source(csv("shoppers"), "Revenue"),
    "magic": Source(csv("magic"), "class"),
    "wine": Source(hivae("wine", WINE), "colour"),
}


class Job(NamedTuple):
    """What a maker is given: rows to be trained on, how many to make, a seed, and a folder to write into."""

    train: pd.DataFrame
    num_rows: int
    seed: int
    folder: Path


def independent(job: Job) -> pd.DataFrame:
    """Each column shuffled by itself."""
    return shuffle_columns(job.train, job.seed)[: job.num_rows]


def copula(job: Job) -> pd.DataFrame:
    """A Gaussian copula: every column as normal scores, their correlations, and the values back by rank.

    Categories are ordered by how often they occur, ties are broken at random, and holes are values beyond all others.
    """
    from scipy.stats import norm

    rng, train = np.random.default_rng(job.seed), job.train
    num_rows = len(train)
    (coded,) = code_tables({"training rows": train})
    orders, scores = [], []
    for name in train.columns:
        order = np.lexsort([rng.random(num_rows), coded.column(str(name))])
        ranks = np.empty(num_rows)
        ranks[order] = (np.arange(num_rows) + 0.5) / num_rows
        orders.append(order)
        scores.append(norm.ppf(ranks))
    draws = rng.multivariate_normal(np.zeros(len(orders)), np.corrcoef(scores), job.num_rows, method="eigh")
    places = np.minimum((norm.cdf(draws) * num_rows).astype(int), num_rows - 1)
    columns = zip(train.columns, orders, places.T, strict=True)
    return pd.DataFrame({name: train[name].to_numpy()[order[place]] for name, order, place in columns})


def tvae(job: Job) -> pd.DataFrame:
    """TVAE of the package ctgan at its defaults; empty cells are a category of their own, or the mean."""
    import torch
    from ctgan import TVAE

    np.random.seed(job.seed)
    torch.manual_seed(job.seed)
    (coded,) = code_tables({"training rows": job.train})
    categories = list(coded.kinds.categories)
    texts = {name: job.train[name].astype(object).where(job.train[name].notna(), "-") for name in categories}
    means = {name: job.train[name].fillna(job.train[name].mean()) for name in coded.kinds.numbers}
    model = TVAE(enable_gpu=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(job.train.assign(**texts, **means), categories)
        made = model.sample(job.num_rows)
    empty = {name: made[name].where(made[name] != "-", None) for name in categories}
    return made.assign(**empty)


def vae(job: Job) -> pd.DataFrame:
    """Ours: one command trains, one draws, on every table alike."""
    path, run, made = job.folder / "train.csv", job.folder / "run", job.folder / "made.csv"
    job.train.to_csv(path, index=False)
    call("train", "data=table", f"data.path={path}", "likelihood=auto", f"seed={job.seed}", f"hydra.run.dir={run}")
    call("sample", str(run), "-n", str(job.num_rows), "-o", str(made), "--seed", str(job.seed))
    return pd.read_csv(made)


def call(*words: str) -> None:
    program = "from vae_lightning.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"vae-lightning {' '.join(words)}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")


GENERATORS: dict[str, Callable[[Job], pd.DataFrame]] = {
    "vae": vae,
    "tvae": tvae,
    "copula": copula,
    "independent": independent,
}


def cpu_seconds() -> float:
    """Of this process and of those that it has waited for: what a busy machine does not change."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


REAL = "second real sample"


def measure(folder: Path, name: str, seed: int, generators: Sequence[str]) -> list[dict[str, Any]]:
    """Every maker on one split of one table: one record each."""
    source = SETS[name]
    frame = source.read(folder)
    order = np.random.default_rng(seed).permutation(len(frame))
    fifth = len(frame) // 5
    test, second, train = (
        frame.iloc[part].reset_index(drop=True)
        for part in (order[:fifth], order[fifth : 2 * fifth], order[2 * fifth :])
    )
    tables, seconds, work = {REAL: second}, {REAL: 0.0}, {REAL: 0.0}
    for generator in generators:
        with tempfile.TemporaryDirectory() as scratch:
            started, busy = time.perf_counter(), cpu_seconds()
            tables[generator] = GENERATORS[generator](Job(train, fifth, seed, Path(scratch)))
            seconds[generator], work[generator] = time.perf_counter() - started, cpu_seconds() - busy
        print(f"{name}, split {seed}: {generator} took {seconds[generator]:.1f} s", file=sys.stderr, flush=True)
    found = compare(test, tables, train, source.target, seed)
    common = {"set": name, "seed": seed, "rows": found.num_rows, "target": found.target, "measure": found.measure}
    return [
        {**common, "generator": table, "seconds": seconds[table], "cpu_seconds": work[table], **measures.as_dict()}
        for table, measures in found.tables.items()
    ]


COLUMNS = {
    "shape error %": ("shape_error", 100, 1),
    "trend error %": ("trend_error", 100, 1),
    "C2ST": ("two_sample_auroc", 1, 3),
    "usefulness": ("usefulness", 1, 3),
    "nearer to training %": ("closer_to_training", 100, 1),
    "distance ratio": ("distance_ratio", 1, 2),
    "seconds": ("seconds", 1, 1),
    "CPU seconds": ("cpu_seconds", 1, 1),
}


def print_table(records: Sequence[dict[str, Any]]) -> None:
    """The means over splits, ± the standard deviation between them."""
    frame = pd.DataFrame(records)
    rows = []
    for (name, generator), group in frame.groupby(["set", "generator"], sort=False):
        cells = {}
        for heading, (key, factor, digits) in COLUMNS.items():
            mean, spread = factor * group[key].mean(), factor * group[key].std()
            cells[heading] = f"{mean:.{digits}f}" + (f" ± {spread:.{digits}f}" if len(group) > 1 else "")
        cells["usefulness"] += f" {group['measure'].iloc[0]} of {group['target'].iloc[0]}"
        rows.append({"table": name, "maker": generator, **cells})
    print(pd.DataFrame(rows).to_string(index=False))


def main() -> None:
    """Measure, print, and keep what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--seeds", type=int, default=3, help="how many splits")
    parser.add_argument("--generators", nargs="+", choices=GENERATORS, default=list(GENERATORS))
    parser.add_argument("--json", type=Path, help="where all numbers go, those of columns and pairs, too")
    options = parser.parse_args()
    generators = list(options.generators)
    if "tvae" in generators and importlib.util.find_spec("ctgan") is None:
        print("tvae is left out: the package ctgan is not installed (pip install ctgan).", file=sys.stderr)
        generators.remove("tvae")
    records: list[dict[str, Any]] = []
    for name in options.sets:
        for seed in range(options.seeds):
            records += measure(options.data, name, seed, generators)
            if options.json:
                options.json.write_text(json.dumps(records, indent=1), encoding="utf-8")
    print_table(records)


if __name__ == "__main__":
    main()
