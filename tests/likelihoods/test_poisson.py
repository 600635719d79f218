"""The Poisson family against closed forms and scipy."""

import math

import numpy as np
import pytest
import scipy.stats
import torch

from tests.likelihoods.families import rows_of
from vae_lightning.errors import ConfigError
from vae_lightning.likelihoods.poisson import Poisson
from vae_lightning.likelihoods.support import COUNT


@pytest.mark.parametrize(
    ("x", "rate", "expected"),
    [
        (0.0, 1.0, -1.0),
        (1.0, 1.0, -1.0),
        (2.0, 1.0, -1.0 - math.log(2)),
        (3.0, 2.0, 3 * math.log(2) - 2 - math.log(6)),
        (0.0, 1e-4, -1e-4),
        (1.0, 1e-4, math.log(1e-4) - 1e-4),
    ],
)
def test_golden_values(x: float, rate: float, expected: float) -> None:
    likelihood = Poisson(1, max_log_rate=40.0).double()
    raw = 40 * math.atanh(math.log(rate) / 40)
    log_prob = likelihood(torch.tensor([raw], dtype=torch.float64)).log_prob(torch.tensor([x], dtype=torch.float64))
    assert log_prob.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-11), (torch.float32, 3e-7)])
@pytest.mark.parametrize("rate", [0.01, 0.5, 3.0, 50.0, 1e3, 1e5, 1e7])
def test_agrees_with_scipy_whatever_the_size_of_the_count(rate: float, dtype: torch.dtype, error: float) -> None:
    """What float32 cannot know is the rate itself: log r is right to 1e-7, and x (log r - log x) as many times x's."""
    raw = torch.full((500,), 20 * math.atanh(math.log(rate) / 20), dtype=dtype)
    p = Poisson(500)(raw)
    x = p.sample()
    exact = 20 * np.tanh(raw.double().numpy() / 20)
    truth = scipy.stats.poisson(np.exp(exact)).logpmf(x.double().numpy())
    allowed = error * (10 + 10 * np.abs(x.double().numpy() - np.exp(exact)) * max(1.0, abs(math.log(rate))))
    assert (np.abs(p.log_prob(x).double().numpy() - truth) < allowed).all()


def test_the_gradient_is_the_count_less_the_rate() -> None:
    x = torch.tensor([0.0, 1.0, 5.0, 1000.0])
    raw = torch.tensor([1.0, -0.5, 2.0, 6.9], requires_grad=True)
    Poisson(4, max_log_rate=40.0)(raw).log_prob(x).sum().backward()
    bounded = 40 * np.tanh(raw.detach().numpy() / 40)
    truth = (x.numpy() - np.exp(bounded)) * (1 - np.square(bounded / 40))
    np.testing.assert_allclose(raw.grad.numpy(), truth, rtol=1e-4)


def test_independent_columns_are_the_means_with_half_a_count_more() -> None:
    x = torch.tensor([[0.0, 3.0, 1000.0], [0.0, 4.0, 1100.0]])
    p = Poisson(3).independent_columns(rows_of(x))
    torch.testing.assert_close(p.mean, torch.tensor([0.25, 3.75, 1050.25]))
    torch.testing.assert_close(p.stddev.square(), p.mean)


def test_a_column_without_a_count_costs_a_finite_number_when_it_has_one() -> None:
    cost = Poisson(1).independent_columns(rows_of(torch.zeros(50, 1))).log_prob(torch.ones(1, 1))
    assert cost.item() == pytest.approx(math.log(0.01) - 0.01, rel=1e-5)


def test_untrained_it_is_the_independent_column_model() -> None:
    x = torch.poisson(torch.tensor([0.05, 1.0, 30.0, 5000.0]).expand(300, 4))
    likelihood = Poisson(4)
    start, alone = likelihood(likelihood.start_from(rows_of(x))), likelihood.independent_columns(rows_of(x))
    torch.testing.assert_close(start.log_prob(x), alone.log_prob(x), rtol=1e-3, atol=1e-3)


def test_counts_are_legal_and_anything_else_is_not() -> None:
    legal = COUNT.contains(torch.tensor([0.0, 1.0, 1e6, 0.5, -1.0, math.inf, math.nan]))
    assert legal.tolist() == [True, True, True, False, False, False, False]


@pytest.mark.parametrize("max_log_rate", [0.0, -1.0, 41.0, math.inf, math.nan])
def test_a_bound_that_single_precision_cannot_hold_is_refused(max_log_rate: float) -> None:
    sentence = r"^The 'max_log_rate' parameter of Poisson must be above 0 and at most 40\. Got .* instead\.$"
    with pytest.raises(ConfigError, match=sentence):
        Poisson(3, max_log_rate)
