"""Whether drawn rows spread and go together as the data do, on public tables.

    python scripts/draws.py DATA [--tables wine "mfeat fourier" ...]

DATA is a folder with the archives that docs/benchmarks.md names. `VAEEstimator(random_state=0)` learns each table, and
4,000 rows are drawn from it, z from the density of the codes and, beside that, from the prior. A cell holds the
standard deviation of the drawn rows over the data's, in the median column, and the mean absolute difference of all
correlations between columns.
"""

import argparse
from pathlib import Path

import numpy as np
from defaults import TABLES

from vae_lightning import VAEEstimator
from vae_lightning.inference.aggregate import describe_draws

NAMES = ("tecator", "mfeat fourier", "mfeat factors", "mfeat pixel", "wine")
NUM_DRAWS = 4000


def compare(drawn: np.ndarray, rows: np.ndarray) -> tuple[float, float]:
    """The median ratio of standard deviations, and the mean absolute difference of correlations."""
    pairs = np.triu_indices(rows.shape[1], 1)
    apart = np.abs(np.corrcoef(drawn.T) - np.corrcoef(rows.T))[pairs]
    return float(np.median(drawn.std(0) / rows.std(0))), float(apart.mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--tables", nargs="+", default=NAMES, choices=list(TABLES))
    options = parser.parse_args()
    print("| table | as drawn | from the prior | |\n|---|---|---|---|")
    for name in options.tables:
        rows = TABLES[name](options.data)
        model = VAEEstimator(random_state=0, verbose=False).fit(rows).model_
        draws = (model.sample(NUM_DRAWS, seed=0, prior=prior).to_numpy() for prior in (False, True))
        cells = ["{:.2f}, {:.3f}".format(*compare(drawn, rows)) for drawn in draws]
        print(
            f"| {name}, {rows.shape[1]} columns | {' | '.join(cells)} | {describe_draws(model.aggregate_posterior)} |"
        )


if __name__ == "__main__":
    main()
