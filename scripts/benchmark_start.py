"""How long one waits for a start: from the command to the first step of training, for `load`, for `--help`.

    python scripts/benchmark_start.py [--rounds 5]

Each figure is a process of its own, as a person starts it, and the cases take turns. ``train.py`` is given one callback
more, which ends the process when the first step has been taken. Beside them stands what torch and Lightning take to be
imported by themselves. On a shared machine the processor's seconds (user and system) mean more than those of the clock.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
LEAVE = """
import os
from lightning.pytorch import Callback

class Leave(Callback):
    def on_train_batch_end(self, *unused):
        os._exit(0)
"""
FIRST_STEP = ["train.py", "overwrite=true", "+callbacks.leave._target_=leave.Leave"]
LOAD = "import sys, vae_lightning; vae_lightning.load(sys.argv[1])"


def cases(folder: Path) -> dict[str, list[str]]:
    """Arguments of python by what they measure; the run and the table that they need are made first."""
    rows = np.random.default_rng(0).normal(size=(1000, 10)) @ np.random.default_rng(1).normal(size=(10, 10))
    table, run = folder / "table.csv", folder / "run"
    np.savetxt(table, rows, delimiter=",", header=",".join(f"x{i}" for i in range(10)), comments="")
    words = [str(table), "likelihood=gaussian"]
    train = [sys.executable, "train.py", *words, f"hydra.run.dir={run}", "trainer.max_epochs=1", "report=false"]
    subprocess.run(train, check=True, capture_output=True, cwd=ROOT)
    (folder / "leave.py").write_text(LEAVE)
    command = ["-c", "from vae_lightning.cli.main import main; main()"]
    return {
        "import torch": ["-c", "import os, torch; os._exit(0)"],
        "import torch, lightning.pytorch": ["-c", "import os, torch, lightning.pytorch; os._exit(0)"],
        "train.py (digits) to the first step": [*FIRST_STEP, f"hydra.run.dir={folder / 'digits'}"],
        "train.py table.csv to the first step": [*FIRST_STEP, *words, f"hydra.run.dir={folder / 'table'}"],
        "load(RUN)": ["-c", LOAD, str(run)],
        "vae-lightning encode, 1,000 rows": [*command, "encode", str(run), str(table), "-o", str(folder / "codes.csv")],
        "vae-lightning score, 1,000 rows": [*command, "score", str(run), str(table), "-o", str(folder / "scores.csv")],
        "import vae_lightning": ["-c", "import vae_lightning"],
        "vae-lightning --help": [*command, "--help"],
        "python train.py --help": ["train.py", "--help"],
        "python -c pass": ["-c", "pass"],
    }


def measure(arguments: list[str], folder: Path) -> tuple[float, float]:
    """Seconds of the clock and of the processor that one process takes."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(folder)])}
    before, started = os.times(), time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True, cwd=ROOT, env=environment)
    after = os.times()
    processor = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - started, processor


def main() -> None:
    """Print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        by_case = cases(folder)
        measured = [{case: measure(words, folder) for case, words in by_case.items()} for _ in range(arguments.rounds)]
    print(f"{'':38} {'clock':>8} {'processor':>10}   medians of {arguments.rounds}, seconds")
    for case in by_case:
        clock, processor = (statistics.median(column) for column in zip(*(one[case] for one in measured), strict=True))
        print(f"{case:38} {clock:8.2f} {processor:10.2f}")


if __name__ == "__main__":
    main()
