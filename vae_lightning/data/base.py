"""What every source of rows shares: columns, rows, the three parts, and how a mistake in the data is worded."""

import difflib
import hashlib
import re
import shlex
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from vae_lightning.errors import DataError

# Whatever numpy and its zip and zlib layers raise on a file that is cut off or is not what its name says.
UNREADABLE = (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error, NotImplementedError)


@dataclass(frozen=True)
class Column:
    """One column of a data set.

    Args:
        name: The name that the source gave it.
        dtype: The numpy dtype, as a string, in which values are given back. A ``"bool"`` column is read as 0 and 1.
    """

    name: str
    dtype: str


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of one part of a data set.

    Args:
        x: Shape ``(N, C)``, in a native numeric dtype and in data units.
        labels: Shape ``(N,)`` or None. Never trained on.
    """

    x: np.ndarray
    labels: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.x)

    def take(self, index: np.ndarray) -> "Rows":
        """The rows at ``index``, with their labels."""
        return Rows(self.x[index], None if self.labels is None else self.labels[index])


@dataclass(frozen=True, eq=False)
class Dataset:
    """Columns, and the rows of the three parts.

    Args:
        name: What to call it in logs.
        columns: One per column of every part, in order.
        train: The training rows, the only ones that anything is fitted to.
        valid: The validation rows.
        test: The test rows.
        value_range: The declared range of legal values, such as ``(0, 16)`` for grey levels; None if not declared.
        image_shape: ``(height, width)`` if a row is a flattened image.
    """

    name: str
    columns: tuple[Column, ...]
    train: Rows
    valid: Rows
    test: Rows
    value_range: tuple[float, float] | None = None
    image_shape: tuple[int, int] | None = None

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hex digits that change with any value, shape, dtype, column name or split."""
        digest = hashlib.sha256(repr([(column.name, column.dtype) for column in self.columns]).encode())
        for part in (self.train, self.valid, self.test):
            digest.update(f"{part.x.shape} {part.x.dtype.str}".encode())
            digest.update(np.ascontiguousarray(part.x).data)
        return digest.hexdigest()[:16]

    @property
    def constant_columns(self) -> list[str]:
        """The names of the columns that hold one single value in the training rows."""
        constant = (self.train.x == self.train.x[:1]).all(axis=0)
        return [column.name for column, same in zip(self.columns, constant, strict=True) if same]


class Source(ABC):
    """Something that a data set can be loaded from."""

    @abstractmethod
    def load(self) -> Dataset:
        """Read the rows, split them, and check everything that does not depend on a model.

        Raises:
            DataError: The data cannot be used; the message says what to do.
        """


def split_rows(rows: Rows, valid_fraction: float, test_fraction: float, seed: int) -> tuple[Rows, Rows, Rows]:
    """Split rows at random, but always alike for a seed, into training, validation and test rows.

    Each part but the first has its fraction of the rows, rounded, and at least one row.

    Raises:
        DataError: A fraction outside (0, 1), fractions that leave nothing to train on, or too few rows.
    """
    if valid_fraction + test_fraction >= 1:
        raise DataError(
            "The 'valid_fraction' and 'test_fraction' parameters must sum to less than 1, or nothing is left to "
            f"train on. Got {valid_fraction:g} + {test_fraction:g} instead."
        )
    num_valid = _part_size(len(rows), valid_fraction, "valid")
    num_test = _part_size(len(rows), test_fraction, "test")
    order = _shuffled(len(rows), num_valid + num_test, seed)
    cut = num_test + num_valid
    return rows.take(order[cut:]), rows.take(order[num_test:cut]), rows.take(order[:num_test])


def split_off(rows: Rows, fraction: float, seed: int, part: str) -> tuple[Rows, Rows]:
    """Split rows at random into what remains for training and one other ``part`` (``"valid"`` or ``"test"``).

    Raises:
        DataError: A fraction outside (0, 1), or too few rows.
    """
    size = _part_size(len(rows), fraction, part)
    order = _shuffled(len(rows), size, seed)
    return rows.take(order[size:]), rows.take(order[:size])


def _part_size(num_rows: int, fraction: float, part: str) -> int:
    if not 0 < fraction < 1:
        raise DataError(
            f"The '{part}_fraction' parameter must be above 0 and below 1, as the {part} part is split off "
            f"{num_rows} rows and needs at least one of them. Got {fraction:g} instead."
        )
    return max(1, round(num_rows * fraction))


def _shuffled(num_rows: int, num_taken: int, seed: int) -> np.ndarray:
    check_seed(seed)
    if num_taken >= num_rows:
        raise DataError(
            f"The data have only {count(num_rows, 'row')}: too few for training, validation and test parts, "
            "which need at least one each. Give more rows, or files for the parts: data.valid_path=..., "
            "data.test_path=..."
        )
    return np.random.default_rng(seed).permutation(num_rows)


def check_seed(seed: int) -> None:
    """Raise a DataError unless ``seed`` is a whole number from 0 on."""
    if not isinstance(seed, int | np.integer) or isinstance(seed, bool) or seed < 0:
        raise DataError(f"The 'seed' parameter must be a whole number from 0 on. Got {seed!r} instead.")


def check_count(owner: str, name: str, value: int, least: int = 1) -> None:
    """Raise a DataError unless the parameter ``name`` of ``owner`` is a whole number of at least ``least``."""
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least:
        raise DataError(
            f"The '{name}' parameter of {owner} must be a whole number of at least {least}. Got {value!r} instead."
        )


def pixel_names(height: int, width: int) -> list[str]:
    """Column names of a flattened image, row by row: ``pixel_0_0``, ``pixel_0_1`` ..."""
    return [f"pixel_{row}_{column}" for row in range(height) for column in range(width)]


def count(number: int, noun: str) -> str:
    """``1 row``, ``2 rows``, ``12,000 rows``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def listed(items: Iterable[str], limit: int = 5) -> str:
    """``a, b, c and 31 more``: a list that stays readable however long it is."""
    items = list(items)
    if len(items) <= limit + 1:  # "and 1 more" would be no shorter than the name itself
        return ", ".join(items)
    return f"{', '.join(items[:limit])} and {len(items) - limit:,} more"


def nearest(word: str, legal: Iterable[str]) -> str:
    """``" Did you mean 'x'?"`` for the legal word that is most like ``word``, or nothing if none is like it."""
    by_lower_case = {name.lower(): name for name in legal}
    close = difflib.get_close_matches(word.lower(), by_lower_case, n=1, cutoff=0.5)
    return f" Did you mean '{by_lower_case[close[0]]}'?" if close else ""


def override(key: str, names: Sequence[str]) -> str:
    """``data.drop=[a,b]`` as it can be typed in a shell, quoted where a name needs it."""

    def quoted(name: str) -> str:
        plain = re.fullmatch(r"[A-Za-z_][\w-]*|0|[1-9]\d*", name, re.ASCII)
        if plain and name.lower() not in {"true", "false", "null", "nan", "inf"}:
            return name
        # Hydra reads a backslash as one only where a quote follows it.
        return '"' + re.sub(r'(\\+)(?="|\Z)', r"\1\1", name).replace('"', r"\"") + '"'

    text = f"{key}=[{','.join(map(quoted, names))}]"
    return text if text == f"{key}=[{','.join(names)}]" else shlex.quote(text)


def existing_path(path: str | None, owner: str, wanted: str, *, parameter: str = "path") -> Path:
    """The path of a file or folder that is there, or a DataError that says what is there instead.

    Args:
        path: As the user typed it.
        owner: The class whose parameter it is.
        wanted: What the parameter must be, in words.
        parameter: The parameter's name.
    """
    if path is None or not str(path).strip():
        got = "None" if path is None else repr(path)
        raise DataError(
            f"The '{parameter}' parameter of {owner} must be {wanted}. Got {got} instead: type data.{parameter}=..."
        )
    found = Path(path).expanduser()
    if not found.exists():
        folder = found.absolute().parent
        if not folder.is_dir():
            raise DataError(f"There is no file '{path}': there is no folder '{folder}'.")
        hint = nearest(found.name, (entry.name for entry in folder.iterdir()))
        raise DataError(f"There is no file '{path}' (looked in '{folder}').{hint}")
    if found.is_file() and found.stat().st_size == 0:
        raise DataError(f"'{path}' is empty: it has 0 bytes.")
    return found


def unreadable(path: Path, kind: str, error: BaseException | str) -> DataError:
    """The DataError for a file that is not what its name says, or that was cut off."""
    detail = " ".join(str(error).split()) or type(error).__name__
    return DataError(f"'{path}' cannot be read as {kind}: it is truncated, damaged or something else ({detail}).")


def read_arrays(path: Path) -> dict[str, np.ndarray | None]:
    """Read an NPZ archive, never unpickling anything.

    Returns:
        Its arrays by key; None for one that holds pickled objects, which only matters if that one is needed.

    Raises:
        DataError: The file is no archive or is damaged.
    """
    if not zipfile.is_zipfile(path):
        raise unreadable(path, "an NPZ archive", "no zip directory in it")
    arrays: dict[str, np.ndarray | None] = {}
    try:
        with np.load(path, allow_pickle=False) as archive:
            for key in archive.files:
                arrays[key] = _member(archive, key)
    except UNREADABLE as error:
        raise unreadable(path, "an NPZ archive", error) from error
    return arrays


def _member(archive: "np.lib.npyio.NpzFile", key: str) -> np.ndarray | None:
    try:
        array = archive[key]
    except ValueError as error:
        if "allow_pickle" in str(error):
            return None
        raise
    return array if isinstance(array, np.ndarray) else None
