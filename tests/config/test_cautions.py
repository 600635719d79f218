"""What is said of rows and likelihood before the first step."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from vae_lightning.config.build import build
from vae_lightning.config.settings import Settings

REPORTS = Path(__file__).parents[2].parent / "shared" / "reports" / "tables"
Compose = Callable[..., dict[str, Any]]
NARROW = ["data.preprocess=none", "likelihood.min_scale=0.0025"]
"""The setting that was once the default: no σ above 400."""


@pytest.fixture
def warned(compose_config: Compose, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Callable[..., str]:
    """``warned(path, *overrides)``: what building a run of a table warns of."""

    def build_and_read(path: Path, *overrides: str) -> str:
        caplog.clear()
        with caplog.at_level("WARNING", logger="vae_lightning"):
            build(Settings.parse(compose_config(tmp_path, "data=table", f"data.path={path}", *overrides)))
        return caplog.text

    return build_and_read


@pytest.fixture
def prices(tmp_path: Path) -> Path:
    draws = np.random.default_rng(0)
    frame = pd.DataFrame({"price": draws.normal(2500, 800, 500), "area": draws.normal(90, 30, 500)})
    frame.to_csv(tmp_path / "prices.csv", index=False)
    return tmp_path / "prices.csv"


def test_columns_wider_than_the_greatest_scale_are_named_with_what_to_type(
    warned: Callable[..., str], prices: Path
) -> None:
    said = warned(prices, *NARROW)
    assert "1 column of 2 have a standard deviation near or above" in said
    assert "'price' (" in said
    assert "data.preprocess=standardize" in said
    assert "likelihood.min_scale=" in said
    assert "'area'" not in said


@pytest.mark.parametrize("words", [["data.preprocess=standardize"], ["data.preprocess=none", "likelihood=poisson"]])
def test_other_scales_and_likelihoods_are_not_warned_of(
    warned: Callable[..., str], tmp_path: Path, words: list[str]
) -> None:
    np.save(tmp_path / "counts.npy", np.random.default_rng(0).poisson(5000, (200, 2)) * 10)
    assert "greatest that" not in warned(tmp_path / "counts.npy", *words)


def test_the_setting_that_is_offered_ends_the_warning(warned: Callable[..., str], prices: Path) -> None:
    offered = warned(prices, *NARROW).rpartition("likelihood.min_scale=")[2].split()[0]
    assert float(offered) < 0.0025
    assert "greatest that" not in warned(prices, "data.preprocess=none", f"likelihood.min_scale={offered}")


def test_a_single_validation_row_is_told_of(warned: Callable[..., str], tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(12, 3))
    np.save(tmp_path / "twelve.npy", rows)
    said = warned(tmp_path / "twelve.npy", "data.batch_size=8")
    assert "1 validation row and 1 test row" in said
    assert "The best epoch is chosen by a single row." in said
    np.save(tmp_path / "thirty.npy", np.random.default_rng(0).normal(size=(30, 3)))
    assert "validation row" not in warned(tmp_path / "thirty.npy", "data.batch_size=8")


@pytest.mark.parametrize(
    ("name", "words", "says"),
    [("prices.csv", NARROW, "'price' (8"), ("twelve.csv", ["data.batch_size=8"], "1 validation row")],
)
def test_reported_tables(warned: Callable[..., str], name: str, words: list[str], says: str) -> None:
    if not (REPORTS / name).exists():
        pytest.skip(f"needs {name}, which is not in {REPORTS}")
    assert says in warned(REPORTS / name, *words)


def test_by_default_a_standard_deviation_of_hundreds_needs_no_word(warned: Callable[..., str], prices: Path) -> None:
    assert "greatest that" not in warned(prices, "data.preprocess=none")


def test_columns_with_holes_are_warned_of_by_their_observed_cells(prices: Path, warned: Callable[..., str]) -> None:
    """A single empty cell made the spread of its column unknown, and the warning silent."""
    frame = pd.read_csv(prices)
    frame.loc[::7, "price"] = np.nan
    frame.to_csv(prices, index=False)
    assert "'price' (" in warned(prices, "likelihood=gaussian", *NARROW)
