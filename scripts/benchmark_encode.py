"""Encodes a CSV of a million rows: rows a second, and the most memory that it took.

    python scripts/benchmark_encode.py

trains a small model on 10,000 rows of 20 columns, writes a million more (about 370 MB), runs ``vae-lightning encode``
on them in a process of its own, and prints its rate and its peak resident memory. For comparison it runs the same on a
hundredth of the rows: what the program itself needs.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).parents[1]
COLUMNS = [f"x{i}" for i in range(20)]


def write_rows(path: Path, num_rows: int, seed: int) -> None:
    """Correlated normal columns and an identifier, in pieces."""
    draws = np.random.default_rng(seed)
    weights = np.random.default_rng(0).normal(size=(4, len(COLUMNS)))
    for start in range(0, num_rows, 50_000):
        size = min(50_000, num_rows - start)
        x = draws.normal(size=(size, 4)) @ weights + 0.3 * draws.normal(size=(size, len(COLUMNS)))
        frame = pd.DataFrame(x, columns=COLUMNS)
        frame.insert(0, "id", [f"r{start + i}" for i in range(size)])
        frame.to_csv(path, mode="w" if start == 0 else "a", header=start == 0, index=False)


def encode(run: Path, rows: Path, output: Path) -> tuple[float, float]:
    """Seconds and peak memory in GB of one ``vae-lightning encode``."""
    code = (
        "import resource, sys; from vae_lightning.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: print('peak', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, "encode", str(run), str(rows), "-o", str(output)]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    seconds = time.perf_counter() - started
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes elsewhere
    return seconds, int(done.stderr.split("peak ")[1].split()[0]) * unit / 1e9


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--format", default="parquet", help="of the codes: parquet, csv, ...")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows, run = Path(folder) / "rows.csv", Path(folder) / "run"
        write_rows(Path(folder) / "train.csv", 10_000, seed=1)
        words = ["data=table", f"data.path={folder}/train.csv", "data.drop=[id]", "likelihood=gaussian"]
        words += ["trainer.max_epochs=2", f"hydra.run.dir={run}", "callbacks.progress=null"]
        subprocess.run([sys.executable, "train.py", *words], check=True, capture_output=True, cwd=ROOT)
        for num_rows in (options.rows // 100, options.rows):
            write_rows(rows, num_rows, seed=2)
            output = Path(folder) / f"codes.{options.format}"
            seconds, peak = encode(run, rows, output)
            megabytes = rows.stat().st_size / 1e6
            print(
                f"{num_rows:>9,} rows ({megabytes:,.0f} MB): {seconds:.1f} s, {num_rows / seconds:,.0f} rows/s "
                f"with the program's start, peak memory {peak:.2f} GB"
            )


if __name__ == "__main__":
    main()
