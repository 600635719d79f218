"""``vae-lightning impute``: rows with their empty cells filled."""

from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vae_lightning.cli.base import (
    SETTINGS,
    data_argument,
    key_option,
    load_model,
    note,
    one_line_errors,
    open_rows,
    output_option,
    pass_through,
    run_argument,
    settings_argument,
)
from vae_lightning.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from vae_lightning.data.columns import Column
    from vae_lightning.data.files.reading import RowReader

EXAMPLES = """\b
Examples:
  vae-lightning impute outputs/mine my.csv -o full.csv --uncertainty spread.csv
  vae-lightning impute outputs/mine my.csv -o tables.csv --draws 10 --seed 0"""
NUMBER = "imputation"


@click.command(epilog=EXAMPLES, context_settings=SETTINGS)
@run_argument
@data_argument
@settings_argument
@output_option
@click.option(
    "--draws", type=click.IntRange(1), help="So many completed tables, one under the other, numbered by 'imputation'."
)
@click.option("--uncertainty", "spread", help="A second file: each filled cell's standard deviation.")
@click.option("--mean", is_flag=True, help="Fractions also in columns of whole numbers and truth values.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, help="Of the draws.")
@key_option
def impute(
    run: Path,
    data: str,
    output: str,
    draws: int | None,
    spread: str | None,
    mean: bool,
    seed: int,
    key: str | None,
    settings: tuple[str, ...],
) -> None:
    """Fill the empty cells of rows.

    A number becomes its mean given what the row's other cells hold, a category the likeliest one. Every other cell
    passes through as it is, from text to text to the letter. With --draws the cells are drawn instead, which keeps the
    data's spread: a long table of M completed ones, whose first column is 'imputation', 1 to M; rows come some
    thousands at a time.

    RUN is a run directory, DATA a file (CSV, TSV, Parquet, Feather, NPY, NPZ) or - for CSV from a pipe; settings
    such as data.missing=[-999] say how a text is written, and which words mean an empty cell. The file of
    --uncertainty has the model's columns and is empty where a cell was observed; of a date it holds days, of a category
    the probability that it is another.

    Exit status: 0, or 2 with one line that says why.
    """
    with one_line_errors():
        import pandas as pd

        from vae_lightning.data.dates import join_columns
        from vae_lightning.data.files.dialect import is_text
        from vae_lightning.data.files.writing import RowWriter
        from vae_lightning.data.seeds import stream_seed

        model = load_model(run)
        if spread is not None and spread in (output, data):
            raise DataError(f"--uncertainty names '{spread}', which is a file of its own already: name another.")
        reader = open_rows(model, data, key, settings, is_text(output), is_text(data) and is_text(output))
        columns = join_columns(model.columns)
        names, holes, cells, done = [column.name for column in columns], Counter[str](), 0, 0

        def fill(rows: "pd.DataFrame") -> "pd.DataFrame":
            nonlocal cells, done
            if draws is not None and NUMBER in rows.columns:
                raise ConfigError(f"The rows already have a column {NUMBER!r}, which --draws needs: rename it.")
            found, spreads = model.impute(
                rows, draws, mean=mean, return_uncertainty=True, seed=stream_seed(seed, "rows", done)
            )
            empty = rows[names].isna()
            holes.update(empty.sum().to_dict())
            cells, done = cells + empty.size, done + len(rows)
            if writer is not None:
                writer.write(spreads)
            tables = [_as_written(reader, rows, table, columns) for table in (found if draws else [found])]
            if draws is None:
                return tables[0]
            numbered = [table.assign(**{NUMBER: i})[[NUMBER, *table]] for i, table in enumerate(tables, 1)]
            return pd.concat(numbered, ignore_index=isinstance(rows.index, pd.RangeIndex))

        with ExitStack() as stack:
            writer = None if spread is None else stack.enter_context(RowWriter(spread))
            pass_through(model, data, output, key, settings, fill, "imputed", reader)
        note(_summary(holes, cells))


def _as_written(
    reader: "RowReader", rows: "pd.DataFrame", table: "pd.DataFrame", columns: "Sequence[Column]"
) -> "pd.DataFrame":
    """A completed table whose observed cells are the letters of the file, and whose others are written alike."""
    from vae_lightning.data.frames import cast_values, write_cell

    written = reader.written
    if written is None:
        return table
    filled = {}
    for column in columns:
        name, hole = column.name, rows[column.name].isna()
        if hole.any():
            # Where some cell of the file holds the same value, as it is written there: 007, 1.50 or TRUE.
            known = dict(zip(rows[name][~hole], written[name][~hole], strict=True))
            values = table[name][hole]
            texts = [
                known[value] if value in known else write_cell(value, reader.decimal)
                for value in (values if column.dtype != "bool" or known else cast_values(values.to_numpy(), "bool"))
            ]
            filled[name] = written[name].astype(object)
            filled[name][hole.to_numpy()] = texts
    return written.assign(**filled)


def _summary(holes: Counter[str], cells: int) -> str:
    from vae_lightning.data.wording import count, shorten

    found = [f"{name} {number:,}" for name, number in holes.most_common() if number]
    if not found:
        return "No cell of the model's columns was empty: the rows are as they were."
    total = sum(holes.values())
    return f"Filled {total:,} of {count(cells, 'cell')}, in {count(len(found), 'column')}: {shorten(found)}."
