"""What a table allows: supports, columns in the way, and the numbers that a run on it will print."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vae_lightning.doctor import examine_data
from vae_lightning.doctor.runs.fits import families
from vae_lightning.errors import ConfigError

SHARED_DATA = Path(__file__).parents[3].parent / "shared" / "data"


@pytest.fixture
def people() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    size = rng.normal(170, 10, 1000)
    return pd.DataFrame({"height": size, "weight": size - 100 + rng.normal(0, 5, 1000)})


def bits(columns: int = 6) -> np.ndarray:
    return (np.random.default_rng(1).random((500, columns)) < 0.3).astype(float)


def test_every_likelihood_of_the_package_is_judged() -> None:
    assert {"bernoulli", "continuous_bernoulli", "gaussian"} <= set(families())
    assert {f"likelihood={name}" for name in families()} <= set(examine_data(bits()).measured)


def test_real_numbers(people: pd.DataFrame) -> None:
    report = examine_data(people)
    assert report.exit_status == 0
    assert report.measured["suggested"] == "gaussian"
    assert "refuses 2 of 2 columns" in report.measured["likelihood=bernoulli"]


def test_baseline_and_floor_are_those_that_a_run_prints(people: pd.DataFrame, tmp_path, train) -> None:
    path = tmp_path / "people.csv"
    people.to_csv(path, index=False)
    test = train(tmp_path / "run", "data=table", f"data.path={path}", "trainer.max_epochs=1").summary["test"]
    says = examine_data(path, "gaussian")[-1].says
    assert f"Independent columns cost {test['baseline']:.4f} nats" in says
    assert f"No model goes below {test['entropy_floor']:.4f}" in says


def test_baseline_of_bits_is_their_entropy() -> None:
    x = np.repeat([[0.0, 1.0]], 1000, axis=0)
    x[::2] = 1 - x[::2]
    report = examine_data(x, "bernoulli")
    assert f"cost {2 * math.log(2):.2f}" in report[-1].says
    assert report.ok


def test_cross_entropy_beyond_the_unit_interval(people: pd.DataFrame) -> None:
    report = examine_data(people, "bernoulli")
    assert report.codes == ("BCE-RANGE",)
    assert report.exit_status == 1
    (finding,) = report.wrong
    assert "2,000 values in 2 of 2 columns" in finding.says
    assert "data.preprocess=minmax" in finding.advice
    assert "likelihood=gaussian" in finding.advice


def test_grey_levels_under_cross_entropy() -> None:
    report = examine_data(np.random.default_rng(0).random((200, 4)), "bernoulli")
    assert report.codes == ("UNNORMALISED",)
    assert examine_data(np.random.default_rng(0).random((200, 4)), "continuous_bernoulli").ok


def test_columns_that_stand_in_the_way(people: pd.DataFrame) -> None:
    people["name"] = "Kim"
    people["born"] = pd.Timestamp("2000-01-01")
    people["gap"] = people.height.where(people.height > 165)
    people["wide"] = np.where(people.index == 7, np.inf, people.height + np.arange(1000))
    report = examine_data(people)
    assert report.codes == ("COLUMNS",)
    (finding,) = report.wrong
    for told in ("4 of 6 columns", "'name' (text or dates, 1,000 of 1,000)", "'wide' (infinite, 1 of 1,000)", "'Kim'"):
        assert told in finding.says
    assert "data.drop=[name,born,gap,wide]" in finding.advice
    assert "All 2 columns" in report[-1].says


def test_nothing_but_text() -> None:
    report = examine_data(pd.DataFrame({"a": ["x"] * 20, "b": ["y"] * 20}))
    assert report.exit_status == 1
    assert "DATA" in {finding.code for finding in report.unjudged}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda frame: frame.assign(constant=3.0),
        lambda frame: frame.assign(pounds=frame.weight * 2.2046),
        lambda frame: frame.assign(sum=frame.weight + frame.height),
        lambda frame: frame.assign(rare=np.where(frame.height > 180, frame.height, 0.0)),
    ],
    ids=["constant", "other units", "sum", "mostly zero"],
)
def test_density_without_an_honest_lower_end(people: pd.DataFrame, spoil) -> None:
    assert "DEGENERATE" not in examine_data(people).codes
    assert examine_data(spoil(people)).codes == ("DEGENERATE",)


def test_long_tails_are_noted(people: pd.DataFrame) -> None:
    people["income"] = np.random.default_rng(2).lognormal(3, 1.5, 1000)
    report = examine_data(people)
    assert report.ok
    assert any("'income'" in finding.says and "log(1 + x)" in finding.advice for finding in report)


def test_unreadable_data(tmp_path) -> None:
    report = examine_data(tmp_path / "none.csv")
    assert report.exit_status == 2
    assert "There is no file" in report[0].says
    assert examine_data(np.ones((2, 3))).exit_status == 2  # too few rows for the three parts


def test_unknown_likelihood(people: pd.DataFrame) -> None:
    with pytest.raises(ConfigError, match="The 'likelihood' parameter of examine_data must be one of bernoulli"):
        examine_data(people, "bernouli")


def test_an_archive_keeps_its_own_split(shared_data) -> None:
    nltcs = shared_data("debd_nltcs.npz")
    report = examine_data(SHARED_DATA / "debd_nltcs.npz")
    frequency = (nltcs["train"].sum(0) + 1) / (len(nltcs["train"]) + 2)
    expected = -np.mean(np.log(np.where(nltcs["test"] == 1, frequency, 1 - frequency)).sum(1))
    assert f"cost {expected:.4f} nats" in report[-1].says
    assert report.measured["suggested"] == "bernoulli"


def test_smooth_spectra_are_not_called_copies_of_each_other(shared_data) -> None:
    assert examine_data(shared_data("tecator.npz")["x"]).ok
