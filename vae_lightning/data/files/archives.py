"""Finding files, NPY files and NPZ archives, and saying what is wrong with any of them."""

import math
import os
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from vae_lightning.data.wording import shorten
from vae_lightning.errors import DataError, Setting, did_you_mean

# Whatever numpy and its zip and zlib layers raise on a file that is cut off or is not what its name says. A damaged
# header is a Python literal that is none, of any size and depth.
UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    OverflowError,
    MemoryError,
    RecursionError,
    SyntaxError,
    RuntimeError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
MOST_PACKED = 1100  # times that zlib can shrink bytes


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
            f"The '{parameter}' parameter of {owner} must be {wanted}. Got {got} instead.",
            [Setting(f"data.{parameter}", "FILE")],
        )
    found = Path(path).expanduser()
    if not found.exists():
        folder = found.absolute().parent
        if not folder.is_dir():
            raise DataError(f"There is no file '{path}': there is no folder '{folder}'.")
        hint = did_you_mean(found.name, (entry.name for entry in folder.iterdir()))
        raise DataError(f"There is no file '{path}' (looked in '{folder}'). {hint}".rstrip())
    if not found.is_file() and not found.is_dir():
        raise DataError(
            f"'{path}' is a pipe or a device, which may have no end: give a file. Commands on a trained model read a "
            "pipe from their standard input, as -."
        )
    if found.is_file() and found.stat().st_size == 0:
        raise DataError(f"'{path}' is empty: it has 0 bytes.")
    return found


def unreadable(path: Path, kind: str, error: BaseException | str) -> DataError:
    """The DataError for a file that is not what its name says, or that was cut off."""
    detail = " ".join(str(error).split())[:200] or type(error).__name__
    return DataError(f"'{path}' cannot be read as {kind}: it is truncated, damaged or something else ({detail}).")


def check_memory(num_values: int, where: str) -> None:
    """Raise a DataError if that many numbers are more than this machine has memory for."""
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not every system says
        return
    if 8 * num_values > memory > 0:
        raise DataError(
            f"{where} holds {num_values:,} values, {8 * num_values / 1e9:,.1f} GB; this machine has "
            f"{memory / 1e9:,.1f} GB of memory. Take fewer rows or columns."
        )


class Header(NamedTuple):
    """What an array is, before its values are read."""

    shape: tuple[int, ...]
    dtype: np.dtype

    def __str__(self) -> str:
        return "objects" if self.dtype.hasobject else str(self.shape)


@contextmanager
def _old_arrays_too() -> Iterator[None]:
    """Without numpy's warning, each time that it reads a header, that Python 2 wrote the file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def _read_header(file: IO[bytes], size: int) -> Header:
    """The header of an NPY file of ``size`` bytes.

    Raises:
        ValueError: It claims more than the file holds.
    """
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    version = np.lib.format.read_magic(file)
    with _old_arrays_too():
        shape, _, dtype = read.get(version, read[2, 0])(file)
    if any(length < 0 for length in shape):
        raise ValueError(f"shape {shape}")
    needed, given = math.prod(shape) * dtype.itemsize, size - file.tell()
    if needed > given and not dtype.hasobject:
        raise ValueError(f"shape {shape} of {dtype} takes {needed:,} bytes, and it has {given:,}")
    return Header(shape, dtype)


def read_npy(path: Path, mapped: bool = False) -> np.ndarray:
    """Read an NPY file, never unpickling anything; a DataError if it is damaged or holds objects.

    Args:
        path: the file.
        mapped: leave the values in the file until they are looked at.
    """
    try:
        with _old_arrays_too(), path.open("rb") as file:
            header = _read_header(file, path.stat().st_size)
            file.seek(0)
            if not header.dtype.hasobject:
                if mapped and 0 not in header.shape:
                    return np.load(path, mmap_mode="r", allow_pickle=False)
                check_memory(math.prod(header.shape), f"'{path}'")
                return np.lib.format.read_array(file, allow_pickle=False)
    except DataError:
        raise
    except UNREADABLE as error:
        raise unreadable(path, "an NPY array", error) from error
    raise DataError(
        f"'{path}' holds pickled objects, which could run foreign code and are never loaded. "
        "Save it as numbers: numpy.save(path, rows.astype(float))."
    )


class Archive(Mapping[str, np.ndarray | None]):
    """An NPZ archive: which arrays there are is known at once; the values of one are read when it is asked for.

    An array of pickled objects is None: it only matters if it is needed.

    Args:
        path: the file.

    Raises:
        DataError: The file is no archive or is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not zipfile.is_zipfile(path):
            raise unreadable(path, "an NPZ archive", "no zip directory in it")
        #: Of each array by key.
        self.headers: dict[str, Header] = {}
        try:
            with zipfile.ZipFile(path) as archive:
                for member in archive.infolist():
                    if member.filename.endswith(".npy"):
                        self.headers[member.filename.removesuffix(".npy")] = self._header(archive, member)
        except UNREADABLE as error:
            raise unreadable(path, "an NPZ archive", error) from error

    def _header(self, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Header:
        if member.compress_size > self.path.stat().st_size or member.file_size > MOST_PACKED * (
            member.compress_size + 1
        ):
            raise ValueError(f"{member.filename} claims {member.file_size:,} bytes")
        with archive.open(member) as file:
            return _read_header(file, member.file_size)

    def __getitem__(self, key: str) -> np.ndarray | None:
        header = self.headers[key]
        if header.dtype.hasobject:
            return None
        check_memory(math.prod(header.shape), f"The array '{key}' of '{self.path}'")
        try:
            with _old_arrays_too(), zipfile.ZipFile(self.path) as archive, archive.open(f"{key}.npy") as file:
                array = np.lib.format.read_array(file, allow_pickle=False)
                file.read()  # to its end, where the checksum is
                return array
        except UNREADABLE as error:
            raise unreadable(self.path, "an NPZ archive", error) from error

    def __iter__(self) -> Iterator[str]:
        return iter(self.headers)

    def __len__(self) -> int:
        return len(self.headers)

    def __contains__(self, key: object) -> bool:
        return key in self.headers

    @property
    def tables(self) -> list[str]:
        """The keys of arrays that have rows and columns."""
        return [key for key, header in self.headers.items() if len(header.shape) >= 2 and not header.dtype.hasobject]

    def __str__(self) -> str:
        return shorten([f"{key} ({header})" for key, header in self.headers.items()], 12) or "no arrays"
