"""A value that many rows share, and a Gaussian for all others."""

import math

import pytest
import torch
from scipy.stats import norm

from vae_lightning.data.batch import Batch
from vae_lightning.data.store import RowsInMemory
from vae_lightning.likelihoods.hurdle import Hurdle, HurdlePredictive
from vae_lightning.likelihoods.support import HURDLE, SHARED


@pytest.fixture
def predictive() -> HurdlePredictive:
    logit = torch.tensor([-1.0, 0.0, 2.0], dtype=torch.float64)
    return HurdlePredictive(logit, torch.tensor([0.3, -1.0, 2.0]).double(), torch.tensor([0.5, 1.0, 0.1]).double())


def test_densities_are_scipys(predictive: HurdlePredictive) -> None:
    share = torch.tensor([-1.0, 0.0, 2.0], dtype=torch.float64).sigmoid()
    x = torch.tensor([0.0, 0.7, 1.9], dtype=torch.float64)
    expected = norm([0.3, -1.0, 2.0], [0.5, 1.0, 0.1]).logpdf(x.numpy())
    torch.testing.assert_close(predictive.log_prob(x), torch.from_numpy(expected) + torch.log1p(-share))
    at_it = predictive.log_prob(torch.full((3,), SHARED, dtype=torch.float64))
    torch.testing.assert_close(at_it.exp(), share)


def test_the_mass_is_one(predictive: HurdlePredictive) -> None:
    around = HURDLE.grid(predictive.location, predictive.scale)
    mass = (around[1] * predictive.log_prob(around[0]).exp()).sum(0)
    torch.testing.assert_close(mass, torch.ones(3, dtype=torch.float64), rtol=0, atol=1e-5)


def test_draws_have_the_stated_moments(predictive: HurdlePredictive) -> None:
    torch.manual_seed(0)
    many = HurdlePredictive(
        *(part.expand(100_000, 3) for part in (predictive.logit, predictive.location, predictive.scale))
    )
    x = many.sample()
    torch.testing.assert_close((x == SHARED).double().mean(0), predictive.logit.sigmoid(), rtol=0, atol=0.01)
    assert ((x.mean(0) - predictive.mean).abs() < 5 * predictive.stddev / math.sqrt(100_000)).all()
    torch.testing.assert_close(x.std(0), predictive.stddev, rtol=0.02, atol=0)


def test_the_best_guess_is_the_shared_value_where_it_is_likelier(predictive: HurdlePredictive) -> None:
    assert predictive.point.tolist() == [pytest.approx(0.3), -1.0, SHARED]


def test_it_starts_at_what_the_rows_say() -> None:
    torch.manual_seed(0)
    x = torch.where(torch.rand(5000, 2) < torch.tensor([0.1, 0.7]), SHARED, 3 + 0.5 * torch.randn(5000, 2))
    mask = torch.rand(5000, 2) < 0.8
    rows = RowsInMemory(Batch(torch.where(mask, x, 1e6), mask))
    likelihood = Hurdle(2)
    started = likelihood(likelihood.start_from(rows)[None])
    alone = likelihood.independent_columns(rows)
    for p in (started, alone):
        torch.testing.assert_close(p.logit.sigmoid().flatten(), torch.tensor([0.1, 0.7]), rtol=0, atol=0.02)
        torch.testing.assert_close(p.location.flatten(), torch.tensor([3.0, 3.0]), rtol=0, atol=0.05)
        torch.testing.assert_close(p.scale.flatten(), torch.tensor([0.5, 0.5]), rtol=0, atol=0.03)


def test_no_density_exceeds_what_is_stated() -> None:
    likelihood = Hurdle(1)
    likelihood.scale.raw_log_var.data.fill_(-1e8)  # type: ignore[union-attr]
    p = likelihood(torch.tensor([[-1e8, 0.0]]))
    bound = likelihood.max_log_prob()
    assert p.log_prob(torch.zeros(1, 1)) <= bound + 1e-4
    torch.testing.assert_close(p.log_prob(torch.zeros(1, 1))[0], bound, rtol=1e-3, atol=0)
