"""The table that the defaults were chosen by: test NLL on public tables, beside what it has to beat.

    python scripts/defaults.py DATA                            the default settings, five splits
    python scripts/defaults.py DATA --try optimizer.lr=1e-3    beside other settings
    python scripts/defaults.py DATA --search 60                beside the best of an Optuna search, same steps

DATA is a folder with the archives that docs/benchmarks.md names. All numbers are nats per column and row, of the rows
standardised by their training part, or of rows of two values as they are; lower is better.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import optuna
import pandas as pd
from hydra import compose, initialize_config_dir
from lightning.pytorch import Callback, LightningModule, Trainer
from omegaconf import OmegaConf

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
SAMPLES = 200
GROUPS = ("data", "model", "likelihood", "posterior", "prior", "objective", "optimizer", "scheduler", "trainer")
SEARCH_SPACE: dict[str, Any] = {
    "optimizer.lr": (2e-4, 1e-2),
    "data.batch_size": (16, 32, 64, 128, 256),
    "model.latent_dim": (4, 8, 16, 32, 64),
    "model.hidden_dims": ("[64]", "[128]", "[256,128]", "[512,256]", "[128,128,128]"),
    "model.dropout": (0.0, 0.05, 0.1, 0.2),
    "model.activation": ("relu", "silu", "tanh", "elu"),
}
"""Bounds of a logarithmic range, or choices."""


def archive(name: str, key: str = "x") -> Any:
    return lambda folder: np.load(folder / f"{name}.npz", allow_pickle=False)[key].astype(float)


def pooled(name: str) -> Any:
    parts = ("train", "valid", "test")
    return lambda folder: np.concatenate([archive(name, part)(folder) for part in parts])


def crime(folder: Path) -> np.ndarray:
    x = archive("communities_crime")(folder)
    return x[:, ~np.isnan(x).any(0)]


def wine(folder: Path) -> np.ndarray:
    kinds = np.load(folder / "hivae_wine.npz", allow_pickle=False)["types"]
    numbers = [index for index, kind in enumerate(kinds) if str(kind).split(",")[0] in ("real", "pos", "count")]
    return archive("hivae_wine")(folder)[:, numbers]


def magic(folder: Path) -> np.ndarray:
    return pd.read_csv(folder / "magic.csv.gz").select_dtypes("number").to_numpy(float)


def digits(_: Path) -> np.ndarray:
    from sklearn.datasets import load_digits

    return np.asarray(load_digits().data)


def small(_: Path) -> np.ndarray:
    """300 rows of 6 columns, three of them exact up to a hundredth: a table that is not learned in 200 steps."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(300, 3))
    return np.hstack([z, z @ rng.normal(size=(3, 3)) + 0.05 * rng.normal(size=(300, 3))])


def readme(_: Path) -> np.ndarray:
    rng = np.random.default_rng(0)
    size = rng.normal(170, 10, 2000)
    return np.stack([size, size - 100 + rng.normal(0, 5, 2000), size / 4 + rng.normal(0, 1, 2000)], 1)


def ring(_: Path) -> np.ndarray:
    """A circle and a column that has nothing to do with it: no column is correlated with another."""
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 2 * np.pi, 1500)
    circle = np.stack([np.cos(angle), np.sin(angle)], 1) + 0.02 * rng.normal(size=(1500, 2))
    return np.hstack([circle, rng.normal(size=(1500, 1))])


def moons(_: Path) -> np.ndarray:
    from sklearn.datasets import make_moons

    return np.asarray(make_moons(1500, noise=0.05, random_state=0)[0])


def swiss_roll(_: Path) -> np.ndarray:
    from sklearn.datasets import make_swiss_roll

    return np.asarray(make_swiss_roll(2000, noise=0.1, random_state=0)[0])


def grid(_: Path) -> np.ndarray:
    """Nine heaps in a square: two columns that have nothing to do with one another, of three values each, nearly."""
    rng = np.random.default_rng(0)
    return 2.0 * rng.integers(-1, 2, (2000, 2)) + 0.1 * rng.normal(size=(2000, 2))


TABLES: dict[str, Any] = {
    "tecator": archive("tecator"),
    **{f"mfeat {key}": archive("mfeat", key) for key in ("fourier", "factors", "pixel")},
    "crime": crime,
    "wine": wine,
    "magic": magic,
    **{
        f"adbench {name}": archive(f"adbench_{name}")
        for name in ("cardio", "musk", "optdigits", "satellite", "thyroid", "vowels")
    },
    "digits": digits,
    "small": small,
    "README": readme,
    "ring": ring,
    "moons": moons,
    "swiss roll": swiss_roll,
    "grid": grid,
}
BINARY: dict[str, Any] = {
    **{name: pooled(f"debd_{name}") for name in ("nltcs", "plants", "mushrooms")},
    "digits of two values": lambda folder: (digits(folder) >= 8).astype(float),
}
"""Tables of two values, which are no densities: taken as they are, with ``likelihood=bernoulli``."""
TABLES |= BINARY


MILESTONES = 20
"""How often a trial tells how it is getting on."""


class Pruning(Callback):
    """Gives a trial up that is worse than the median of the others after as large a share of its steps."""

    trial: ClassVar[optuna.Trial]
    takes_blocks = True

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Report val/nelbo once a milestone."""
        milestone = MILESTONES * (trainer.current_epoch + 1) // (trainer.max_epochs or 1)
        if MILESTONES * trainer.current_epoch // (trainer.max_epochs or 1) < milestone:
            self.trial.report(float(trainer.callback_metrics["val/nelbo"]), milestone)
            if self.trial.should_prune():
                raise optuna.TrialPruned


@dataclass(frozen=True)
class Job:
    """One training run: a table, a split, the settings that differ from the defaults."""

    folder: Path
    table: str
    seed: int
    overrides: tuple[str, ...] = ()


def standardize(job: Job) -> Any:
    """The rows, split like ``data=table`` splits them; real columns in standard deviations of their training rows."""
    from vae_lightning.data.columns import Column
    from vae_lightning.data.dataset import Dataset, Rows
    from vae_lightning.data.split import split_rows

    parts = split_rows(Rows(TABLES[job.table](job.folder)), 0.1, 0.1, job.seed)
    mean, scale = parts[0].x.mean(0), parts[0].x.std(0)
    scale[scale == 0] = 1.0
    if job.table in BINARY:
        mean, scale = np.zeros_like(mean), np.ones_like(scale)
    columns = tuple(Column(f"x{index}", "float64") for index in range(len(mean)))
    return Dataset(job.table, columns, *(Rows((part.x - mean) / scale) for part in parts))


def fit(dataset: Any, overrides: Sequence[str], callbacks: dict[str, Any] | None = None) -> Any:
    """Train as ``python train.py data=table OVERRIDES`` would, in memory, one thread; see ``fit_in_memory``.

    Args:
        dataset: the rows.
        overrides: what is typed, the seed among it.
        callbacks: nodes of further callbacks.
    """
    import torch

    from vae_lightning.config.overrides import prepare_overrides
    from vae_lightning.runs.fitting import fit_in_memory, in_memory

    torch.set_num_threads(1)
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        composed = compose("train", prepare_overrides(["data=table", *overrides]))
    config = {name: OmegaConf.to_container(composed[name], resolve=True) for name in GROUPS}
    options = {key: config["data"][key] for key in ("batch_size", "preprocess") if key in config["data"]}
    nodes = in_memory("cpu", config["trainer"]["max_epochs"], "auto", 0)
    nodes["callbacks"] |= callbacks or {}
    return fit_in_memory(config | {"seed": composed.seed, "data": options, **nodes}, dataset)


def run(job: Job, callbacks: dict[str, Any] | None = None) -> dict[str, float]:
    """Train as ``python train.py likelihood=gaussian`` (or bernoulli) would, in memory, and measure on test rows.

    Args:
        job: what is trained.
        callbacks: nodes of further callbacks.
    """
    dataset = standardize(job)
    likelihood = "bernoulli" if job.table in BINARY else "gaussian"
    started = time.perf_counter()
    fitted = fit(dataset, [f"likelihood={likelihood}", f"seed={job.seed}", *job.overrides], callbacks)
    seconds = time.perf_counter() - started
    model = fitted.model.float()
    parts = (dataset.test.x, dataset.train.x, dataset.valid.x)
    result = model.evaluate(parts[0], parts[1], SAMPLES, job.seed, valid_rows=parts[2])
    width = len(dataset.columns)
    values = {
        "nll": result.nll,
        "independent": result.baseline,
        "linear": result.control,
        "full": math.nan if job.table in BINARY else full_gaussian(dataset.train.x, dataset.test.x),
        "validation": fitted.best,
    }
    return {
        **{name: value / width for name, value in values.items()},
        "width": width,
        "epochs": fitted.epochs,
        "seconds": seconds,
    }


def full_gaussian(train: np.ndarray, test: np.ndarray) -> float:
    """NLL of a normal with the training rows' whole covariance; NaN where rows are too few or columns repeat."""
    from scipy.stats import multivariate_normal

    covariance = np.cov(train.T, bias=True)
    if len(train) < 5 * train.shape[1] or np.linalg.matrix_rank(covariance) < train.shape[1]:
        return float("nan")
    return -float(multivariate_normal(train.mean(0), covariance).logpdf(test).mean())


def search(job: Job, trials: int) -> dict[str, float]:
    """The trial of a TPE search that is best on validation, with as many steps as the defaults take.

    A trial that is worse than the median of those before it is given up (Optuna's median pruner).
    """
    from defaults import Pruning  # the class that the configuration names: this file may run as ``__main__``

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    from vae_lightning.config.recipe import Recipe
    from vae_lightning.likelihoods.support import BINARY as TWO_VALUES
    from vae_lightning.likelihoods.support import REAL

    num_rows, width = standardize(job).train.x.shape
    usual = Recipe.of(num_rows, width, support=TWO_VALUES if job.table in BINARY else REAL)
    steps = usual.max_epochs * -(-num_rows // usual.batch_size)
    best: dict[str, float] = {}

    def objective(trial: optuna.Trial) -> float:
        nonlocal best
        chosen = {
            name: trial.suggest_float(name, *space, log=True)
            if name == "optimizer.lr"
            else trial.suggest_categorical(name, space)
            for name, space in SEARCH_SPACE.items()
        }
        batch = min(chosen["data.batch_size"], num_rows)
        chosen |= {"data.batch_size": batch, "model.latent_dim": min(chosen["model.latent_dim"], width)}
        chosen["trainer.max_epochs"] = max(1, round(steps / -(-num_rows // batch)))
        Pruning.trial = trial
        overrides = tuple(f"{key}={value}" for key, value in chosen.items())
        result = run(Job(job.folder, job.table, job.seed, overrides), {"pruning": {"_target_": "defaults.Pruning"}})
        if not best or result["validation"] < best["validation"]:
            best = result
        return result["validation"]

    pruner = optuna.pruners.MedianPruner(n_warmup_steps=MILESTONES // 4)
    optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0), pruner=pruner).optimize(objective, trials)
    return best


def main() -> None:
    """Run the jobs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tables", help="names, separated by commas")
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--try", dest="others", action="append", default=[], help="overrides, separated by blanks")
    parser.add_argument("--search", type=int, default=0, metavar="TRIALS")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--json", type=Path, help="where every result goes, a line each")
    options = parser.parse_args()
    names = options.tables.split(",") if options.tables else list(TABLES)
    recipes = {"default": (), **{other: tuple(other.split()) for other in options.others}}
    with ProcessPoolExecutor(options.processes, get_context("spawn")) as pool:
        waiting = {
            (table, recipe, seed): pool.submit(run, Job(options.folder, table, seed, overrides))
            for table in names
            for recipe, overrides in recipes.items()
            for seed in range(options.splits)
        }
        searches = {
            table: pool.submit(search, Job(options.folder, table, 0), options.search)
            for table in names
            if options.search
        }
        print("| table | independent | control | full Gaussian | " + " | ".join(recipes) + " | search | s |")
        print("|---" * (6 + len(recipes)) + "|")
        for table in names:
            results = {r: [waiting[table, r, seed].result() for seed in range(options.splits)] for r in recipes}
            found = searches[table].result() if table in searches else {}
            if options.json:
                with options.json.open("a") as file:
                    file.write(json.dumps({"table": table, "results": results, "search": found}) + "\n")
            mean = {key: np.mean([one[key] for one in results["default"]]) for key in results["default"][0]}
            cells = [mean["independent"], mean["linear"], mean["full"]]
            cells += [np.mean([one["nll"] for one in results[recipe]]) for recipe in recipes]
            told = " | ".join(f"{cell:.3f}" for cell in cells)
            searched = f"{found['nll']:.3f} (default there {results['default'][0]['nll']:.3f})" if found else ""
            print(f"| {table} | {told} | {searched} | {mean['seconds']:.0f} |", flush=True)


if __name__ == "__main__":
    main()
