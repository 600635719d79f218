"""``vae-lightning reconstruct``: rows as the model would say them."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from vae_lightning.cli.base import (
    SETTINGS,
    data_argument,
    key_option,
    load_model,
    one_line_errors,
    output_option,
    pass_through,
    run_argument,
    settings_argument,
)

if TYPE_CHECKING:
    import pandas as pd

EXAMPLES = """\b
Example:
  vae-lightning reconstruct outputs/mine my.csv -o again.csv"""


@click.command(epilog=EXAMPLES, context_settings=SETTINGS)
@run_argument
@data_argument
@settings_argument
@output_option
@click.option("--mean", is_flag=True, help="Fractions also in columns of whole numbers and truth values.")
@key_option
def reconstruct(run: Path, data: str, output: str, mean: bool, key: str | None, settings: tuple[str, ...]) -> None:
    """Rows as the model says them.

    That is the decoder's mean at each row's posterior mean, with the file's own columns, order and dtypes.

    RUN is a run directory, DATA a file (CSV, TSV, Parquet, Feather, NPY, NPZ) or - for CSV from a pipe; settings
    such as data.decimal=comma say how a text is written. Columns
    that the model does not read stay as they are.

    Exit status: 0, or 2 with one line that says why.
    """
    with one_line_errors():
        from vae_lightning.data.files.dialect import is_text
        from vae_lightning.data.frames import cast_values

        model = load_model(run)
        trained = {column.name: column.dtype.replace("float32", "float64") for column in model.table_columns}

        def again(rows: "pd.DataFrame") -> "pd.DataFrame":
            means = model.reconstruct(rows, mean=True)
            if mean:
                return rows.assign(**means)
            # A text has no dtypes, and what a batch of it looks like may differ from batch to batch.
            dtypes = trained if is_text(data) else dict(zip(rows.columns, rows.dtypes, strict=True))
            return rows.assign(**{name: cast_values(means[name].to_numpy(), dtypes[name]) for name in means.columns})

        pass_through(model, data, output, key, settings, again, "reconstructed")
