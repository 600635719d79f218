"""Table against files written by pandas, pyarrow, numpy and by hand, and against every way a file can be wrong."""

import csv
import gzip
import re
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from pyarrow import feather, parquet

from vae_lightning.data.dataset import Dataset
from vae_lightning.data.sources.table import Table
from vae_lightning.errors import ConfigError, DataError

SHARED = Path(__file__).parents[4] / "shared" / "data"


@pytest.fixture
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "a": rng.normal(size=40) * 10.0 ** rng.integers(-20, 20, size=40),
            "n": rng.integers(-5, 5, size=40),
            "yes": rng.random(40) > 0.5,
            "kind": rng.choice(["red", "green, dark"], size=40),
        }
    )


def together(data: Dataset) -> np.ndarray:
    """All rows of the three parts, sorted, as the split shuffles them."""
    x = np.concatenate([data.train.x, data.valid.x, data.test.x])
    return x[np.lexsort(x.T)]


def sort(rows: object) -> np.ndarray:
    """As :func:`together` sorts."""
    x = np.array(rows, dtype=float)
    return x[np.lexsort(x.T)]


def expected(frame: pd.DataFrame, names: list[str]) -> np.ndarray:
    x = frame[names].to_numpy(dtype=np.float64)
    return x[np.lexsort(x.T)]


def message(path: Path | str | None, **options: object) -> str:
    with pytest.raises(DataError) as caught:
        Table(None if path is None else str(path), **options).load()  # type: ignore[arg-type]
    return str(caught.value)


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def save(path: Path, **arrays: object) -> Path:
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


def lines(num_rows: int = 10, width: int = 3) -> str:
    return "".join(",".join(str(row * width + column) for column in range(width)) + "\n" for row in range(num_rows))


class TestText:
    @pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", " "])
    @pytest.mark.parametrize("ending", [".csv", ".tsv", ".txt", ".CSV", ".csv.gz"])
    def test_round_trip_is_exact(self, tmp_path: Path, frame: pd.DataFrame, delimiter: str, ending: str) -> None:
        path = tmp_path / f"my{ending}"
        frame.to_csv(path, sep=delimiter, index=False, quoting=csv.QUOTE_NONNUMERIC)
        data = Table(str(path), label="kind").load()
        assert [(column.name, column.dtype) for column in data.columns] == [
            ("a", "float64"),
            ("n", "int64"),
            ("yes", "bool"),
        ]
        np.testing.assert_array_equal(together(data), expected(frame, ["a", "n", "yes"]))
        assert (len(data.train), len(data.valid), len(data.test)) == (32, 4, 4)
        assert data.name == "my"

    def test_labels_stay_beside_their_rows(self, tmp_path: Path, frame: pd.DataFrame) -> None:
        frame.to_csv(tmp_path / "my.csv", index=False)
        data = Table(str(tmp_path / "my.csv"), label="kind", columns=["a"]).load()
        kinds = dict(zip(frame["a"], frame["kind"], strict=True))
        for part in (data.train, data.valid, data.test):
            assert part.labels is not None
            assert [kinds[value] for value in part.x[:, 0]] == part.labels.tolist()

    @pytest.mark.parametrize("start", ["\ufeff", "\n\n", "\r\n"])
    def test_byte_order_marks_and_blank_lines_before_the_header(self, tmp_path: Path, start: str) -> None:
        path = write(tmp_path / "my.csv", start + "a, b\r\n\r\n1, 2\r\n3, 4\r\n5, 6\r\n")
        data = Table(str(path)).load()
        assert [column.name for column in data.columns] == ["a", "b"]
        np.testing.assert_array_equal(together(data), [[1, 2], [3, 4], [5, 6]])

    def test_utf_16_as_excel_writes_it(self, tmp_path: Path) -> None:
        path = write(tmp_path / "my.txt", "größe\tb\n1\t2\n3\t4\n5\t6\n".encode("utf-16"))
        assert [column.name for column in Table(str(path)).load().columns] == ["größe", "b"]

    def test_a_first_line_of_numbers_is_a_row(self, tmp_path: Path) -> None:
        data = Table(str(write(tmp_path / "my.csv", "7,8,9\n" + lines()[6:]))).load()
        assert [column.name for column in data.columns] == ["0", "1", "2"]
        assert sum(map(len, (data.train, data.valid, data.test))) == 10
        assert [column.name for column in Table(str(tmp_path / "my.csv"), columns=[2, 0]).load().columns] == ["2", "0"]

    def test_aligned_columns_as_numpy_savetxt_writes_them(self, tmp_path: Path) -> None:
        x = np.arange(30.0).reshape(10, 3)
        np.savetxt(tmp_path / "my.txt", x, fmt="%8.2f ", delimiter="  ")
        np.testing.assert_array_equal(together(Table(str(tmp_path / "my.txt")).load()), x)

    def test_one_column(self, tmp_path: Path) -> None:
        data = Table(str(write(tmp_path / "my.csv", "a\n1\n2\n\n3\n"))).load()
        np.testing.assert_array_equal(together(data), [[1], [2], [3]])

    @pytest.mark.parametrize(("word", "mark"), [("tab", "\t"), ("\\t", "\t"), ("space", " "), ("~", "~")])
    def test_a_given_delimiter(self, tmp_path: Path, word: str, mark: str) -> None:
        path = write(tmp_path / "my.txt", f"a{mark}b\n1{mark}2\n3{mark}4\n5{mark}6\n")
        assert len(Table(str(path), delimiter=word).load().columns) == 2

    def test_an_illegal_delimiter(self) -> None:
        with pytest.raises(ConfigError, match=r"The 'delimiter' parameter of Table must be one character.*Got '::'"):
            Table("my.csv", delimiter="::")

    @pytest.mark.parametrize("text", ["\n \n\n", "", gzip.compress(b"")], ids=["blank", "nothing", "gzip"])
    def test_empty(self, tmp_path: Path, text: str | bytes) -> None:
        path = tmp_path / ("my.csv.gz" if isinstance(text, bytes) else "my.csv")
        assert "is empty" in message(write(path, text))

    def test_header_without_rows(self, tmp_path: Path) -> None:
        assert "has a header of 2 columns but no rows" in message(write(tmp_path / "my.csv", "a,b\n"))

    def test_truncated_gzip(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        whole = gzip.compress("\n".join(f"{a},{b}" for a, b in rng.normal(size=(5000, 2))).encode())
        for keep in (5, 100, len(whole) // 2, len(whole) - 4):
            text = message(write(tmp_path / "my.csv.gz", whole[:keep]))
            assert "cannot be read as delimited text" in text
            assert "truncated" in text
        damaged = whole[:1000] + bytes(200) + whole[1200:]
        assert "cannot be read" in message(write(tmp_path / "my.csv.gz", damaged))
        assert "cannot be read" in message(write(tmp_path / "my.csv.gz", b"a,b\n1,2\n"))

    def test_undecodable_bytes(self, tmp_path: Path) -> None:
        text = "a,b\n1,2\n3,gr\xf6n\n".encode("latin-1")
        assert "is not UTF-8 text: line 3 holds the byte 0xf6" in message(write(tmp_path / "my.csv", text))
        late = b"a,b\n" + b"1,2\n" * 50_000 + b"\xff,2\n"
        assert "line 50002 holds the byte 0xff" in message(write(tmp_path / "my.csv", late))
        assert "line 2 holds" in message(write(tmp_path / "my.csv.gz", gzip.compress(b"a,b\n\xff,2\n")))
        assert "is not UTF-8 text. Save" in message(write(tmp_path / "my.csv", "a,b\n1,2".encode("utf-16")[:-1]))

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("a,b,c\n1,2,3\n\n4,5\n6,7,8\n", "Line 4 of .* has 2 fields, the first line has 3"),
            ("a,b,c\n1,2,3\n4,5,6,7\n", "Line 3 of .* has 4 fields, the first line has 3"),
            ("a,b,c\n1,2,3,4\n1,2,3,4\n", "Line 2 of .* has 4 fields, the first line has 3"),
            ('a,b\n1,3\n2,"x\n3,4\n', "the record after line 2, a quoted field has no end"),
        ],
    )
    def test_ragged(self, tmp_path: Path, text: str, told: str) -> None:
        path = write(tmp_path / "my.csv", text)
        with pytest.raises(DataError, match=told):
            Table(str(path)).load()

    def test_a_field_without_an_end(self, tmp_path: Path) -> None:
        path = write(tmp_path / "my.csv", 'a,b\n1,"' + "x" * 200_000)
        assert "cannot be read as delimited text" in message(path)

    def test_duplicate_names(self, tmp_path: Path) -> None:
        text = message(write(tmp_path / "my.csv", "a,b,a,a\n1,2,3,4\n"))
        assert "must name each column once. Got 'a' (3 times) instead" in text

    def test_row_numbers_of_pandas(self, tmp_path: Path, frame: pd.DataFrame) -> None:
        frame[["a", "n"]].to_csv(tmp_path / "my.csv")
        text = message(tmp_path / "my.csv")
        assert "1 column without a name, Unnamed: 0" in text
        assert "\"data.drop=['Unnamed: 0']\"" in text
        assert len(Table(str(tmp_path / "my.csv"), drop="Unnamed: 0").load().columns) == 2
        assert len(Table(str(tmp_path / "my.csv"), columns=["Unnamed: 0", "a"]).load().columns) == 2

    def test_text_and_dates(self, tmp_path: Path) -> None:
        text = "id,name,age,date\n1,,30,2024-01-31\n2,Ann,31,2024-02-01\n3,Bob,old,\n"
        text = message(write(tmp_path / "my.csv", text), drop=["id"])
        assert "3 of 3 columns of my.csv hold no numbers" in text
        assert "'name' (text, 2 of 3 values), 'age' (text, 1 of 3 values), 'date' (dates, 2 of 3 values)" in text
        assert "There stand in 'name' 'Ann', 'Bob'; in 'age' 'old'; in 'date' '2024-01-31', '2024-02-01'." in text
        assert "The first is 'Ann' in column 'name', row 2 (line 3 of my.csv)" in text
        assert "No column of numbers would be left" in text
        text = message(tmp_path / "my.csv")
        assert "Try 'data.drop=[name,age,date]'" in text
        assert "data.label=name" in text
        assert "Try 'data.columns=[id]'" in message(tmp_path / "my.csv", columns=["id", "date"], label="name")
        assert "Try 'data.drop=[age,name,date]'" in message(tmp_path / "my.csv", drop=["age"])

    def test_lines_of_records_that_span_lines(self, tmp_path: Path) -> None:
        path = write(tmp_path / "my.csv", 'x,"a\nnote"\n1,"one\ntwo"\n\n2,three\nx,four\n')
        assert "'x' in column 'x', row 3 (line 7 of my.csv)" in message(path, label="a\nnote")

    def test_decimal_commas(self, tmp_path: Path) -> None:
        path = write(tmp_path / "my.csv", "a;b\n1.5;2,125\n2.5;3,250\n")
        text = message(path)
        assert "'2,125', '3,250'" in text
        assert "data.decimal=comma (1,5 is one and a half)" in text
        assert "data.thousands=comma (1000 is written in two parts)" in text

    def test_missing_and_infinite(self, tmp_path: Path) -> None:
        path = write(tmp_path / "my.csv", "a,b,c\n1,2,3\n4,,inf\n7,NA,9\n1,2,3\n")
        text = message(path)
        assert "1 of 3 columns of my.csv hold 1 infinite values: 'c' (1 of 4)" in text
        assert "The first is inf in column 'c', row 2 (line 3 of my.csv)" in text
        assert "A cell whose value is not known may be left empty. Try" in text
        assert "'data.drop=[c]'" in text
        data = Table(str(path), columns=["a", "b"]).load()
        np.testing.assert_array_equal(sort(together(data)), sort([[1, 2], [4, np.nan], [7, np.nan], [1, 2]]))
        assert data.has_holes
        assert [column.dtype for column in data.columns] == ["int64", "int64"]
        masks = [batch.mask for part in (data.train, data.valid, data.test) for batch in part.batches()]
        assert sum(int((~mask).sum()) for mask in masks if mask is not None) == 2

    def test_a_column_without_a_value_is_refused(self, tmp_path: Path) -> None:
        path = write(tmp_path / "my.csv", "a,b\n1,\n4,NA\n7,\n1,\n")
        assert "1 of 2 columns of my.csv hold no value at all: b. Try 'data.drop=[b]'." in message(path)

    def test_truth_values_with_a_gap_are_missing_not_text(self, tmp_path: Path) -> None:
        data = Table(str(write(tmp_path / "my.csv", "a,b\n1,True\n2,\n3,False\n"))).load()
        np.testing.assert_array_equal(sort(together(data)), sort([[1, 1], [2, np.nan], [3, 0]]))
        assert [column.dtype for column in data.columns] == ["int64", "bool"]

    def test_many_columns_are_told_briefly(self, tmp_path: Path) -> None:
        names = [f"name{index}" for index in range(40)]
        row = ",".join(["x"] * 40)
        path = write(tmp_path / "my.csv", f"age,{','.join(names)}\n1,{row}\n2,{row}\n")
        text = message(path)
        assert "and 35 more" in text
        assert "Try 'data.columns=[age]'" in text
        assert len(text) < 700
        more = ",".join(f"more{index}" for index in range(31))
        write(path, f"{more},{','.join(names)}\n{','.join(['1'] * 31)},{row}\n")
        assert "data.columns=[NAMES,TO,KEEP]" in message(path)

    def test_finite_values_with_an_infinite_sum(self, tmp_path: Path) -> None:
        data = Table(str(write(tmp_path / "my.csv", "a,b\n" + "1.5e308,1.5e308\n" * 5))).load()
        assert np.isfinite(data.train.x).all()


class TestSelection:
    @pytest.fixture
    def path(self, tmp_path: Path) -> str:
        return str(write(tmp_path / "my.csv", "alpha,beta,gamma\n" + lines()))

    def test_order_and_drop(self, path: str) -> None:
        data = Table(path, columns=["gamma", "beta", "alpha"], drop=["beta"]).load()
        assert [column.name for column in data.columns] == ["gamma", "alpha"]
        np.testing.assert_array_equal(data.train.x[:, 0] - data.train.x[:, 1], 2)

    @pytest.mark.parametrize("option", ["columns", "drop", "label"])
    def test_unknown_names(self, path: str, option: str) -> None:
        text = message(path, **{option: "gama"})
        assert f"data.{option}: there is no column 'gama' in my.csv. Did you mean 'gamma'?" in text
        assert "Its columns are alpha, beta, gamma." in message(path, **{option: "zzz"})

    def test_no_column_left(self, path: str) -> None:
        assert "No column of my.csv is left to train on" in message(path, columns=["beta"], label="beta")

    def test_a_column_asked_for_twice(self, path: str) -> None:
        assert "data.columns must name each column once" in message(path, columns=["beta", "beta"])

    def test_splits_depend_on_the_seed_alone(self, path: str) -> None:
        prints = [Table(path, seed=seed).load().fingerprint for seed in (0, 0, 1)]
        assert prints[0] == prints[1] != prints[2]

    def test_too_few_rows(self, tmp_path: Path) -> None:
        assert "have only 2 rows" in message(write(tmp_path / "my.csv", "a,b\n1,2\n3,4\n"))


class TestParts:
    def test_files_for_the_parts(self, tmp_path: Path) -> None:
        train = write(tmp_path / "train.csv", "a,b,id\n" + lines(10))
        test = write(tmp_path / "test.csv", "b,a\n2.5,1\n4,3\n")
        data = Table(str(train), test_path=str(test), drop="id", valid_fraction=0.3).load()
        assert (len(data.train), len(data.valid), len(data.test)) == (7, 3, 2)
        np.testing.assert_array_equal(data.test.x, [[1, 2.5], [3, 4]])
        assert [(column.name, column.dtype) for column in data.columns] == [("a", "int64"), ("b", "float64")]
        assert data.train.x.dtype == data.test.x.dtype == np.float64
        data = Table(str(train), valid_path=str(test), drop="id", test_fraction=0.2).load()
        assert (len(data.train), len(data.valid), len(data.test)) == (8, 2, 2)
        data = Table(str(train), valid_path=str(test), test_path=str(test), drop="id").load()
        assert (len(data.train), len(data.valid), len(data.test)) == (10, 2, 2)

    def test_a_test_file_without_labels(self, tmp_path: Path) -> None:
        train = write(tmp_path / "train.csv", "a,y\n1,2\n3,4\n5,6\n")
        test = write(tmp_path / "test.csv", "a\n7\n")
        data = Table(str(train), test_path=str(test), label="y").load()
        assert data.train.labels is not None
        assert data.test.labels is None

    def test_other_columns(self, tmp_path: Path) -> None:
        train = write(tmp_path / "train.csv", "a,b,c\n" + lines(5))
        test = write(tmp_path / "test.csv", "a,c,d,e\n" + lines(5, 4))
        text = message(train, test_path=str(test))
        assert "test.csv must have the same columns as train.csv, but lacks 'b' and also has 'd', 'e'." in text
        test = write(tmp_path / "test.csv", "a,c,b,d\n" + lines(5, 4))
        assert "but also has 'd'. Try 'data.drop=[d]'." in message(train, test_path=str(test))
        assert "also has 'd'. Try 'data.drop=[a,d]'." in message(train, test_path=str(test), drop="a")
        missing = message(train, test_path=str(test), columns=["a", "d"])
        assert "data.columns: there is no column 'd' in train.csv" in missing

    def test_missing_part_file(self, tmp_path: Path) -> None:
        train = write(tmp_path / "train.csv", lines())
        assert "There is no file" in message(train, valid_path=str(tmp_path / "nothing.csv"))


class TestArrow:
    @pytest.mark.parametrize("ending", [".parquet", ".feather", ".arrow"])
    def test_round_trip(self, tmp_path: Path, frame: pd.DataFrame, ending: str) -> None:
        frame["small"] = frame["n"].astype(np.int8)
        frame["single"] = frame["n"].astype(np.float32)
        frame["nullable"] = frame["n"].astype("Int16")
        path = tmp_path / f"my{ending}"
        if ending == ".parquet":
            frame.to_parquet(path)
        else:
            frame.to_feather(path)
        data = Table(str(path), label="kind").load()
        names = ["a", "n", "yes", "small", "single", "nullable"]
        assert [column.name for column in data.columns] == names
        assert [column.dtype for column in data.columns] == ["float64", "int64", "bool", "int8", "float32", "int16"]
        np.testing.assert_array_equal(together(data), expected(frame, names))

    def test_all_truth_values(self, tmp_path: Path) -> None:
        pd.DataFrame({"a": [True, False, True], "b": [False, False, True]}).to_parquet(tmp_path / "my.parquet")
        data = Table(str(tmp_path / "my.parquet")).load()
        assert data.train.x.dtype == np.uint8
        assert [column.dtype for column in data.columns] == ["bool", "bool"]

    def test_kinds_of_columns(self, tmp_path: Path) -> None:
        table = pa.table(
            {
                "when": pd.to_datetime(["2024-01-31", "2024-02-01", None]),
                "list": [[1, 2], [3], []],
                "price": [Decimal("1.50"), Decimal("2.25"), Decimal("3.00")],
                "digits": ["1", "2", "3"],
                "category": pd.Categorical(["x", "y", "x"]),
            }
        )
        path = tmp_path / "my.parquet"
        parquet.write_table(table, path)
        text = message(path)
        assert "3 of 5 columns" in text
        assert "'when' (dates, 2 of 3 values), 'list' (text, 3 of 3 values), 'category' (text, 3 of 3 values)" in text
        assert "row 1." in text
        data = Table(str(path), columns=["price", "digits"]).load()
        np.testing.assert_array_equal(together(data), [[1.5, 1], [2.25, 2], [3, 3]])
        assert Table(str(path), columns=["price"], label="when").load().train.labels is not None

    def test_missing(self, tmp_path: Path) -> None:
        pd.DataFrame({"a": pd.array([1, None, 3], dtype="Int64"), "b": [1, 2, 3]}).to_parquet(tmp_path / "my.parquet")
        data = Table(str(tmp_path / "my.parquet")).load()
        np.testing.assert_array_equal(sort(together(data)), sort([[1, 1], [np.nan, 2], [3, 3]]))
        assert [column.dtype for column in data.columns] == ["int64", "int64"]

    @pytest.mark.parametrize("ending", [".parquet", ".feather", ".arrow"])
    @pytest.mark.parametrize("keep", [0.5, 0.99])
    def test_damaged(self, tmp_path: Path, frame: pd.DataFrame, ending: str, keep: float) -> None:
        path = tmp_path / f"my{ending}"
        if ending == ".parquet":
            frame.to_parquet(path)
        else:
            frame.to_feather(path)
        whole = path.read_bytes()
        write(path, whole[: int(keep * len(whole))])
        assert "truncated" in message(path)
        write(path, b"a,b\n1,2\n")
        assert "cannot be read as" in message(path)

    def test_no_rows_and_duplicates(self, tmp_path: Path) -> None:
        pd.DataFrame({"a": [], "b": []}).to_parquet(tmp_path / "my.parquet")
        assert "has 2 columns but 0 rows" in message(tmp_path / "my.parquet")
        twice = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
        parquet.write_table(twice, tmp_path / "my.parquet")
        feather.write_feather(twice, tmp_path / "my.feather")
        for name in ("my.parquet", "my.feather"):
            assert "must name each column once. Got 'a' (2 times)" in message(tmp_path / name)


class TestArrays:
    def test_npy(self, tmp_path: Path) -> None:
        x = np.arange(40, dtype=">i2").reshape(10, 4, order="F")
        np.save(tmp_path / "my.npy", x)
        data = Table(str(tmp_path / "my.npy"), label=3).load()
        assert [column.name for column in data.columns] == ["0", "1", "2"]
        assert data.train.x.dtype == np.dtype(np.int16)
        assert data.train.x.dtype.isnative
        np.testing.assert_array_equal(together(data), x[:, :3])
        assert data.train.labels is not None
        np.testing.assert_array_equal(data.train.labels, data.train.x[:, 0] + 30)
        assert data.image_shape is None

    def test_rows_can_become_tensors(self, tmp_path: Path) -> None:
        part = np.arange(6, dtype=np.uint16).reshape(3, 2)
        path = save(tmp_path / "my.npz", train=part, valid=part, test=part)
        for rows in (Table(str(path)).load().train, Table(str(path), columns=["1"]).load().test):
            assert rows.x.flags.writeable
            assert rows.x.flags.c_contiguous
            assert torch.from_numpy(rows.x).to(torch.float64).sum() == rows.x.sum()

    def test_image_stacks(self, tmp_path: Path) -> None:
        images = np.arange(60, dtype=np.uint8).reshape(5, 3, 4)
        np.save(tmp_path / "my.npy", images)
        data = Table(str(tmp_path / "my.npy")).load()
        assert data.image_shape == (3, 4)
        assert data.columns[5].name == "pixel_1_1"
        np.testing.assert_array_equal(together(data), images.reshape(5, 12))
        assert Table(str(tmp_path / "my.npy"), drop="pixel_0_0").load().image_shape is None

    def test_an_archive_with_a_label_and_names(self, tmp_path: Path) -> None:
        x = np.arange(20.0).reshape(10, 2)
        names = np.array(["left", "right"])
        path = save(tmp_path / "my.npz", x=x, y=np.arange(10), columns=names, other=np.ones((3, 3)))
        data = Table(str(path), label="y").load()
        assert [column.name for column in data.columns] == ["left", "right"]
        assert data.train.labels is not None
        np.testing.assert_array_equal(data.train.labels * 2, data.train.x[:, 0])
        assert data.name == "my"

    def test_archive_split(self, tmp_path: Path) -> None:
        parts = {name: np.full((size, 2), size) for name, size in (("train", 8), ("valid", 3), ("test", 2))}
        path = save(tmp_path / "my.npz", **parts, train_y=np.zeros(8), y_test=np.ones(2))
        data = Table(str(path), label="y").load()
        for name, part in parts.items():
            np.testing.assert_array_equal(getattr(data, name).x, part)
        assert data.valid.labels is None
        assert data.test.labels is not None
        assert data.test.labels.tolist() == [1, 1]
        path = save(tmp_path / "two.npz", train=parts["train"], test=parts["test"])
        data = Table(str(path), valid_fraction=0.25).load()
        assert (len(data.train), len(data.valid), len(data.test)) == (6, 2, 2)
        assert len(Table(str(path), key="train", test_fraction=0.5).load().test) == 4

    def test_archives_for_the_parts(self, tmp_path: Path) -> None:
        train = save(tmp_path / "a.npz", some=np.ones((9, 2)))
        test = save(tmp_path / "b.npz", test=np.zeros((3, 2)), else_=np.zeros((3, 2)))
        data = Table(str(train), test_path=str(test)).load()
        np.testing.assert_array_equal(data.test.x, np.zeros((3, 2)))
        both = save(tmp_path / "c.npz", train=np.ones((9, 2)), test=np.zeros((3, 2)))
        assert len(Table(str(train), test_path=str(both)).load().test) == 3
        assert "holds the arrays train and test, but no 'valid'" in message(train, valid_path=str(both))

    def test_which_array(self, tmp_path: Path) -> None:
        path = save(tmp_path / "my.npz", first=np.ones((9, 2)), second=np.ones((9, 3)), y=np.ones(9))
        text = message(path)
        assert "first ((9, 2)), second ((9, 3)), y ((9,))" in text
        assert "data.key=first" in text
        assert "There is no array 'secnd'" in message(path, key="secnd")
        assert "Did you mean 'second'?" in message(path, key="secnd")
        assert len(Table(str(path), key="second").load().columns) == 3
        assert "holds no arrays" in message(save(tmp_path / "none.npz"))

    @pytest.mark.parametrize("label", [np.ones(3), np.ones((9, 2)), np.array([{}] * 9)])
    def test_labels_of_another_shape(self, tmp_path: Path, label: np.ndarray) -> None:
        text = message(save(tmp_path / "my.npz", x=np.ones((9, 2)), y=label), label="y")
        assert "The 'label' parameter of Table must name an array of shape (9,)" in text

    def test_unknown_label(self, tmp_path: Path) -> None:
        path = save(tmp_path / "my.npz", x=np.ones((9, 2)), y=np.ones(9))
        assert "data.label: there is no column 'z'" in message(path, label="z")

    @pytest.mark.parametrize(
        ("array", "told"),
        [
            (np.ones(3), r"Got shape \(3,\)"),
            (np.ones((2, 2, 2, 2)), r"Got shape \(2, 2, 2, 2\)"),
            (np.ones((0, 2)), r"Got shape \(0, 2\)"),
            (np.ones((3, 2), dtype=complex), "complex numbers: save real and imaginary parts"),
            (np.array([["a", "b"]]), "must hold numbers. Got dtype <U1"),
            (np.array([[{}]]), "pickled objects, which could run foreign code"),
        ],
    )
    def test_arrays_that_are_no_tables(self, tmp_path: Path, array: np.ndarray, told: str) -> None:
        np.save(tmp_path / "my.npy", array)
        path = save(tmp_path / "my.npz", x=array)
        for name in (str(tmp_path / "my.npy"), str(path)):
            with pytest.raises(DataError, match=told):
                Table(name).load()

    def test_missing(self, tmp_path: Path) -> None:
        x = np.ones((9, 2), dtype=np.float32)
        x[4, 1] = np.inf
        np.save(tmp_path / "my.npy", x)
        assert "The first is inf in column '1', row 5." in message(tmp_path / "my.npy")

    def test_objects_beside_the_rows_do_not_matter(self, tmp_path: Path) -> None:
        path = save(tmp_path / "my.npz", x=np.ones((9, 2)), note=np.array([{}]))
        assert len(Table(str(path)).load().columns) == 2

    def test_twice_the_same_name(self, tmp_path: Path) -> None:
        path = save(tmp_path / "my.npz", x=np.ones((9, 2)), columns=np.array(["a", "a"]))
        assert "its array 'columns' must name each column once" in message(path)

    @pytest.mark.parametrize("ending", [".npy", ".npz"])
    def test_damaged(self, tmp_path: Path, ending: str) -> None:
        path = tmp_path / f"my{ending}"
        x = np.random.default_rng(0).normal(size=(100, 9))
        if ending == ".npy":
            np.save(path, x)
        else:
            np.savez_compressed(path, x=x)
        whole = path.read_bytes()
        for keep in (5, 50, len(whole) // 2, len(whole) - 10):
            assert "cannot be read as an NP" in message(write(path, whole[:keep]))
        if ending == ".npz":
            hole = whole[:1000] + bytes(100) + whole[1100:]
            assert "cannot be read as an NPZ" in message(write(path, hole))


class TestPaths:
    def test_none(self) -> None:
        text = message(None)
        assert "The 'path' parameter of Table must be a file (.csv, .tsv" in text
        assert "Got None instead. Try data.path=FILE." in text
        assert "Got '' instead" in message("")

    def test_not_found(self, tmp_path: Path) -> None:
        write(tmp_path / "my.csv", "a")
        assert "Did you mean 'my.csv'?" in message(tmp_path / "ny.csv")
        assert "there is no folder" in message(tmp_path / "nowhere" / "my.csv")

    def test_a_folder(self, tmp_path: Path) -> None:
        assert message(tmp_path).endswith("is a folder: name a file in it.")
        write(tmp_path / "my.csv", "a")
        assert "name a file in it, such as my.csv." in message(tmp_path)

    @pytest.mark.parametrize("name", ["my.xlsx", "my", "my.npy.gz"])
    def test_unknown_ending(self, tmp_path: Path, name: str) -> None:
        text = message(write(tmp_path / name, "a"))
        assert "has no known ending. Known are .csv, .tsv, .txt, .parquet, .feather, .arrow, .npy, .npz" in text

    def test_zero_bytes(self, tmp_path: Path) -> None:
        for name in ("my.csv", "my.parquet", "my.npz", "my.npy"):
            assert "is empty: it has 0 bytes" in message(write(tmp_path / name, ""))

    def test_home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", str(tmp_path))
        write(tmp_path / "my.csv", lines())
        assert len(Table("~/my.csv").load().columns) == 3


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"the project's shared data are not in {SHARED}")
class TestSharedFiles:
    @pytest.mark.parametrize(
        ("name", "shapes"),
        [
            ("debd_nltcs", [(16181, 16), (2157, 16), (3236, 16)]),
            ("debd_dna", [(1600, 180), (400, 180), (1186, 180)]),
            ("tecator", [(192, 100), (24, 100), (24, 100)]),
        ],
    )
    def test_shapes(self, name: str, shapes: list[tuple[int, int]]) -> None:
        data = Table(str(SHARED / f"{name}.npz")).load()
        assert [part.x.shape for part in (data.train, data.valid, data.test)] == shapes

    def test_columns_and_labels(self) -> None:
        data = Table(str(SHARED / "communities_crime.npz"), label="y").load()
        assert data.columns[0].name == "population"
        assert len(data.columns) == 122
        holes = np.isnan(together(data))
        assert (holes.sum(), holes.any(axis=0).sum()) == (36_851, 23)
        assert data.train.labels is not None
        assert Table(str(SHARED / "mfeat.npz"), key="pixel", label="y").load().train.x.dtype == np.uint8
        assert "factors ((2000, 216))" in message(SHARED / "mfeat.npz")


def test_rows_of_a_table_may_be_images(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.random.default_rng(0).random((20, 12)))
    assert Table(str(path)).load().image_shape is None
    assert Table(str(path), image_shape=[3, 4]).load().image_shape == (3, 4)
    assert Table(str(path), image_shape=(2, 2, 3)).load().image_shape == (2, 2, 3)


@pytest.mark.parametrize("shape", [[3, 5], [12], [2, 3, 2], [-3, -4], []], ids=str)
def test_an_image_shape_that_does_not_fit_is_refused(tmp_path: Path, shape: list[int]) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.random.default_rng(0).random((20, 12)))
    with pytest.raises(
        DataError, match=r"must be \[height, width\].* number of columns, 12\. Got " + re.escape(str(shape))
    ):
        Table(str(path), image_shape=shape).load()
