"""What a family for each column gains over one family for all of them: test NLL on public tables.

    python scripts/families.py DATA

DATA is a folder with the archives that docs/benchmarks.md names. All numbers are nats per column and row, lower is
better, of the default settings with ``likelihood=gaussian`` (``bernoulli`` for tables of two values) and with
``likelihood=auto``. They compare because all of them are densities in data units: the probability of a number that is
rounded to ``d`` decimals is that of an interval of width ``10^-d``, so ``d log 10`` is taken off its ``-log p``.
"""

import argparse
import json
import math
from pathlib import Path

import numpy as np
from defaults import BINARY, SAMPLES, TABLES, fit


def measure(folder: Path, table: str, likelihood: str, seed: int, *overrides: str) -> float:
    """Train as ``python train.py likelihood=LIKELIHOOD`` would, in memory; test NLL, nats per column and row."""
    from vae_lightning.data.columns import Column
    from vae_lightning.data.dataset import Dataset, Rows
    from vae_lightning.data.schema import find_decimals
    from vae_lightning.data.split import split_rows

    x = TABLES[table](folder)
    columns = tuple(Column(f"x{index}", "float64") for index in range(x.shape[1]))
    dataset = Dataset(table, columns, *split_rows(Rows(x), 0.1, 0.1, seed))
    model = fit(dataset, [f"likelihood={likelihood}", f"seed={seed}", *overrides]).model.float()
    result = model.evaluate(dataset.test.x, dataset.train.x, SAMPLES, seed, valid_rows=dataset.valid.x)
    rounded = [
        (find_decimals(np.unique(column)) or 0) * math.log(10.0)
        for column, has_density in zip(x.T, model.vae.likelihood.density_columns, strict=True)
        if not has_density
    ]
    return (result.nll - sum(rounded)) / x.shape[1]


def main() -> None:
    """Run the jobs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tables", help="names, separated by commas")
    parser.add_argument("--seed", type=int, default=0, help="of the split, the start and the draws")
    parser.add_argument("--json", type=Path, help="where every result goes, a line each")
    options = parser.parse_args()
    print("| table | one family | auto |\n|---|---|---|")
    for table in options.tables.split(",") if options.tables else list(TABLES):
        one, auto = (
            measure(options.folder, table, likelihood, options.seed)
            for likelihood in ("bernoulli" if table in BINARY else "gaussian", "auto")
        )
        print(f"| {table} | {one:.3f} | {auto:.3f} |", flush=True)
        if options.json:
            with options.json.open("a") as file:
                file.write(json.dumps({"table": table, "seed": options.seed, "one": one, "auto": auto}) + "\n")


if __name__ == "__main__":
    main()
