"""Train in children that are sent signals at random moments, and say what was left each time.

Run as ``python kill_driver.py FOLDER KILLS EPOCHS SEED SIGNALS``; the signals take turns. Prints one JSON object.
Children are forked from a parent that has imported everything and computed nothing, so that a life costs a second
rather than the imports' six.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

OVERRIDES = [
    "data=correlated_bits",
    "data.num_columns=20",
    "data.num_train=256",
    "data.num_valid=64",
    "data.num_test=64",
    "data.batch_size=64",
    "model.latent_dim=4",
    "model.hidden_dims=[32]",
    "model.dropout=0.1",
    "scheduler=plateau",
    "callbacks.early_stopping=null",
    "callbacks.figures=null",
    "callbacks.last.every_seconds=0.1",
    "report=false",
    "test.num_samples=5",
    "torch.threads=1",
]


def child(arguments: list[str]) -> int:
    """Fork a process that trains; its output goes nowhere."""
    pid = os.fork()
    if pid:
        return pid
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    status = 1
    try:
        from vae_lightning.cli.main import train

        train(arguments)
        status = 0
    finally:
        os._exit(status)


def arguments(run_dir: Path, epochs: int) -> list[str]:
    """What a person types: a resume where there is something to resume."""
    typed = run_dir / ".hydra" / "overrides.yaml"
    started = typed.exists() and typed.read_text()
    if started:
        return [f"resume={run_dir}"]
    return [*OVERRIDES, f"trainer.max_epochs={epochs}", f"hydra.run.dir={run_dir}"]


def epochs_done(run_dir: Path) -> tuple[int, int]:
    """Epochs in the last checkpoint and in metrics.csv."""
    import torch

    path = run_dir / "checkpoints" / "last.ckpt"
    saved = torch.load(path, weights_only=True)["epoch"] + 1 if path.exists() else 0
    return saved, epochs_logged(run_dir)


def epochs_logged(run_dir: Path) -> int:
    """Rows of metrics.csv."""
    log = run_dir / "metrics.csv"
    return max(len(log.read_text().splitlines()) - 1, 0) if log.exists() else 0


def watch(run_dir: Path, row: int, seconds: float) -> dict[int, float]:
    """Until metrics.csv has this many rows, or for some seconds; when this life was first seen to have each number.

    What an earlier life has logged beyond its checkpoint stands there until this one's first epoch ends.
    """
    give_up, earlier, seen = time.monotonic() + seconds, epochs_logged(run_dir), dict[int, float]()
    while (rows := epochs_logged(run_dir)) < row and time.monotonic() < give_up:
        if seen or rows != earlier:
            for number in range(max(seen, default=0) + 1, rows + 1):
                seen[number] = time.monotonic()
        time.sleep(0.001)
    return seen


def main(folder: Path, kills: int, epochs: int, seed: int, signals: list[signal.Signals]) -> None:
    """One run in one piece, one stopped ``kills`` times."""
    import vae_lightning.runs.run  # noqa: F401 - imported here, once, for all children

    whole, torn = folder / "whole", folder / "torn"
    _, status = os.waitpid(child(arguments(whole, epochs)), 0)
    rng = random.Random(seed)
    lives = []
    for life in range(kills):
        before, rows = epochs_done(torn)
        # In rows and not in seconds, however fast the machine is: each life ends within its share of what is left.
        share = max((epochs - rows) // (kills + 1 - life), 1)
        pid = child(arguments(torn, epochs))
        if life % 2:
            seen = watch(torn, rows + rng.randint(1, share), seconds=60)
            time.sleep(rng.uniform(0.0, 0.02))  # anywhere in an epoch
        else:
            seen = watch(torn, epochs + 1, seconds=rng.uniform(0.05, 1.0))  # any moment, before the first epoch too
        killed = time.monotonic()
        os.kill(pid, signals[life % len(signals)])
        _, end = os.waitpid(pid, 0)
        saved, logged = epochs_done(torn)
        partial = [str(path) for path in torn.rglob("*.ckpt") if path.name not in ("best.ckpt", "last.ckpt")]
        # Two epochs are lost where the second is logged while the first is being written.
        lost = killed - seen.get(saved + 1, killed) if logged > saved + 2 else 0.0
        lives.append([before, saved, logged, end != 0, (torn / "summary.json").exists(), partial, lost])
    _, last = os.waitpid(child(arguments(torn, epochs)), 0)
    print(json.dumps({"status": [status, last], "lives": lives}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:5]), [signal.Signals[name] for name in sys.argv[5].split(",")])
