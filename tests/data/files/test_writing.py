"""Batches that are written, read back by pandas and numpy."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vae_lightning.data.files.writing import RowWriter
from vae_lightning.errors import DataError

READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    "csv": pd.read_csv,
    "csv.gz": pd.read_csv,
    "tsv": lambda path: pd.read_csv(path, sep="\t"),
    "txt": lambda path: pd.read_csv(path, sep="\t"),
    "parquet": pd.read_parquet,
    "feather": pd.read_feather,
    "arrow": pd.read_feather,
}


def frame() -> pd.DataFrame:
    return pd.DataFrame({"n": np.arange(7), "x": np.arange(7) / 3, "whole": np.arange(7.0), "text": list("ab,d\"'g")})


def write(path: Path, rows: pd.DataFrame, size: int = 3) -> None:
    with RowWriter(str(path)) as writer:
        for start in range(0, len(rows), size):
            writer.write(rows.iloc[start : start + size])


@pytest.mark.parametrize("ending", READERS)
def test_batches_make_one_file_with_the_dtypes_of_the_rows(ending: str, tmp_path: Path) -> None:
    write(tmp_path / f"rows.{ending}", frame())
    pd.testing.assert_frame_equal(READERS[ending](tmp_path / f"rows.{ending}"), frame())
    assert [path.name for path in tmp_path.iterdir()] == [f"rows.{ending}"]


@pytest.mark.parametrize("ending", READERS)
def test_labels_of_rows_are_written(ending: str, tmp_path: Path) -> None:
    labelled = frame().set_axis(pd.Index(list("tuvwxyz"), name="label"))
    write(tmp_path / f"rows.{ending}", labelled)
    found = READERS[ending](tmp_path / f"rows.{ending}")
    found = found if found.index.name == "label" else found.set_index("label")
    pd.testing.assert_frame_equal(found, labelled)


def test_an_array_holds_the_values(tmp_path: Path) -> None:
    numbers = frame()[["x", "whole"]].astype(np.float32)
    write(tmp_path / "rows.npy", numbers)
    found = np.load(tmp_path / "rows.npy", allow_pickle=False)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, numbers.to_numpy())


def test_an_array_holds_truth_values_as_numbers_and_no_texts(tmp_path: Path) -> None:
    mixed = frame()[["x", "n"]].assign(ok=[True, False] * 3 + [True])
    write(tmp_path / "rows.npy", mixed)
    np.testing.assert_array_equal(np.load(tmp_path / "rows.npy", allow_pickle=False), mixed.to_numpy(dtype=float))
    with pytest.raises(DataError, match="numbers only, and the column 'text' holds none"):
        write(tmp_path / "other.npy", frame())
    assert [path.name for path in tmp_path.iterdir()] == ["rows.npy"]


def test_an_array_has_nan_where_whole_numbers_are_missing(tmp_path: Path) -> None:
    """A column with gaps that was passed through ended in a traceback."""
    gaps = pd.DataFrame({"id": pd.array([1, None, 3, 4], "Int64")})
    for numbers in (gaps, gaps.assign(x=np.float32(0.5)), gaps.assign(big=pd.array([2**63] * 4, "UInt64"))):
        write(tmp_path / "rows.npy", numbers, 2)
        found = np.load(tmp_path / "rows.npy", allow_pickle=False)
        np.testing.assert_array_equal(found, numbers.astype("float64").to_numpy())
    (tmp_path / "rows.npy").unlink()
    with pytest.raises(DataError, match="fractions or missing values came after whole numbers"):
        write(tmp_path / "rows.npy", gaps.iloc[::-1], 2)
    assert not list(tmp_path.iterdir())


def test_a_pipe_gets_csv(capsys: pytest.CaptureFixture[str]) -> None:
    with RowWriter("-") as writer:
        writer.write(frame().iloc[:1])
        writer.write(frame().iloc[1:2])
    assert capsys.readouterr().out == "n,x,whole,text\n0,0.0,0.0,a\n1,0.3333333333333333,1.0,b\n"


@pytest.mark.parametrize("ending", [*READERS, "npy"])
def test_an_error_leaves_the_old_file_and_nothing_else(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"rows.{ending}"
    path.write_text("old")

    def broken_off() -> None:
        with RowWriter(str(path)) as writer:
            writer.write(frame()[["x", "n"]])
            raise KeyError

    with pytest.raises(KeyError):
        broken_off()
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [(path.name, "old")]


def test_a_column_that_changes_its_kind_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"changes its kind .* Write \.csv instead of \.parquet"):
        write(tmp_path / "rows.parquet", pd.DataFrame({"id": [1, 2, 3, "A4"]}, dtype=object))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("path", "message"),
    [("rows.xlsx", "no known ending to write"), ("rows", "no known ending"), ("none/rows.csv", "There is no folder")],
)
def test_where_nothing_can_be_written_is_known_before_anything_is_read(path: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        RowWriter(str(tmp_path / path))


def test_what_killed_commands_left_half_written_is_removed(tmp_path: Path) -> None:
    """A process number that no process has; what a living one, such as this one's parent, writes is left alone."""
    dead, living = tmp_path / ".out.csv.4999999", tmp_path / f".out.csv.{os.getppid()}"
    dead.touch()
    living.touch()
    write(tmp_path / "out.csv", frame())
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([living.name, "out.csv"])
