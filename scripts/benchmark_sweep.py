"""Time of a sweep with each launcher, and whether all compute the same.

    python scripts/benchmark_sweep.py [--rounds 3] [--epochs 100] [--seeds 8] [--launchers basic joblib stacked]

Seeds × four step sizes × two β of the digits network, batches of 32, started as a person does: imports, workers, the
compiler and the report are all inside. The launchers take turns; on a shared machine only the ratio within a round
means something, and that of the seconds of CPU more than that of the clock.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
AXES = ["optimizer.lr=0.001,0.002,0.005,0.01", "objective.beta=0.5,1"]
FIXED = ["data.seed=0", "data.batch_size=32", "callbacks.early_stopping=null", "torch.threads=1"]
"""The same rows for every seed, so that the spread over seeds is that of training alone."""
CONFIGURATIONS = 8


def seconds_of(launcher: str, sweep_dir: Path, epochs: int, seeds: int) -> tuple[float, float]:
    """Of the clock and of the CPU, for the whole command."""
    own = [f"launcher={launcher}", f"sweep.dir={sweep_dir}", f"trainer.max_epochs={epochs}", f"seed=range({seeds})"]
    command = [sys.executable, str(ROOT / "train.py"), "-m", *own, *AXES, *FIXED]
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - started, cpu


def values(sweep_dir: Path, count: int) -> list[float]:
    """val/nelbo of each job."""
    summaries = [json.loads((sweep_dir / str(number) / "summary.json").read_text()) for number in range(count)]
    return [summary["val/nelbo"] for summary in summaries]


def spread_over_seeds(found: list[float]) -> float:
    """The standard deviation over seeds, mean over configurations; jobs are in order of the seed."""
    columns = [found[place::CONFIGURATIONS] for place in range(CONFIGURATIONS)]
    return statistics.mean(statistics.stdev(column) for column in columns)


def main() -> None:
    """Print each round, then the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--launchers", nargs="+", default=["basic", "joblib", "stacked"])
    arguments = parser.parse_args()
    count, launchers = CONFIGURATIONS * arguments.seeds, arguments.launchers
    print(f"{count} jobs of {arguments.epochs} epochs on {len(os.sched_getaffinity(0))} cores", flush=True)
    taken: dict[str, list[tuple[float, float]]] = {launcher: [] for launcher in launchers}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(arguments.rounds):
            found = {}
            for launcher in launchers:
                place = Path(folder) / f"{launcher}{number}"
                taken[launcher].append(seconds_of(launcher, place, arguments.epochs, arguments.seeds))
                found[launcher] = values(place, count)
                clock, cpu = taken[launcher][-1]
                print(f"round {number + 1}: {launcher} {clock:.1f} s, {cpu:.1f} s of CPU", flush=True)
            first = found[launchers[0]]
            spread = spread_over_seeds(first) if arguments.seeds > 1 else float("nan")
            for launcher in launchers[1:]:
                most = max(abs(one - other) for one, other in zip(first, found[launcher], strict=True))
                print(f"  val/nelbo of {launcher} differs by {most:.2g} at most; its spread over seeds is {spread:.2g}")
    for launcher in launchers:
        clock, cpu = (statistics.median(column) for column in zip(*taken[launcher], strict=True))
        others = [base for base in launchers if base != launcher]
        words = ", ".join(f"{ratio(taken[launcher], taken[base])} of {base}" for base in others)
        print(f"median: {launcher} {clock:.1f} s, {cpu:.1f} s of CPU; clock and CPU are {words}")


def ratio(own: list[tuple[float, float]], other: list[tuple[float, float]]) -> str:
    """The medians over rounds of the ratios of the clock and of the CPU."""
    pairs = [(mine[0] / theirs[0], mine[1] / theirs[1]) for mine, theirs in zip(own, other, strict=True)]
    return " and ".join(f"{statistics.median(column):.2f}" for column in zip(*pairs, strict=True))


if __name__ == "__main__":
    main()
