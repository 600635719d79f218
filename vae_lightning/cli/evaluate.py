"""``vae-lightning evaluate``: the test table again, on any file."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vae_lightning.cli.base import (
    SETTINGS,
    key_option,
    load_model,
    note,
    note_empty,
    one_line_errors,
    open_rows,
    run_argument,
    settings_argument,
)

if TYPE_CHECKING:
    from vae_lightning.data.batch import Batch
    from vae_lightning.data.store import RowStore
    from vae_lightning.inference.evaluation import Evaluation
    from vae_lightning.inference.model import VAEModel

EXAMPLES = """\b
Examples:
  vae-lightning evaluate outputs/mine --samples 5000
  vae-lightning evaluate outputs/mine --data other.csv"""


@click.command(epilog=EXAMPLES, context_settings=SETTINGS)
@run_argument
@settings_argument
@click.option("--data", help="The file to evaluate on; by default the run's own test rows, read again.")
@click.option("--samples", type=int, default=1000, show_default=True, help="Importance samples a row.")
@click.option("--json", "as_json", is_flag=True, help="Print the numbers as JSON.")
@key_option
def evaluate(
    run: Path, data: str | None, samples: int, as_json: bool, key: str | None, settings: tuple[str, ...]
) -> None:
    """The test table again, on any file.

    NLL, NELBO = reconstruction + KL, active units: the table that training ended in.

    RUN is a run directory. Baseline and control are fitted to the rows that the run was trained on, if they can still
    be read.

    Exit status: 0, or 2 with one line that says why.
    """
    with one_line_errors():
        from vae_lightning.errors import DataError
        from vae_lightning.files import to_json
        from vae_lightning.reporting.table import print_results

        model = load_model(run)
        if data == "-":
            raise DataError("Rows are evaluated in several passes, and a pipe can be read only once: give a file.")
        result = _on_test_rows(model, samples) if data is None else _on_file(model, data, key, settings, samples)
        if as_json:
            click.echo(to_json(result.as_dict()))
        else:
            print_results(result, title="Test" if data is None else data)


def _on_test_rows(model: "VAEModel", samples: int) -> "Evaluation":
    rows = _recorded_rows(model)
    return _evaluate(model, list(rows["test"].batches()), rows, samples)


def _on_file(model: "VAEModel", data: str, key: str | None, settings: tuple[str, ...], samples: int) -> "Evaluation":
    from vae_lightning.errors import DataError, UserError

    batches = model.batches(open_rows(model, data, key, settings))
    names, empty, are_there = [column.source for column in model.columns], Counter[str](), False
    for batch in batches:
        are_there = True
        if batch.mask is not None:
            counts = (~batch.mask).sum(0).tolist()
            empty += Counter({name: number for name, number in zip(names, counts, strict=True) if number})
    if not are_there:
        raise DataError(f"{data} holds no rows.")
    note_empty(model, empty, "judged")
    try:
        rows = _recorded_rows(model)
    except UserError as error:
        note(f"No baseline and no control: {error}")
        rows = {}
    return _evaluate(model, batches, rows, samples)


def _evaluate(
    model: "VAEModel", batches: "Iterable[Batch]", rows: "Mapping[str, RowStore]", samples: int
) -> "Evaluation":
    """``rows`` by part: what baseline and control are fitted to; empty where they cannot be read."""
    from vae_lightning.reporting.table import evaluate_with_bar

    return evaluate_with_bar(model, batches, rows.get("train"), rows.get("valid"), samples, _seed(model))


def _recorded_rows(model: "VAEModel") -> "dict[str, RowStore]":
    """The rows that the run was trained on, split alike, in model units."""
    from vae_lightning.config.record import recorded_dataset
    from vae_lightning.data.scaled import scale_rows

    dataset = recorded_dataset(model.record, [column.name for column in model.columns])
    return scale_rows(dataset, model.scaling, _seed(model), model.conditions)


def _seed(model: "VAEModel") -> int:
    return int(model.record.get("seed", 0))
