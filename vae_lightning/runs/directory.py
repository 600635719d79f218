"""A run's directory: whose it is, whether it is in use, and what of it this program has written."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from vae_lightning.config.strangers import RECORDED
from vae_lightning.console import display_path
from vae_lightning.errors import RunError, Setting, on_the_command_line
from vae_lightning.files import remove_partials
from vae_lightning.runs.conclusion import read_summary

MONITOR = "val/nelbo"
LOCK = ".run.lock"
JOB = "job.json"
"""What a sweep keeps in the directory of a job."""
LAST = Path("checkpoints", "last.ckpt")
LEARNED = ("summary.json", "metrics.csv", "checkpoints/best.ckpt", "checkpoints/last.ckpt")
"""Files that say that a directory holds a run worth keeping."""
WRITTEN = (
    *LEARNED,
    "report.html",
    "valid_scores.csv",
    *(f"{RECORDED.parent}/{name}.yaml" for name in ("config", "hydra", "overrides")),
    *(
        f"tensorboard/{name}"
        for name in ("codes.bytes", "labels.tsv", "sprite.png", "projector_config.pbtxt", "hparams.yaml")
    ),
)
"""What a run writes, beside its log, its figures and TensorBoard's event files."""
EVENTS = "events.out.tfevents.*"


@contextmanager
def occupy(run_dir: Path) -> Iterator[None]:
    """Nobody else trains in the directory while the context lasts; the lock ends with the process, however that ends.

    Raises:
        RunError: when another process does.
        OSError: when the directory cannot be written.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    lock = FileLock(run_dir / LOCK, preserve_lock_file=True)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise RunError(f"Another process trains in {run_dir} now. Wait for it, or give this run a directory.") from None
    try:
        yield
    finally:
        lock.release()


def is_used(run_dir: Path) -> bool:
    """Whether the directory holds what a run has learned."""
    return any((run_dir / name).exists() for name in (*LEARNED, JOB))


def check_unused(run_dir: Path) -> None:
    """Raises:
    RunError: when the directory holds a run, or a job of a sweep.
    """
    if (run_dir / JOB).exists():
        raise RunError(f"{run_dir} holds a job of a sweep. Give this run a directory of its own: hydra.run.dir=DIR.")
    if is_used(run_dir):
        resume = on_the_command_line(Setting("resume", display_path(run_dir)))
        raise RunError(
            f"{display_path(run_dir)} holds a run already. {resume} goes on with it; overwrite=true removes it and "
            "begins anew."
        )


def finished(run_dir: Path, overrides: Sequence[str]) -> float | None:
    """val/nelbo of the run that the directory holds; None where it has not finished.

    Raises:
        RunError: when it finished, and was made with other overrides.
    """
    summary = read_summary(run_dir)
    if not summary:
        return None
    recorded, value = summary.get("overrides"), summary.get(MONITOR)
    if not isinstance(recorded, list) or sorted(map(str, recorded)) != sorted(overrides):
        raise RunError(
            f"{display_path(run_dir)} holds a finished run of another command. Give this one a directory of its own, "
            "or go on with resume=DIR and what is to be different."
        )
    return float(value) if isinstance(value, int | float) else math.nan


def clear(run_dir: Path) -> None:
    """Remove what a run has written there, and nothing else."""
    from vae_lightning.reporting.figures.gallery import PLOTS  # with matplotlib

    names = (*WRITTEN, *(f"figures/{plot.name}.png" for plot in PLOTS))
    for path in [*(run_dir / name for name in names), *(run_dir / "tensorboard").glob(EVENTS)]:
        remove_partials(path)
        path.unlink(missing_ok=True)
