"""Independent columns of rows with exposures: closed forms, and the greatest likelihood where there is none."""

from typing import Any

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
import torch
from torch import Tensor

from vae_lightning.controls.choice import fit_control
from vae_lightning.controls.independent import IndependentColumns
from vae_lightning.data.batch import Batch
from vae_lightning.data.store import RowsInMemory
from vae_lightning.likelihoods.base import Likelihood
from vae_lightning.likelihoods.by_column import ByColumn
from vae_lightning.likelihoods.gaussian import Gaussian
from vae_lightning.likelihoods.negative_binomial import NegativeBinomial
from vae_lightning.likelihoods.poisson import Poisson
from vae_lightning.likelihoods.zero_inflated import ZeroInflated

pytestmark = pytest.mark.usefixtures("one_thread")
RATES, SIZES, NUM_ROWS = np.array([0.1, 2.0, 40.0]), np.array([0.7, 2.0, 8.0]), 3000


def counts(poisson: bool = False, zeros: float = 0.0) -> tuple[Tensor, Tensor]:
    """Counts (N, 3) whose means are exposures times rates, and the exposures (N,), of which the mean is 1."""
    draws = np.random.default_rng(0)
    exposure = np.exp(draws.normal(0, 1.2, NUM_ROWS))
    exposure /= exposure.mean()
    varied = np.ones(3) if poisson else draws.gamma(SIZES, 1 / SIZES, (NUM_ROWS, 3))
    x = draws.poisson(exposure[:, None] * RATES * varied)
    return torch.from_numpy(np.where(draws.random(x.shape) < zeros, 0, x)).float(), torch.from_numpy(exposure).float()


def rows(x: Tensor, exposure: Tensor, mask: Tensor | None = None) -> RowsInMemory:
    return RowsInMemory(Batch(x, mask, exposure.log()[:, None]))


def test_the_best_constant_rate_is_the_sum_of_counts_over_the_sum_of_exposures() -> None:
    x, exposure = counts(poisson=True)
    mask = torch.rand(x.shape) < 0.8
    for seen in (torch.ones_like(mask), mask):
        given = rows(torch.where(seen, x, torch.nan), exposure, None if bool(seen.all()) else seen)
        fitted = IndependentColumns(Poisson(3), given, exposed=True)
        total, watched = (x * seen).sum(0), (exposure[:, None] * seen).sum(0)
        torch.testing.assert_close(fitted.alone.mean, (total + 0.5) / watched)  # half a count is imagined
        rate = total / watched
        expected = scipy.stats.poisson(exposure[:, None].double() * rate).logpmf(x)
        found = fitted.log_prob(given.rows).double()
        assert float(found.sum()) == pytest.approx(float((torch.from_numpy(expected) * seen).sum()), rel=1e-4)


@pytest.mark.parametrize("zeros", [0.0, 0.4])
def test_no_constants_make_counts_with_exposures_likelier(zeros: float) -> None:
    """A negative binomial's rates have no closed form where exposures differ, nor has the share of zeros."""
    x, exposure = counts(zeros=zeros)
    likelihood: Likelihood = ZeroInflated(3) if zeros else NegativeBinomial(3)
    found = IndependentColumns(likelihood, rows(x, exposure), exposed=True).log_prob(rows(x, exposure).rows)
    for column in range(3):

        def loss(free: Any, column: int = column) -> float:
            mean, size = exposure.double().numpy() * np.exp(free[0]), np.exp(free[1])
            law = scipy.stats.nbinom(size, size / (size + mean))
            share = 1 / (1 + np.exp(-free[2])) if zeros else 0.0
            mass = (1 - share) * law.pmf(x[:, column]) + share * (x[:, column].numpy() == 0)
            return -float(np.log(mass + 1e-300).mean())

        best = scipy.optimize.minimize(
            loss, [np.log(RATES[column]), 0.0, -1.0], method="Nelder-Mead", bounds=[(-6, 6)] * 3
        )
        assert -float(found[:, column].double().mean()) == pytest.approx(best.fun, abs=2e-3)


def test_columns_that_are_no_counts_and_the_family_itself_stay_as_they_are() -> None:
    x, exposure = counts()
    both = torch.cat([x, torch.randn(NUM_ROWS, 1)], 1)
    mixed = ByColumn(4, [(Gaussian(1), [3]), (NegativeBinomial(3), [0, 1, 2])])
    before = {name: value.clone() for name, value in mixed.state_dict().items()}
    given = rows(both, exposure)
    found = IndependentColumns(mixed, given, exposed=True).log_prob(given.rows)
    alone = IndependentColumns(NegativeBinomial(3), rows(x, exposure), exposed=True).log_prob(rows(x, exposure).rows)
    torch.testing.assert_close(found[:, :3], alone, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(
        found[:, 3], Gaussian(1).independent_columns(RowsInMemory(Batch(both[:, 3:]))).log_prob(both[:, 3:])[:, 0]
    )
    for name, value in mixed.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("likelihood", [Poisson(3), NegativeBinomial(3), ZeroInflated(3)])
def test_a_column_without_a_count_has_a_finite_loss_wherever_one_comes(likelihood: Likelihood) -> None:
    x, exposure = counts()
    x[:, 1] = 0
    fitted = IndependentColumns(likelihood, rows(x, exposure), exposed=True)
    one = rows(torch.ones(1, 3), torch.ones(1)).rows
    assert -20 < float(fitted.log_prob(one)[0, 1]) < -3


def test_the_mixture_sees_the_exposure() -> None:
    """Two classes of rows, told apart by their rates and not by how long they were watched."""
    draws = np.random.default_rng(1)
    exposure = np.exp(draws.normal(0, 1, 4000))
    exposure /= exposure.mean()
    rate = np.where(draws.random(4000)[:, None] < 0.5, [20.0, 2.0], [2.0, 20.0])
    x = draws.poisson(exposure[:, None] * rate)
    given = rows(torch.from_numpy(x).float(), torch.from_numpy(exposure).float())
    control = fit_control(Poisson(2), given, given, 1, exposed=True)
    assert control.words == "a mixture of 2 classes of independent columns"
    each = [scipy.stats.poisson(exposure[:, None] * np.array(one)).logpmf(x).sum(1) for one in ([20, 2], [2, 20])]
    truth = np.logaddexp(*each) + np.log(0.5)
    assert float(control.log_prob(given.rows).mean()) == pytest.approx(truth.mean(), abs=0.01)
