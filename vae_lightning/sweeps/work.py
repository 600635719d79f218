"""One job of a sweep in its own process: claim, recorded from start to end, never run over a finished one."""

import math
import shutil
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from vae_lightning.config.strangers import refuse_links
from vae_lightning.console import console
from vae_lightning.errors import InterruptedRun, RunError, UserError
from vae_lightning.runs.conclusion import read_summary
from vae_lightning.runs.directory import LAST, LOCK
from vae_lightning.sweeps.base import (
    ENDED,
    RECORD,
    Job,
    PrunedError,
    claim,
    describe_error,
    describe_progress,
    has_failed_since,
    read_job,
    write_job,
)

OWN = (LOCK, ".hydra")
"""What may lie in the directory of a job that keeps no record yet; Hydra writes the second."""
Work = Callable[[bool], float]
"""Trains; told whether to go on from a checkpoint; returns val/nelbo of the best epoch."""


def work_on(
    run_dir: Path, job: Job, work: Work, *, stop_since: float | None, repeat: bool, total: int | None = None
) -> float | None:
    """Do one job unless it is done, or another process is at it.

    Args:
        run_dir: the job's directory, in its sweep's.
        job: what a sweeper that keeps no records would have written.
        work: does it.
        stop_since: not when a job of the sweep that was started later has failed; seconds since the epoch.
        repeat: do a failed or pruned job again, too; a sweeper that keeps records has said so in them.
        total: how many jobs there will be, where that is not how many are recorded.

    Returns:
        The job's value; None where there is none.

    Raises:
        RunError: when the directory holds a finished job of another configuration, or anything but a job.
        Exception: what ``work`` raised, once that is recorded and told.
    """
    with claim(run_dir) as mine:
        if not mine:
            return None
        refuse_links(run_dir)
        known = read_job(run_dir)
        if known is not None and known.fingerprint != job.fingerprint and known.status in ("finished", "running"):
            raise RunError(
                f"{run_dir} holds a {known.status} job of another configuration: {known.name}. Nothing is run."
            )
        done = ("finished",) if repeat else ENDED
        if known is not None and known.fingerprint == job.fingerprint and known.status in done:
            return known.value
        if known is None and (others := [path.name for path in run_dir.iterdir() if path.name not in OWN]):
            raise RunError(f"{run_dir} holds {others[0]}, but no {RECORD}: it is no job's. Nothing is run.")
        if stop_since is not None and has_failed_since(run_dir.parent, stop_since):
            return None
        if known is not None and known.fingerprint == job.fingerprint:
            job = replace(known, overrides=job.overrides)
        return _record(run_dir, job, work, total)


def _record(run_dir: Path, job: Job, work: Work, total: int | None) -> float | None:
    if job.status == "running" and (value := _summarize(run_dir)) is not None:
        job.status, job.value = "finished", value  # killed after its summary, which a run writes last
        write_job(run_dir, job)
        return value
    resumes = job.status == "running" and (run_dir / LAST).exists()
    if not resumes:
        _clear(run_dir)
    job = Job(job.fingerprint, job.overrides, job.swept, job.settings, "running", attempts=job.attempts + 1)
    write_job(run_dir, job)
    console.print(f"{'Going on with job' if resumes else 'Job'} {run_dir.name}: {job.name}")
    try:
        job.value = work(resumes)
        job.status = "finished"
        if not math.isfinite(job.value):
            job.status, job.error, job.value = "failed", f"The validation NELBO is {job.value:g}.", None
    except PrunedError as error:
        job.status, job.error = "pruned", str(error)
    except InterruptedRun:
        raise
    except Exception as error:
        job.status, job.error = "failed", describe_error(error)
        if not isinstance(error, UserError):
            with (run_dir / "train.log").open("a", encoding="utf-8") as log_file:
                log_file.write(traceback.format_exc())
        raise
    finally:
        if job.status in ENDED:  # else it was interrupted, and can be gone on with
            job.seconds = time.time() - job.started
            write_job(run_dir, job)
            _tell(run_dir.name, job, describe_progress(run_dir.parent, total))
    return job.value


def _summarize(run_dir: Path) -> float | None:
    try:
        value = float(read_summary(run_dir)["val/nelbo"])
    except (ValueError, TypeError, KeyError):
        return None
    return value if math.isfinite(value) else None


def _clear(run_dir: Path) -> None:
    """Remove what a failed or half-done start has left: it would mix with what comes."""
    for path in run_dir.iterdir():
        if path.name in (RECORD, LOCK):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _tell(number: str, job: Job, progress: str) -> None:
    if job.status == "finished":
        line = f"Job {number}: validation NELBO {job.value:.3f}, {job.seconds:.1f} s."
    elif job.status == "pruned":
        line = f"Job {number}: pruned after {job.seconds:.1f} s. {job.error}"
    else:
        line = f"Job {number} failed: {job.error}"
    console.print(f"{line} {progress}".rstrip(), style="red" if job.status == "failed" else None)
