"""Rows of every kind of file, a batch at a time, against pandas reading the whole file at once."""

import gzip
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from vae_lightning.data.base import Column
from vae_lightning.errors import DataError
from vae_lightning.streams import reading
from vae_lightning.streams.reading import RowReader

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


WRITERS: dict[str, Callable[[pd.DataFrame, Path], None]] = {
    "csv": lambda f, p: f.to_csv(p, index=False),
    "csv.gz": lambda f, p: f.to_csv(p, index=False),
    "tsv": lambda f, p: f.to_csv(p, index=False, sep="\t"),
    "parquet": lambda f, p: f.to_parquet(p),
    "feather": lambda f, p: f.to_feather(p),
}


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
    assert read(tmp_path / "rows.csv", verbatim=False)["id"].tolist() == [7.0, 1000.0, 1.1]


def test_a_pipe_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(frame(1000).to_csv(index=False)))
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
    with pytest.raises(DataError, match=r"holds the arrays train, test: name one of them with --key"):
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
        ("rows.csv", b"a,b\n1,2\n1,2,3\n", r"rows\.csv' cannot be read: .* line 3, saw 3"),
        ("rows.csv", b"a,a\n1,2\n", "must name each column once"),
        ("rows.csv", b"a,b\n1,\xff2\n", r"cannot be read: .*0xff"),
        ("rows.csv.gz", gzip.compress(b"a,b\n" + b"1,2\n" * 99, mtime=0)[:-20], "truncated, damaged"),
        ("rows.parquet", b"PAR1 and no more", "cannot be read as Parquet"),
        ("rows.feather", b"ARROW1 and no more", "cannot be read as Feather"),
        ("rows.npy", b"\x93NUMPY", "cannot be read as an NPY array"),
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
    with pytest.raises(DataError, match="cannot be read as an NPY array"):
        read(tmp_path / "rows.npy")
