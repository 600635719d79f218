"""``vae-lightning report``: what a run, or the jobs of a sweep, have come to by now."""

from pathlib import Path

import click

from vae_lightning.cli.base import SETTINGS, note, one_line_errors
from vae_lightning.errors import ConfigError, RunError

EXAMPLES = """\b
Examples:
  vae-lightning report outputs/mine
  vae-lightning report outputs/copied -o mine.html
  python train.py -m 'model.latent_dim=2,8' 'seed=0,1' sweep.dir=multirun/first
  vae-lightning report multirun/first"""


@click.command(epilog=EXAMPLES, context_settings=SETTINGS)
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Where a run's page goes, if not into the run.")
def report(directory: Path, output: Path | None) -> None:
    """Report on a run, or rank the jobs of a sweep.

    DIRECTORY is a run directory or that of a sweep, finished or not. Writes report.html there: figures, the test table
    and the doctor's findings, with the weights kept so far. Of a sweep it writes sweep.csv, sweep.md and sweep.png.

    Exit status: 0, or 2 with one line that says why.
    """
    with one_line_errors():
        _report(directory, output)


def _report(directory: Path, output: Path | None) -> None:
    from vae_lightning.runs.loading import holds_model

    try:
        if holds_model(directory):
            _report_on_run(directory, output)
        elif output is not None:
            raise ConfigError(f"-o is for the page of a run, and {directory} holds no checkpoint.")
        else:
            from vae_lightning.sweeps.report import report_on

            report_on(directory)
    except OSError as error:
        raise RunError(f"The report could not be written: {error}.") from error


def _report_on_run(run_dir: Path, output: Path | None) -> None:
    from vae_lightning.console import display_path, logging_to
    from vae_lightning.runs.closing import PAGE
    from vae_lightning.runs.report import page_of_run

    with logging_to(None):
        page = page_of_run(run_dir)
    path = page.save(output or run_dir / PAGE)
    if page.note:
        note(page.note)
    note(f"The report is {display_path(path)}.")
