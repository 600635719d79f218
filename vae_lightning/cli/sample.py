"""``vae-lightning sample``: new rows."""

from pathlib import Path

import click

from vae_lightning.cli.base import (
    SETTINGS,
    counting,
    load_model,
    note_formulas,
    one_line_errors,
    output_option,
    run_argument,
)

EXAMPLES = """\b
Example:
  vae-lightning sample outputs/mine -n 1000 -o new.csv --seed 0"""


@click.command(epilog=EXAMPLES, context_settings=SETTINGS)
@run_argument
@click.option("-n", "--num-rows", type=int, default=1000, show_default=True, help="How many rows.")
@output_option
@click.option("--mean", is_flag=True, help="Means of p(x|z) instead of draws; they vary too little to pass for data.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), help="The same seed gives the same rows.")
@click.option("--temperature", type=float, default=1.0, show_default=True, help="Times the standard deviations of z.")
@click.option("--prior", is_flag=True, help="z from the prior, not from the density of the codes.")
def sample(
    run: Path, num_rows: int, output: str, mean: bool, seed: int | None, temperature: float, prior: bool
) -> None:
    """New rows, drawn from the model.

    z comes from the density of the training rows' codes that was fitted when the run ended, the row from p(x|z), with
    the columns, order and dtypes of the training data. Where no density describes the codes of validation rows clearly
    better than the prior, or the run has not ended, z comes from the prior.

    RUN is a run directory.

    Exit status: 0, or 2 with one line that says why.
    """
    with one_line_errors():
        from vae_lightning.data.files.writing import RowWriter

        model = load_model(run)
        with counting("drawn", num_rows) as count, RowWriter(output) as writer:
            for rows in model.sample_batches(num_rows, _seed(seed), mean, temperature, prior):
                writer.write(rows)
                count(len(rows))
        note_formulas(writer)


def _seed(seed: int | None) -> int:
    # torch's own stream starts alike in every process: without a seed every call would draw the same rows.
    import torch

    return torch.seed() % 2**63 if seed is None else seed
