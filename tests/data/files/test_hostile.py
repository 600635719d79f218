"""Files that claim more than they hold, have no end, or are damaged: one line, and no memory taken for them."""

import gzip
import io
import os
import re
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from vae_lightning.data.columns import Column
from vae_lightning.data.files import archives, lines
from vae_lightning.data.files.archives import Archive, read_npy
from vae_lightning.data.files.reading import RowReader
from vae_lightning.data.files.writing import RowWriter
from vae_lightning.data.sources.table import Table
from vae_lightning.errors import DataError

LITTLE = 20_000_000  # bytes


@pytest.fixture
def memory() -> Iterator[Callable[[], int]]:
    """The most bytes that were held since the test began."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


def refusal(read: Callable[[], Any]) -> str:
    with pytest.raises(DataError) as refused:
        read()
    assert "\n" not in str(refused.value)
    return str(refused.value)


def both(path: Path) -> tuple[str, str]:
    """What training says, and what the commands say."""
    columns = [Column("0", "float64"), Column("1", "float64")]
    return refusal(lambda: Table(str(path)).load()), refusal(lambda: list(RowReader(str(path), columns)))


def header(shape: str, descr: str = "'<f8'") -> bytes:
    told = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    told += b" " * (-(len(told) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(told).to_bytes(2, "little") + told


@pytest.mark.parametrize("ending", ["npy", "npz"])
def test_a_header_that_claims_more_than_the_file_holds_takes_no_memory(
    ending: str, tmp_path: Path, memory: Callable[[], int]
) -> None:
    """A file of 200 bytes whose header said (300000000, 3) had 7 GB allocated for it."""
    path, content = tmp_path / f"rows.{ending}", header("(300000000, 3)") + bytes(72)
    if ending == "npy":
        path.write_bytes(content)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x.npy", content)
    for told in both(path):
        assert "takes 7,200,000,000 bytes, and it has 72" in told
    assert memory() < LITTLE


@pytest.mark.parametrize(
    "content",
    [
        header("(3, 2"),
        header("(3, 2)", "("),
        header("(3, -2)"),
        header("(3, 'a')"),
        header("(3, 2)", "'<f9'"),
        header("(3, 2)", "[('a', '<f8'), ('a', '<f8')]"),
        header("(3, 2)", "(" * 3000),
        header("(3, 2)").replace(b"False", b"'''  "),
        b"\x93NUMPY\x07\x00\x10\x00",
    ],
    ids=range(9),
)
def test_damaged_headers_of_arrays(content: bytes, tmp_path: Path) -> None:
    """Python's tokenizer, parser and numpy's dtypes each raised errors of their own."""
    (tmp_path / "rows.npy").write_bytes(content + bytes(48))
    with zipfile.ZipFile(tmp_path / "rows.npz", "w") as archive:
        archive.writestr("x.npy", content + bytes(48))
    for name in ("rows.npy", "rows.npz"):
        for told in both(tmp_path / name):
            assert "cannot be read as an NP" in told


@pytest.mark.filterwarnings("error")
def test_arrays_that_python_2_wrote(tmp_path: Path) -> None:
    """Their shapes are written as 3L, which numpy reads, and warned of on the screen, twice for each file."""
    content = header("(9L, 2L)") + np.arange(18.0).tobytes()
    (tmp_path / "rows.npy").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "rows.npz", "w") as archive:
        archive.writestr("x.npy", content)
    for name in ("rows.npy", "rows.npz"):
        path = str(tmp_path / name)
        assert len(Table(path).load().columns) == 2
        (found,) = RowReader(path, [Column("0", "float64"), Column("1", "float64")])
        np.testing.assert_array_equal(found.to_numpy(), np.arange(18.0).reshape(9, 2))


def test_of_an_archive_the_array_that_is_wanted_is_read(tmp_path: Path, memory: Callable[[], int]) -> None:
    """3 MB of zeros beside the rows became 3.4 GB."""
    path = tmp_path / "rows.npz"
    np.savez_compressed(path, x=np.ones((9, 2)), y=np.arange(9), zeros=np.zeros((1_000, 10_000)))
    tracemalloc.reset_peak()
    before = memory()
    assert len(Table(str(path), label="y").load().columns) == 2
    found = pd.concat(list(RowReader(str(path), [Column("0", "float64"), Column("1", "float64")])))
    assert (found.to_numpy() == 1).all()
    assert memory() - before < LITTLE
    assert str(Archive(path)) == "x ((9, 2)), y ((9,)), zeros ((1000, 10000))"


def test_more_than_this_machine_has_memory_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sysconf", lambda name: {"SC_PHYS_PAGES": 1, "SC_PAGE_SIZE": 4096}[name])
    np.save(tmp_path / "rows.npy", np.zeros((400, 2)))
    np.savez(tmp_path / "rows.npz", np.zeros((400, 2)))
    pd.DataFrame(np.zeros((400, 2))).rename(columns=str).to_parquet(tmp_path / "rows.parquet")
    for ending in ("npy", "npz", "parquet"):
        told = refusal(lambda ending=ending: Table(str(tmp_path / f"rows.{ending}")).load())  # type: ignore[misc]
        assert "holds 800 values, 0.0 GB; this machine has 0.0 GB of memory" in told
    monkeypatch.delattr(archives.os, "sysconf")
    assert len(read_npy(tmp_path / "rows.npy")) == 400  # where nobody says how much there is


@pytest.mark.parametrize("ending", ["feather", "parquet"])
def test_damage_inside_a_table_of_arrow(ending: str, tmp_path: Path) -> None:
    """Names and texts that are no UTF-8 were tracebacks, or were read."""
    frame = pd.DataFrame({"0": np.arange(9.0), "1": np.arange(9.0), "text": ["spoilt"] * 9})
    path = tmp_path / f"rows.{ending}"
    options = {"compression": "uncompressed"} if ending == "feather" else {"compression": None}
    getattr(frame, f"to_{ending}")(path, **options)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"spoilt", b"sp\xff\xfelt"))
    for told in both(path):
        assert f"cannot be read as {ending.title()}" in told


def test_a_pipe_or_a_device_is_no_file(tmp_path: Path) -> None:
    """They were read for ever."""
    os.mkfifo(tmp_path / "rows.csv")
    (tmp_path / "zeros.csv").symlink_to("/dev/zero")
    for name in ("rows.csv", "zeros.csv"):
        for told in both(tmp_path / name):
            assert "is a pipe or a device, which may have no end" in told


class Endless(io.RawIOBase):
    """Zeros, and no line end."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        buffer[:] = b"1" * len(buffer)
        return len(buffer)


def test_a_pipe_without_an_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_LINE", 2**16)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(Endless())))
    told = refusal(lambda: list(RowReader("-", [Column("a", "float64")])))
    assert told == "The input is no table: line 1 is longer than 65,536 characters."


def test_an_archive_that_is_cut_off_and_holds_no_utf_8(tmp_path: Path) -> None:
    """Looking for the first bad byte met the end of the archive: EOFError."""
    lines = [f"{row},{row * row}" for row in range(3000)]
    whole = gzip.compress("\n".join(["0,1", *lines, "\xe4" * 50_000, *lines]).encode("latin-1"))
    for size in range(20, len(whole), 499):
        (tmp_path / "rows.csv.gz").write_bytes(whole[:size])
        for told in both(tmp_path / "rows.csv.gz"):
            assert "is not UTF-8 text" in told or "cannot be read" in told or "may hold names" in told


def test_an_archive_that_is_not_called_one(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes(gzip.compress(b"a,b\n1,2\n3,4\n5,6\n"))
    assert len(Table(str(tmp_path / "rows.csv")).load().columns) == 2


# --- outputs


def test_an_output_goes_through_a_link(tmp_path: Path) -> None:
    """A link to a file became a file."""
    (tmp_path / "there").mkdir()
    (tmp_path / "rows.csv").symlink_to(tmp_path / "there" / "real.csv")
    with RowWriter(str(tmp_path / "rows.csv")) as writer:
        writer.write(pd.DataFrame({"a": [1]}))
    assert (tmp_path / "rows.csv").is_symlink()
    assert (tmp_path / "there" / "real.csv").read_text() == "a\n1\n"
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["real.csv"]


def test_a_pipe_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "rows.csv")
    with pytest.raises(DataError, match="is a pipe or a device: print to - instead"):
        RowWriter(str(tmp_path / "rows.csv"))


# --- digits


DIGITS = [
    "1234567890123456789",
    "12345678901234567890",
    "123456789012345678901",
    "0.1234567890123456789",
    "4006381333931",
]


@pytest.mark.parametrize("ending", ["csv", "parquet", "feather"])
def test_long_numbers_keep_their_digits(ending: str, tmp_path: Path) -> None:
    """40 identifiers of 19 digits became one, as fractions hold 15 of them."""
    lines = [",".join([*(f"{digits[:-1]}{row}" for digits in DIGITS), str(row)]) for row in range(1, 9)]
    (tmp_path / "rows.csv").write_text("\n".join(["i64,u64,long,fraction,code,a", *lines]) + "\n")
    path = tmp_path / f"out.{ending}"
    with RowWriter(str(path)) as writer:
        for frame in RowReader(str(tmp_path / "rows.csv"), [Column("a", "float64")], verbatim=ending == "csv"):
            writer.write(frame)
    read = {"csv": lambda p: pd.read_csv(p, dtype=str), "parquet": pd.read_parquet, "feather": pd.read_feather}
    found = read[ending](path)
    for name, digits in zip(found.columns, DIGITS, strict=False):
        assert found[name].astype(str).tolist() == [f"{digits[:-1]}{row}" for row in range(1, 9)]
    if ending != "csv":
        assert found.dtypes.astype(str).to_dict() == {
            "i64": "int64",
            "u64": "uint64",
            "long": "str",
            "fraction": "str",
            "code": "int64",
            "a": "float64",
        }


def test_a_column_whose_first_batch_is_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vae_lightning.data.files.reading.MAX_ROWS", 2)
    (tmp_path / "rows.csv").write_text("note,a\n,1\n,2\nlate,3\n,4\n")
    with RowWriter(str(tmp_path / "out.parquet")) as writer:
        for frame in RowReader(str(tmp_path / "rows.csv"), [Column("a", "float64")], verbatim=False):
            writer.write(frame)
    assert pd.read_parquet(tmp_path / "out.parquet")["note"].tolist()[2] == "late"


# --- values


@pytest.mark.parametrize("flushed", [False, True], ids=["as numpy comes", "as in a run"])
def test_values_that_arithmetic_takes_for_zero_are_refused(
    flushed: bool, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Below 2e-308 they passed for a constant, in a run even after that was looked for."""
    request.addfinalizer(lambda: torch.set_flush_denormal(False))
    torch.set_flush_denormal(flushed)
    (tmp_path / "rows.csv").write_text("a,b\n" + "".join(f"{i}e-310,{i}\n" for i in range(1, 9)))
    told = refusal(lambda: Table(str(tmp_path / "rows.csv")).load())
    assert re.search(r"1 of 2 columns of rows.csv hold values that differ by less than 2.23e-308 .*'a' \(1e-310", told)
    assert "data.drop=[a]" in told


def test_masked_cells_are_refused() -> None:
    from vae_lightning.data.frames import to_matrix
    from vae_lightning.doctor import examine_data

    rows = np.ma.masked_array(np.ones((9, 2)), mask=np.eye(9, 2, dtype=bool))
    told = refusal(lambda: to_matrix(rows, [Column("0", "float64"), Column("1", "float64")]))
    assert told.startswith("2 cells are masked, and the values behind the mask are no data")
    assert "2 cells are masked" in str(examine_data(rows))
    assert to_matrix(np.ma.masked_array(np.ones((9, 1))), [Column("0", "float64")]).shape == (9, 1)
