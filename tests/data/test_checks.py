"""What a likelihood refuses, and what the message tells to type."""

import numpy as np
import pytest
import torch

from vae_lightning.data.checks import check_batch_size, check_known, check_support, is_illegal
from vae_lightning.data.columns import Column
from vae_lightning.data.dataset import Dataset, Rows
from vae_lightning.data.preprocess.choice import fit_scaling
from vae_lightning.errors import DataError, Setting
from vae_lightning.likelihoods.base import Likelihood
from vae_lightning.likelihoods.support import BINARY, COUNT, REAL, UNIT, Support

COLUMNS = [Column("a", "float64"), Column("b", "float64"), Column("c", "float64")]


def refusal(
    u: torch.Tensor,
    supports: list[Support],
    preprocess: str = "none",
    likelihood: str = "bernoulli",
    first_row: int = 1,
) -> DataError:
    columns = COLUMNS if u.shape[1] == 3 else [Column(f"c{index}", "float64") for index in range(u.shape[1])]
    with pytest.raises(DataError) as caught:
        check_support(
            u,
            split="train",
            columns=columns,
            supports=supports * u.shape[1] if len(supports) == 1 else supports,
            likelihood=[likelihood] * len(columns),
            preprocess=[preprocess] * len(columns),
            first_row=first_row,
        )
    return caught.value


@pytest.mark.parametrize(
    ("supports", "values"),
    [
        ([REAL] * 3, [-1e30, 0.0, 5.0]),
        ([UNIT] * 3, [0.0, 0.5, 1.0]),
        ([BINARY] * 3, [0.0, 0.25, 1.0]),
        ([COUNT] * 3, [0.0, 3.0, 7.0]),
        ([COUNT, REAL, BINARY], [7.0, -0.5, 1.0]),
    ],
)
def test_legal_values_pass(supports: list[Support], values: list[float]) -> None:
    rows = torch.tensor([values, values])
    check_support(
        rows, split="valid", columns=COLUMNS, supports=supports, likelihood=["any"] * 3, preprocess=["none"] * 3
    )


def test_each_column_is_held_against_its_own_support() -> None:
    u = torch.tensor([[0.5, 0.5, 0.5], [2.0, 2.0, 2.0], [-1.0, -1.0, -1.0], [torch.nan] * 3, [torch.inf] * 3])
    assert is_illegal(u, [REAL, COUNT, UNIT]).tolist() == [
        [False, True, False],
        [False, False, True],
        [False, True, True],
        [True, True, True],
        [True, True, True],
    ]


def test_message_says_which_how_many_and_where() -> None:
    u = torch.tensor([[0.0, 1.0, 0.5], [1.0, 4.2, 0.5], [1.0, -3.1, 2.0]])
    text = str(refusal(u, [UNIT]))
    assert "do not fit the bernoulli likelihood, whose values must be between 0 and 1" in text
    assert "3 of 9 values of the train rows (after preprocess=none) are something else" in text
    assert "in 2 columns of 3: 'b', 'c'. The first is 4.2 in row 2, column 'b'." in text
    assert "likelihood=gaussian" in text
    assert "data.preprocess=minmax" in text
    assert "data.preprocess=binarize" in text


def test_rows_are_numbered_from_where_the_batch_begins() -> None:
    assert "in row 8194, column 'b'" in str(refusal(torch.tensor([[0.0, 0, 0], [0, 2, 0]]), [BINARY], first_row=8193))


def test_the_words_are_those_of_the_first_bad_column() -> None:
    error = refusal(torch.tensor([[0.5, 0.5, 2.0]]), [REAL, COUNT, UNIT], likelihood="several")
    assert "whose values must be whole numbers from 0 on: 1 of 3 values" in error.message
    # They are true of all that is told: 'c' has others.
    assert "in 1 column of 3: 'b'. The first is 0.5 in row 1, column 'b'." in error.message


def test_many_columns_are_told_briefly() -> None:
    text = refusal(torch.full((2, 40), 7.0), [UNIT]).message
    assert "in 40 columns of 40: 'c0', 'c1', 'c2', 'c3', 'c4' and 35 more" in text


def test_one_column() -> None:
    said = refusal(torch.tensor([[2.0]]), [BINARY]).message
    assert "is something else (from 2 to 2), in the only column: 'c0'" in said


@pytest.mark.parametrize(
    ("support", "preprocess", "likelihood", "advice"),
    [
        (BINARY, "none", "bernoulli", {"gaussian", "minmax", "binarize"}),
        (BINARY, "minmax", "bernoulli", {"gaussian", "binarize"}),
        (UNIT, "minmax", "continuous_bernoulli", {"gaussian", "binarize"}),
        (UNIT, "binarize", "continuous_bernoulli", {"gaussian", "minmax"}),
        (COUNT, "none", "poisson", {"gaussian"}),
        (COUNT, "standardize", "poisson", {"none", "gaussian"}),
        (BINARY, "none", "gaussian", {"minmax", "binarize"}),
    ],
)
def test_advice_is_only_what_would_help(support: Support, preprocess: str, likelihood: str, advice: set[str]) -> None:
    error = refusal(torch.full((2, 3), -2.0), [support], preprocess, likelihood)
    assert {setting.value for setting in error.advice} == advice
    assert str(error).endswith(").")
    assert "Try " in str(error)


def test_what_is_advised_is_accepted() -> None:
    """Every way that a support offers out of illegal values leads to legal ones, whatever was tried before."""
    offenders = []
    x = np.array([[-3.0, 2.5, 0.0], [4.0, 0.5, 1.0], [0.0, 7.0, 0.0]])
    counts = np.array([[3.0, 0.0, 1.0], [700.0, 2.0, 0.0], [0.0, 7.0, 0.0]])
    codes = np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    for name, family in Likelihood.families().items():
        likelihood = family(num_columns=3)
        for preprocess in ("none", "standardize", "gaussianize", "minmax", "binarize"):
            ways = [value for _, value, _ in likelihood.supports[0].alternatives("standardize")]
            for rows in map(Rows, (x, counts, codes, counts + 1)):
                data = Dataset("some", tuple(COLUMNS), rows, rows, rows)
                # Nothing makes counts of what are none; "as they are" is offered to whoever has scaled counts.
                if "none" in ways and _refuses(likelihood, "none", data):
                    continue
                if not _refuses(likelihood, preprocess, data):
                    continue
                error = refusal(_scaled(likelihood, preprocess, data), list(likelihood.supports), preprocess, name)
                for key, value, _ in error.advice:
                    other = Likelihood.named(value, key)(num_columns=3) if key == "likelihood" else likelihood
                    # A likelihood comes with its own default preprocessing, unless one is asked for.
                    tried = {value} if key == "data.preprocess" else {None, preprocess}
                    if any(_refuses(other, one, data) for one in tried):
                        offenders.append((name, preprocess, key, value))
    assert not offenders


def _scaled(likelihood: Likelihood, preprocess: str | None, data: Dataset) -> torch.Tensor:
    return fit_scaling(preprocess, likelihood.supports, data)[0].transform(torch.from_numpy(data.train.x))


def _refuses(likelihood: Likelihood, preprocess: str | None, data: Dataset) -> bool:
    return bool(is_illegal(_scaled(likelihood, preprocess, data), likelihood.supports).any())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_not_finite_is_outside_every_support(value: float) -> None:
    for support in (REAL, UNIT, BINARY, COUNT):
        error = refusal(torch.tensor([[0.0, value, 1.0]]), [support], likelihood="any")
        assert "Values must be finite" in error.message
        assert "1 of 3 values" in error.message
        assert not error.advice, "no setting makes a missing value legal"


def test_batch_size() -> None:
    check_batch_size(128, 128)
    with pytest.raises(DataError, match=r"50 training rows, fewer than one batch of 128.* data.batch_size=32") as error:
        check_batch_size(50, 128)
    assert error.value.advice == (Setting("data.batch_size", 32),)
    with pytest.raises(DataError, match=r"1 training row, .* data.batch_size=1\."):
        check_batch_size(1, 128)
    with pytest.raises(DataError, match="The 'batch_size' parameter of data must be a whole number of at least 1"):
        check_batch_size(50, 0)


def test_a_column_of_families_side_by_side_is_told_with_its_own() -> None:
    """The message named "by_column", which nobody can type."""
    rows = torch.tensor([[0.0, 3.0, 0.5], [1.0, -1.0, 0.5], [0.0, 2.5, 7.0]])
    with pytest.raises(DataError) as caught:
        check_support(
            rows,
            split="given",
            columns=COLUMNS,
            supports=[BINARY, COUNT, UNIT],
            likelihood=["bernoulli", "poisson", "continuous_bernoulli"],
            preprocess=["none", "none", "minmax"],
        )
    assert "do not fit the poisson likelihood" in caught.value.message
    assert "(after preprocess=none) are something else (from -1 to 2.5), in 1 column of 3: 'b'" in caught.value.message


def test_a_number_that_is_no_known_value_is_told_with_the_known_ones() -> None:
    rows = torch.tensor([[1.5, 3.0, 0.0], [2.5, torch.nan, 0.0], [1.5, 11.0, 9.0]], dtype=torch.float64)
    known = [None, [3.0, 4.0, 5.0], [0.0, 9.0]]
    check_known(rows[:2], COLUMNS, known, lambda row: f"row {row + 7}")
    with pytest.raises(DataError) as caught:
        check_known(rows, COLUMNS, known, lambda row: f"row {row + 7}")
    assert "The column 'b' must hold one of 3, 4, 5: the values that the model was trained on." in str(caught.value)
    assert "1 of 3 values is something else, the first 11 in row 9." in str(caught.value)
