"""Cells that are numbers and mean something else; and tables in which nothing of the kind is found."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vae_lightning.doctor import examine_data
from vae_lightning.doctor.report import Finding
from vae_lightning.doctor.runs.cells import examine_cells

KINDS = {"SENTINEL", "SEPARATOR", "OUTLIER", "DUPLICATES", "COUNTER"}
REPORTS = Path(__file__).parents[3].parent / "shared" / "reports" / "tables"


@pytest.fixture
def sizes() -> pd.DataFrame:
    draws = np.random.default_rng(0)
    return pd.DataFrame({"length": draws.normal(13, 3, 400).round(2), "price": draws.lognormal(7, 0.5, 400).round(2)})


def suspicious(frame: pd.DataFrame) -> list[Finding]:
    return [finding for finding in examine_data(frame) if finding.code in KINDS]


def only(frame: pd.DataFrame, code: str) -> Finding:
    (finding,) = suspicious(frame)
    assert finding.code == code
    assert finding.ok is False
    return finding


def test_ordinary_columns_are_left_alone(sizes: pd.DataFrame) -> None:
    assert suspicious(sizes) == []


@pytest.mark.parametrize("code", [-999, 9999, -1, -99])
def test_a_code_for_missing_is_named_with_its_rows(sizes: pd.DataFrame, code: int) -> None:
    sizes["length"] = sizes["length"].abs()
    sizes.loc[[4, 20, 300], "length"] = code
    assert f"'length': {code} in 3 rows, first in row 5" in only(sizes, "SENTINEL").says


def test_ends_of_a_scale_are_no_codes() -> None:
    draws = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "ternary": draws.integers(-1, 2, 500),
            "percent": draws.integers(0, 100, 500),  # 99 is one of them
            "counts": np.where(draws.random(500) < 0.4, 0, draws.poisson(50, 500)),
            "tail": draws.lognormal(0, 2, 500),
        }
    )
    assert suspicious(frame) == []


def test_a_cell_with_all_the_variance_is_named_with_its_row(sizes: pd.DataFrame) -> None:
    sizes.loc[11, "price"] = 6.9e8
    assert "'price': 6.9e+08 in row 12 (100%)" in only(sizes, "OUTLIER").says


def test_one_of_a_few_rare_marks_is_no_outlier(sizes: pd.DataFrame) -> None:
    sizes["mark"] = 0.0
    sizes.loc[[3, 50, 90], "mark"] = [1.0, 2.0, 9.0]
    assert suspicious(sizes) == []


def test_rows_that_stand_there_twenty_times_are_counted(sizes: pd.DataFrame) -> None:
    finding = only(pd.concat([sizes.head(20)] * 20, ignore_index=True), "DUPLICATES")
    assert finding.says.startswith("380 of 400 rows repeat another one")
    assert "20 times" in finding.says


def test_rows_of_categories_repeat_by_themselves() -> None:
    assert suspicious(pd.DataFrame(np.random.default_rng(0).integers(0, 3, (400, 3)))) == []


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.arange(400) + 7, "'when' (7, 8, 9 ...: it numbers the rows)"),
        (1_700_000_000 + np.cumsum(np.random.default_rng(1).integers(1, 99, 400)), "seconds since 1970"),
        (1_700_000_000_000 + np.cumsum(np.random.default_rng(1).integers(1, 99, 400)), "milliseconds since 1970"),
    ],
)
def test_counters_and_times_of_writing_are_named(sizes: pd.DataFrame, values: np.ndarray, words: str) -> None:
    assert words in only(sizes.assign(when=values), "COUNTER").says


def test_points_that_separate_thousands_are_named(tmp_path: Path, sizes: pd.DataFrame) -> None:
    euros = [f"{value:,}".replace(",", ".") for value in np.random.default_rng(0).integers(400, 6000, 400)]
    path = tmp_path / "euros.csv"
    sizes.assign(Preis=euros).to_csv(path, index=False)
    (finding,) = [one for one in examine_data(path) if one.code in KINDS]
    assert finding.code == "SEPARATOR"
    assert "'Preis'" in finding.says
    assert "line " in finding.says


def test_three_decimals_are_ordinary(sizes: pd.DataFrame) -> None:
    sizes["mass"] = np.random.default_rng(0).uniform(0, 900, 400).round(3)
    assert suspicious(sizes) == []


def test_what_is_looked_at_is_bounded() -> None:
    rows = np.random.default_rng(0).normal(size=(30, 400_000))
    rows[29, 5] = 1e9
    assert examine_cells(rows, [str(i) for i in range(400_000)], str) == []  # the first 25 rows


@pytest.mark.parametrize(
    ("name", "codes"),
    [
        ("sentinel.csv", {"SENTINEL"}),
        ("eu_dots_only.csv", {"SEPARATOR", "DUPLICATES"}),
        ("eu_thousand_int.csv", set()),
        ("kdd_like.csv", {"OUTLIER"}),
    ],
)
def test_reported_tables(name: str, codes: set[str]) -> None:
    if not (REPORTS / name).exists():
        pytest.skip(f"needs {name}, which is not in {REPORTS}")
    assert {finding.code for finding in examine_data(REPORTS / name)} & KINDS == codes


@pytest.mark.parametrize(
    ("name", "part", "codes"),
    [
        ("adbench_cardio.npz", "x", set()),
        ("adbench_thyroid.npz", "x", set()),
        ("communities_crime.npz", "x", set()),
        ("mfeat.npz", "fourier", set()),
        ("debd_nltcs.npz", "train", set()),
        ("hivae_adult.npz", "x", {"SENTINEL"}),  # a capital gain of 99999 in 159 rows
        ("hivae_wine.npz", "x", {"DUPLICATES"}),  # 1,177 rows
    ],
)
def test_public_tables_raise_no_false_alarm(
    shared_data: Callable[[str], dict[str, np.ndarray]], name: str, part: str, codes: set[str]
) -> None:
    x = shared_data(name)[part].astype(np.float64)
    x = x[:, np.isfinite(x).all(axis=0)]
    assert {finding.code for finding in examine_cells(x, [str(i) for i in range(x.shape[1])], str)} == codes
