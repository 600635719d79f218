"""NPY, NPZ, Parquet and Feather: built right and perhaps damaged; read as another reader reads them, or refused."""

import io
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import strategies as st
from pyarrow import feather, parquet

from tests.fuzz.fuzzing import attempt, budgets, empty_folder, files_in, fuzz
from tests.fuzz.texts import mutated
from vae_lightning.data.columns import Column
from vae_lightning.data.files.reading import RowReader
from vae_lightning.data.files.writing import RowWriter
from vae_lightning.data.sources.table import Table
from vae_lightning.errors import UserError

WHOLE = ["u1", "i1", "<u2", ">i2", "<i4", ">u4", "<i8", "<u8"]
DTYPES = ["?", *WHOLE, "<f2", ">f4", "<f4", "<f8", ">f8"]


@dataclass(frozen=True)
class Binary:
    """A file, the matrix in it, and whether it was damaged.

    Attributes:
        name: of the file.
        content: its bytes.
        x: the rows, shape (N, C).
        damaged: whether bytes were changed.
        told: settings of the table.
    """

    name: str
    content: bytes
    x: np.ndarray
    damaged: bool
    told: dict[str, Any]

    def __repr__(self) -> str:
        what = "damaged" if self.damaged else "sound"
        return f"{what} {self.name} {self.told}: {self.x.dtype} {self.x.shape} in {self.content!r}"


@st.composite
def arrays(draw: st.DrawFn, dtype: str) -> np.ndarray:
    """Rows of numbers; whole numbers go to the ends of their range."""
    rows, columns = draw(st.integers(3, 8)), draw(st.integers(1, 4))
    kind = np.dtype(dtype)
    if kind.kind == "f":
        limit = {2: 2.0**9, 4: 2.0**99, 8: 2.0**500}[kind.itemsize]
        some = st.floats(-limit, limit, width=8 * kind.itemsize, allow_subnormal=False)
    elif kind.kind == "b":
        some = st.booleans()
    else:
        some = st.integers(int(np.iinfo(kind).min), int(np.iinfo(kind).max))
    values = draw(st.lists(some, min_size=rows * columns, max_size=rows * columns))
    return np.array(values, dtype=kind).reshape(rows, columns)


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@st.composite
def npy(draw: st.DrawFn) -> Binary:
    """An array in either order, or a stack of images."""
    x = draw(arrays(draw(st.sampled_from(DTYPES))))
    stored = x.reshape(len(x), 1, -1) if draw(st.booleans()) else np.asarray(x, order=draw(st.sampled_from("CF")))
    return Binary("x.npy", _npy(stored), x, False, {})


@st.composite
def npz(draw: st.DrawFn) -> Binary:
    """An archive in which other arrays lie, too, some of them objects."""
    x = draw(arrays(draw(st.sampled_from(DTYPES))))
    key = draw(st.sampled_from(["x", "train", "rows"]))
    others = {"labels": np.arange(len(x)), "note": np.array(["a", None], dtype=object), "one": np.array(1.0)}
    chosen = {name: others[name] for name in draw(st.lists(st.sampled_from(sorted(others)), unique=True))}
    file = io.BytesIO()
    (np.savez_compressed if draw(st.booleans()) else np.savez)(file, **{key: x, **chosen})
    return Binary("x.npz", file.getvalue(), x, False, {"key": key})


@st.composite
def arrow(draw: st.DrawFn) -> Binary:
    """A table of columns of one or several dtypes, in batches, compressed or not."""
    dtype = draw(st.sampled_from([dtype for dtype in DTYPES if dtype != "<f2"]))
    x = draw(arrays(dtype))
    x = x.astype(x.dtype.newbyteorder("="))
    table = pa.table({f"c{index}": pa.array(column) for index, column in enumerate(x.T)})
    if draw(st.booleans()):
        table = pa.Table.from_pandas(table.to_pandas())
    file, size = io.BytesIO(), draw(st.integers(1, len(x)))
    if draw(st.booleans()):
        packed = draw(st.sampled_from(["snappy", "zstd", "gzip", "none"]))
        dictionary = draw(st.booleans())
        version = draw(st.sampled_from(["1.0", "2.0"]))
        parquet.write_table(
            table, file, row_group_size=size, compression=packed, use_dictionary=dictionary, data_page_version=version
        )
        return Binary("x.parquet", file.getvalue(), x, False, {})
    feather.write_feather(table, file, draw(st.sampled_from(["lz4", "zstd", "uncompressed"])), chunksize=size)
    return Binary(draw(st.sampled_from(["x.feather", "x.arrow"])), file.getvalue(), x, False, {})


@st.composite
def files(draw: st.DrawFn) -> Binary:
    """Any of them, sound or damaged."""
    sound = draw(npy() | npz() | arrow())
    if draw(st.sampled_from([True, False, False])):
        return sound
    content = sound.content
    damage = draw(st.sampled_from(["bytes", "header", "cut", "other"]))
    if damage == "cut":
        content = content[: draw(st.integers(1, len(content) - 1))]
    elif damage == "header":
        content = draw(mutated(content[:128])) + content[128:]
    elif damage == "other":
        content = draw(
            st.sampled_from([b"PK\x05\x06" + bytes(18), b"PAR1", b"ARROW1\0\0", b"\x93NUMPY", b"a,b\n1,2\n"])
        )
    else:
        content = draw(mutated(content))
    return Binary(sound.name, content, sound.x, content != sound.content, sound.told)


@pytest.mark.parametrize("examples", budgets(300))
def test_binary_tables(examples: int, tmp_path: Path) -> None:
    def check(binary: Binary) -> str:
        with empty_folder(tmp_path) as folder:
            path = folder / binary.name
            path.write_bytes(binary.content)
            trained = attempt(lambda: _matrix_to_train(path, binary.told))
            streamed = attempt(lambda: _stream(path, binary))
            assert files_in(folder) == {binary.name} | (set() if isinstance(streamed, UserError) else {"out.csv"})
            if not binary.damaged:
                _check_equal(trained, binary.x)
                _check_equal(streamed, binary.x)
                return "sound, read"
            expected = _read_otherwise(path, binary)
            for found in (trained, streamed):
                if not isinstance(found, UserError):
                    assert expected is not None, f"read what nobody else reads: {found!r}"
                    _check_equal(found, expected)
            return "damaged, refused" if isinstance(trained, UserError) else "damaged, read as others do"

    fuzz("binary tables", files(), check, examples)


def _matrix_to_train(path: Path, told: dict[str, Any]) -> np.ndarray:
    return Table(str(path), valid_path=str(path), test_path=str(path), **told).load().train.x


def _stream(path: Path, binary: Binary) -> np.ndarray:
    columns = [Column(f"c{index}", "float64") for index in range(binary.x.shape[1])]
    reader = RowReader(str(path), columns, key=binary.told.get("key"))
    with RowWriter(str(path.parent / "out.csv")) as writer:
        frames = []
        for rows in reader:
            writer.write(rows)
            frames.append(rows)
    return pd.concat(frames).to_numpy()


def _read_otherwise(path: Path, binary: Binary) -> np.ndarray | None:
    """What numpy and pyarrow make of a file on their own, where they make anything of it."""
    try:
        if path.suffix == ".parquet":
            x = parquet.read_table(path).to_pandas().to_numpy()
        elif path.suffix in (".feather", ".arrow"):
            x = feather.read_table(path).to_pandas().to_numpy()
        else:
            x = _read_npy(binary)
    except Exception:  # whatever they raise, they do not read it
        return None
    return x.reshape(len(x), -1) if x.ndim == 3 else x


def _read_npy(binary: Binary) -> np.ndarray:
    content = binary.content
    if binary.name.endswith(".npz"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            content = archive.read(f"{binary.told['key']}.npy")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of what Python 2 may have written, which numpy reads
        return np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)


def _check_equal(found: np.ndarray | UserError, x: np.ndarray) -> None:
    assert not isinstance(found, UserError), f"refused a sound file: {found}"
    assert found.shape == x.shape
    assert np.array_equal(found, x, equal_nan=x.dtype.kind == "f"), f"{found!r} for {x!r}"
