"""``vae-lightning encode``: rows to codes."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from vae_lightning.cli.base import (
    SETTINGS,
    data_argument,
    key_option,
    load_model,
    one_line_errors,
    others,
    output_option,
    pass_through,
    run_argument,
    settings_argument,
)

if TYPE_CHECKING:
    import pandas as pd

EXAMPLES = """\b
Examples:
  vae-lightning encode outputs/mine my.csv -o codes.parquet --std
  zcat huge.csv.gz | vae-lightning encode outputs/mine - > codes.csv"""


@click.command(epilog=EXAMPLES, context_settings=SETTINGS)
@run_argument
@data_argument
@settings_argument
@output_option
@click.option("--std", is_flag=True, help="Also the posterior's standard deviations, z0_std, z1_std, ...")
@key_option
def encode(run: Path, data: str, output: str, std: bool, key: str | None, settings: tuple[str, ...]) -> None:
    """Codes of rows: posterior means.

    The output has columns z0, z1, ...

    RUN is a run directory, DATA a file (CSV, TSV, Parquet, Feather, NPY, NPZ) or - for CSV from a pipe; settings
    such as data.decimal=comma say how a text is written. Rows pass
    through in batches. Their labels and the columns that the model does not read come along.

    Exit status: 0, or 2 with one line that says why.
    """
    with one_line_errors():
        model = load_model(run)

        def codes(rows: "pd.DataFrame") -> "pd.DataFrame":
            import pandas as pd

            if not std:
                return others(model, rows, model.encode(rows))
            loc, scale = model.encode(rows, return_std=True)
            return others(model, rows, pd.concat([loc, scale.add_suffix("_std")], axis=1))

        pass_through(model, data, output, key, settings, codes, "encoded")
