"""Runs on a table of dates: what users see are dates, whatever the model has of them."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from tests.conftest import Run
from vae_lightning.cli.main import main
from vae_lightning.config.record import recorded_dataset
from vae_lightning.data.dates import join_values
from vae_lightning.estimator.estimator import VAEEstimator
from vae_lightning.runs.loading import load_recorded

ROWS = 600
Train = Callable[..., Run]


def call(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture(scope="module")
def visits() -> pd.DataFrame:
    """Visits on weekdays from 9 to 17 o'clock, by the minute, some unknown; customers since the first of a month."""
    draws = np.random.default_rng(0)
    days = pd.bdate_range("2022-01-03", "2023-12-29")
    when = draws.choice(days.to_numpy(), ROWS) + draws.integers(9 * 60, 17 * 60, ROWS).astype("m8[m]")
    frame = pd.DataFrame(
        {
            "price": draws.normal(20, 5, ROWS).round(2),
            "when": when,
            "since": draws.integers(480, 600, ROWS).astype("M8[M]").astype("M8[s]"),
        }
    )
    frame.loc[::20, "when"] = pd.NaT
    return frame


@pytest.fixture(scope="module")
def table(visits: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("visits") / "visits.csv"
    visits.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def words(table: Path) -> list[str]:
    return ["data=table", f"data.path={table}", "likelihood=auto", "trainer.max_epochs=1", "report=false"]


@pytest.fixture(scope="module")
def run(train: Train, words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(tmp_path_factory.mktemp("runs") / "dates", *words)


def test_draws_are_on_weekdays_at_opening_hours(run: Run) -> None:
    """Dates were one real number: a weekday in five was a Saturday or a Sunday, two hours in three were at night."""
    model = load_recorded(run.run_dir).model
    drawn = model.sample(2000, seed=0)
    assert list(drawn) == ["price", "when", "since"]
    assert drawn["when"].dt.day_of_week.max() == 4
    assert drawn["when"].dt.hour.between(9, 16).all()
    assert (drawn["when"] == drawn["when"].dt.floor("min")).all()
    assert drawn["since"].dt.is_month_start.all()
    assert drawn["since"].between("2010-01-01", "2019-12-01").all()


def test_draws_lie_between_the_first_and_the_last_date_of_training(train: Train, tmp_path: Path) -> None:
    """A date was drawn up to six days beyond them, as its week and its weekday were each within their range."""
    draws = np.random.default_rng(0)
    days = pd.date_range("2023-03-15", "2023-04-19", freq="h")  # Wednesdays
    frame = pd.DataFrame({"when": draws.choice(days, 900), "size": draws.normal(size=900)})
    frame.to_csv(tmp_path / "rows.csv", index=False)
    words = ["data=table", f"data.path={tmp_path / 'rows.csv'}", "likelihood=auto", "trainer.max_epochs=1"]
    run = train(tmp_path / "run", *words, "report=false")
    model = load_recorded(run.run_dir).model
    dataset = recorded_dataset(run.record["config"], [column.name for column in model.columns])
    seen = join_values(dataset.train.x, dataset.columns)[:, 0]
    first, last = (pd.Timestamp(float(one) * 86_400, unit="s") for one in (seen.min(), seen.max()))
    drawn = model.sample(4000, seed=0)["when"]
    assert drawn.between(first, last).all()
    assert (drawn.dt.normalize() == last.normalize()).mean() < 0.15
    holes = frame.head(200).assign(when=pd.NaT)
    assert model.impute(holes, draws=2, seed=0)[1]["when"].between(first, last).all()
    assert model.sample(20, given={"when (weekday)": "Sunday"})["when"].dt.day_of_week.eq(6).all()


def test_what_is_given_is_the_date(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "new.csv"
    said = call("sample", run.run_dir, "-n", 3, "--given", "when=2022-10-11 10:30", "-o", path)
    assert said.exit_code == 0, said.stderr
    assert set(pd.read_csv(path)["when"]) == {"2022-10-11 10:30:00"}
    assert call("sample", run.run_dir, "-n", 50, "--given", "when (weekday)=Monday", "-o", path).exit_code == 0
    assert set(pd.read_csv(path, parse_dates=["when"])["when"].dt.day_of_week) == {0}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("when=2022-10-08 10:30", "'when' must hold dates on Monday, Tuesday, .*'2022-10-08 10:30'"),
        ("when=soon", "'when' must be a date. Got 'soon'"),
        ("since=2016-05-02", "'since' must hold first days of a month"),
        ("since=2026-05-01", r"'since \(month\)' must be .*Got '2026-05-01'"),
        ("whem=2022-10-11", "no column 'whem'. Did you mean 'when'"),
    ],
)
def test_what_cannot_be_given_is_told(given: str, expected: str, run: Run) -> None:
    said = call("sample", run.run_dir, "--given", given)
    assert said.exit_code == 2
    assert re.search(expected, said.stderr), said.stderr


def test_a_hole_is_filled_with_one_date(run: Run, table: Path, visits: pd.DataFrame, tmp_path: Path) -> None:
    full, spread = tmp_path / "full.csv", tmp_path / "spread.csv"
    said = call("impute", run.run_dir, table, "-o", full, "--uncertainty", spread)
    assert "Filled 30 of 1,800 cells, in 1 column: when 30." in said.stderr
    before, after = (path.read_text().splitlines() for path in (table, full))
    hole = visits["when"].isna().to_numpy()
    assert [line for line, one in zip(after[1:], hole, strict=True) if not one] == [
        line for line, one in zip(before[1:], hole, strict=True) if not one
    ]
    filled = pd.read_csv(full, parse_dates=["when"])["when"]
    assert filled.between("2022-01-03", "2023-12-30").all()
    assert filled.dt.day_of_week.max() == 4
    # Of dates from all over two years, in days.
    assert pd.read_csv(spread)["when"].dropna().between(50, 400).sum() == 30


@pytest.mark.parametrize("command", ["score", "encode", "reconstruct"])
def test_commands_take_and_name_the_column_of_dates(command: str, run: Run, table: Path, tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    said = call(command, run.run_dir, table, "-o", path)
    assert said.exit_code == 0, said.stderr
    assert "30 cells of 1 column are empty (when: 30)" in said.stderr
    if command == "reconstruct":
        again = pd.read_csv(path, parse_dates=["when"])["when"]
        assert again.between("2022-01-03", "2023-12-30").all()
        assert again.dt.hour.between(9, 16).all()


def test_the_run_is_examined_and_compared(run: Run, tmp_path: Path) -> None:
    assert "recorded and computed again" in " ".join(call("doctor", run.run_dir).output.split())
    found = tmp_path / "found.json"
    assert call("compare", run.run_dir, "-o", found).exit_code == 0
    assert set(json.loads(found.read_text())["tables"]["synthetic"]["columns"]) == {"price", "when", "since"}


def test_a_family_of_its_own_keeps_dates_whole(train: Train, words: list[str], tmp_path: Path) -> None:
    """As the runs have it from before dates were split, whose rows are read again alike."""
    run = train(tmp_path / "whole", *words, "likelihood.columns={when: gaussian}")
    model = load_recorded(run.run_dir).model
    names = [column.name for column in model.columns]
    assert names == ["price", "when", "since (month)"]
    assert recorded_dataset(model.record, names).fingerprint == model.record["data"]["fingerprint"]
    assert call("sample", run.run_dir, "-n", 3).exit_code == 0
    assert call("score", run.run_dir, model.record["data"]["source"]["path"]).exit_code == 0


def test_a_condition_stays_one_number(train: Train, words: list[str], visits: pd.DataFrame, tmp_path: Path) -> None:
    path = tmp_path / "told.csv"
    visits.dropna()[["since", "when", "price"]].to_csv(path, index=False)
    run = train(tmp_path / "told", *words, f"data.path={path}", "data.condition=[when]")
    drawn = load_recorded(run.run_dir).model.sample(5, where={"when": "2022-02-28 10:00"})
    assert list(drawn) == ["since", "when", "price"]
    assert set(drawn["when"]) == {pd.Timestamp("2022-02-28 10:00")}


@pytest.mark.parametrize("zone", [None, "Europe/Oslo"])
def test_frames_of_dates(zone: str | None, visits: pd.DataFrame) -> None:
    frame = visits.assign(when=visits["when"].dt.tz_localize(zone))
    estimator = VAEEstimator("auto", max_epochs=1, random_state=0, verbose=False).fit(frame)
    assert [column.source for column in estimator.model_.columns][:2] == ["price", "when"]
    drawn = estimator.sample(100, random_state=0)
    assert isinstance(drawn, pd.DataFrame)
    again = estimator.model_.reconstruct(frame)
    assert again["when"].dtype.kind == "M"
    assert getattr(again["when"].dtype, "tz", None) == frame["when"].dt.tz
    filled = estimator.model_.impute(frame)
    assert filled["when"].notna().all()
    assert filled["when"].dtype == frame["when"].dtype
    assert np.isfinite(estimator.score_samples(frame)).all()
