"""Tables of several kinds of columns, and with holes, before the doctor."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vae_lightning.doctor import Report, examine_data
from vae_lightning.doctor.report import Finding
from vae_lightning.errors import Setting

SIZE = 600


@pytest.fixture
def people() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "height": rng.normal(170, 10, SIZE),
            "city": rng.choice(["Oslo", "Rome", "Lima"], SIZE),
            "member": rng.random(SIZE) < 0.3,
            "since": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 500, SIZE), unit="D"),
            "visits": rng.poisson(3, SIZE),
            "key": [f"u{i}" for i in range(SIZE)],
        }
    )
    frame.loc[:59, "height"] = np.nan
    frame.loc[50:89, "city"] = None
    return frame


def find(report: Report, code: str) -> Finding:
    (finding,) = [one for one in report if one.code == code]
    return finding


def test_texts_dates_and_holes_are_told_with_the_table_of_choices(people: pd.DataFrame) -> None:
    """Text was refused, and a hole ended in a traceback."""
    report = examine_data(people)
    assert report.exit_status == 0
    assert report.measured["suggested"] == "auto"
    assert report.measured["columns"].startswith("5: ")
    table = report.measured["each column"]
    for name, kind, family in (
        ("height", "real numbers", "gaussian"),
        ("city", "texts", "categorical"),
        ("member", "0 and 1", "bernoulli"),
        ("since (week)", "weeks of dates", ""),
        ("since (weekday)", "weekdays of dates", "categorical"),
        ("visits", "whole numbers", "ordinal"),
    ):
        (line,) = [line for line in table.splitlines() if line.strip().startswith(name)]
        assert kind in line
        assert family in line
    assert "\n      city " in str(report)
    holes = find(report, "HOLES")
    assert "100 of 3,000 cells are empty, in 2 of 5 columns: 'height' (60 of 600), 'city' (40 of 600)" in holes.says
    assert holes.evidence == {"height": 60, "city": 40}
    assert "'key' (every row has a text of its own)" in find(report, "COLUMNS").says
    advice = find(report, "SUPPORT").advice
    assert "likelihood=auto" in advice
    assert "likelihood.columns={height: FAMILY}" in advice


def test_numbers_of_a_mixed_table_are_those_that_a_run_prints(people: pd.DataFrame, tmp_path: Path, train) -> None:
    path = tmp_path / "people.csv"
    people.to_csv(path, index=False)
    words = ["data=table", f"data.path={path}", "likelihood=auto", "trainer.max_epochs=1"]
    run = train(tmp_path / "run", *words)
    report = examine_data(path)
    says, test = find(report, "SUPPORT").says, run.summary["test"]
    assert f"Independent columns cost {test['baseline']:.4f} nats" in says
    assert f"No model goes below {test['entropy_floor'] + 0.0:.4f}" in says
    log = (tmp_path / "run" / "train.log").read_text()
    assert all(line.strip() in log for line in report.measured["each column"].splitlines())


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("likelihood", [None, "gaussian", "laplace", "auto"])
def test_holes_are_left_out_of_every_judgement(likelihood: str | None) -> None:
    """What is said of the observed cells is what would be said of a table of these alone."""
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(SIZE, 3)) * [1, 5, 1]
    rows[:, 2] = rng.lognormal(3, 1.5, SIZE)
    rows[rng.random(rows.shape) < 0.2] = np.nan
    report = examine_data(rows, likelihood)
    assert report.ok
    assert f"{np.isnan(rows).sum():,} of 1,800 cells" in find(report, "HOLES").says
    assert report.measured["columns"] == ("3: 3 of real numbers" if likelihood == "auto" else "3: 1 positive, 2 real")
    tails = [finding.says for finding in report if "long upper tail" in finding.says]
    assert [("'2'" in says) for says in tails] == ([True] if likelihood in (None, "gaussian") else [])


def test_faults_are_found_between_holes() -> None:
    rng = np.random.default_rng(2)
    rows = rng.normal(10, 1, size=(SIZE, 3))
    rows[:, 1] = np.where(rng.random(SIZE) < 0.7, 0.0, rows[:, 1])  # a point mass
    rows[[5, 77, 300, 411], 0] = -999
    rows[:5, 0] = np.nan
    rows[100:150, 1] = np.nan
    report = examine_data(rows)
    assert report.codes == ("SENTINEL", "DEGENERATE")
    assert "-999 in 4 rows, first in row 6" in find(report, "SENTINEL").says
    assert find(report, "SENTINEL").settings[0][:2] == ("data.missing", [-999])
    assert "'1' (7" in find(report, "DEGENERATE").says


def test_a_copy_of_a_column_is_found_between_holes() -> None:
    rows = np.random.default_rng(3).normal(size=(SIZE, 2))
    rows = np.column_stack([rows, rows[:, 0] * 2.2])
    rows[:40, 1] = np.nan
    assert examine_data(rows).codes == ("DEGENERATE",)


def test_rows_that_repeat_are_found_between_holes() -> None:
    rows = np.random.default_rng(4).normal(size=(SIZE, 2))
    rows[::3, 1] = np.nan
    assert "60 of 660 rows repeat" in find(examine_data(np.concatenate([rows, rows[:60]])), "DUPLICATES").says


def test_a_few_texts_among_numbers_are_mistakes_whatever_the_other_columns_are(people: pd.DataFrame) -> None:
    """With few different numbers a column of numbers and a unit would become one of categories."""
    people["size"] = (people.index % 7).astype(str)
    people.loc[0, "size"] = "cm"
    report = examine_data(people)
    assert report.codes == ("COLUMNS",)
    (finding,) = report.wrong
    assert "'size' (text, 1 of 600 values)" in finding.says
    assert "The others were judged without them." in finding.advice
    assert Setting("data.drop", ["size"]) in finding.settings
    assert "data.drop=[size]" in find(report, "SUPPORT").advice


def test_columns_without_values_or_with_infinite_ones(people: pd.DataFrame) -> None:
    report = examine_data(people.assign(none=None, wide=np.where(people.index == 7, np.inf, people.index * 1.5)))
    assert report.codes == ("COLUMNS",)
    says = " ".join(finding.says for finding in report.wrong)
    assert "hold no value at all: none" in says
    assert "'wide' (1 of 600)" in says


def test_only_identifiers_are_nothing_to_judge() -> None:
    report = examine_data(pd.DataFrame({"key": [f"u{i}" for i in range(50)], "row": range(50)}), "auto")
    assert report.exit_status == 2
    assert report.unjudged[0].code == "DATA"


def test_columns_of_numbers_of_several_kinds_are_compared_with_a_family_for_each() -> None:
    rng = np.random.default_rng(5)
    table = pd.DataFrame({"size": rng.normal(170, 10, SIZE), "yes": rng.random(SIZE) < 0.1, "n": rng.poisson(1, SIZE)})
    report = examine_data(table.astype(float))
    first, second = [finding for finding in report if finding.code == "SUPPORT"]
    assert "likelihood=gaussian" in first.advice
    assert "The columns are of several kinds. likelihood=auto gives each of 3 columns" in second.says
    assert "One family for all, gaussian, costs" in second.says
    assert "bernoulli" in report.measured["each column"]
    assert "each column" not in examine_data(table.astype(float), "gaussian").measured


def test_a_mixed_table_in_which_density_has_no_lower_end(people: pd.DataFrame) -> None:
    people["often"] = np.where(np.random.default_rng(6).random(SIZE) < 0.8, 0.0, people.height.fillna(1) + 0.123)
    report = examine_data(people)
    assert "'often'" in find(report, "DEGENERATE").says
    assert "'member'" not in find(report, "DEGENERATE").says
