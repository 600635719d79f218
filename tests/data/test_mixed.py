"""Columns of any kind as numbers, and back."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vae_lightning.data.columns import Column
from vae_lightning.data.dates import join_columns, join_values
from vae_lightning.data.frames import from_matrix, to_matrix
from vae_lightning.data.sources.table import Table
from vae_lightning.errors import DataError

ROWS = 60


@pytest.fixture
def frame() -> pd.DataFrame:
    """A column of every kind, each with holes but the last three."""
    draws = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "height": draws.normal(size=ROWS).round(3),
            "visits": pd.array(draws.integers(0, 9, ROWS), "Int64"),
            "city": draws.choice(["Oslo", "Rome", "Bonn, am Rhein"], ROWS),
            "member": pd.array(draws.random(ROWS) < 0.5, "boolean"),
            "born": pd.Timestamp("2020-01-01") + pd.to_timedelta(draws.integers(0, 99, ROWS), "D"),
            "seen": pd.Timestamp("2021-05-01 12:00:30") + pd.to_timedelta(draws.integers(0, 9999, ROWS), "s"),
            "code": draws.integers(0, 3, ROWS),
            "size": draws.choice(["S", "M"], ROWS),
            "ok": draws.random(ROWS) < 0.5,
        }
    )
    for name in list(frame)[:6]:
        frame.loc[draws.random(ROWS) < 0.2, name] = None
    return frame


def write_csv(frame: pd.DataFrame, path: Path) -> Path:
    frame.to_csv(path, index=False)
    return path


def write_parquet(frame: pd.DataFrame, path: Path) -> Path:
    frame.to_parquet(path)
    return path


FILES = [(write_csv, "rows.csv"), (write_parquet, "rows.parquet")]


@pytest.mark.parametrize(("write", "name"), FILES)
def test_what_is_read_is_what_was_written(
    frame: pd.DataFrame, tmp_path: Path, write: Callable[..., Path], name: str
) -> None:
    data = Table(str(write(frame, tmp_path / name)), valid_fraction=0.2, test_fraction=0.2).load_mixed()
    kinds = {column.name: column.dtype for column in data.columns}
    assert kinds == {
        "height": "float64",
        "visits": "int64",
        "city": "object",
        "member": "bool",
        "born (week)": "int64",
        "born (weekday)": "object",
        "seen (hour)": "int64",
        "seen (minute)": "int64",
        "seen (second)": "int64",
        "code": "int64",
        "size": "object",
        "ok": "bool",
    }
    assert data.columns[2].levels == ("Bonn, am Rhein", "Oslo", "Rome")
    x = np.concatenate([data.train.x, data.valid.x, data.test.x])
    assert join_columns(data.columns)[4:6] == (Column("born", "datetime64[D]"), Column("seen", "datetime64[s]"))
    assert np.isnan(join_values(x, data.columns)).sum() == frame.isna().sum().sum()
    # Whatever the order of the rows: the same rows.
    expected = to_matrix(frame, data.columns)
    order = [np.lexsort(np.nan_to_num(values, nan=-1e9).T) for values in (x, expected)]
    np.testing.assert_allclose(x[order[0]], expected[order[1]], rtol=0, atol=1e-9)


def test_a_frame_comes_back_as_it_was(frame: pd.DataFrame) -> None:
    whole = frame.dropna().reset_index(drop=True)
    columns = (
        Column("height", "float64"),
        Column("visits", "int64"),
        Column("city", "object", ("Bonn, am Rhein", "Oslo", "Rome")),
        Column("member", "bool"),
        Column("born", "datetime64[D]"),
        Column("seen", "datetime64[s]"),
        Column("code", "int64"),
        Column("size", "object", ("M", "S")),
        Column("ok", "bool"),
    )
    again = from_matrix(to_matrix(whole, columns), columns)
    for name in whole:
        np.testing.assert_array_equal(
            again[name].to_numpy(whole[name].to_numpy().dtype), whole[name].to_numpy(), err_msg=name
        )


@pytest.mark.parametrize(("write", "name"), FILES)
def test_identifiers_are_passed_by_and_said_so(
    frame: pd.DataFrame, tmp_path: Path, write: Callable[..., Path], name: str, caplog: pytest.LogCaptureFixture
) -> None:
    frame = frame.assign(user=[f"u{i}" for i in range(ROWS)], row=np.arange(1, ROWS + 1))
    with caplog.at_level("INFO", logger="vae_lightning"):
        data = Table(str(write(frame, tmp_path / name))).load_mixed()
    assert not {"user", "row"} & {column.name for column in data.columns}
    assert "Column 'user' is passed by: every row has a text of its own." in caplog.text
    assert "Column 'row' is passed by: it counts the rows." in caplog.text


def test_a_table_of_identifiers_alone_is_refused(tmp_path: Path) -> None:
    path = write_csv(pd.DataFrame({"user": [f"u{i}" for i in range(ROWS)]}), tmp_path / "rows.csv")
    with pytest.raises(DataError, match=r"No column of rows\.csv is left to train on: every row has a text of its own"):
        Table(str(path)).load_mixed()


def test_numbers_with_a_few_words_among_them_are_not_categories(tmp_path: Path) -> None:
    """'x' in a column of a hundred different numbers is a slip or a mark for what is missing, not a category."""
    values = [str(number) for number in np.random.default_rng(0).normal(size=100)]
    values[7] = "broken"
    path = write_csv(pd.DataFrame({"a": values, "b": range(100)}), tmp_path / "rows.csv")
    with pytest.raises(DataError, match=r"'a' \(text, 1 of 100 values\).*'broken'.*row 8 \(line 9"):
        Table(str(path)).load_mixed()


def test_few_numbers_beside_words_are_categories(tmp_path: Path) -> None:
    path = write_csv(pd.DataFrame({"rooms": ["1", "2", "3+"] * 20}), tmp_path / "rows.csv")
    assert Table(str(path)).load_mixed().columns == (Column("rooms", "object", ("1", "2", "3+")),)


def test_a_column_without_any_value_is_refused(frame: pd.DataFrame, tmp_path: Path) -> None:
    path = write_csv(frame.assign(empty=np.nan), tmp_path / "rows.csv")
    with pytest.raises(DataError, match=r"1 of 10 columns of rows.csv hold no value at all: empty\."):
        Table(str(path)).load_mixed()
    with pytest.raises(DataError, match="hold no value at all"):
        Table(str(path), columns=["height", "empty"]).load()


def test_levels_of_all_parts_are_known(tmp_path: Path) -> None:
    """A level that only test rows have is no error."""
    train = write_csv(pd.DataFrame({"size": ["S", "M"] * 10}), tmp_path / "train.csv")
    test = write_csv(pd.DataFrame({"size": ["L", "NA"]}), tmp_path / "test.csv")
    data = Table(str(train), test_path=str(test)).load_mixed()
    assert data.columns[0].levels == ("L", "M", "S")
    np.testing.assert_array_equal(data.test.x, [[0.0], [np.nan]])


def test_an_unknown_level_is_told_with_the_known_ones() -> None:
    columns = (Column("city", "object", ("Oslo", "Rome")),)
    with pytest.raises(DataError, match=r"'city' must hold one of 2 known texts \('Oslo', 'Rome'\): 1 of 2 .*'Bonn'"):
        to_matrix(pd.DataFrame({"city": ["Rome", "Bonn"]}), columns)
    np.testing.assert_array_equal(to_matrix(np.array([["Rome"], ["Oslo"]], dtype=object), columns), [[1.0], [0.0]])


def test_what_is_no_date_is_told() -> None:
    with pytest.raises(DataError, match=r"'born' must hold dates: 1 of 2 values are something else, the first 'soon'"):
        to_matrix(pd.DataFrame({"born": ["2020-01-01", "soon"]}), (Column("born", "datetime64[D]"),))


@pytest.mark.parametrize("content", ["a;b\n1.5;1,25\n2.5;2,25\n3.5;3,5\n", "a;b\n1;1,250\n2;2,250\n3;3,500\n"])
def test_numbers_written_in_a_way_that_nobody_told_of_are_no_texts(content: str, tmp_path: Path) -> None:
    """They became categories, one for each number."""
    path = tmp_path / "rows.csv"
    path.write_text(content)
    with pytest.raises(DataError, match=r"'b' \(text, 3 of 3 values\).*data\.(decimal|thousands)=comma"):
        Table(str(path)).load_mixed()
