"""What the commands on a run directory share: one line for a mistake, and rows that stream through a model."""

import errno
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vae_lightning.errors import ConfigError, DataError, RunError, UserError
from vae_lightning.runs.imports import importing

if TYPE_CHECKING:
    import pandas as pd

    from vae_lightning.data.files.reading import RowReader
    from vae_lightning.data.files.writing import RowWriter
    from vae_lightning.inference.model import VAEModel
    from vae_lightning.runs.loading import Loaded

SETTINGS = {"help_option_names": ["-h", "--help"]}
run_argument = click.argument("run", type=click.Path(path_type=Path))
data_argument = click.argument("data")
output_option = click.option(
    "-o", "--output", default="-", help="The file to write, its format by its ending; - (the default) prints CSV."
)
settings_argument = click.argument("settings", nargs=-1, metavar="[data.SETTING=VALUE]...")
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
    if not run.is_dir():
        raise RunError(f"There is no run directory {run}.")
    with importing():
        from vae_lightning.runs.loading import load_recorded
    return load_recorded(run)


def note(text: str) -> None:
    """Tell the user something that is no part of the output."""
    click.echo(text, err=True)


def pass_through(
    model: "VAEModel",
    data: str,
    output: str,
    key: str | None,
    settings: Sequence[str],
    work: "Callable[[pd.DataFrame], pd.DataFrame]",
    what: str,
    reader: "RowReader | None" = None,
) -> None:
    """Read rows batch by batch, hand each to ``work``, and write what it gives back.

    Args:
        model: whose columns are read.
        data: the file to read.
        output: the file to write.
        key: which array of an NPZ archive.
        settings: how a text is written.
        work: rows to what is written.
        what: has been done to rows, for the count at the end.
        reader: of ``data``, where one is open already.

    Raises:
        UserError: for rows that do not fit the model, or files that cannot be read or written.
    """
    from vae_lightning.data.files.dialect import is_text
    from vae_lightning.data.files.writing import RowWriter

    if "-" not in (data, output) and Path(output).exists() and Path(output).samefile(Path(data).expanduser()):
        raise DataError(f"The output '{output}' is the input: name another file, so that no row is lost.")
    reader = open_rows(model, data, key, settings, is_text(output)) if reader is None else reader
    first, empty, moved = True, Counter[str](), Counter[str]()
    with counting(what) as count, RowWriter(output) as writer:
        for rows in reader:
            if first:
                if reader.notes:
                    note(f"Read {'the input' if data == '-' else data}: {'; '.join(reader.notes)}.")
                _note_unknown(model, rows)
            first = False
            writer.write(work(rows))
            empty += Counter(count_empty(model, rows))
            moved += Counter(model.count_clipped(rows))
            count(len(rows))
        if first:
            raise DataError(f"{'The input' if data == '-' else data} holds no rows.")
    note_empty(model, empty, what)
    note_moved(moved)
    note_formulas(writer)


def open_rows(
    model: "VAEModel",
    data: str,
    key: str | None,
    settings: Sequence[str],
    verbatim: bool = True,
    keeps_texts: bool = False,
) -> "RowReader":
    """The rows of a file or a pipe, read as the run's own file was where it is written alike.

    Args:
        model: whose columns are read.
        data: as the user typed it.
        key: which array of an NPZ archive.
        settings: how a text is written, as a training run is told: ``data.decimal=comma``.
        verbatim: as :class:`RowReader` has it.
        keeps_texts: likewise.
    """
    from vae_lightning.data.files.dialect import Dialect, recorded_dialect
    from vae_lightning.data.files.reading import RowReader

    given = read_settings(settings)
    recorded = recorded_dialect(model.record, data)
    dialects = [replace(recorded, **given), Dialect(**given)]
    return RowReader(data, model.table_columns, key, verbatim, dialects, keeps_texts)


def read_settings(words: Sequence[str]) -> dict[str, Any]:
    """``data.NAME=VALUE`` as arguments of :class:`Dialect`.

    Raises:
        ConfigError: for anything else.
    """
    if not words:
        return {}
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    from vae_lightning.config.instantiate import check_keys, check_types, legal_keys
    from vae_lightning.data.files.dialect import Dialect
    from vae_lightning.data.sources.table import Table

    found = {}
    for word in words:
        name, is_set, _ = word.partition("=")
        if not is_set or not name.startswith("data."):
            raise ConfigError(f"A setting must be written data.NAME=VALUE. Got {word!r} instead.")
        try:
            found[name.removeprefix("data.")] = OverridesParser.create().parse_override(word).value()
        except HydraException:
            raise ConfigError(f"The value of {word!r} cannot be read: put it into quotes, {name}='\"...\"'.") from None
    check_keys(found, legal_keys(Dialect), "data")
    check_types(Table, found)
    return found


def others(model: "VAEModel", rows: "pd.DataFrame", new: "pd.DataFrame") -> "pd.DataFrame":
    """The columns of ``rows`` that the model does not read, followed by ``new``.

    Raises:
        DataError: when both have a column of the same name.
    """
    import pandas as pd

    names = {column.source for column in model.columns}
    kept = rows[[name for name in rows.columns if name not in names]]
    twice = [name for name in kept.columns if name in new.columns]
    if twice:
        raise DataError(f"The rows already have a column {twice[0]!r}, which the output needs: rename it.")
    return pd.concat([kept, new], axis=1) if len(kept.columns) else new


def count_empty(model: "VAEModel", rows: "pd.DataFrame") -> dict[str, int]:
    """How many cells of each of the model's columns are empty; columns without one are left out."""
    names = list(dict.fromkeys(column.source for column in model.columns))
    return {name: number for name, number in rows[names].isna().sum().items() if number}


def note_empty(model: "VAEModel", empty: Mapping[str, int], what: str) -> None:
    """Say what has become of rows with empty cells.

    Args:
        model: that read them.
        empty: cells by column.
        what: was done with the rows, a participle.
    """
    from vae_lightning.data.wording import count, shorten

    if not empty:
        return
    cells, most = sum(empty.values()), sorted(empty, key=lambda name: -empty[name])
    says = f"{count(cells, 'cell')} of {count(len(empty), 'column')} {'is' if cells == 1 else 'are'} empty "
    says += f"({shorten(f'{name}: {empty[name]:,}' for name in most)}): such rows are {what} by their other cells."
    if not model.vae.features.sees_mask:
        says += " This model was trained on rows without empty cells: its encoder has never seen any."
    note(says)


def note_moved(moved: Mapping[str, int]) -> None:
    """Say how many cells of which columns were taken for the nearest value that the model has a place for."""
    from vae_lightning.data.wording import count, shorten

    if moved:
        cells, where = sum(moved.values()), shorten(f"{name}: {number:,}" for name, number in moved.items())
        says = f"{count(cells, 'cell')} of {count(len(moved), 'column')} hold{'s' if cells == 1 else ''} a number that "
        note(says + f"the training rows did not ({where}): taken for the nearest that they did.")


def _note_unknown(model: "VAEModel", rows: "pd.DataFrame") -> None:
    from vae_lightning.data.wording import count, shorten

    source = model.record.get("data", {}).get("source") or {}
    drop = source.get("drop", [])
    left_out = {str(name) for name in (source.get("label"), *(drop if isinstance(drop, list) else [drop]))}
    known = left_out | {column.name for column in model.table_columns}
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
