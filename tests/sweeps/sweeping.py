"""Sweeps of tiny runs: what to type, how to start them, what they leave."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

ROOT = Path(__file__).parents[2]
TINY = [
    "data=synthetic",
    "data.num_rows=200",
    "data.num_columns=4",
    "data.latent_dim=2",
    "data.batch_size=32",
    "likelihood=gaussian",
    "model.hidden_dims=[8]",
    "model.latent_dim=2",
    "trainer=cpu",
    "trainer.max_epochs=2",
    "test.num_samples=5",
    "logger=csv",
    "torch.threads=1",
    "callbacks.figures=null",
    "report=false",
]


def words(*overrides: str, without: Collection[str] = ()) -> list[str]:
    """A tiny sweep's command line; what is given, or is named in ``without``, wins over what makes it tiny."""
    keys = {override.partition("=")[0] for override in overrides} | set(without)
    dropped = "data." if "data" in keys else "-"  # another source has other settings
    tiny = (word for word in TINY if word.partition("=")[0] not in keys and not word.startswith(dropped))
    return ["-m", *tiny, *overrides]


def start(*overrides: str, cwd: Path) -> subprocess.Popen[str]:
    """The sweep in a process, and a process group, of its own."""
    return subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *words(*overrides)],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def contents(folder: Path) -> dict[str, tuple[int, str]]:
    """Time of change and hash of every file below ``folder``."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
