"""Rows of every kind of file, a batch at a time, against pandas reading the whole file at once."""

import gzip
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import feather, parquet

from vae_lightning.data.columns import Column
from vae_lightning.data.files import reading
from vae_lightning.data.files.reading import RowReader
from vae_lightning.errors import DataError

COLUMNS = [Column("a", "int64"), Column("b", "float64")]


@pytest.fixture(autouse=True)
def _three_rows_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_ROWS", 3)


def frame(rows: int = 8) -> pd.DataFrame:
    draws = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "name": [f"row {i}" for i in range(rows)],
            "b": draws.normal(size=rows),
            "a": draws.integers(-5, 5, rows),
        }
    )


def read(path: Path | str, **options: Any) -> pd.DataFrame:
    parts = list(RowReader(str(path), COLUMNS, **options))
    assert all(len(part) == 3 for part in parts[:-1])
    return pd.concat(parts)


def npy(array: np.ndarray | np.float64) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


WRITERS: dict[str, Callable[[pd.DataFrame, Path], None]] = {
    "csv": lambda f, p: f.to_csv(p, index=False),
    "csv.gz": lambda f, p: f.to_csv(p, index=False),
    "tsv": lambda f, p: f.to_csv(p, index=False, sep="\t"),
    "parquet": lambda f, p: f.to_parquet(p),
    "feather": lambda f, p: f.to_feather(p),
}


def arrow_file() -> bytes:
    file = io.BytesIO()
    feather.write_feather(pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]}), file)
    return file.getvalue()


@pytest.mark.parametrize("ending", WRITERS)
def test_what_is_read_in_batches_is_what_pandas_reads_at_once(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"rows.{ending}"
    WRITERS[ending](frame(), path)
    pd.testing.assert_frame_equal(read(path), frame())


@pytest.mark.parametrize("ending", WRITERS)
def test_a_file_can_be_gone_through_again(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"rows.{ending}"
    WRITERS[ending](frame(), path)
    reader = RowReader(str(path), COLUMNS)
    assert [len(part) for part in reader] == [len(part) for part in reader] == [3, 3, 2]


@pytest.mark.parametrize(
    "index",
    [
        pd.Index(list("hgfedcba"), name="label"),
        pd.RangeIndex(100, 116, 2, name="number"),
        pd.Index(np.arange(8)[::-1]),
        pd.MultiIndex.from_product([["x", "y"], range(4)], names=["site", "visit"]),
    ],
    ids=["text", "range", "numbers", "multi"],
)
def test_the_labels_of_parquet_rows_come_along(index: pd.Index, tmp_path: Path) -> None:
    whole = frame().set_axis(index)
    whole.to_parquet(tmp_path / "rows.parquet")
    found = read(tmp_path / "rows.parquet")
    assert found.index.tolist() == index.tolist()
    assert found.index.names == index.names
    pd.testing.assert_frame_equal(found.reset_index(drop=True), whole.reset_index(drop=True))


def test_row_numbers_that_pandas_wrote_become_labels_again(tmp_path: Path) -> None:
    labelled = frame().set_axis(list("hgfedcba"))
    labelled.to_csv(tmp_path / "rows.csv")
    pd.testing.assert_frame_equal(read(tmp_path / "rows.csv"), labelled)


def test_columns_of_others_keep_every_letter_where_text_goes_to_text(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("id,a,b,note\n007,1,2,NA\n1e3,2,3,\n1.10,3,4,None\n")
    found = read(tmp_path / "rows.csv")
    assert found["id"].tolist() == ["007", "1e3", "1.10"]
    assert found["note"].tolist() == ["NA", "", "None"]
    assert found["b"].dtype == np.float64  # a column of fractions, though all of these are whole


def test_texts_become_numbers_only_where_these_write_the_same_text(tmp_path: Path) -> None:
    lines = ["zip,big,price,ok,note,a,b", "007,9007199254740993,1.10,True,x,1,2", "010,,2e3,False,,1,2", "1,5,3,,y,1,2"]
    (tmp_path / "rows.csv").write_text("\n".join(lines))
    found = read(tmp_path / "rows.csv", verbatim=False)
    assert found["zip"].tolist() == ["007", "010", "1"]
    assert found["big"].dropna().tolist() == [9007199254740993, 5]
    assert found["price"].tolist() == [1.1, 2000.0, 3.0]
    assert found["ok"].tolist() == [True, False, None]
    assert found["note"].tolist() == ["x", None, "y"]
    (tmp_path / "rows.csv").write_text("id,a,b\n" + "1,2,3\n" * 3 + "A4,2,3\n")
    with pytest.raises(DataError, match=r"'id' held numbers at first, and then 'A4'. Write \.csv"):
        read(tmp_path / "rows.csv", verbatim=False)


@pytest.mark.parametrize("ending", ["parquet", "feather"])
def test_whole_numbers_stay_whole_where_some_are_missing(ending: str, tmp_path: Path) -> None:
    whole = frame().assign(id=pd.array([2**60 + 1, None, 3, 4, 5, 6, None, 8], dtype="Int64"))
    table = pa.Table.from_pandas(whole).replace_schema_metadata()
    (parquet.write_table if ending == "parquet" else feather.write_feather)(table, tmp_path / f"rows.{ending}")
    assert read(tmp_path / f"rows.{ending}")["id"].dropna().tolist() == [2**60 + 1, 3, 4, 5, 6, 8]


def test_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    table = pa.table([[1], [2], [3]], names=["a", "b", "b"])
    parquet.write_table(table, tmp_path / "rows.parquet")
    with pytest.raises(DataError, match="must name each column once"):
        read(tmp_path / "rows.parquet")


def piped(content: bytes) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(content), "ascii")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_pipe_may_hold_what_a_file_may(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told = frame().assign(name="Größe")
    monkeypatch.setattr("sys.stdin", piped(told.to_csv(index=False).encode(encoding)))
    pd.testing.assert_frame_equal(pd.concat(list(RowReader("-", COLUMNS))), told)


def test_an_interrupt_is_no_fault_of_the_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(io.BytesIO):
        def readinto(self, buffer: Any) -> int:
            if self.tell() > 50_000:
                raise KeyboardInterrupt
            return super().readinto(buffer)

    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(Interrupted(frame(5000).to_csv(index=False).encode())))
    with pytest.raises(KeyboardInterrupt):
        list(RowReader("-", COLUMNS))


def test_a_pipe_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", piped(frame(1000).to_csv(index=False).encode()))
    reader = RowReader("-", COLUMNS)
    pd.testing.assert_frame_equal(pd.concat(list(reader)), frame(1000))
    with pytest.raises(DataError, match="pipe can be read only once"):
        next(iter(reader))


@pytest.mark.parametrize("shape", [(7, 2), (7, 1, 2)])
def test_arrays_hold_the_columns_of_the_model(shape: tuple[int, ...], tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    np.save(tmp_path / "rows.npy", array)
    np.savez(tmp_path / "rows.npz", x=array, y=np.zeros(7))
    np.savez(tmp_path / "two.npz", train=array, test=array[:4])
    for found in (read(tmp_path / "rows.npy"), read(tmp_path / "rows.npz"), read(tmp_path / "two.npz", key="train")):
        assert found.columns.tolist() == ["a", "b"]
        assert found.index.tolist() == list(range(7))
        np.testing.assert_array_equal(found.to_numpy(), array.reshape(7, 2))
    with pytest.raises(DataError, match=r"holds the arrays train \(.*\), test \(.*\): name one of them with --key"):
        read(tmp_path / "two.npz")
    with pytest.raises(DataError, match=r"no array of numbers 'tset' in .* Did you mean 'test'"):
        read(tmp_path / "two.npz", key="tset")


def test_wide_rows_come_in_smaller_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_ELEMENTS", 100)
    columns = [Column(str(i), "float64") for i in range(50)]
    assert RowReader("-", columns).rows_at_once == 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("no.csv", None, r"There is no file .*no\.csv"),
        ("rows.xlsx", b"x", "has no known ending"),
        ("rows.csv", b"", "is empty"),
        ("rows.csv", b"\n\n", "is empty: there is no line"),
        ("rows.csv", b"a,b\n1,2\n1,2,3\n", r"Line 3 of .*rows\.csv' has 3 fields, the first line has 2"),
        ("rows.csv", b"a,b\n1,2,3\n1,2,3\n", "Line 2 of .* has 3 fields, the first line has 2"),
        ("rows.csv", b"a,a\n1,2\n", "must name each column once"),
        ("rows.csv", b"a,b\n1,\xff2\n", r"is not UTF-8 text: line 2 holds the byte 0xff"),
        ("rows.csv.gz", gzip.compress(b"a,b\n" + b"1,2\n" * 99, mtime=0)[:-20], "truncated, damaged"),
        ("rows.parquet", b"PAR1 and no more", "cannot be read as Parquet"),
        ("rows.feather", b"ARROW1 and no more", "cannot be read as Feather"),
        ("rows.feather", b"?" + arrow_file()[1:], r"cannot be read as Feather: .*it does not begin with ARROW1"),
        ("rows.npy", b"\x93NUMPY", "cannot be read as an NPY array"),
        ("wide.npy", npy(np.zeros((4, 5))), r"must have shape \(N, 2\).* Got shape \(4, 5\)"),
        ("flat.npy", npy(np.zeros(4)), r"Got shape \(4,\)"),
        ("point.npy", npy(np.float64(1)), r"Got shape \(\)"),
        ("rows.npz", b"PK", "cannot be read as an NPZ archive"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(name: str, content: bytes | None, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        read(tmp_path / name)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a folder: name a file in it"):
        read(tmp_path)


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.array([[1, "a"]], dtype=object))
    with pytest.raises(DataError, match="holds pickled objects, which could run foreign code"):
        read(tmp_path / "rows.npy")
