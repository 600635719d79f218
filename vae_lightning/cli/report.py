"""``vae-lightning report``: what the jobs of a sweep say, now."""

import sys
from pathlib import Path

import click

from vae_lightning.cli.base import SETTINGS
from vae_lightning.errors import UserError

EXAMPLES = """\b
Example:
  python train.py -m model.latent_dim=2,8 seed=0,1 sweep.dir=multirun/first
  vae-lightning report multirun/first"""


@click.command(epilog=EXAMPLES, context_settings=SETTINGS)
@click.argument("sweep_dir", type=click.Path(path_type=Path))
def report(sweep_dir: Path) -> None:
    """Rank the jobs of a sweep.

    SWEEP_DIR is the directory of a sweep, also of one that is still running. Writes sweep.csv, sweep.md and sweep.png
    there again.

    Exit status: 0, or 2 where there are no jobs or the files cannot be written.
    """
    from vae_lightning.sweeps.report import report_on

    try:
        report_on(sweep_dir)
    except UserError as error:
        message = str(error)
    except OSError as error:
        message = f"The report could not be written: {error}"
    else:
        return
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(2)
