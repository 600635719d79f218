"""The continuous Bernoulli family against its closed form, evaluated by numpy in double precision."""

import math

import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
import torch

from tests.likelihoods.families import rows_of
from vae_lightning.errors import ConfigError
from vae_lightning.likelihoods.continuous_bernoulli import ContinuousBernoulli


def log_normaliser(probability: np.ndarray) -> np.ndarray:
    """log C(λ) = log|2 atanh(1 - 2λ)| - log|1 - 2λ| (Loaiza-Ganem & Cunningham 2019); its series near ½."""
    d = probability - 0.5
    near = np.abs(d) < 1e-2
    safe = np.where(near, 0.25, d)
    series = math.log(2) + 4 / 3 * d**2 + 104 / 45 * d**4
    return np.where(near, series, np.log(np.abs(2 * np.arctanh(2 * safe))) - np.log(np.abs(2 * safe)))


def effective_logit(raw: np.ndarray, bound: float) -> np.ndarray:
    return bound * np.tanh(raw / bound)


@pytest.mark.parametrize("bound", [10.0, 12.0])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 2e-7), (torch.float32, 1e-3)])
def test_agrees_with_the_closed_form(bound: float, dtype: torch.dtype, tolerance: float) -> None:
    raw = np.concatenate([np.linspace(-40, 40, 401), np.linspace(-0.1, 0.1, 101)])
    probability = 1 / (1 + np.exp(-effective_logit(raw, bound)))
    p = ContinuousBernoulli(len(raw), bound)(torch.tensor(raw, dtype=dtype))
    for x in (0.0, 0.2, 0.5, 1.0):
        truth = x * np.log(probability) + (1 - x) * np.log1p(-probability) + log_normaliser(probability)
        np.testing.assert_allclose(p.log_prob(torch.tensor(x, dtype=dtype)).double().numpy(), truth, atol=tolerance)


def test_the_closed_form_itself_normalises() -> None:
    for probability in (0.001, 0.3, 0.4999, 0.5, 0.9):
        unnormalised, _ = scipy.integrate.quad(lambda x, q=probability: q**x * (1 - q) ** (1 - x), 0, 1)
        assert log_normaliser(np.array(probability)) == pytest.approx(-math.log(unnormalised), abs=1e-8)


@pytest.mark.parametrize("x", [0.0, 0.3, 1.0])
def test_it_starts_as_the_uniform_density(x: float) -> None:
    likelihood = ContinuousBernoulli(3)
    rows = torch.full((10, 3), x)
    log_prob = likelihood(likelihood.start_from(rows_of(rows))).log_prob(rows)
    torch.testing.assert_close(log_prob, torch.zeros(10, 3), rtol=0, atol=1e-6)


@pytest.mark.parametrize("bound", [0.5, 3.0, 10.0, 12.0])
def test_the_bound_is_the_density_of_the_steepest_slope_at_its_end(bound: float) -> None:
    """The density at the largest logit is b exp(bx) / (exp(b) - 1); at x = 1 it is b / (1 - exp(-b))."""
    truth = math.log(bound * math.exp(bound) / math.expm1(bound))
    assert ContinuousBernoulli(1, bound).max_log_prob().item() == pytest.approx(truth, rel=1e-6)


@pytest.mark.parametrize("mean", [0.12, 0.3, 0.5, 0.501, 0.85])
def test_independent_columns_match_the_mean_of_the_rows(mean: float) -> None:
    rows = torch.tensor([[mean - 0.1], [mean + 0.1]], dtype=torch.float64)
    p = ContinuousBernoulli(1).independent_columns(rows_of(rows))

    def mean_of(logit: float) -> float:
        return 0.5 + logit / 12 if abs(logit) < 1e-3 else 1 / (-math.expm1(-logit)) - 1 / logit

    truth = scipy.optimize.brentq(lambda logit: mean_of(logit) - mean, -20, 20)
    ends = p.log_prob(torch.tensor([[0.0], [1.0]])).flatten()
    assert (ends[1] - ends[0]).item() == pytest.approx(truth, abs=1e-4)
    assert p.mean.item() == pytest.approx(mean, abs=1e-6)


@pytest.mark.parametrize("logit", [-0.19, -1e-3, 0.0, 1e-6, 0.1, 0.19])
def test_draws_near_the_uniform_density_are_no_draws_from_it(logit: float) -> None:
    """Between λ = 0.45 and 0.55 all draws were uniform: their means were off by up to 6 % of a standard deviation."""
    p = ContinuousBernoulli(1)(torch.full((400_000, 1), logit))
    truth = 0.5 + logit / 12 - logit**3 / 720
    assert p.sample().mean().item() == pytest.approx(truth, abs=5 * math.sqrt(1 / 12 / 400_000))


@pytest.mark.parametrize("end", [0.0, 1.0])
def test_rows_at_one_end_cost_no_less_than_the_bound_allows(end: float) -> None:
    likelihood = ContinuousBernoulli(2)
    rows = torch.full((50, 2), end)
    log_prob = likelihood.independent_columns(rows_of(rows)).log_prob(rows)
    torch.testing.assert_close(log_prob, likelihood.max_log_prob().expand(50, 2), rtol=0, atol=1e-3)


@pytest.mark.parametrize("max_logit", [0.0, -1.0, 12.5, math.inf, math.nan])
def test_a_bound_that_single_precision_cannot_hold_is_refused(max_logit: float) -> None:
    sentence = r"^The 'max_logit' parameter of ContinuousBernoulli must be above 0 and at most 12\. Got .* instead\.$"
    with pytest.raises(ConfigError, match=sentence):
        ContinuousBernoulli(3, max_logit)
