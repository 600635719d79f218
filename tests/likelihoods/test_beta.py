"""The beta family against scipy."""

import numpy as np
import pytest
import scipy.stats
import torch

from tests.likelihoods.families import rows_of
from vae_lightning.errors import ConfigError
from vae_lightning.likelihoods.beta import Beta, BetaPredictive
from vae_lightning.likelihoods.support import SHARE, TINY


@pytest.mark.parametrize(("a", "b"), [(0.5, 0.5), (2.0, 5.0), (0.75, 32768.0), (32768.0, 0.75), (2e5, 3e5)])
def test_agrees_with_scipy(a: float, b: float) -> None:
    p = BetaPredictive(torch.full((50, 1), a).double(), torch.full((50, 1), b).double())
    x = p.sample()
    truth = scipy.stats.beta(a, b)
    np.testing.assert_allclose(p.log_prob(x).numpy(), truth.logpdf(x.numpy()), rtol=1e-8, atol=1e-7)
    np.testing.assert_allclose(p.mean.numpy(), truth.mean(), rtol=1e-9)
    np.testing.assert_allclose(p.stddev.numpy(), truth.std(), rtol=1e-9)


def test_independent_columns_have_the_greatest_likelihood() -> None:
    x = np.random.default_rng(0).beta([0.7, 30.0, 3.0], [2.0, 6000.0, 1.0], (500, 3))
    found = Beta(3).independent_columns(rows_of(torch.tensor(x))).log_prob(torch.tensor(x)).sum(0)
    for column in range(3):
        a, b, _, _ = scipy.stats.beta.fit(x[:, column], floc=0, fscale=1)
        truth = scipy.stats.beta(a, b).logpdf(x[:, column]).sum()
        assert found[column].item() == pytest.approx(truth, abs=1e-2)


def test_a_shared_concentration_is_that_of_all_columns_together() -> None:
    x = torch.from_numpy(np.random.default_rng(0).beta([9.0, 900.0], [11.0, 1100.0], (4000, 2)))
    p = Beta(2, "shared").independent_columns(rows_of(x))
    assert isinstance(p, BetaPredictive)
    found = p.a + p.b
    assert found[0].item() == pytest.approx(found[1].item())
    assert 20 < found[0] < 2000


@pytest.mark.parametrize("x", [1e-5, 1e-3, 0.02, 0.5, 0.97, 1 - 1e-4])
def test_the_cells_floor_is_the_greatest_density_to_within_half_a_nat(x: float) -> None:
    a = np.geomspace(0.5, 1e6, 200_001)
    best = max(scipy.stats.beta(*pair).logpdf(x).max() for pair in ((a, 1e6 + 1 - a), (1e6 + 1 - a, a)))
    floor = Beta(1).entropy_floor(torch.tensor([[x]], dtype=torch.float64)).item()
    assert -0.5 < floor + best < 0


def test_zero_and_one_are_no_shares_and_all_numbers_between_are() -> None:
    x = torch.tensor([0.0, 1e-45, TINY, 0.5, 1 - 2**-24, 1.0, torch.nan])
    assert SHARE.contains(x).tolist() == [False, False, True, True, True, False, False]


def test_single_precision_near_the_ends_agrees_with_double() -> None:
    x = torch.tensor([TINY, 1e-30, 1e-7, 1 - 2**-24, 1 - 2**-12])
    for raw in (-20.0, 0.0, 10.0):
        single, double = (Beta(1)(torch.full((5, 1), raw, dtype=kind)) for kind in (torch.float32, torch.float64))
        assert isinstance(double, BetaPredictive)
        truth = scipy.stats.beta(double.a[:, 0].detach(), double.b[:, 0].detach()).logpdf(x.double())
        np.testing.assert_allclose(single.log_prob(x[:, None])[:, 0].detach(), truth, rtol=1e-5, atol=1e-4)


def test_an_unknown_concentration_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'concentration' parameter of Beta must be one of shared, per_column, pre"):
        Beta(3, "optimal")
