"""The end of a sweep: its report, and how many jobs failed."""

from pathlib import Path

from vae_lightning.console import console
from vae_lightning.errors import RunError
from vae_lightning.sweeps.base import jobs_of
from vae_lightning.sweeps.report import report_on


def conclude(sweep_dir: Path, repeats_failed: bool = True) -> None:
    """Print the ranking and write the report.

    Args:
        sweep_dir: the sweep's directory.
        repeats_failed: whether the same command would run the failed jobs again.

    Raises:
        RunError: when jobs have failed; it names the first and says how to go on.
    """
    try:
        report_on(sweep_dir)
    except Exception as error:  # hours of training are over and recorded: nothing about the report may hide that
        console.print(
            f"The report could not be written: {type(error).__name__}: {error}. vae-lightning report {sweep_dir} "
            "tries again.",
            style="yellow",
            markup=False,
        )
    jobs = jobs_of(sweep_dir)
    failed = {number: job for number, job in jobs.items() if job.status == "failed"}
    if failed:
        number, job = next(iter(failed.items()))
        again = (
            f" The same command with sweep.dir={sweep_dir} runs only what has not finished." if repeats_failed else ""
        )
        raise RunError(
            f"{len(failed)} of {len(jobs)} jobs failed, the first is job {number} ({job.name}): "
            f"{job.error.splitlines()[0]}{again}"
        )
