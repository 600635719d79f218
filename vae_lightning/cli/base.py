"""What the commands on a run directory share: one line for a mistake, and rows that stream through a model."""

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vae_lightning.errors import DataError, RunError, UserError

if TYPE_CHECKING:
    import pandas as pd

    from vae_lightning.data.files.writing import RowWriter
    from vae_lightning.inference.model import VAEModel
    from vae_lightning.runs.loading import Loaded

SETTINGS = {"help_option_names": ["-h", "--help"]}
run_argument = click.argument("run", type=click.Path(path_type=Path))
data_argument = click.argument("data")
output_option = click.option(
    "-o", "--output", default="-", help="The file to write, its format by its ending; - (the default) prints CSV."
)
key_option = click.option("--key", help="Which array of an NPZ archive.")


@contextmanager
def one_line_errors() -> Iterator[None]:
    """A user's mistake, or a file that cannot be read or written, ends in one line and status 2."""
    try:
        yield
    except UserError as error:
        message = str(error)
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise  # whoever read our output has had enough: click ends quietly
        message = f"{error.strerror or error}: {error.filename}" if error.filename else str(error)
    else:
        return
    click.echo(f"error: {message}", err=True)
    raise SystemExit(2)


def load_model(run: Path) -> "VAEModel":
    """The model of a run directory; errors as :func:`loaded_recorded`."""
    return load_with_record(run).model


def load_with_record(run: Path) -> "Loaded":
    """The model of a run directory, with the record of the run.

    Raises:
        RunError: when there is none.
    """
    from vae_lightning.runs.loading import load_recorded

    if not run.is_dir():
        raise RunError(f"There is no run directory {run}.")
    return load_recorded(run)


def note(text: str) -> None:
    """Tell the user something that is no part of the output."""
    click.echo(text, err=True)


def pass_through(
    model: "VAEModel",
    data: str,
    output: str,
    key: str | None,
    work: "Callable[[pd.DataFrame], pd.DataFrame]",
    what: str,
) -> None:
    """Read rows batch by batch, hand each to ``work``, and write what it gives back.

    Raises:
        UserError: for rows that do not fit the model, or files that cannot be read or written.
    """
    from vae_lightning.data.files.reading import RowReader, is_text
    from vae_lightning.data.files.writing import RowWriter

    reader = RowReader(data, model.columns, key, verbatim=is_text(output))
    first = True
    with counting(what) as count, RowWriter(output) as writer:
        for rows in reader:
            if first:
                _note_unknown(model, rows)
            first = False
            writer.write(work(rows))
            count(len(rows))
        if first:
            raise DataError(f"{'The input' if data == '-' else data} holds no rows.")
    note_formulas(writer)


def others(model: "VAEModel", rows: "pd.DataFrame", new: "pd.DataFrame") -> "pd.DataFrame":
    """The columns of ``rows`` that the model does not read, followed by ``new``.

    Raises:
        DataError: when both have a column of the same name.
    """
    import pandas as pd

    names = {column.name for column in model.columns}
    kept = rows[[name for name in rows.columns if name not in names]]
    twice = [name for name in kept.columns if name in new.columns]
    if twice:
        raise DataError(f"The rows already have a column {twice[0]!r}, which the output needs: rename it.")
    return pd.concat([kept, new], axis=1) if len(kept.columns) else new


def _note_unknown(model: "VAEModel", rows: "pd.DataFrame") -> None:
    from vae_lightning.data.wording import count, shorten

    source = model.record.get("data", {}).get("source") or {}
    left_out = {str(name) for name in (source.get("label"), *source.get("drop", []))}
    known = left_out | {column.name for column in model.columns}
    unknown = [name for name in rows.columns if name not in known]
    if unknown:
        note(f"Passed through, as the model does not know them: {count(len(unknown), 'column')}, {shorten(unknown)}.")


def note_formulas(writer: "RowWriter") -> None:
    """Say which columns of a text a spreadsheet would run: they are written as they are, for they are data."""
    from vae_lightning.data.wording import count, shorten

    if writer.formulas:
        note(
            f"A spreadsheet would run names or texts of {count(len(writer.formulas), 'column')} as formulas: "
            f"{shorten(writer.formulas)}. They are written as they are: import the file as text, or write .parquet."
        )


@contextmanager
def counting(what: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """Count rows on a bar, where the standard error is a terminal; elsewhere say at the end how many there were."""
    import time

    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console, started = Console(stderr=True), time.perf_counter()
    columns = (TextColumn(what), BarColumn(bar_width=20), TextColumn("{task.fields[done]}"))
    done = 0
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task: Any = progress.add_task(what, total=total, done="")

        def count(rows: int) -> None:
            nonlocal done
            done += rows
            progress.update(task, advance=rows, done=_rate(done, time.perf_counter() - started))

        yield count
    note(f"{what}: {_rate(done, time.perf_counter() - started)}")


def _rate(rows: int, seconds: float) -> str:
    return f"{rows:,} rows, {rows / max(seconds, 1e-9):,.0f} rows/s"
