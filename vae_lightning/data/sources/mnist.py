"""MNIST from IDX files or an NPZ archive on disk, or downloaded once where there is a network."""

import gzip
import hashlib
import http.client
import os
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np

from vae_lightning.data.columns import Column, pixel_names
from vae_lightning.data.dataset import Dataset, Rows
from vae_lightning.data.files.archives import UNREADABLE, Archive, existing_path, unreadable
from vae_lightning.data.sources.base import Source
from vae_lightning.data.split import split_off
from vae_lightning.data.wording import shorten
from vae_lightning.errors import DataError, Setting

MIRROR = "https://ossci-datasets.s3.amazonaws.com/mnist/"
MD5 = {
    "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
}
TIMEOUT_SECONDS = 30


class MNIST(Source):
    """28×28 handwritten digits, grey levels 0 to 255: 60,000 to train on and 10,000 to test on.

    Args:
        path: An NPZ archive (arrays ``train`` and ``test``, or Keras' ``x_train`` and ``x_test``, with or without
            ``train_y``, ``test_y``, ``y_train``, ``y_test``, ``valid``), or a folder with ``mnist.npz`` or the four
            IDX files, gzipped or not. None: the folder ``vae_lightning/mnist`` of the user's cache, where the four
            files are downloaded to if they are not there yet.
        valid_fraction: The share of the training rows that becomes the validation part, by default 10,000 of 60,000.
            0 trains on all of them, as the classic examples do: the test rows then serve for validation too. Without
            effect on an archive that has a ``valid`` array.
        seed: Which random split.
    """

    def __init__(self, path: str | None = None, *, valid_fraction: float = 1 / 6, seed: int = 0) -> None:
        self.path = path
        self.valid_fraction = valid_fraction
        self.seed = seed

    def load(self) -> Dataset:
        """784 columns ``pixel_0_0`` to ``pixel_27_27``; grey levels 0 to 255, or 0 and 1 if the images are binarised.

        Raises:
            DataError: Files that are missing, damaged or not MNIST; no network to fetch them.
        """
        parts = self._read()
        train, test = parts["train"], parts["test"]
        if "valid" in parts:
            valid = parts["valid"]
        elif self.valid_fraction == 0:
            valid = test
        else:
            train, valid = split_off(train, self.valid_fraction, self.seed, "valid")
        return Dataset(
            name="mnist",
            columns=tuple(Column(name, str(train.x.dtype)) for name in pixel_names(28, 28)),
            train=train,
            valid=valid,
            test=test,
            value_range=(0.0, 1.0 if train.x.max() <= 1 else 255.0),
            image_shape=(28, 28),
        )

    def _read(self) -> dict[str, Rows]:
        if self.path is None:
            folder = cache_folder()
            for name, md5 in MD5.items():
                if _idx_file(folder, name) is None:
                    _download(name, md5, folder)
            return _read_folder(folder)
        path = existing_path(self.path, "MNIST", "an NPZ archive or a folder with the four IDX files")
        if not path.is_dir():
            return _read_archive(path)
        archive = path / "mnist.npz"
        return _read_archive(archive) if archive.is_file() else _read_folder(path)


def cache_folder() -> Path:
    """Where downloaded files are kept: ``$XDG_CACHE_HOME`` or ``~/.cache``, then ``vae_lightning/mnist``."""
    root = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(root).expanduser() / "vae_lightning" / "mnist"


def _rows(path: Path, name: str, images: np.ndarray, labels: np.ndarray | None) -> Rows:
    if images.shape[1:] not in {(28, 28), (784,)} or not len(images) or images.dtype.kind not in "biuf":
        raise DataError(
            f"'{path}' is not MNIST: '{name}' must hold images of 28×28 numbers. "
            f"Got shape {images.shape} of {images.dtype} instead.",
            [Setting("data", "table", "any other data")],
        )
    if labels is not None and labels.shape != images.shape[:1]:
        raise DataError(f"'{path}' has {len(images):,} images in '{name}', but labels of shape {labels.shape}.")
    return Rows(images.reshape(len(images), 784), labels)


def _read_archive(path: Path) -> dict[str, Rows]:
    arrays = Archive(path)
    parts = {}
    for part in ("train", "valid", "test"):
        for images, labels in ((part, f"{part}_y"), (f"x_{part}", f"y_{part}")):
            found = arrays.get(images)
            if part not in parts and found is not None:
                parts[part] = _rows(path, images, found, arrays.get(labels))
    if not {"train", "test"} <= parts.keys():
        raise DataError(
            f"'{path}' must hold the arrays train and test, or x_train and x_test. "
            f"Got {shorten(arrays, 10) or 'none'} instead."
        )
    return parts


def _read_folder(folder: Path) -> dict[str, Rows]:
    files = {name: _idx_file(folder, name) for name in MD5}
    missing = [name for name, file in files.items() if file is None]
    if missing:
        raise DataError(
            f"The folder '{folder}' lacks {shorten(missing)} (gzipped or not), and has no mnist.npz. "
            f"Fetch what is missing from {MIRROR}"
        )
    arrays = {name: _read_idx(file) for name, file in files.items() if file is not None}
    return {
        part: _rows(folder, images, arrays[images], arrays[labels])
        for part, images, labels in (
            ("train", "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
            ("test", "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
        )
    }


def _idx_file(folder: Path, name: str) -> Path | None:
    """The file under any of the names that it is found by in the wild: gzipped or not, a dot for the last dash."""
    plain = name.removesuffix(".gz")
    for stem in (plain, plain.replace("-idx", ".idx")):
        for file in (folder / f"{stem}.gz", folder / stem):
            if file.is_file():
                return file
    return None


def _read_idx(path: Path) -> np.ndarray:
    """Read an IDX file of bytes: two zeros, 8 (the type), the number of dimensions, big-endian sizes, the bytes."""
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
    except UNREADABLE as error:
        raise unreadable(path, "a gzipped IDX file", error) from error
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise unreadable(path, "an IDX file of bytes", f"it starts with {content[:4]!r}")
    start = 4 + 4 * content[3]
    if len(content) < start:
        raise unreadable(path, "an IDX file", f"{len(content)} bytes")
    shape = tuple(int(size) for size in np.frombuffer(content[4:start], dtype=">u4"))
    wanted = start + int(np.prod(shape, dtype=np.int64))
    if len(content) != wanted:
        raise unreadable(path, "an IDX file", f"{len(content):,} bytes instead of {wanted:,} for shape {shape}")
    # A copy, as a tensor must not share memory with immutable bytes.
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape).copy()


def _download(name: str, md5: str, folder: Path) -> None:
    """Put one checked file into ``folder``, whole or not at all, whatever other processes do meanwhile."""
    temporary = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(MIRROR + name, timeout=TIMEOUT_SECONDS) as response:
            content = response.read()
        got = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if got != md5:
            raise _not_there(folder, f"{MIRROR}{name} has MD5 {got} instead of {md5}; it was not kept")
        with tempfile.NamedTemporaryFile(dir=folder, prefix=f".{name}.", delete=False) as file:
            temporary = Path(file.name)
            file.write(content)
        temporary.replace(folder / name)
        temporary = None
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # It holds the connection for as long as the chain of errors lives.
        raise _not_there(folder, f"{MIRROR}{name}: {error}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _not_there(folder: Path, reason: str) -> DataError:
    return DataError(
        f"MNIST is not in '{folder}' and could not be downloaded ({reason}). Fetch {shorten(MD5, 4)} from {MIRROR} "
        "into one folder, or give an archive.",
        [Setting("data.path", "THAT_FOLDER"), Setting("data.path", "mnist.npz")],
    )
