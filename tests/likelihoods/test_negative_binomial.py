"""The negative binomial family against scipy."""

import math

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
import torch

from tests.likelihoods.families import rows_of
from vae_lightning.errors import ConfigError
from vae_lightning.likelihoods.negative_binomial import NegativeBinomial, NegativeBinomialPredictive, count_values


@pytest.mark.parametrize("mean", [0.01, 3.0, 1e3, 1e6])
@pytest.mark.parametrize("size", [0.02, 1.0, 30.0, 1e5])
def test_agrees_with_scipy(mean: float, size: float) -> None:
    log_mean = torch.full((200, 1), math.log(mean), dtype=torch.float64)
    p = NegativeBinomialPredictive(log_mean, torch.tensor(size, dtype=torch.float64))
    x = p.sample()
    truth = scipy.stats.nbinom(size, size / (size + mean))
    np.testing.assert_allclose(p.log_prob(x).numpy(), truth.logpmf(x.numpy()), rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(p.mean.numpy(), truth.mean(), rtol=1e-8)
    np.testing.assert_allclose(p.stddev.numpy(), truth.std(), rtol=1e-8)
    # What float32 cannot know is log μ itself.
    single = NegativeBinomialPredictive(p.log_mean.float(), p.size.float()).log_prob(x.float()).double()
    torch.testing.assert_close(single, p.log_prob(x), rtol=1e-5, atol=1e-4)


def test_where_the_size_is_great_it_is_a_poisson() -> None:
    x = torch.arange(30.0)[:, None]
    p = NegativeBinomialPredictive(torch.tensor([2.0]), torch.tensor([1e6]))
    truth = scipy.stats.poisson(math.exp(2)).logpmf(x.numpy())
    np.testing.assert_allclose(p.log_prob(x).numpy(), truth, atol=1e-3)


@pytest.mark.parametrize("scale", [1, 300])
def test_independent_columns_have_the_greatest_likelihood(scale: int) -> None:
    draws = np.random.default_rng(0).negative_binomial([0.4, 3.0], [0.1 / scale, 0.3 / scale], (800, 2))
    p = NegativeBinomial(2).independent_columns(rows_of(torch.tensor(draws).float()))
    found = p.log_prob(torch.tensor(draws).float()).double().sum(0).numpy()
    for column in range(2):
        x = draws[:, column]

        def nll(logs: np.ndarray, x: np.ndarray = x) -> float:
            size, mean = np.exp(logs)
            return -scipy.stats.nbinom(size, size / (size + mean)).logpmf(x).sum()

        best = scipy.optimize.minimize(nll, [0.0, math.log(x.mean())], method="Nelder-Mead", options={"xatol": 1e-6})
        assert found[column] == pytest.approx(-best.fun, abs=0.05)


def test_counts_that_vary_less_than_their_mean_are_poisson() -> None:
    x = torch.tensor([[4.0], [5.0], [6.0]] * 50)
    p = NegativeBinomial(1).independent_columns(rows_of(x))
    truth = scipy.stats.poisson(5 + 0.5 / 150).logpmf(x.numpy())
    np.testing.assert_allclose(p.log_prob(x).numpy(), truth, atol=1e-3)


def test_great_counts_are_counted_together_with_their_neighbours() -> None:
    x = torch.tensor([[0.0, 3.0], [3.0, 100_000.0], [3.0, 100_100.0]])
    values, weights = count_values(rows_of(x, weight=torch.tensor([1.0, 2.0, 1.0])), 2)
    assert weights.sum(1).tolist() == [4, 4]
    np.testing.assert_allclose((values * weights).sum(1).numpy(), [9, 300_103])
    assert weights.shape[1] == 3


@pytest.mark.parametrize("max_log_mean", [0.0, 31.0, math.nan])
def test_a_bound_that_single_precision_cannot_hold_is_refused(max_log_mean: float) -> None:
    with pytest.raises(ConfigError, match=r"^The 'max_log_mean' parameter of NegativeBinomial must be above 0 and at"):
        NegativeBinomial(3, max_log_mean=max_log_mean)


def test_an_unknown_dispersion_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'dispersion' parameter of NegativeBinomial must be one of shared, per_col"):
        NegativeBinomial(3, "optimal")
