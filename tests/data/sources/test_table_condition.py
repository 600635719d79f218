"""Columns of a file that are not modelled but told to the model."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vae_lightning.data.sources.table import Table
from vae_lightning.errors import DataError


def frame(num_rows: int = 60) -> pd.DataFrame:
    draws = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "sex": draws.choice(["F", "M"], num_rows),
            "height": draws.normal(170, 10, num_rows),
            "batch": draws.integers(1, 4, num_rows),
            "weight": draws.normal(70, 10, num_rows),
        }
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    frame().to_csv(tmp_path / "rows.csv", index=False)
    return tmp_path / "rows.csv"


def message(path: Path, **options: object) -> str:
    with pytest.raises(DataError) as caught:
        Table(str(path), **options).load_mixed()  # type: ignore[arg-type]
    return str(caught.value)


def test_conditions_stand_beside_their_rows_in_every_part(path: Path) -> None:
    data = Table(str(path), condition=["batch", "sex"]).load()
    assert [column.name for column in data.columns] == ["height", "weight"]
    assert [column.name for column in data.condition_columns] == ["sex", "batch"]
    assert data.condition_columns[0].levels == ("F", "M")
    assert data.condition_places == (0, 2)
    table = frame()
    for part in ("train", "valid", "test"):
        for sex, height, batch, weight in data.as_given(part):
            row = table[table["height"] == height].iloc[0]
            assert (row["sex"], row["batch"], row["weight"]) == (["F", "M"][int(sex)], batch, weight)


def test_parts_from_files_of_their_own_have_them_too(path: Path, tmp_path: Path) -> None:
    frame(9).assign(sex="F").to_csv(tmp_path / "test.csv", index=False)
    data = Table(str(path), condition="sex", test_path=str(tmp_path / "test.csv")).load()
    assert data.test.condition is not None
    assert (data.test.condition == 0).all()
    frame(9).drop(columns="sex").to_csv(tmp_path / "test.csv", index=False)
    says = message(path, condition="sex", test_path=str(tmp_path / "test.csv"))
    assert says.startswith("data.condition: there is no column 'sex' in test.csv.")


def test_the_order_that_the_user_gives_the_columns_is_followed_by_the_conditions(path: Path) -> None:
    data = Table(str(path), columns=["weight", "height"], condition=["sex"]).load()
    assert data.condition_places == (2,)


def test_the_fingerprint_covers_conditions(path: Path) -> None:
    one = Table(str(path), condition=["sex"]).load()
    other = frame()
    other.loc[3, "sex"] = {"F": "M", "M": "F"}[str(other.loc[3, "sex"])]
    other.to_csv(path, index=False)
    two = Table(str(path), condition=["sex"]).load()
    assert one.fingerprint != two.fingerprint
    assert one.rows_fingerprint != two.rows_fingerprint
    assert two.fingerprint == Table(str(path), condition=["sex"]).load().fingerprint


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"condition": ["sxe"]}, "data.condition: there is no column 'sxe' in rows.csv. Did you mean 'sex'?"),
        ({"condition": ["sex"], "columns": ["sex", "height"]}, "data.condition: 'sex' is named in data.columns, too."),
        ({"condition": ["sex"], "label": "sex"}, "data.condition: 'sex' is named in data.label, too."),
        ({"condition": ["sex"], "drop": ["sex"]}, "data.condition: 'sex' is named in data.drop, too."),
        ({"condition": ["sex", "sex"]}, "data.condition must name each column once."),
        ({"condition": list(frame())}, "No column of rows.csv is left to train on"),
    ],
)
def test_a_condition_is_told_and_nothing_else(path: Path, options: dict, words: str) -> None:
    assert words in message(path, **options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"exposure": "wieght"}, "data.exposure: there is no column 'wieght' in rows.csv. Did you mean 'weight'?"),
        ({"exposure": "weight", "condition": ["weight"]}, "data.exposure: 'weight' is named in data.condition, too."),
        ({"exposure": "weight", "columns": ["weight", "height"]}, "data.exposure: 'weight' is named in data.columns"),
        ({"exposure": "weight", "drop": ["weight"]}, "data.exposure: 'weight' is named in data.drop, too."),
        ({"exposure": "sex"}, "data.exposure: 1 of 1 column of rows.csv hold no numbers: 'sex'"),
    ],
)
def test_an_exposure_is_numbers_and_nothing_else(path: Path, options: dict, words: str) -> None:
    assert words in message(path, **options)


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        (
            [0.0, -1.0],
            "must hold numbers above 0, as it is the exposure: 2 of 60 values of the rows of rows.csv are not",
        ),
        (
            [np.nan, 2.0],
            "data.exposure: 1 of 60 rows of rows.csv have no 'time', the first in row 4 (line 5 of rows.csv)",
        ),
        ([2.0, -1.0], "the first -1 in row 5 (line 6 of rows.csv)"),
    ],
)
def test_every_row_has_an_exposure_above_zero(path: Path, cells: list, words: str) -> None:
    table = frame().assign(time=1.5)
    table.loc[[3, 4], "time"] = cells
    table.to_csv(path, index=False)
    assert words in message(path, exposure="time")


def test_an_exposure_stands_among_the_conditions_where_the_file_has_it(path: Path) -> None:
    frame().assign(time=np.arange(60)[::-1] + 1).to_csv(path, index=False)
    data = Table(str(path), condition=["sex"], exposure="time").load()
    assert data.exposure == "time"
    told = [column.name for column in data.condition_columns]
    assert told == [name for name in pd.read_csv(path).columns if name in ("sex", "time")]
    assert "time" not in [column.name for column in data.columns]


def test_every_row_must_have_its_condition(path: Path) -> None:
    table = frame()
    table.loc[[4, 7], "sex"] = None
    table.to_csv(path, index=False)
    says = message(path, condition=["sex"])
    assert "data.condition: 2 of 60 rows of rows.csv have no 'sex', the first in row 5 (line 6 of rows.csv)" in says


def test_what_is_no_condition_is_told(path: Path) -> None:
    table = frame().assign(name=[f"p{i}" for i in range(60)], size=[*map(str, range(100, 159)), "much"])
    table.to_csv(path, index=False)
    assert "'name' says nothing that rows have in common: every row has a text" in message(
        path, condition="name", drop="size"
    )
    assert "data.condition: 1 of 1 column of rows.csv hold no numbers: 'size'" in message(path, condition="size")
    table.assign(weight=[np.inf, *[1.0] * 59]).to_parquet(path.with_suffix(".parquet"))
    says = message(path.with_suffix(".parquet"), condition="weight", columns=["height"])
    assert says.startswith("data.condition: 1 of 1 column")
    assert "infinite" in says
