"""What a likelihood refuses, and what the message tells to type."""

import pytest
import torch
from torch.distributions import constraints

from vae_lightning.data.checks import check_batch_size, check_support
from vae_lightning.data.columns import Column
from vae_lightning.errors import DataError

COLUMNS = [Column("a", "float64"), Column("b", "float64"), Column("c", "float64")]


def message(
    u: torch.Tensor, support: constraints.Constraint, preprocess: str = "none", likelihood: str = "Bernoulli"
) -> str:
    columns = COLUMNS if u.shape[1] == 3 else [Column(f"c{index}", "float64") for index in range(u.shape[1])]
    with pytest.raises(DataError) as caught:
        check_support(
            u,
            split="train",
            columns=columns,
            support=support,
            likelihood=likelihood,
            support_words="between 0 and 1",
            preprocess=preprocess,
        )
    return str(caught.value)


@pytest.mark.parametrize(
    ("support", "values"),
    [
        (constraints.real, [-1e30, 0.0, 5.0]),
        (constraints.unit_interval, [0.0, 0.5, 1.0]),
        (constraints.boolean, [0.0, 1.0, 1.0]),
        (constraints.nonnegative_integer, [0.0, 3.0, 7.0]),
        (constraints.independent(constraints.boolean, 1), [0.0, 1.0, 0.0]),
    ],
)
def test_legal_values_pass(support: constraints.Constraint, values: list[float]) -> None:
    check_support(
        torch.tensor([values, values]),
        split="valid",
        columns=COLUMNS,
        support=support,
        likelihood="any",
        support_words="anything",
        preprocess="none",
    )


def test_message_says_which_how_many_and_where() -> None:
    u = torch.tensor([[0.0, 1.0, 0.5], [1.0, 4.2, 0.5], [1.0, -3.1, 2.0]])
    text = message(u, constraints.unit_interval)
    assert "do not fit the Bernoulli likelihood, whose values must be between 0 and 1" in text
    assert "3 of 9 values of the train rows (after preprocess=none) are something else" in text
    assert "in 2 columns of 3: 'b', 'c'. The first is 4.2 in row 2, column 'b'." in text
    assert "likelihood=gaussian" in text
    assert "data.preprocess=minmax" in text
    assert "data.preprocess=binarize" in text


def test_many_columns_are_told_briefly() -> None:
    text = message(torch.full((2, 40), 7.0), constraints.unit_interval)
    assert "in 40 columns of 40: 'c0', 'c1', 'c2', 'c3', 'c4' and 35 more" in text


def test_one_column() -> None:
    said = message(torch.tensor([[2.0]]), constraints.boolean)
    assert "is something else (from 2 to 2), in the only column: 'c0'" in said


@pytest.mark.parametrize(
    ("support", "preprocess", "likelihood", "advice"),
    [
        (constraints.boolean, "minmax", "Bernoulli", ["gaussian", "binarize"]),
        (constraints.unit_interval, "minmax", "bernoulli", ["gaussian", "binarize"]),
        (constraints.unit_interval, "binarize", "bernoulli", ["gaussian", "minmax"]),
        (constraints.unit_interval, "none", "gaussian", ["minmax", "binarize"]),
        (constraints.positive, "none", "gamma", ["gaussian"]),
        (constraints.interval(-0.5, 0.5), "none", "other", ["gaussian"]),
    ],
)
def test_advice_is_only_what_would_help(
    support: constraints.Constraint, preprocess: str, likelihood: str, advice: list[str]
) -> None:
    told = message(torch.full((2, 3), -2.0), support, preprocess, likelihood).split("Type ")[1]
    for way in ("gaussian", "minmax", "binarize"):
        assert (way in told) == (way in advice)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_not_finite_is_outside_every_support(value: float) -> None:
    text = message(torch.tensor([[0.0, value, 1.0]]), constraints.real, likelihood="gaussian")
    assert "Values must be finite" in text
    assert "1 of 3 values" in text


def test_batch_size() -> None:
    check_batch_size(128, 128)
    with pytest.raises(DataError, match=r"50 training rows, fewer than one batch of 128. Type data.batch_size=32"):
        check_batch_size(50, 128)
    with pytest.raises(DataError, match=r"1 training row, .* data.batch_size=1,"):
        check_batch_size(1, 128)
    with pytest.raises(DataError, match="The 'batch_size' parameter of data must be a whole number of at least 1"):
        check_batch_size(50, 0)
