"""Time of a sweep with launcher=joblib beside launcher=basic, and whether both compute the same.

    python scripts/benchmark_sweep.py [--rounds 3] [--epochs 100]

Two likelihoods × two latent sizes × two seeds on the digits, eight jobs, started as a person does: imports, workers and
the report are all inside. The launchers take turns; on a shared machine only the ratio within a round means something.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
AXES = ["likelihood=bernoulli,gaussian", "model.latent_dim=2,8", "seed=0,1"]
JOBS = 8


def seconds_of(launcher: str, sweep_dir: Path, epochs: int) -> float:
    """Wall time of the whole command."""
    own = [f"launcher={launcher}", f"sweep.dir={sweep_dir}", f"trainer.max_epochs={epochs}", "torch.threads=1"]
    command = [sys.executable, str(ROOT / "train.py"), "-m", *AXES, *own]
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def numbers(sweep_dir: Path) -> list[dict[str, Any]]:
    """What each job computed, seconds left out."""
    summaries = [json.loads((sweep_dir / str(number) / "summary.json").read_text()) for number in range(JOBS)]
    return [{"val/nelbo": summary["val/nelbo"], **summary["test"]} for summary in summaries]


def main() -> None:
    """Print each round, then the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=100)
    arguments = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(arguments.rounds):
            places = {launcher: Path(folder) / f"{launcher}{number}" for launcher in ("basic", "joblib")}
            basic, joblib = (seconds_of(launcher, place, arguments.epochs) for launcher, place in places.items())
            same = numbers(places["basic"]) == numbers(places["joblib"])
            results.append((basic, joblib))
            words = "equal" if same else "NOT equal"
            print(f"round {number + 1}: basic {basic:.1f} s, joblib {joblib:.1f} s, numbers {words}", flush=True)
            if not same:
                raise SystemExit(1)
    basic, joblib = (statistics.median(column) for column in zip(*results, strict=True))
    ratio = statistics.median(basic / joblib for basic, joblib in results)
    cores = len(os.sched_getaffinity(0))
    print(f"median: basic {basic:.1f} s, joblib {joblib:.1f} s on {cores} cores, {ratio:.2f} times faster")


if __name__ == "__main__":
    main()
