"""What share of a run's training time its figures take.

    python scripts/benchmark_figures.py [--rounds 5]

Trains the default job and a table job, with figures and without in turns, in a fresh process each as a user would, and
prints the seconds that ``summary.json`` records: ``figures``, which is all of drawing and TensorBoard's pictures, over
``training``, which is the time from the start to the best weights. What a run has without figures, too, stands beside
it: ``doctor``, its examination of the trained model, and ``report``, the page. On a shared machine only the shares mean
something.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
TABLE_ROWS, TABLE_COLUMNS = 10_000, 20


def jobs(folder: Path) -> dict[str, list[str]]:
    """What to type for each job; the table's rows are made here."""
    draws = np.random.default_rng(0)
    mixed = draws.normal(size=(TABLE_ROWS, 5)) @ draws.normal(size=(5, TABLE_COLUMNS))
    np.savez(folder / "table.npz", x=mixed + 0.5 * draws.normal(size=mixed.shape))
    return {
        "python train.py": [],
        f"a table of {TABLE_ROWS:,} rows, {TABLE_COLUMNS} columns": [
            "data=table",
            f"data.path={folder / 'table.npz'}",
            "likelihood=gaussian",
        ],
    }


def seconds(words: list[str], run_dir: Path) -> dict[str, float]:
    """Train in a process of its own; what its summary says."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "train.py"), f"hydra.run.dir={run_dir}", *words]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    found: dict[str, float] = json.loads((run_dir / "summary.json").read_text())["seconds"]
    return found


def main() -> None:
    """Print each round, and the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for index, (job, words) in enumerate(jobs(folder).items()):
            print(job)
            shares, ratios = [], []
            for number in range(arguments.rounds):
                on = seconds(words, folder / f"{index}-{number}-on")
                off = seconds([*words, "callbacks.figures=null"], folder / f"{index}-{number}-off")
                shares.append(on["figures"] / on["training"])
                ratios.append(on["training"] / off["training"])
                print(
                    f"  training {on['training']:.2f} s, figures {on['figures']:.2f} s: {shares[-1]:.1%}; evaluation "
                    f"{on['evaluation']:.2f} s, doctor {on['doctor']:.2f} s, report {on['report']:.2f} s; without "
                    f"figures: training {off['training']:.2f} s, report {off['report']:.2f} s"
                )
            print(f"  median share {statistics.median(shares):.1%}, training on / off {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
