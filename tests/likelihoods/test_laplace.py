"""The Laplace family and its five scales against closed forms and scipy."""

import math

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from tests.likelihoods.families import rows_of
from vae_lightning.data.batch import Batch
from vae_lightning.errors import ConfigError
from vae_lightning.likelihoods.laplace import Laplace
from vae_lightning.likelihoods.scale import SCALE_KINDS, ScaleKind

FITTED = [kind for kind in SCALE_KINDS if kind != "fixed"]


def columns(rows: int = 401) -> Tensor:
    """Four columns that differ in median and spread."""
    draws = torch.distributions.Laplace(torch.tensor([-2.0, 0.0, 1.0, 40.0]), torch.tensor([0.3, 1.0, 2.0, 5.0]))
    return draws.sample((rows,))


def test_golden_values() -> None:
    log_prob = Laplace(3, "fixed", fixed_scale=2.0)(torch.tensor([0.0, 0.0, 1.0])).log_prob(
        torch.tensor([0.0, 2.0, -3.0])
    )
    at_median = -math.log(4)
    torch.testing.assert_close(log_prob, torch.tensor([at_median, at_median - 1, at_median - 2]))


@pytest.mark.parametrize("scale", SCALE_KINDS)
def test_agrees_with_scipy(scale: ScaleKind) -> None:
    likelihood = Laplace(4, scale, fixed_scale=0.7).double()
    for parameter in likelihood.parameters():
        parameter.data.normal_()
    raw = torch.randn(50, likelihood.raw_size, dtype=torch.float64)
    x = torch.randn(50, 4, dtype=torch.float64)
    bound = -2 * math.log(1e-5)
    learned = raw[:, 4:] if scale == "predicted" else next(likelihood.parameters(), torch.zeros(1)).detach()
    b = {"fixed": 0.7, "optimal": 1.0}.get(scale, np.exp(0.5 * bound * np.tanh(learned.numpy() / bound)))
    truth = scipy.stats.laplace(raw[:, :4].numpy(), b)
    p = likelihood(raw)
    np.testing.assert_allclose(p.log_prob(x).detach().numpy(), truth.logpdf(x.numpy()), rtol=1e-6)
    np.testing.assert_allclose(p.stddev.detach().numpy(), np.broadcast_to(truth.std(), (50, 4)), rtol=1e-6)


@pytest.mark.parametrize("scale", ["per_column", "predicted"])
def test_independent_columns_have_the_median_and_the_mean_distance_from_it(scale: ScaleKind) -> None:
    x = columns()
    p = Laplace(4, scale).independent_columns(rows_of(x))
    truth = [scipy.stats.laplace.fit(column) for column in x.double().numpy().T]
    np.testing.assert_allclose(p.point.numpy(), [median for median, _ in truth], rtol=1e-5)
    np.testing.assert_allclose(p.stddev.numpy() / math.sqrt(2), [b for _, b in truth], rtol=1e-5)


@pytest.mark.parametrize("scale", ["shared", "optimal"])
def test_the_best_single_scale_is_the_mean_distance_over_all_cells(scale: ScaleKind) -> None:
    """b = mean |x - median| and the reconstruction is D (1 + log 2b)."""
    x = columns()
    likelihood = Laplace(4, scale)
    p = likelihood(likelihood.start_from(rows_of(x)))
    b = np.abs(x.numpy() - np.median(x.numpy(), axis=0)).mean()
    assert p.stddev.max().item() / math.sqrt(2) == pytest.approx(b, rel=1e-5)
    assert -p.log_prob(x).sum(-1).mean().item() == pytest.approx(4 * (1 + math.log(2 * b)), rel=1e-5)


@pytest.mark.parametrize("scale", SCALE_KINDS)
def test_untrained_it_is_the_independent_column_model(scale: ScaleKind) -> None:
    x = columns()
    likelihood = Laplace(4, scale)
    start, alone = likelihood(likelihood.start_from(rows_of(x))), likelihood.independent_columns(rows_of(x))
    torch.testing.assert_close(start.log_prob(x), alone.log_prob(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("min_scale", [0.0025, 0.1])
def test_the_greatest_density_is_that_of_the_floor_at_the_median(min_scale: float) -> None:
    bound = Laplace(2, min_scale=min_scale).max_log_prob()
    truth = scipy.stats.laplace(0, min_scale).logpdf(0)
    torch.testing.assert_close(bound, torch.full((2,), float(truth)))


@pytest.mark.parametrize("scale", FITTED)
def test_columns_tighter_than_the_floor_are_held_at_it_and_counted(scale: ScaleKind) -> None:
    tight, wide = Laplace(3, scale), Laplace(3, scale)
    p = tight(tight.start_from(rows_of(0.5 + 1e-6 * torch.randn(20, 3))))
    assert (p.stddev >= math.sqrt(2) * 1e-5 * (1 - 1e-5)).all()
    assert tight.at_floor(p).item() == 1
    assert wide.at_floor(wide(wide.start_from(rows_of(torch.randn(20, 3))))).item() == 0


@pytest.mark.parametrize("scale", ["per_column", "predicted"])
def test_a_constant_column_keeps_the_variance_of_one_row_that_differs(scale: ScaleKind) -> None:
    likelihood = Laplace(2, scale)
    rows = rows_of(torch.full((20, 2), 0.5))
    for p in (likelihood(likelihood.start_from(rows)), likelihood.independent_columns(rows)):
        torch.testing.assert_close(p.stddev.detach().square(), torch.full((2,), 1 / 21))


def test_optimal_tracks_a_running_mean_of_the_distance() -> None:
    likelihood = Laplace(3, "optimal")
    expected = 1.0
    for _ in range(20):
        raw, x = torch.randn(4, 10, 3), 2 * torch.randn(10, 3)
        likelihood.update(likelihood.statistics(likelihood(raw), Batch(x)))
        expected += 0.1 * (np.abs(x.numpy() - raw.numpy()).mean() - expected)
    assert likelihood(raw).stddev.max().item() / math.sqrt(2) == pytest.approx(expected, rel=1e-5)


def test_an_outlier_costs_its_distance_and_not_its_square() -> None:
    p = Laplace(1, "fixed")(torch.zeros(1))
    cost = -p.log_prob(torch.tensor([[10.0], [1000.0]]))
    assert (cost[1] - cost[0]).item() == pytest.approx(990)


def test_bad_parameters_are_called_as_the_family_calls_them() -> None:
    for settings, name in (
        ({"scale": "wide"}, "scale"),
        ({"fixed_scale": 0.0}, "fixed_scale"),
        ({"momentum": 2}, "mom"),
    ):
        with pytest.raises(ConfigError, match=f"^The '{name}\\w*' parameter of Laplace must be "):
            Laplace(3, **settings)
