"""The zero-inflated family against its formula, with scipy's densities in it."""

import math

import numpy as np
import pytest
import scipy.stats
import torch

from tests.likelihoods.families import rows_of
from vae_lightning.errors import ConfigError
from vae_lightning.likelihoods.support import COUNT, NONNEGATIVE
from vae_lightning.likelihoods.zero_inflated import INNER, ZeroInflated

FROZEN = {
    "poisson": scipy.stats.poisson(3.0),
    "negative_binomial": scipy.stats.nbinom(1.0, 1 / 4),
    "log_normal": scipy.stats.lognorm(1.0, scale=3.0),
    "gamma": scipy.stats.gamma(1.0, scale=3.0),
}


def test_every_inner_family_is_tried() -> None:
    assert set(FROZEN) == set(INNER)


@pytest.mark.parametrize("family", FROZEN)
@pytest.mark.parametrize("gate", [-3.0, 0.0, 5.0])
def test_agrees_with_the_formula(family: str, gate: float) -> None:
    likelihood = ZeroInflated(1, family).double()
    bound = 40 if family == "log_normal" else 20
    raw = torch.tensor([bound * math.atanh(math.log(3) / bound), gate], dtype=torch.float64)
    p, inner = likelihood(raw), FROZEN[family]
    counts = likelihood.supports[0] == COUNT
    assert likelihood.supports[0] in (COUNT, NONNEGATIVE)
    x = np.array([[0.0], [1.0], [4.0], [17.0]])
    share = 1 / (1 + math.exp(-gate))
    density = inner.pmf(x) if counts else inner.pdf(x)
    truth = np.log(np.where(x == 0, share + (1 - share) * (inner.pmf(0) if counts else 0), (1 - share) * density))
    np.testing.assert_allclose(p.log_prob(torch.tensor(x)).detach().numpy(), truth, rtol=1e-9)
    assert p.mean.item() == pytest.approx((1 - share) * inner.mean())
    second = (1 - share) * (inner.var() + inner.mean() ** 2)
    assert p.stddev.item() == pytest.approx(math.sqrt(second - ((1 - share) * inner.mean()) ** 2))


@pytest.mark.parametrize("family", FROZEN)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_the_zeros_that_are_the_inner_familys_own_are_left_to_it(family: str, share: float) -> None:
    """The fit is at least as likely as the truth, and no more than chance allows two or three parameters."""
    draws = np.random.default_rng(1)
    x = np.where(draws.random(2000) < share, 0.0, FROZEN[family].rvs(2000, random_state=draws))[:, None]
    at_zero = share + (1 - share) * (FROZEN[family].pmf(0) if hasattr(FROZEN[family], "pmf") else 0.0)
    density = FROZEN[family].pmf(x) if hasattr(FROZEN[family], "pmf") else FROZEN[family].pdf(x)
    truth = np.log(np.where(x == 0, at_zero, (1 - share) * density)).sum()
    rows = torch.tensor(x, dtype=torch.float32)
    found = ZeroInflated(1, family).independent_columns(rows_of(rows)).log_prob(rows).double().sum().item()
    assert truth - 0.8 < found < truth + 8


def test_a_column_of_zeros_is_one() -> None:
    for family in FROZEN:
        likelihood = ZeroInflated(1, family)
        p = likelihood(likelihood.start_from(rows_of(torch.zeros(100, 1))))
        assert p.log_prob(torch.zeros(1)).item() > -0.02
        assert math.isfinite(p.log_prob(torch.ones(1)).item())


def test_another_family_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"^The 'family' parameter of ZeroInflated must be one of poisson, negative_bi"
    ):
        ZeroInflated(3, "gaussian")
