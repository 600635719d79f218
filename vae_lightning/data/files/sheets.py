"""One file to one sheet: delimited text, Parquet, Feather and arrays. Nothing is checked but that it can be read."""

import csv
import gzip
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

import numpy as np

from vae_lightning.data.columns import pixel_names
from vae_lightning.data.files.archives import UNREADABLE, unreadable
from vae_lightning.data.wording import count, shorten
from vae_lightning.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

# Of two delimiters that fit equally well, the earlier wins: a comma may be a decimal comma, a space is anywhere.
CANDIDATES = ("\t", ";", "|", ",", " ")
SAMPLE_LINES = 200  # from which the layout of a text is found out
UTF_16 = (b"\xff\xfe", b"\xfe\xff")  # Byte order marks


@dataclass(frozen=True)
class Sheet:
    """What was read of one file: its columns, what to call it in messages, and where in the file a row stands."""

    frame: "pd.DataFrame"
    name: str
    place: Callable[[int], str] = lambda row: f"row {row + 1}"
    image_shape: tuple[int, int] | None = None


def check_unique(names: Sequence[str], where: str) -> None:
    """Raise a DataError that counts the names that occur more than once ``where``."""
    twice = [f"'{name}' ({times} times)" for name, times in Counter(names).items() if times > 1]
    if twice:
        raise DataError(f"{where} must name each column once. Got {shorten(twice)} instead.")


def array_sheet(array: np.ndarray, name: str, names: np.ndarray | None = None) -> Sheet:
    """A sheet of an array of shape ``(N, C)`` or ``(N, height, width)``.

    Args:
        array: The rows, or a stack of images, which is flattened.
        name: What to call it in messages.
        names: If these are C texts, they name the columns; otherwise numbers or pixels do.

    Raises:
        DataError: Another shape, no numbers, or duplicate names.
    """
    import pandas as pd

    if array.dtype.kind not in "biuf":
        what = "complex numbers: save real and imaginary parts as columns" if array.dtype.kind == "c" else "no numbers"
        raise DataError(f"{name} must hold numbers. Got dtype {array.dtype} instead, {what}.")
    if array.ndim not in (2, 3) or not array.size:
        raise DataError(
            f"{name} must have shape (rows, columns), or (rows, height, width) for images, with at least one row and "
            f"column. Got shape {array.shape} instead."
        )
    image_shape = None
    if array.ndim == 3:
        image_shape = (array.shape[1], array.shape[2])
        array = array.reshape(len(array), -1)
    titles = [str(index) for index in range(array.shape[1])] if image_shape is None else pixel_names(*image_shape)
    if names is not None and names.dtype.kind in "US" and names.shape == (array.shape[1],):
        titles = [str(title) for title in names.astype(str)]
        check_unique(titles, f"{name}: its array 'columns'")
    dtype = array.dtype.newbyteorder("=") if array.dtype.itemsize <= 8 else np.dtype(np.float64)
    return Sheet(pd.DataFrame(array.astype(dtype, copy=False), columns=titles), name, image_shape=image_shape)


def read_npy(path: Path) -> np.ndarray:
    """Read an NPY file, never unpickling anything; a DataError if it is damaged or holds objects."""
    try:
        with path.open("rb") as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    except UNREADABLE as error:
        if "allow_pickle" in str(error):
            raise DataError(
                f"'{path}' holds pickled objects, which could run foreign code and are never loaded. "
                "Save it as numbers: numpy.save(path, rows.astype(float))."
            ) from error
        raise unreadable(path, "an NPY array", error) from error


def read_arrow(path: Path) -> Sheet:
    """Read a Parquet or Feather file; a DataError if it is damaged, empty or names a column twice."""
    import pyarrow as pa
    from pyarrow import feather, parquet

    kind = "Parquet" if path.suffix.lower() == ".parquet" else "Feather"
    try:
        table = parquet.ParquetFile(path).read() if kind == "Parquet" else feather.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise unreadable(path, kind, error) from error
    check_unique(table.column_names, f"'{path}'")
    frame = table.to_pandas()
    frame.columns = frame.columns.map(str)
    if not len(frame) or not len(frame.columns):
        raise DataError(f"'{path}' has {count(len(frame.columns), 'column')} but {count(len(frame), 'row')}.")
    return Sheet(frame.reset_index(drop=True), path.name)


def open_text(path: Path) -> TextIO:
    """Open plain or gzipped text in UTF-8 or UTF-16."""
    opened = gzip.open if path.suffix.lower() == ".gz" else open
    with opened(path, "rb") as file:
        # Excel's "Unicode text" is UTF-16, its "CSV UTF-8" starts with a byte order mark.
        encoding = "utf-16" if file.read(2) in UTF_16 else "utf-8-sig"
    return cast(TextIO, opened(path, "rt", encoding=encoding, newline=""))


def _records(lines: Iterable[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The last line number and the fields of each record that is not blank."""
    if delimiter == " ":
        lines = (f"{line.strip()}\n" for line in lines)
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    for fields in reader:
        if len(fields) > 1 or any(field.strip() for field in fields):
            yield reader.line_num, fields


def _sniff(lines: list[str]) -> str:
    """The delimiter with which most lines have as many fields, more than one, as the first line."""

    def fit(delimiter: str) -> float:
        widths = [len(fields) for _, fields in _records(lines, delimiter)]
        return 0.0 if not widths or widths[0] < 2 else widths.count(widths[0]) / len(widths)

    best = max(CANDIDATES, key=fit)
    return best if fit(best) else ","


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


@dataclass(frozen=True)
class Layout:
    """How delimited text is laid out: between the columns, their names, and whether the first line holds these."""

    delimiter: str
    names: list[str]
    header: bool

    def options(self) -> dict[str, Any]:
        """What `pandas.read_csv` is to be told of it."""
        return {
            "sep": r"\s+" if self.delimiter == " " else self.delimiter,
            "names": self.names,
            "header": 0 if self.header else None,
            "index_col": False,
            "skipinitialspace": True,
        }


def text_layout(sample: list[str], name: str, delimiter: str | None = None) -> Layout:
    """The layout of text whose first lines are ``sample``; a header is a first line that is not all numbers.

    Raises:
        DataError: There is nothing in it, or it names a column twice.
    """
    delimiter = delimiter or _sniff(sample)
    _, first = next(_records(sample, delimiter), (0, []))
    if not first:
        raise DataError(f"{name} is empty: there is no line with anything in it.")
    header = not all(map(_is_number, first))
    names = (
        [title.strip() or f"Unnamed: {index}" for index, title in enumerate(first)]
        if header
        else [str(index) for index in range(len(first))]
    )
    check_unique(names, f"The first line of {name}")
    return Layout(delimiter, names, header)


def read_text(path: Path, delimiter: str | None) -> Sheet:
    """Read delimited text, plain or gzipped, in UTF-8 or UTF-16.

    Args:
        path: The file.
        delimiter: One character; None finds it out.

    Raises:
        DataError: The file is empty, damaged, no text, ragged, or names a column twice.
    """
    import pandas as pd

    try:
        return _parse_text(path, delimiter)
    except DataError:
        raise
    except UnicodeError as error:
        raise DataError(f"'{path}' is not UTF-8 text{_first_bad_byte(path)}. Save it as UTF-8.") from error
    except (pd.errors.ParserError, pd.errors.ParserWarning, csv.Error, *UNREADABLE) as error:
        raise unreadable(path, "delimited text", error) from error


def _parse_text(path: Path, delimiter: str | None) -> Sheet:
    import pandas as pd

    with open_text(path) as file:
        layout = text_layout(list(islice(file, SAMPLE_LINES)), f"'{path}'", delimiter)
    delimiter, names, header = layout.delimiter, layout.names, layout.header

    def place(row: int) -> str:
        with open_text(path) as file:
            line, _ = next(islice(_records(file, delimiter), row + header, None), ("?", []))
        return f"row {row + 1} (line {line} of {path.name})"

    try:
        with open_text(path) as file, warnings.catch_warnings():
            # pandas would only warn that it cuts off fields without a name.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(file, **layout.options(), low_memory=False)
    except (pd.errors.ParserError, pd.errors.ParserWarning):
        _check_widths(path, delimiter, len(names))
        raise
    if not len(frame):
        raise DataError(f"'{path}' has a header of {count(len(names), 'column')} but no rows.")
    if frame.isna().to_numpy().any():
        _check_widths(path, delimiter, len(names))
    return Sheet(frame, path.name, place)


def _check_widths(path: Path, delimiter: str, width: int) -> None:
    """Name a record of another length: pandas fills short ones with missing values, and cuts long ones off."""
    with open_text(path) as file:
        for line, fields in _records(file, delimiter):
            if len(fields) < width or any(fields[width:]):
                raise DataError(
                    f"Line {line} of '{path}' has {count(len(fields), 'field')}, the first line has {width}."
                )


def _first_bad_byte(path: Path) -> str:
    opened = gzip.open if path.suffix.lower() == ".gz" else open
    with opened(path, "rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                if number == 1 and line.startswith(UTF_16):
                    break  # It is no UTF-8 to begin with.
                return f": line {number} holds the byte 0x{line[error.start]:02x}"
    return ""
