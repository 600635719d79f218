"""The test table in words: true whatever the numbers are."""

import math
from dataclasses import replace

import pytest

from tests.evaluations import RESULT
from vae_lightning.reporting.table import explain

NAN = math.nan
PLAIN = replace(
    RESULT,
    nelbo=24.0,
    reconstruction=20.5,
    kl=3.5,
    nll=23.5,
    nll_standard_error=0.135,
    nll_per_column=0.3672,
    bits_per_column=0.5298,
    baseline=27.0,
    entropy_floor=-0.0,
    baseline_gain_standard_error=0.1,
    control=24.5,
    control_words="factor analysis with 16 latent dimensions",
    control_gain_standard_error=0.2,
    explained=1.4,
    extreme_share=0.08,
)


def line(name: str, **changed: float | str) -> str:
    (found,) = [f"{value}  {words}" for one, value, words in explain(replace(PLAIN, **changed), 24.1) if one == name]
    return found


def test_the_lines_and_their_order() -> None:
    assert [name for name, _, _ in explain(PLAIN, 24.1)] == [
        "NLL",
        "baseline NLL",
        "linear NLL",
        "explained",
        "least possible",
        "NELBO",
        "reconstruction",
        "KL",
        "NLL per column",
        "validation NELBO",
    ]
    assert line("least possible") == "0.000  a bound, not a goal: no model of this family is lower here"
    assert line("NLL per column") == "0.3672  nats = 0.5298 bits"
    assert line("baseline NLL") == "27.000  independent columns; the model beats it by 3.500 ± 0.100"
    words = "24.500  factor analysis with 16 latent dimensions; the model beats it by 1.000 ± 0.200"
    assert line("linear NLL") == words
    assert line("control NLL", control_words="a Chow-Liu tree").startswith(
        "24.500  a Chow-Liu tree; the model beats it by"
    )


def test_a_model_that_is_no_better_is_not_called_better() -> None:
    worse = line("linear NLL", control=22.0)
    assert worse.endswith("dimensions; the model does NOT beat it: worse by 1.500 ± 0.200")
    for control in (23.2, 23.5, 23.8):
        assert "the model is as good, within" in line("linear NLL", control=control)
    assert "beats it by 0.300" in line("linear NLL", control=23.8, control_gain_standard_error=NAN)


def test_the_share_of_the_way_is_worded_so_that_it_is_true() -> None:
    way = "of the way from the baseline to the control"
    assert line("explained", explained=0.78) == f"78 %  {way}"
    assert line("explained", explained=1.0) == f"100 %  {way}"
    assert line("explained", explained=1.31) == f"131 %  {way}: the model has gone beyond it"
    assert line("explained", explained=-0.2) == f"-20 %  {way}: the model has gone the other way"
    assert line("explained", explained=NAN).endswith("is not measurably better than independent columns")


def test_what_the_error_measures_and_what_makes_it_large() -> None:
    words = "± 0.135, standard error of the mean over rows"
    assert line("NLL") == f"23.500  {words}; log p(x) from 1,000 samples"
    large = {"nll_standard_error": 18.6}
    assert "large as the 1 % of rows farthest out make 93 % of its square" in line("NLL", extreme_share=0.93, **large)
    assert "large as the rows are few" in line("NLL", num_rows=20, extreme_share=0.3, **large)
    assert "rows differ by more than models do" in line("NLL", **large)
    # Without a control, beside the gain over the baseline.
    assert "differ" not in line("NLL", control=NAN, nll_standard_error=1.7)
    assert "differ" in line("NLL", control=NAN, nll_standard_error=1.8)


@pytest.mark.parametrize("name", ["baseline NLL", "control NLL", "explained"])
def test_what_needs_the_training_rows_is_a_dash_without_them(name: str) -> None:
    missing = {"baseline": NAN, "control": NAN, "explained": NAN, "control_words": ""}
    assert line(name, **missing) == "-  needs the training rows, which could not be read"


def test_one_row_has_no_error_and_nothing_prints_nan() -> None:
    unknown = ("nll_standard_error", "baseline_gain_standard_error", "control_gain_standard_error", "explained")
    single = dict.fromkeys((*unknown, "extreme_share"), NAN)
    assert line("NLL", **single) == "23.500  one row, so no standard error; log p(x) from 1,000 samples"
    assert line("baseline NLL", **single) == "27.000  independent columns; the model beats it by 3.500"
    table = explain(replace(PLAIN, **single, num_rows=1))
    assert not [part for row in table for part in row if "nan" in part]
