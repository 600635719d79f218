"""The Gaussian family and its five variances against closed forms and scipy."""

import math

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from tests.likelihoods.families import rows_of
from vae_lightning.data.batch import Batch
from vae_lightning.errors import ConfigError
from vae_lightning.likelihoods.gaussian import Gaussian
from vae_lightning.likelihoods.scale import SCALE_KINDS as VARIANCES
from vae_lightning.likelihoods.scale import ScaleKind

FITTED = [v for v in VARIANCES if v != "fixed"]
TIED = ["shared", "optimal"]


def columns(rows: int = 400) -> Tensor:
    """Four columns that differ in mean and spread."""
    return torch.randn(rows, 4) * torch.tensor([0.3, 1.0, 2.0, 5.0]) + torch.tensor([-2.0, 0.0, 1.0, 40.0])


def test_golden_values() -> None:
    log_prob = Gaussian(3, "fixed", scale=2.0)(torch.tensor([0.0, 0.0, 1.0])).log_prob(torch.tensor([0.0, 2.0, -3.0]))
    at_mean = -0.5 * math.log(2 * math.pi) - math.log(2)
    torch.testing.assert_close(log_prob, torch.tensor([at_mean, at_mean - 0.5, at_mean - 2.0]))


@pytest.mark.parametrize("variance", VARIANCES)
def test_agrees_with_scipy(variance: ScaleKind) -> None:
    likelihood = Gaussian(4, variance, scale=0.7).double()
    for parameter in likelihood.parameters():
        parameter.data.normal_()
    raw = torch.randn(50, likelihood.raw_size, dtype=torch.float64)
    x = torch.randn(50, 4, dtype=torch.float64)
    log_var = {
        "fixed": lambda: 2 * math.log(0.7),
        "optimal": lambda: 0.0,
        "predicted": lambda: bounded(raw[:, 4:]),
    }.get(variance, lambda: bounded(next(likelihood.parameters()).detach()))()
    truth = scipy.stats.norm(raw[:, :4].numpy(), np.exp(np.asarray(log_var) / 2)).logpdf(x.numpy())
    np.testing.assert_allclose(likelihood(raw).log_prob(x).detach().numpy(), truth, rtol=1e-6)


def bounded(raw_log_var: Tensor) -> np.ndarray:
    bound = -2 * math.log(1e-5)
    return bound * np.tanh(raw_log_var.numpy() / bound)


@pytest.mark.parametrize("variance", TIED)
def test_the_best_single_variance_is_the_mean_squared_error(variance: ScaleKind) -> None:
    """σ² = MSE and the reconstruction is D/2 (1 + log 2π + log MSE) (Rybkin et al. 2021)."""
    x = columns()
    likelihood = Gaussian(4, variance)
    p = likelihood(likelihood.start_from(rows_of(x)))
    mse = x.numpy().var(0).mean()
    assert p.stddev.square().max().item() == pytest.approx(mse, rel=1e-4)
    reconstruction = -p.log_prob(x).sum(-1).mean().item()
    assert reconstruction == pytest.approx(4 / 2 * (1 + math.log(2 * math.pi) + math.log(mse)), rel=1e-5)


@pytest.mark.parametrize("variance", VARIANCES)
def test_untrained_it_is_the_independent_column_model(variance: ScaleKind) -> None:
    x = columns()
    likelihood = Gaussian(4, variance)
    start, alone = likelihood(likelihood.start_from(rows_of(x))), likelihood.independent_columns(rows_of(x))
    torch.testing.assert_close(start.log_prob(x), alone.log_prob(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("variance", ["per_column", "predicted"])
def test_untied_variances_are_those_of_the_columns(variance: ScaleKind) -> None:
    x = columns()
    p = Gaussian(4, variance).independent_columns(rows_of(x))
    np.testing.assert_allclose(p.mean.numpy(), x.numpy().mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(p.stddev.numpy(), x.numpy().std(0), rtol=1e-5)


@pytest.mark.parametrize("variance", FITTED)
@pytest.mark.parametrize("min_scale", [1e-5, math.exp(-6), 0.1])
def test_the_floor_is_half_log_two_pi_variance(variance: ScaleKind, min_scale: float) -> None:
    floor = -Gaussian(2, variance, min_scale=min_scale).max_log_prob()
    torch.testing.assert_close(floor, torch.full((2,), 0.5 * math.log(2 * math.pi * min_scale**2)))


@pytest.mark.parametrize(
    ("settings", "floor"),
    [
        ({}, -10.594),
        ({"min_scale": 0.0025}, -5.073),
        ({"min_scale": math.exp(-6)}, -5.081),
        ({"min_scale": math.exp(-5)}, -4.081),
        ({"variance": "fixed", "scale": 1.0}, 0.919),
        ({"variance": "fixed", "scale": 1e-4}, -8.291),
    ],
)
def test_published_floors(settings: dict, floor: float) -> None:
    assert -Gaussian(1, **settings).max_log_prob().item() == pytest.approx(floor, abs=6e-4)


@pytest.mark.parametrize("variance", FITTED)
@pytest.mark.parametrize("scale", [1e-6, 1e-5])
def test_columns_tighter_than_the_floor_are_held_at_it(variance: ScaleKind, scale: float) -> None:
    likelihood = Gaussian(3, variance)
    x = 0.5 + scale * torch.randn(200, 3)
    raw = likelihood.start_from(rows_of(x))
    for p in (likelihood(raw), likelihood.independent_columns(rows_of(x))):
        assert (p.stddev >= 1e-5 * (1 - 1e-5)).all()
        assert (p.stddev < 2e-5).all()
    raw.requires_grad_()
    likelihood(raw).log_prob(x).sum().backward()
    for tensor in (raw, *likelihood.parameters()):
        assert torch.isfinite(tensor.grad).all()
    for parameter in likelihood.parameters():
        assert (parameter.grad.abs() > 1e-3).all(), "a variance that starts at its floor must be able to leave it"


@pytest.mark.parametrize("variance", ["per_column", "predicted"])
def test_a_constant_column_keeps_the_variance_of_one_row_that_differs(variance: ScaleKind) -> None:
    """σ² = 1 / (N + 1), whatever is learned: it costs little, and a row that does differ is no catastrophe."""
    likelihood = Gaussian(2, variance)
    rows = rows_of(torch.full((20, 2), 0.5))
    raw = likelihood.start_from(rows)
    for p in (likelihood(raw), likelihood.independent_columns(rows)):
        torch.testing.assert_close(p.stddev.detach().square(), torch.full((2,), 1 / 21))
        assert likelihood.at_floor(p).item() == 0
    for parameter in likelihood.parameters():
        parameter.data.fill_(-1e8)
    raw[2:] = -1e8
    torch.testing.assert_close(likelihood(raw).stddev.detach().square(), torch.full((2,), 1 / 21))
    torch.testing.assert_close(likelihood.max_log_prob(), torch.full((2,), 0.5 * math.log(21 / (2 * math.pi))))


@pytest.mark.parametrize("variance", FITTED)
def test_the_share_at_the_floor_counts_what_sits_there(variance: ScaleKind) -> None:
    tight, wide = Gaussian(3, variance), Gaussian(3, variance)
    assert tight.at_floor(tight(tight.start_from(rows_of(1e-6 * torch.randn(10, 3))))).item() == 1
    assert wide.at_floor(wide(wide.start_from(rows_of(torch.randn(10, 3))))).item() == 0


def test_half_the_columns_at_the_floor_are_a_half() -> None:
    likelihood = Gaussian(4, "per_column")
    likelihood.scale.raw_log_var.data[:2] = -1e4
    assert likelihood.at_floor(likelihood(torch.zeros(5, 4))).item() == 0.5


def test_a_given_variance_is_never_at_its_floor() -> None:
    likelihood = Gaussian(2, "fixed", scale=1e-3)
    assert likelihood.at_floor(likelihood(torch.zeros(5, 2))).item() == 0


@pytest.mark.parametrize("momentum", [0.1, 1.0])
def test_optimal_tracks_a_running_mean_of_the_squared_error(momentum: float) -> None:
    likelihood = Gaussian(3, "optimal", momentum=momentum)
    expected = 1.0
    for _ in range(20):
        raw, x = torch.randn(4, 10, 3), 2 * torch.randn(10, 3)
        likelihood.update(likelihood.statistics(likelihood(raw), Batch(x)))
        error = ((x.numpy() - raw.numpy()) ** 2).mean()
        expected += momentum * (error - expected)
    assert likelihood(raw).stddev.square().max().item() == pytest.approx(expected, rel=1e-5)


def test_only_optimal_is_fitted_in_closed_form() -> None:
    assert [v for v in VARIANCES if Gaussian(3, v).statistics_size] == ["optimal"]


@pytest.mark.parametrize("variance", ["shared", "per_column"])
def test_gradient_descent_finds_the_variance_that_optimal_computes(variance: ScaleKind) -> None:
    x = columns() / 5
    likelihood = Gaussian(4, variance)
    raw = x.mean(0)
    optimizer = torch.optim.Adam(likelihood.parameters(), lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        (-likelihood(raw).log_prob(x).mean()).backward()
        optimizer.step()
    truth = x.numpy().var(0) if variance == "per_column" else np.full(4, x.numpy().var(0).mean())
    np.testing.assert_allclose(likelihood(raw).stddev.square().detach().numpy(), truth, rtol=1e-3)


@pytest.mark.parametrize("variance", ["per_column", "predicted"])
def test_a_change_of_units_changes_the_loss_by_the_sum_of_log_factors(variance: ScaleKind) -> None:
    """Affine equivariance (O20) of a family whose scales are free per column."""
    x, factor = columns(), torch.tensor([0.2, 3.0, 1.0, 0.5])
    nll = [
        -likelihood(likelihood.start_from(rows_of(rows))).log_prob(rows).sum(-1).mean().item()
        for likelihood, rows in ((Gaussian(4, variance), x), (Gaussian(4, variance), factor * x + 7.0))
    ]
    assert nll[1] - nll[0] == pytest.approx(factor.log().sum().item(), abs=1e-3)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"variance": "diagonal"},
            "The 'variance' parameter of Gaussian must be one of fixed, shared, per_column, predicted, optimal. "
            "Got 'diagonal' instead.",
        ),
        ({"scale": 0.0}, "The 'scale' parameter of Gaussian must be positive and finite. Got 0.0 instead."),
        ({"scale": math.nan}, "The 'scale' parameter of Gaussian must be positive and finite. Got nan instead."),
        ({"min_scale": 0.0}, "The 'min_scale' parameter of Gaussian must be between 0 and 1. Got 0.0 instead."),
        ({"min_scale": 1.0}, "The 'min_scale' parameter of Gaussian must be between 0 and 1. Got 1.0 instead."),
        ({"momentum": 0.0}, "The 'momentum' parameter of Gaussian must be above 0 and at most 1. Got 0.0 instead."),
        ({"momentum": 1.5}, "The 'momentum' parameter of Gaussian must be above 0 and at most 1. Got 1.5 instead."),
    ],
)
def test_bad_parameters_get_the_one_sentence(settings: dict, sentence: str) -> None:
    with pytest.raises(ConfigError) as error:
        Gaussian(3, **settings)
    assert str(error.value) == sentence
