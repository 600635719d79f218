"""``vae-lightning compare``: is the synthetic table any good?"""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from vae_lightning.cli.base import (
    SETTINGS,
    key_option,
    load_model,
    note,
    one_line_errors,
    open_rows,
    read_settings,
)
from vae_lightning.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

    from vae_lightning.comparison.compare import Comparison
    from vae_lightning.data.dataset import Dataset
    from vae_lightning.inference.model import VAEModel

EXAMPLES = """\b
Examples:
  vae-lightning compare outputs/mine
  vae-lightning compare outputs/mine unseen.csv --target income
  vae-lightning compare --synthetic new.csv unseen.csv --train my.csv"""


@click.command(epilog=EXAMPLES, context_settings=SETTINGS)
@click.argument("words", nargs=-1, metavar="[RUN] [DATA] [data.SETTING=VALUE]...")
@click.option("--synthetic", help="A table from anywhere, instead of rows drawn from RUN.")
@click.option("--train", help="With --synthetic, the table that it was made from: privacy needs it.")
@click.option("--target", help="The column whose prediction is judged; the last one by default.")
@click.option("--rows", type=click.IntRange(1), help="How many rows to draw; by default as many as are real.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, help="Of draws and splits.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write all numbers as JSON, too.")
@key_option
def compare(
    words: tuple[str, ...],
    synthetic: str | None,
    train: str | None,
    target: str | None,
    rows: int | None,
    seed: int,
    output: Path | None,
    key: str | None,
) -> None:
    """Is the synthetic table any good?

    Draws rows from RUN and holds them against its test rows, or against those of DATA: single columns, pairs of
    columns, a classifier that tries to tell them apart, what they teach about a column, and whether they lie closer to
    training rows than to others. Beside them stand a second real sample (the validation rows, or half of DATA), which
    no maker of rows can beat, and columns shuffled one by one, which any should beat.

    RUN is a run directory. With --synthetic there is none: DATA holds the real rows.

    Exit status: 0, or 2 with one line that says why.
    """
    with one_line_errors():
        from vae_lightning.files import to_json, write_whole
        from vae_lightning.reporting.comparison import print_comparison

        settings = tuple(word for word in words if word.startswith("data.") and "=" in word)
        paths = [word for word in words if word not in settings]
        if "-" in (*paths, synthetic, train):
            raise ConfigError("Rows are compared in several passes, and a pipe can be read only once: give a file.")
        if synthetic is not None:
            if len(paths) != 1 or rows is not None:
                raise ConfigError("With --synthetic give one file, that of the real rows, and no --rows.")
            found = _compare_files(synthetic, paths[0], train, target, seed, key, settings)
        else:
            if not 1 <= len(paths) <= 2 or train is not None:
                raise ConfigError("Give a run directory and at most one file; --train goes with --synthetic.")
            model = load_model(Path(paths[0]))
            data = paths[1] if len(paths) > 1 else None
            found = _compare_model(model, data, target, rows, seed, key, settings)
        print_comparison(found, paths[-1])
        if output is not None:
            write_whole(output, to_json(found.as_dict()).encode())


def _compare_model(
    model: "VAEModel",
    data: str | None,
    target: str | None,
    num_rows: int | None,
    seed: int,
    key: str | None,
    settings: tuple[str, ...],
) -> "Comparison":
    from vae_lightning.errors import UserError
    from vae_lightning.runs.comparison import compare_draws, split_in_halves

    if data is None:
        dataset = _recorded(model)
        real, second, train = dataset.test.x, dataset.valid.x, dataset.train.x
    else:
        real, second = split_in_halves(_read(model, data, key, settings), seed)
        try:
            train = _recorded(model).train.x
        except UserError as error:
            note(f"Nothing about privacy: {error}")
            train = None
    return compare_draws(model, real, second, train, num_rows, target, seed)


def _recorded(model: "VAEModel") -> "Dataset":
    from vae_lightning.config.record import recorded_dataset

    return recorded_dataset(model.record, [column.name for column in model.columns])


def _read(model: "VAEModel", data: str, key: str | None, settings: tuple[str, ...]) -> "np.ndarray":
    import numpy as np

    from vae_lightning.data.frames import to_matrix
    from vae_lightning.errors import DataError

    parts = [to_matrix(frame, model.columns) for frame in open_rows(model, data, key, settings)]
    if not parts:
        raise DataError(f"{data} holds no rows.")
    return np.concatenate(parts)


def _compare_files(
    synthetic: str,
    real: str,
    train: str | None,
    target: str | None,
    seed: int,
    key: str | None,
    settings: tuple[str, ...],
) -> "Comparison":
    """Any maker's table; read together, so that a column is the same in all of them."""
    import numpy as np

    from vae_lightning.comparison.compare import compare, with_controls
    from vae_lightning.data.dates import join_columns
    from vae_lightning.data.frames import from_matrix
    from vae_lightning.data.sources.table import Table
    from vae_lightning.runs.comparison import split_in_halves

    given = {"key": key, **read_settings(settings)}
    if train is None:
        # The validation rows of a split that nobody trains on: what is left of them is put back below.
        dataset = Table(real, test_path=synthetic, **given).load_mixed()
        known = np.concatenate([dataset.train.x, dataset.valid.x])
    else:
        dataset = Table(train, valid_path=real, test_path=synthetic, **given).load_mixed()
        known = dataset.valid.x
    floats = [np.dtype(np.float64)] * len(join_columns(dataset.columns))
    half, second = split_in_halves(known, seed)
    parts = [half, second, dataset.test.x, *([] if train is None else [dataset.train.x])]
    held, other, made, *fitted = (from_matrix(part, dataset.columns, dtypes=floats) for part in parts)
    source = fitted[0] if fitted else None
    return compare(held, with_controls(made, other, source, seed), source, target, seed)
