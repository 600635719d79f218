"""The discretized logistic family against scipy, and against a logistic that is rounded."""

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
import torch

from tests.likelihoods.families import rows_of
from vae_lightning.errors import ConfigError
from vae_lightning.likelihoods.discretized_logistic import DiscretizedLogistic, DiscretizedLogisticPredictive


def masses(location: float, scale: float, levels: int) -> np.ndarray:
    """Differences of the distribution function, of whichever tail is thin."""
    cuts = np.concatenate([[-np.inf], np.arange(levels - 1) + 0.5, [np.inf]])
    truth = scipy.stats.logistic(location, scale)
    return np.where(cuts[:-1] < location, np.diff(truth.cdf(cuts)), -np.diff(truth.sf(cuts)))


@pytest.mark.parametrize("location", [-300.0, -1.0, 0.3, 100.0, 254.6, 400.0])
@pytest.mark.parametrize("scale", [0.5, 7.0, 900.0])
def test_agrees_with_scipy(location: float, scale: float) -> None:
    at, width = torch.tensor([[location], [scale]], dtype=torch.float64)
    p = DiscretizedLogisticPredictive(at, width, 256)
    truth = masses(location, scale, 256)
    x = np.arange(256.0)
    told = truth > 1e-300
    ours = p.log_prob(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(ours[told], np.log(truth[told]), rtol=1e-6, atol=1e-12)
    mean = truth @ x
    np.testing.assert_allclose(p.mean.item(), mean, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(p.stddev.item(), np.sqrt(truth @ (x - mean) ** 2), rtol=1e-6, atol=1e-9)


def test_far_tails_are_told_where_differences_have_long_vanished() -> None:
    p = DiscretizedLogisticPredictive(torch.tensor([10.0]), torch.tensor([0.1]), 256)
    slopes = p.log_prob(torch.arange(20.0, 255.0)).diff()
    torch.testing.assert_close(slopes, torch.full_like(slopes, -10.0), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("location", "scale"), [(2.2, 0.3), (-1.0, 2.0), (9.0, 5.0)])
def test_draws_have_the_stated_probabilities(location: float, scale: float) -> None:
    p = DiscretizedLogisticPredictive(torch.full((200_000,), location), torch.tensor(scale), 8)
    counts = torch.bincount(p.sample().long(), minlength=8).numpy()
    assert scipy.stats.chisquare(counts, 200_000 * masses(location, scale, 8)).pvalue > 1e-4


def test_independent_columns_have_the_greatest_likelihood() -> None:
    draws = np.random.default_rng(0).logistic([100.0, 240.0, 5.0], [3.0, 20.0, 0.4], (800, 3)).round().clip(0, 255)
    p = DiscretizedLogistic(3).independent_columns(rows_of(torch.tensor(draws)))
    found = p.log_prob(torch.tensor(draws)).sum(0)
    for column in range(3):
        counts = np.bincount(draws[:, column].astype(int), minlength=256)

        def nll(values: np.ndarray, counts: np.ndarray = counts) -> float:
            return -(counts * np.log(masses(values[0], np.exp(values[1]), 256).clip(1e-300))).sum()

        start = [draws[:, column].mean(), 1.0]
        best = scipy.optimize.minimize(nll, start, method="Nelder-Mead", options={"xatol": 1e-6})
        assert found[column].item() == pytest.approx(-best.fun, abs=0.3)  # a twentieth of a row is imagined


def test_a_level_never_seen_does_not_cost_thousands_of_nats() -> None:
    rows = torch.zeros(1000, 1)
    p = DiscretizedLogistic(1).independent_columns(rows_of(rows))
    assert p.log_prob(torch.tensor([[255.0]])).item() > -1000
    assert p.log_prob(torch.tensor([[0.0]])).item() > -0.01


@pytest.mark.parametrize("levels", [1, 5000, 2.5])
def test_numbers_of_levels_that_are_none_are_refused(levels: int) -> None:
    sentence = r"^The 'levels' parameter of DiscretizedLogistic must be a whole number from 2 to 4,096\. Got .* instead"
    with pytest.raises(ConfigError, match=sentence):
        DiscretizedLogistic(3, levels)
