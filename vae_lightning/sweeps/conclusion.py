"""The end of a sweep: its report, and how many jobs failed."""

from collections.abc import Sequence
from pathlib import Path

from vae_lightning.console import console, display_path
from vae_lightning.errors import RunError
from vae_lightning.shell import type_command, type_setting
from vae_lightning.sweeps.base import ENDED, at_work, jobs_of
from vae_lightning.sweeps.report import report_on


def conclude(sweep_dir: Path, wanted: Sequence[int], repeats_failed: bool = True) -> None:
    """Print the ranking and write the report.

    Args:
        sweep_dir: the sweep's directory.
        wanted: numbers of the jobs that this sweep was to run.
        repeats_failed: whether the same command would run the failed jobs again.

    Raises:
        RunError: when jobs have failed, and names the first, or have not been run.
    """
    try:
        report_on(sweep_dir)
    except Exception as error:  # hours of training are over and recorded: nothing about the report may hide that
        console.print(
            f"The report could not be written: {type(error).__name__}: {error}. "
            f"{type_command('vae-lightning', 'report', sweep_dir)} tries again.",
            style="yellow",
        )
    jobs = jobs_of(sweep_dir)
    failed = [number for number, job in jobs.items() if job.status == "failed"]
    left = [number for number in wanted if number in jobs and jobs[number].status not in ENDED]
    elsewhere = [number for number in left if at_work(sweep_dir / str(number))]
    if elsewhere:
        console.print(f"Still at work in another process: job {', '.join(map(str, elsewhere))}.")
    idle = len(left) - len(elsewhere)
    place = type_setting("sweep.dir", display_path(sweep_dir))
    again = f" The same command with {place} runs only what has not finished."
    not_run = f" {idle} of the jobs {'were' if idle > 1 else 'was'} not run." if idle else ""
    if failed:
        job = jobs[failed[0]]
        raise RunError(
            f"{len(failed)} of {len(jobs)} jobs failed, the first is job {failed[0]} ({job.name}): "
            f"{job.error.splitlines()[0].rstrip('.')}.{not_run}{again if repeats_failed or idle else ''}"
        )
    if idle:
        raise RunError(f"{not_run.strip()}{again}")
