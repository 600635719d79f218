"""One file to one sheet: what is read of any kind of file, and Parquet, Feather and arrays."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vae_lightning.data.columns import pixel_names
from vae_lightning.data.files.archives import UNREADABLE, check_memory, unreadable
from vae_lightning.data.files.numbers import as_numbers, as_texts
from vae_lightning.data.wording import count, shorten
from vae_lightning.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Sheet:
    """What was read of one file.

    Attributes:
        frame: its columns; those of a text that hold anything but numbers, as texts.
        name: what to call it in messages.
        place: where in the file a row stands, in words.
        image_shape: height and width, if a row is an image.
        numbers: a column as numbers, and which of its values are none.
        texts: a column as texts, None where a value is missing.
        lines: the numbers of the lines that rows stand in, where the file has lines.
        skipped: the numbers of those that are left out already.
        truths: columns of truth values, of which some may be missing.
    """

    frame: "pd.DataFrame"
    name: str
    place: Callable[[int], str] = lambda row: f"row {row + 1}"
    image_shape: tuple[int, int] | None = None
    numbers: Callable[["pd.Series"], tuple["pd.Series", np.ndarray]] = as_numbers
    texts: Callable[["pd.Series"], "pd.Series"] = as_texts
    lines: Callable[[Sequence[int]], list[int]] | None = None
    skipped: frozenset[int] = frozenset()
    truths: frozenset[str] = frozenset()


def check_unique(names: Sequence[str], where: str) -> None:
    """Raise a DataError that counts the names that occur more than once ``where``."""
    twice = [f"{name!r} ({times} times)" for name, times in Counter(names).items() if times > 1]
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


def read_arrow(path: Path) -> Sheet:
    """Read a Parquet or Feather file; a DataError if it is damaged, empty or names a column twice."""
    import pyarrow as pa
    from pyarrow import feather, parquet

    kind = "Parquet" if path.suffix.lower() == ".parquet" else "Feather"
    try:
        if kind == "Parquet":
            file = parquet.ParquetFile(path)
            check_memory(file.metadata.num_rows * file.metadata.num_columns, f"'{path}'")
            table = file.read()
        else:
            table = feather.read_table(path)
        table.validate(full=True)  # what is damaged inside must not be looked at
        check_unique(table.column_names, f"'{path}'")
        frame = table.to_pandas()
    except DataError:
        raise
    except (pa.ArrowException, *UNREADABLE) as error:
        raise unreadable(path, kind, error) from error
    frame.columns = frame.columns.map(str)
    if not len(frame) or not len(frame.columns):
        raise DataError(f"'{path}' has {count(len(frame.columns), 'column')} but {count(len(frame), 'row')}.")
    truths = frozenset(str(field.name) for field in table.schema if pa.types.is_boolean(field.type))
    return Sheet(frame.reset_index(drop=True), path.name, truths=truths)
