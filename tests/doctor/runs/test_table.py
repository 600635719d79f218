"""What a table allows: supports, columns in the way, and the numbers that a run on it will print."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from vae_lightning.doctor import Report, examine_data
from vae_lightning.doctor.report import Finding
from vae_lightning.errors import ConfigError, Setting
from vae_lightning.likelihoods.base import Likelihood
from vae_lightning.likelihoods.support import BINARY, COUNT, REAL, SUPPORTS, UNIT, narrowest

SHARED_DATA = Path(__file__).parents[3].parent / "shared" / "data"


@pytest.fixture
def people() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    size = rng.normal(170, 10, 1000)
    return pd.DataFrame({"height": size, "weight": size - 100 + rng.normal(0, 5, 1000)})


def bits(columns: int = 6) -> np.ndarray:
    return (np.random.default_rng(1).random((500, columns)) < 0.3).astype(float)


def counts(columns: int = 3) -> np.ndarray:
    rng = np.random.default_rng(2)
    return rng.poisson(rng.gamma(2.0, 3.0, (500, columns))).astype(float)


def settings(finding: Finding) -> dict[str, object]:
    return {setting.key: setting.value for setting in finding.settings}


def offered(finding: Finding) -> set[tuple[str, object]]:
    return {(setting.key, setting.value) for setting in finding.settings}


# Which likelihoods there are and which one suits.


def test_every_likelihood_of_the_package_is_judged() -> None:
    known = set(Likelihood.families())
    assert {"bernoulli", "continuous_bernoulli", "gaussian", "laplace", "poisson"} <= known
    measured = examine_data(bits()).measured
    assert {f"likelihood={name}" for name in known} == {key for key in measured if key.startswith("likelihood=")}


@pytest.mark.parametrize(
    ("rows", "support", "noun"),
    [
        (bits(), BINARY, "zeros and ones"),
        (counts(), COUNT, "counts"),
        (np.random.default_rng(0).random((500, 3)), UNIT, "numbers between 0 and 1"),
        (np.random.default_rng(0).normal(size=(500, 3)), REAL, "real numbers"),
        (np.hstack([bits(2), counts(2)]), COUNT, "counts"),
        (np.hstack([bits(2), np.random.default_rng(0).random((500, 2))]), UNIT, "numbers between 0 and 1"),
        (np.hstack([counts(2), np.random.default_rng(0).random((500, 2))]), REAL, "real numbers"),
        (-counts(2), REAL, "real numbers"),
    ],
    ids=[
        "bits",
        "counts",
        "fractions",
        "reals",
        "bits and counts",
        "bits and fractions",
        "counts and fractions",
        "< 0",
    ],
)
def test_the_narrowest_support_that_suits_all_values_names_its_likelihood(rows, support, noun: str) -> None:
    assert narrowest(torch.from_numpy(rows)) == support
    report = examine_data(rows)
    assert report.measured["suggested"] == support.likelihood
    accepted = next(finding for finding in report if finding.code == "SUPPORT")
    assert accepted.ok
    assert f"All values are {noun}" in accepted.advice
    assert accepted.advice.endswith(f"python train.py data=table likelihood={support.likelihood}")


def test_every_support_names_a_likelihood_of_its_own() -> None:
    known = Likelihood.families()
    assert len({support.likelihood for support in SUPPORTS}) == len(SUPPORTS)
    for support in SUPPORTS:
        assert known[support.likelihood](num_columns=2).supports == (support, support)


def test_real_numbers(people: pd.DataFrame) -> None:
    report = examine_data(people)
    assert report.exit_status == 0
    for name in ("bernoulli", "poisson"):
        assert "refuses 2 of 2 columns" in report.measured[f"likelihood={name}"]
    for name in ("gaussian", "laplace", "continuous_bernoulli"):
        assert "accepts" in report.measured[f"likelihood={name}"]


# The numbers that a run prints.


@pytest.mark.parametrize("likelihood", ["gaussian", "laplace", "poisson"])
def test_baseline_and_floor_are_those_that_a_run_prints(people, tmp_path, train, likelihood: str) -> None:
    path = tmp_path / "people.csv"
    (people.abs().round() if likelihood == "poisson" else people).to_csv(path, index=False)
    words = ["data=table", f"data.path={path}", f"likelihood={likelihood}", "trainer.max_epochs=1"]
    test = train(tmp_path / "run", *words).summary["test"]
    says = next(finding.says for finding in examine_data(path, likelihood) if "Independent columns" in finding.says)
    assert f"Independent columns cost {test['baseline']:.4f} nats" in says
    assert f"No model goes below {test['entropy_floor'] + 0.0:.4f}" in says


def test_baseline_of_bits_is_their_entropy() -> None:
    x = np.repeat([[0.0, 1.0]], 1000, axis=0)
    x[::2] = 1 - x[::2]
    report = examine_data(x, "bernoulli")
    assert f"cost {2 * math.log(2):.2f}" in report[-1].says
    assert report.ok


# What is refused, and what is offered instead.


def test_cross_entropy_beyond_the_unit_interval(people: pd.DataFrame) -> None:
    report = examine_data(people, "bernoulli")
    assert report.codes == ("BCE-RANGE",)
    assert report.exit_status == 1
    (finding,) = report.wrong
    assert "takes 0 or 1 (or grey levels between); 2,000 values in 2 of 2 columns" in finding.says
    assert offered(finding) == {
        ("likelihood", "gaussian"),
        ("data.preprocess", "minmax"),
        ("data.preprocess", "binarize"),
    }
    told = " ".join(str(finding).split())
    assert "Mend: Try likelihood=gaussian (as all values are real numbers), data.preprocess=minmax (each" in told
    assert ["likelihood", "gaussian"] in json.loads(report.to_json())["findings"][0]["settings"]


def test_what_is_offered_is_accepted(people: pd.DataFrame) -> None:
    offenders = []
    for rows in (people.to_numpy(), counts(), np.random.default_rng(0).random((500, 3))):
        for name in Likelihood.families():
            others = [value for f in examine_data(rows, name).wrong for key, value in offered(f) if key == "likelihood"]
            offenders += [(name, value) for value in others if not examine_data(rows, str(value))[-1].ok]
    assert not offenders


def test_counts_elsewhere_and_elsewhere_counts(people: pd.DataFrame) -> None:
    (finding,) = examine_data(people, "poisson").wrong
    assert finding.code == "SUPPORT"
    assert "takes whole numbers from 0 on" in finding.says
    assert finding.settings == (Setting("likelihood", "gaussian", "as all values are real numbers"),)
    (finding,) = examine_data(counts(), "bernoulli").wrong
    assert settings(finding)["likelihood"] == "poisson"


def test_whole_numbers_that_are_no_counts_of_events() -> None:
    rng = np.random.default_rng(3)
    table = pd.DataFrame({"year": rng.integers(1990, 2020, 400), "visits": rng.poisson(rng.gamma(2, 3, 400))})
    report = examine_data(table)
    assert report.measured["suggested"] == "poisson"
    assert report.ok
    note = next(finding for finding in report if "less than half as much as a Poisson" in finding.says)
    assert "1 column of 2" in note.says
    assert "'year'" in note.says
    assert "'visits'" not in note.says
    assert offered(note) == {("likelihood", "gaussian")}
    assert not [finding for finding in examine_data(table, "gaussian") if "a Poisson" in finding.says]


def test_grey_levels_under_cross_entropy() -> None:
    grey = np.random.default_rng(0).random((200, 4))
    report = examine_data(grey, "bernoulli")
    assert report.codes == ("UNNORMALISED",)
    assert offered(report.wrong[0]) == {("likelihood", "continuous_bernoulli"), ("data.preprocess", "binarize")}
    assert examine_data(grey, "continuous_bernoulli").ok


def test_columns_that_stand_in_the_way(people: pd.DataFrame) -> None:
    people["name"] = "Kim"
    people["born"] = pd.Timestamp("2000-01-01")
    people["none"] = np.nan
    people["wide"] = np.where(people.index == 7, np.inf, people.height + np.arange(1000))
    report = examine_data(people, "gaussian")
    assert report.codes == ("COLUMNS",)
    (finding,) = report.wrong
    for told in ("4 of 6 columns", "'name' (text, 1,000 of 1,000 values)", "'wide' (1 of 1,000)", "'Kim'"):
        assert told in finding.says
    assert "1 of 4 columns of The frame hold no value at all: none" in finding.says
    assert finding.settings == (Setting("data.drop", ["name", "born", "none", "wide"]),)
    assert "data.drop=[name,born,none,wide]" in finding.remedy
    assert "All 2 columns" in report[-1].says


def test_nothing_but_text() -> None:
    report = examine_data(pd.DataFrame({"a": ["x"] * 20, "b": ["y"] * 20}), "gaussian")
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
    for likelihood in (None, "laplace"):
        assert "DEGENERATE" not in examine_data(people, likelihood).codes
        assert examine_data(spoil(people), likelihood).codes == ("DEGENERATE",)


def test_probabilities_have_an_honest_lower_end_whatever_repeats() -> None:
    assert examine_data(np.hstack([counts(), counts()[:, :1], np.zeros((500, 1))]), "poisson").ok


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
    # 24 of its rows stand there twice: that is true, and another matter.
    assert examine_data(shared_data("tecator.npz")["x"]).codes == ("DUPLICATES",)


# A finding's words and its settings.


def test_a_finding_words_its_settings_after_its_advice() -> None:
    finding = Finding("SUPPORT", False, "Bad.", "Do this.", settings=(Setting("likelihood", "gaussian", "real"),))
    assert finding.remedy == "Do this. Try likelihood=gaussian (real)."
    assert "Mend: Do this. Try likelihood=gaussian (real)." in str(finding)
    assert Finding("SUPPORT", True, "Good.").remedy == ""
    content = json.loads(Report([finding]).to_json())["findings"][0]
    assert (content["advice"], content["settings"]) == (finding.remedy, [["likelihood", "gaussian"]])


def test_numbers_decide_between_densities() -> None:
    """Narrow spectra between 0 and 1 were sent to continuous_bernoulli, whose own baseline was far above a normal's."""
    spectra = 0.5 + 0.01 * np.random.default_rng(0).normal(size=(400, 6))
    report = examine_data(spectra)
    assert report.measured["suggested"] == REAL.likelihood
    assert examine_data(np.random.default_rng(0).random((400, 6))).measured["suggested"] == UNIT.likelihood


def test_numbers_decide_between_counts_and_pictures() -> None:
    """Grey levels of a picture are whole numbers, and vary far more than counts of their mean do."""
    picture = np.random.default_rng(0).choice([0.0, 0.0, 90.0, 180.0, 250.0], size=(400, 6))
    picture += np.random.default_rng(1).integers(0, 6, size=picture.shape)
    assert examine_data(picture).measured["suggested"] == REAL.likelihood


@pytest.mark.filterwarnings("error")
def test_constant_columns_and_nothing_else() -> None:
    """The median of no column's variance was a warning of numpy's on the screen."""
    report = examine_data(pd.DataFrame({"one": np.ones(9), "none": np.zeros(9)}))
    assert report.measured["columns"] == "2: 2 constant"


def test_command_can_be_pasted(tmp_path: Path) -> None:
    """The advised command named neither the file nor the columns to leave out."""
    path = tmp_path / "my table.csv"
    rows = np.random.default_rng(0).normal(size=(60, 2))
    path.write_text("a,b,word\n" + "".join(f"{a},{b},{'x' if a > 1.5 else a + b}\n" for a, b in rows))
    advice = " ".join(finding.advice for finding in examine_data(path) if finding.code == "SUPPORT" and finding.ok)
    assert "data.drop=[word]" in advice
    assert "my table.csv" in advice


@pytest.mark.parametrize(("share", "found"), [(0.45, True), (0.5, True), (0.51, True), (0.7, False)])
def test_repeated_value_is_no_matter_of_a_single_row(share: float, found: bool) -> None:
    """A column that repeats a value was sound at 50 % and a fault at 51 %."""
    column = np.random.default_rng(0).normal(size=200)
    column[: round(200 * share)] = 0.0
    rows = np.column_stack([column, np.random.default_rng(1).normal(size=200)])
    assert [finding.ok for finding in examine_data(rows, "gaussian") if finding.code == "DEGENERATE"] == [found]
