"""The Bernoulli family against closed forms and scipy."""

import math

import numpy as np
import pytest
import scipy.stats
import torch

from tests.likelihoods.families import rows_of
from vae_lightning.likelihoods.bernoulli import Bernoulli
from vae_lightning.likelihoods.support import BINARY


@pytest.mark.parametrize(
    ("x", "raw", "expected"),
    [
        (1.0, 0.0, -math.log(2)),
        (0.0, 0.0, -math.log(2)),
        (1.0, math.log(3), math.log(0.75)),
        (0.0, math.log(3), math.log(0.25)),
        (0.0, 1000.0, -1000.0),
        (1.0, -1e8, -1e8),
        (1.0, 1e8, 0.0),
        (0.25, math.log(3), 0.25 * math.log(0.75) + 0.75 * math.log(0.25)),
    ],
)
def test_golden_values(x: float, raw: float, expected: float) -> None:
    log_prob = Bernoulli(1)(torch.tensor([raw])).log_prob(torch.tensor([x]))
    assert log_prob.item() == pytest.approx(expected, rel=1e-6, abs=1e-7)


def test_agrees_with_scipy() -> None:
    raw = torch.linspace(-20, 20, 81, dtype=torch.float64)
    for x in (0, 1):
        truth = scipy.stats.bernoulli(1 / (1 + np.exp(-raw.numpy()))).logpmf(x)
        ours = Bernoulli(81)(raw).log_prob(torch.full_like(raw, x))
        np.testing.assert_allclose(ours.numpy(), truth, rtol=1e-6)


@pytest.mark.parametrize("frequency", [0.0, 0.03, 0.5, 1.0])
def test_it_starts_at_ln_2_per_column_whatever_the_data(frequency: float) -> None:
    x = (torch.rand(100, 7) < frequency).float()
    likelihood = Bernoulli(7)
    loss = -likelihood(likelihood.start_from(rows_of(x))).log_prob(x).sum(-1)
    torch.testing.assert_close(loss, torch.full((100,), 7 * math.log(2)))


def test_independent_columns_are_the_frequency_with_one_imagined_row_of_each_kind() -> None:
    x = torch.tensor([[1.0, 0.0, 1.0]] * 2 + [[0.0, 0.0, 1.0]] * 6)
    torch.testing.assert_close(Bernoulli(3).independent_columns(rows_of(x)).mean, torch.tensor([0.3, 0.1, 0.9]))


def test_a_column_that_never_varied_costs_a_finite_number_when_it_does() -> None:
    cost = Bernoulli(1).independent_columns(rows_of(torch.zeros(98, 1))).log_prob(torch.ones(1, 1))
    assert cost.item() == pytest.approx(-math.log(100), rel=1e-5)


def test_the_entropy_floor_is_zero_for_binary_rows_and_reached_by_the_grey_level_itself() -> None:
    likelihood = Bernoulli(5)
    assert (likelihood.entropy_floor(torch.bernoulli(torch.full((20, 5), 0.3))) == 0).all()
    x = torch.rand(20, 5, dtype=torch.float64)
    torch.testing.assert_close(likelihood.entropy_floor(x), -likelihood(torch.logit(x)).log_prob(x))
    truth = scipy.stats.entropy(np.stack([x.numpy(), 1 - x.numpy()]))
    np.testing.assert_allclose(likelihood.entropy_floor(x).numpy(), truth, rtol=1e-10)


def test_grey_mnist_cannot_fall_below_45_53_nats(shared_data) -> None:
    test = torch.from_numpy(shared_data("mnist.npz")["test"]).float() / 255
    floor = Bernoulli(784).entropy_floor(test).sum(-1).mean().item()
    assert floor == pytest.approx(45.53, abs=0.005)


def test_grey_levels_are_legal_and_values_outside_the_unit_interval_are_not() -> None:
    legal = BINARY.contains(torch.tensor([0.0, 0.5, 1.0, -0.01, 1.01, math.nan]))
    assert legal.tolist() == [True, True, True, False, False, False]
