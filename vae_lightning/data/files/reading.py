"""Rows of a file or a pipe as data frames, a batch at a time, with the file's own index, names and dtypes."""

import io
import sys
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

import numpy as np
import pandas as pd

from vae_lightning.data.columns import Column
from vae_lightning.data.files.archives import existing_path, read_arrays, unreadable
from vae_lightning.data.files.passthrough import PIPE, TextColumns, numbers_kept_whole
from vae_lightning.data.files.sheets import (
    SAMPLE_LINES,
    UTF_16,
    Layout,
    array_sheet,
    check_unique,
    open_text,
    read_npy,
    text_layout,
)
from vae_lightning.data.sources.table import ENDINGS, TEXT_ENDINGS
from vae_lightning.data.wording import count, shorten
from vae_lightning.errors import DataError, did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa

MAX_ROWS = 8192
MAX_ELEMENTS = 2**24
"""Values of the model's columns held at once: 128 MiB in float64."""
INDEX = "Unnamed: 0"
"""How a first column without a name is called: the row labels, as pandas writes them."""
MISSING = ["", "NA", "N/A", "n/a", "NaN", "nan", "-NaN", "-nan", "NULL", "null", "None", "<NA>", "#N/A"]


def is_text(path: str) -> bool:
    """Whether a file of this name is delimited text."""
    return path == PIPE or Path(path.lower().removesuffix(".gz")).suffix in TEXT_ENDINGS


class RowReader:
    """Goes through the rows of a file, any number of times; through a pipe, once.

    A column of the model is read as numbers. Every other column passes through as the file has it: text as text, unless
    it is to go into a file with dtypes and is plainly numbers. Rows without labels of their own are numbered from 0
    through the whole file.

    Args:
        path: delimited text, plain or gzipped, Parquet, Feather, NPY or NPZ; ``-`` reads delimited text from the
            standard input.
        columns: the model's columns; an array of as many columns is taken to hold these.
        key: which array of an NPZ archive.
        verbatim: leave the other columns of a text as text, even if they are numbers.

    Raises:
        DataError: when the file cannot be read.
    """

    def __init__(self, path: str, columns: Sequence[Column], key: str | None = None, verbatim: bool = True) -> None:
        self.path = path
        self.names = [column.name for column in columns]
        self.fractions = {column.name for column in columns if np.dtype(column.dtype).kind == "f"}
        self.key = key
        self.verbatim = verbatim
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
        name = "The input" if self.path == PIPE else f"'{self.path}'"
        try:
            if self.path == PIPE:
                yield from self._text(self._pipe(), name)
                return
            with open_text(Path(self.path).expanduser()) as file:
                yield from self._text(file, name)
        except (pd.errors.ParserError, pd.errors.ParserWarning, UnicodeError) as error:
            said = " ".join(str(error).split()).removeprefix("Error tokenizing data. C error: ").rstrip(".")
            raise DataError(f"{name} cannot be read: {said}.") from error
        except (OSError, EOFError, zlib.error) as error:  # a damaged archive
            raise unreadable(Path(self.path), "delimited text", error) from error

    def _pipe(self) -> TextIO:
        if self._used:
            raise DataError("A pipe can be read only once: give a file.")
        self._used = True
        binary: Any = io.BufferedReader(cast(Any, sys.stdin.buffer))  # for a look at its beginning
        encoding = "utf-16" if binary.peek(2)[:2] in UTF_16 else "utf-8-sig"
        return io.TextIOWrapper(binary, encoding, newline="")

    def _text(self, file: TextIO, name: str) -> Iterator[pd.DataFrame]:
        sample = list(islice(file, SAMPLE_LINES))
        layout = text_layout(sample, name)
        # What was looked at is read again: a pipe cannot be wound back.
        source, columns = _Replayed(sample, file), TextColumns()
        try:
            for frame in _strictly(lambda: pd.read_csv(source, **self._text_options(layout))):
                yield self._text_frame(frame, columns)
        except pd.errors.ParserError:
            if source.interrupted:  # pandas makes a complaint about the file of it
                raise KeyboardInterrupt from None
            raise

    def _text_options(self, layout: Layout) -> dict[str, Any]:
        others = [name for name in layout.names if name not in self.names]
        return {
            **layout.options(),
            "chunksize": self.rows_at_once,
            "dtype": dict.fromkeys(others, str),
            "keep_default_na": False,
            "na_values": {name: MISSING for name in layout.names if name not in others},
        }

    def _text_frame(self, frame: pd.DataFrame, columns: TextColumns) -> pd.DataFrame:
        others = [] if self.verbatim else [name for name in frame.columns if name not in self.names]
        frame = frame.assign(**{name: columns(name, frame[name]) for name in others})
        # A batch of whole numbers only, in a column of fractions, would else be written without decimal points.
        whole = [name for name in self.fractions if name in frame.columns and frame[name].dtype.kind in "iu"]
        frame = frame.astype(dict.fromkeys(whole, np.float64))
        if frame.columns[0] == INDEX and INDEX not in self.names:
            frame = frame.set_index(INDEX)
            frame.index.name = None
        return frame

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
                stored = pa.ipc.open_file(source)
                check_unique(stored.schema.names, f"'{path}'")
                batches = (stored.get_batch(number) for number in range(stored.num_record_batches))
                yield from self._arrow_frames(part for batch in batches for part in _cut(batch, self.rows_at_once))
        except (pa.ArrowException, OSError) as error:
            raise unreadable(path, kind, error) from error

    # --- arrays

    def _array(self, path: Path) -> Iterator[pd.DataFrame]:
        array = _read_npy(path) if path.suffix.lower() == ".npy" else self._member(path)
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
            frame = numbers_kept_whole(batch, batch.to_pandas(), set(self.names))
            frame.columns = frame.columns.map(str)
            if isinstance(frame.index, pd.RangeIndex):
                frame.index = _range_index(batch.schema.pandas_metadata, done, len(frame))
            done += len(frame)
            yield frame

    def _member(self, path: Path) -> np.ndarray:
        arrays = read_arrays(path)
        tables = [key for key, array in arrays.items() if array is not None and array.ndim >= 2]
        key = self.key or next((name for name in ("x", "X") if name in tables), None)
        if key is None and len(tables) == 1:
            key = tables[0]
        if key is None:
            raise DataError(f"'{path}' holds the arrays {shorten(arrays, 12)}: name one of them with --key.")
        if arrays.get(key) is None:
            raise DataError(f"There is no array of numbers '{key}' in '{path}'. {did_you_mean(key, tables)}".rstrip())
        return np.asarray(arrays[key])


class _Replayed(io.TextIOBase):
    """A text file whose first lines have been read already, from its beginning."""

    def __init__(self, first: Sequence[str], rest: TextIO) -> None:
        self.first = "".join(first)
        self.rest = rest
        self.interrupted = False

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> str:
        if size is None or size < 0:
            text, self.first = self.first + self.rest.read(), ""
            return text
        text, self.first = self.first[:size], self.first[size:]
        try:
            return text or self.rest.read(size)
        except KeyboardInterrupt:
            self.interrupted = True
            raise


def _strictly(start: Callable[[], Iterator[pd.DataFrame]]) -> Iterator[pd.DataFrame]:
    """Batches of text; what pandas only warns of, a row longer than the header, would shift all its columns."""
    batches = None
    while True:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            batches = batches or iter(start())
            frame = next(batches, None)
        if frame is None:
            return
        yield frame


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


def _read_npy(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, EOFError, ValueError):
        return read_npy(path)  # it says what is wrong
