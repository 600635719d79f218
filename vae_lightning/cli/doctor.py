"""``vae-lightning doctor``: examine functions, a history, a table or a trained run."""

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vae_lightning.cli.base import SETTINGS, read_settings, settings_argument
from vae_lightning.errors import UserError

if TYPE_CHECKING:
    from vae_lightning.doctor import Report

EXAMPLES = """\b
Examples:
  vae-lightning doctor losses.py
  vae-lightning doctor losses.py --kl my_kl --sample draw --data my.csv
  vae-lightning doctor --history losses.csv --columns 224 --likelihood bernoulli
  vae-lightning doctor --data my.csv --likelihood gaussian
  vae-lightning doctor --data my.csv data.decimal=comma
  vae-lightning doctor outputs/first"""


@click.command(epilog=EXAMPLES, context_settings=SETTINGS)
@click.argument("target", required=False, type=click.Path(path_type=Path))
@settings_argument
@click.option("--history", help="A CSV of losses or a Keras or Lightning log; - reads what is pasted.")
@click.option("--data", help="A table: judged by itself, or beside the target.")
@click.option("--likelihood", help="The likelihood that is meant, e.g. bernoulli or gaussian.")
@click.option("--columns", type=click.IntRange(min=1), help="The number of columns of x (history).")
@click.option("--kl", help="The name of kl(m, s) in the file.")
@click.option("--sample", help="The name of sample(m, s) in the file.")
@click.option("--reconstruction", help="The name of reconstruction(x, out) in the file.")
@click.option("--loss", help="The name of loss(x, out, m, s), or loss(x), in the file.")
@click.option("--beta", type=float, default=1.0, show_default=True, help="The β that is meant (functions).")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def doctor(
    target: Path | None,
    history: str | None,
    data: str | None,
    likelihood: str | None,
    columns: int | None,
    kl: str | None,
    sample: str | None,
    reconstruction: str | None,
    loss: str | None,
    beta: float,
    as_json: bool,
    settings: tuple[str, ...],
) -> None:
    """Say what is wrong with a VAE loss.

    TARGET is a Python file with the functions kl, sample, reconstruction or loss (it is run), or a run directory. A
    history or a table is examined without one. Settings such as data.decimal=comma say how the table of --data is
    written, where it is judged by itself.

    Exit status: 0 nothing is wrong, 1 something is, 2 it cannot be judged.
    """
    names = {"kl": kl, "sample": sample, "reconstruction": reconstruction, "loss": loss}
    if str(target).startswith("data.") and "=" in str(target):
        target, settings = None, (str(target), *settings)
    if settings and (data is None or target is not None or history is not None):
        raise click.UsageError(f"{settings[0]} says how a table is written: give it alone, with --data FILE.")
    _check_usage(target, history, data, names, columns)
    try:
        with redirect_stdout(sys.stderr):  # what the user's own code prints is no part of the report
            if history is not None:
                report = _history(history, columns, likelihood, data)
            elif target is None:
                report = _table(str(data), likelihood, settings)
            elif target.is_dir():
                report = _run(target, data)
            else:
                report = _functions(target, names, data, likelihood, beta)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    click.echo(report.to_json() if as_json else str(report))
    raise SystemExit(report.exit_status)


def _check_usage(
    target: Path | None, history: str | None, data: str | None, names: dict[str, str | None], columns: int | None
) -> None:
    if target is None and history is None and data is None:
        raise click.UsageError("Give a Python file, a run directory, --history FILE or --data FILE.")
    if target is not None and history is not None:
        raise click.UsageError(f"Give {target} or --history, not both.")
    if columns is not None and history is None:
        raise click.UsageError("--columns belongs to --history.")
    if target is None:
        given = [f"--{role}" for role, name in names.items() if name is not None]
        if given:
            raise click.UsageError(f"{' and '.join(given)} name functions of a Python file: give the file too.")
    elif not target.exists():
        raise click.UsageError(f"There is no file or directory {target}.")
    elif not target.is_dir() and target.suffix != ".py":
        raise click.UsageError(f"{target} is neither Python nor a run directory: type --data or --history before it.")


def _history(history: str, columns: int | None, likelihood: str | None, data: str | None) -> "Report":
    from vae_lightning.doctor.runs.history import examine_history
    from vae_lightning.doctor.runs.table import read_rows

    pasted = sys.stdin.read() + "\n" if history == "-" else Path(history)
    rows = None if data is None else read_rows(data)
    return examine_history(pasted, columns, likelihood, data=rows)


def _table(data: str, likelihood: str | None, settings: tuple[str, ...]) -> "Report":
    from vae_lightning.doctor.runs.table import examine_data

    return examine_data(data, likelihood, read_settings(settings))


def _run(run_dir: Path, data: str | None) -> "Report":
    from vae_lightning.runs.checkup import examine_run

    return examine_run(run_dir, data)


def _functions(
    path: Path, names: dict[str, str | None], data: str | None, likelihood: str | None, beta: float
) -> "Report":
    import torch

    from vae_lightning.doctor.losses.file import examine_file
    from vae_lightning.doctor.runs.table import read_rows

    rows = None if data is None else read_rows(data)
    torch.set_num_threads(1)  # thousands of calls on a handful of numbers: threads would only wait for one another
    return examine_file(
        path,
        kl=names["kl"],
        sample=names["sample"],
        reconstruction=names["reconstruction"],
        loss=names["loss"],
        data=rows,
        likelihood=likelihood,
        beta=beta,
    )
