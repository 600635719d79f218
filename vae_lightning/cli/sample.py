"""``vae-lightning sample``: new rows."""

import re
from collections.abc import Sequence
from pathlib import Path

import click

from vae_lightning.cli.base import (
    SETTINGS,
    counting,
    load_model,
    note,
    note_formulas,
    one_line_errors,
    output_option,
    run_argument,
)
from vae_lightning.errors import ConfigError

EXAMPLES = """\b
Examples:
  vae-lightning sample outputs/mine -n 1000 -o new.csv --seed 0
  vae-lightning sample outputs/told --where 'sex=F,batch=3'
  vae-lightning sample outputs/mine --given age=42 --given "city=Oslo\""""


@click.command(epilog=EXAMPLES, context_settings=SETTINGS)
@run_argument
@click.option("-n", "--num-rows", type=int, default=1000, show_default=True, help="How many rows.")
@output_option
@click.option("--mean", is_flag=True, help="Means of p(x|z) instead of draws; they vary too little to pass for data.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), help="The same seed gives the same rows.")
@click.option("--temperature", type=float, default=1.0, show_default=True, help="Times the standard deviations of z.")
@click.option("--prior", is_flag=True, help="z from the prior, not from the density of the codes.")
@click.option(
    "--where", multiple=True, metavar="NAME=VALUE[,...]", help="Rows for these values of data.condition's columns."
)
@click.option("--given", multiple=True, metavar="NAME=VALUE", help="Rows with this value of a column; repeatable.")
def sample(
    run: Path,
    num_rows: int,
    output: str,
    mean: bool,
    seed: int | None,
    temperature: float,
    prior: bool,
    where: tuple[str, ...],
    given: tuple[str, ...],
) -> None:
    """New rows, drawn from the model.

    z comes from the density of the training rows' codes that was fitted when the run ended, the row from p(x|z), with
    the columns, order and dtypes of the training data. Where no density describes the codes of validation rows clearly
    better than the prior, or the run has not ended, z comes from the prior.

    Of a model with conditions or an exposure the rows are for such as the training rows have, or for those of --where.
    --given fixes columns that are modelled: z is drawn by how likely it makes them (importance resampling), and the
    effective sample size is told.

    RUN is a run directory.

    Exit status: 0, or 2 with one line that says why.
    """
    with one_line_errors():
        from vae_lightning.data.files.writing import RowWriter
        from vae_lightning.inference.sampling import Draws, sample_batches

        model = load_model(run)
        conditions = [] if model.conditions is None else model.conditions.names
        told, cells = read_cells("where", where, conditions), read_cells("given", given)
        draws = Draws(_seed(seed), mean, temperature, prior, told, cells)
        with counting("drawn", num_rows) as count, RowWriter(output) as writer:
            for rows in sample_batches(model, num_rows, draws, note):
                writer.write(rows)
                count(len(rows))
        note_formulas(writer)


def read_cells(option: str, words: Sequence[str], names: Sequence[str] = ()) -> dict[str, str]:
    """Values by name of column.

    Args:
        option: where they were typed.
        words: ``NAME=VALUE``, or several after commas, each but the first beginning with one of ``names``.
        names: of the columns. Commas before anything else are part of a value.

    Raises:
        ConfigError: for anything else, and for a column that is named twice.

    >>> read_cells("where", ["city=Oslo, Norway,batch=3"], ["city", "batch"])
    {'city': 'Oslo, Norway', 'batch': '3'}
    """
    found: dict[str, str] = {}
    border = re.compile(rf",\s*(?=(?:{'|'.join(map(re.escape, names))})\s*=)") if names else None
    for cell in (cell for word in words for cell in (border.split(word) if border else [word])):
        name, is_set, value = (part.strip() for part in cell.partition("="))
        if not is_set or not name:
            raise ConfigError(f"The option --{option} must be NAME=VALUE. Got {cell!r} instead.")
        if name in found:
            raise ConfigError(f"The option --{option} must name each column once. Got {name!r} twice.")
        found[name] = value
    return found


def _seed(seed: int | None) -> int:
    # torch's own stream starts alike in every process: without a seed every call would draw the same rows.
    import torch

    return torch.seed() % 2**63 if seed is None else seed
