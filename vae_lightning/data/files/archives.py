"""Finding files, reading NPZ archives, and saying what is wrong with either."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from vae_lightning.errors import DataError, Setting, did_you_mean

# Whatever numpy and its zip and zlib layers raise on a file that is cut off or is not what its name says.
UNREADABLE = (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error, NotImplementedError)


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
