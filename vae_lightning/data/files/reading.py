"""Rows of a file or a pipe as data frames, a batch at a time, with the file's own index, names and dtypes."""

import io
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd

from vae_lightning.data.columns import Column
from vae_lightning.data.files.archives import UNREADABLE, Archive, existing_path, read_npy, unreadable
from vae_lightning.data.files.dialect import PIPE, TEXT_ENDINGS, Dialect, is_text
from vae_lightning.data.files.lines import find_encoding, readable_text
from vae_lightning.data.files.numbers import to_numpy
from vae_lightning.data.files.passthrough import TextColumns, numbers_kept_whole
from vae_lightning.data.files.sheets import array_sheet, check_unique
from vae_lightning.data.files.text import TextRows, rows_in_block
from vae_lightning.data.sources.table import ENDINGS
from vae_lightning.data.wording import count
from vae_lightning.errors import DataError, Setting, did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa

MAX_ROWS = 8192
MAX_ELEMENTS = 2**24
"""Values of the model's columns held at once: 128 MiB in float64."""
INDEX = "Unnamed: 0"
"""How a first column without a name is called: the row labels, as pandas writes them."""
ARROW = b"ARROW1"
"""What a Feather file begins and ends with."""


class RowReader:
    """Goes through the rows of a file, any number of times; through a pipe, once.

    A column of the model is read as numbers, or as texts where it holds these. Every other column passes through as the
    file has it: text as text, unless it is to go into a file with dtypes and is plainly numbers. Rows without labels of
    their own are numbered from 0 through the whole file.

    Args:
        path: delimited text, plain or gzipped, Parquet, Feather, NPY or NPZ; ``-`` reads delimited text from the
            standard input.
        columns: the model's columns; an array of as many columns is taken to hold these.
        key: which array of an NPZ archive.
        verbatim: leave the other columns of a text as text, even if they are numbers.
        dialects: what may be known of how a text is written, the likeliest first; see :class:`TextRows`.
        keeps_texts: keep the texts of a text's cells in :attr:`written`.

    Attributes:
        written: the batch last given as a text has it, every cell a text; None of any other file.
        decimal: the decimal mark of a text.

    Raises:
        DataError: when the file cannot be read.
    """

    def __init__(
        self,
        path: str,
        columns: Sequence[Column],
        key: str | None = None,
        verbatim: bool = True,
        dialects: Sequence[Dialect] = (Dialect(),),
        keeps_texts: bool = False,
    ) -> None:
        self.path = path
        self.names = [column.name for column in columns]
        self.fractions = {column.name for column in columns if np.dtype(column.dtype).kind == "f"}
        self.texts = {column.name for column in columns if column.levels is not None or column.is_date}
        self.key = key
        self.verbatim = verbatim
        self.dialects = dialects
        self.keeps_texts = keeps_texts
        self.written: pd.DataFrame | None = None
        self.decimal = "."
        #: What was found out of the layout of a text and is worth telling.
        self.notes: tuple[str, ...] = ()
        self.rows_at_once = max(1, min(MAX_ROWS, MAX_ELEMENTS // len(self.names)))
        self._used = False
        if path != PIPE:
            found = existing_path(path, "the command", f"a file ({', '.join(ENDINGS)})")
            if found.is_dir():
                raise DataError(f"'{path}' is a folder: name a file in it.")

    def __iter__(self) -> Iterator[pd.DataFrame]:
        return (frame for frame in self._frames() if len(frame))

    def _frames(self) -> Iterator[pd.DataFrame]:
        if is_text(self.path):
            return self._texts()
        path = Path(self.path).expanduser()
        match path.suffix.lower():
            case ".parquet":
                return self._arrow(path, "Parquet")
            case ".feather" | ".arrow":
                return self._arrow(path, "Feather")
            case ".npy" | ".npz":
                return self._array(path)
        raise DataError(
            f"'{path}' has no known ending. Known are {', '.join(ENDINGS)}, and .gz after {', '.join(TEXT_ENDINGS)}."
        )

    # --- delimited text

    def _texts(self) -> Iterator[pd.DataFrame]:
        if self.path != PIPE:
            path = Path(self.path).expanduser()
            with readable_text(path, self.dialects[0]) as file:
                yield from self._text(TextRows(file, f"'{self.path}'", self.dialects, self.names))
            return
        if self._used:
            raise DataError("A pipe can be read only once: give a file.")
        self._used = True
        binary: Any = io.BufferedReader(cast(Any, sys.stdin.buffer))  # for a look at its beginning
        encoding = find_encoding(binary.peek(4)[:4], self.dialects[0])
        try:
            file = io.TextIOWrapper(binary, encoding, newline="")
            yield from self._text(TextRows(file, "The input", self.dialects, self.names))
        except UnicodeError as error:
            raise DataError(f"The input cannot be read: {error}.", [Setting("data.encoding", "cp1252")]) from error

    def _text(self, rows: TextRows) -> Iterator[pd.DataFrame]:
        names, self.notes = rows.layout.names, rows.layout.notes
        self.decimal = rows.numbers.format.decimal
        others = [name for name in names if name not in self.names]
        as_text = names if self.keeps_texts else [*others, *(name for name in names if name in self.texts)]
        kinds, done = TextColumns(), 0
        for block in rows.blocks(min(self.rows_at_once, rows_in_block(len(names))), as_text):
            columns: dict[str, Any] = {}
            for name, column in block.items():
                if name in others:
                    texts = pd.Series(column.to_pandas())
                    columns[name] = texts if self.verbatim else kinds(name, texts)
                elif name in self.texts:
                    columns[name] = rows.numbers.texts(pd.Series(column.to_pandas()))
                else:
                    numbers = rows.numbers.column(column) if self.keeps_texts else column
                    columns[name] = self._numbers(rows, name, pd.Series(to_numpy(numbers)), done)
            if self.keeps_texts:
                self.written = self._labelled({name: pd.Series(c.to_pandas()) for name, c in block.items()}, done)
            frame = self._labelled(columns, done)
            done += len(frame)
            yield frame

    def _labelled(self, columns: dict[str, Any], done: int) -> pd.DataFrame:
        frame = pd.DataFrame(columns)
        frame.index = pd.RangeIndex(done, done + len(frame))
        if next(iter(columns)) == INDEX and INDEX not in self.names:
            frame = frame.set_index(INDEX)
            frame.index.name = None
        return frame

    def _numbers(self, rows: TextRows, name: str, values: pd.Series, done: int) -> pd.Series:
        numbers, wrong = rows.numbers(values)
        if wrong.any():
            row = int(wrong.argmax())
            raise DataError(
                f"The column {name!r} must hold numbers: {int(wrong.sum()):,} of {count(len(wrong), 'value')} are "
                f"something else, the first {str(values.iloc[row])[:60]!r} in row {done + row + 1}."
            )
        # A batch of whole numbers only, in a column of fractions, would else be written without decimal points.
        return numbers.astype(np.float64) if name in self.fractions and numbers.dtype.kind in "iu" else numbers

    # --- Parquet and Feather

    def _arrow(self, path: Path, kind: str) -> Iterator[pd.DataFrame]:
        import pyarrow as pa
        from pyarrow import parquet

        try:
            if kind == "Parquet":
                with parquet.ParquetFile(path) as file:
                    check_unique(file.schema_arrow.names, f"'{path}'")
                    yield from self._arrow_frames(file.iter_batches(self.rows_at_once))
                return
            with pa.memory_map(str(path)) as source:
                if source.read(len(ARROW)) != ARROW:  # pyarrow looks at the file's end only
                    raise pa.ArrowInvalid(f"it does not begin with {ARROW.decode()}")
                stored = pa.ipc.open_file(source)
                check_unique(stored.schema.names, f"'{path}'")
                batches = (stored.get_batch(number) for number in range(stored.num_record_batches))
                yield from self._arrow_frames(part for batch in batches for part in _cut(batch, self.rows_at_once))
        except DataError:
            raise
        except (pa.ArrowException, *UNREADABLE) as error:
            raise unreadable(path, kind, error) from error

    # --- arrays

    def _array(self, path: Path) -> Iterator[pd.DataFrame]:
        array = read_npy(path, mapped=True) if path.suffix.lower() == ".npy" else self._member(path)
        width = int(np.prod(array.shape[1:])) if array.ndim in (2, 3) else None
        if width != len(self.names):
            raise DataError(
                f"'{path}' must have shape (N, {len(self.names)}): the model was trained on "
                f"{count(len(self.names), 'column')}. Got shape {array.shape} instead."
            )
        names = pd.Index(self.names)
        for start in range(0, len(array), self.rows_at_once):
            part = array_sheet(array[start : start + self.rows_at_once], path.name).frame.set_axis(names, axis=1)
            yield part.set_axis(pd.RangeIndex(start, start + len(part)))

    def _arrow_frames(self, batches: Iterator["pa.RecordBatch"]) -> Iterator[pd.DataFrame]:
        done = 0
        for batch in batches:
            batch.validate(full=True)  # what is damaged inside must not be looked at
            frame = numbers_kept_whole(batch, batch.to_pandas(), set(self.names))
            frame.columns = frame.columns.map(str)
            if isinstance(frame.index, pd.RangeIndex):
                frame.index = _range_index(batch.schema.pandas_metadata, done, len(frame))
            done += len(frame)
            yield frame

    def _member(self, path: Path) -> np.ndarray:
        arrays = Archive(path)
        tables = arrays.tables
        key = self.key or next((name for name in ("x", "X") if name in tables), None)
        if key is None and len(tables) == 1:
            key = tables[0]
        if key is None:
            raise DataError(f"'{path}' holds the arrays {arrays}: name one of them with --key.")
        array = arrays.get(key)
        if array is None:
            raise DataError(f"There is no array of numbers '{key}' in '{path}'. {did_you_mean(key, tables)}".rstrip())
        return array


def _cut(batch: "pa.RecordBatch", size: int) -> Iterator["pa.RecordBatch"]:
    for start in range(0, batch.num_rows, size):
        yield batch.slice(start, size)


def _range_index(metadata: dict[str, Any] | None, done: int, size: int) -> pd.Index:
    """The labels of a batch: pandas keeps a range beside the rows, of which a batch knows only the whole."""
    described = [index for index in (metadata or {}).get("index_columns", []) if isinstance(index, dict)]
    plain = {"start": 0, "step": 1, "name": None}
    if not described or {key: described[0][key] for key in plain} == plain:
        return pd.RangeIndex(done, done + size)
    labels = described[0]["start"] + described[0]["step"] * np.arange(done, done + size)
    return pd.Index(labels, name=described[0]["name"])
