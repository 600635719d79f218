"""What every family promises of its distributions, asked of every family in every mode it has."""

import inspect
import math
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor

from tests.likelihoods.families import (
    DTYPES,
    EXTREMES,
    FAMILIES,
    MODERATE,
    C,
    Make,
    data_like,
    own_parameters_at,
    own_values,
    raw_grid,
    raw_like,
)
from vae_lightning.config.overrides import CONF
from vae_lightning.data.batch import Batch
from vae_lightning.data.store import RowsInMemory
from vae_lightning.likelihoods.base import Likelihood, Predictive
from vae_lightning.likelihoods.support import TINY, Support

pytestmark = pytest.mark.usefixtures("one_thread")

TESTS = Path(__file__).parent
OF_THE_FOLDER = {
    *("base", "bounds", "by_column", "contract", "contract_rows", "family", "location_scale", "moments", "scale"),
    *("codes", "entropy", "grids", "logarithms", "shape", "support"),
    "hurdle",
}


# The three files of a family.


def test_a_family_is_one_file_one_yaml_and_one_test_file() -> None:
    folder = Path(inspect.getfile(Likelihood)).parent
    files = {path.stem for path in folder.glob("*.py")} - OF_THE_FOLDER - {"__init__"}
    yamls = {path.stem: yaml.safe_load(path.read_text())["name"] for path in (CONF / "likelihood").glob("*.yaml")}
    tests = {path.stem.removeprefix("test_") for path in TESTS.glob("test_*.py")} - OF_THE_FOLDER
    assert yamls == {name: name for name in (*FAMILIES, "auto")}
    assert files == tests == set(FAMILIES)


def test_a_family_knows_the_name_it_is_chosen_by(make: Make) -> None:
    assert FAMILIES[make().name()] is type(make())


# Mass and draws.

MOST_POINTS = 4_000_000


def by_the_support(support: Support, p: Predictive) -> Tensor:
    """The total mass of every cell as the support itself sums it."""
    nodes, weights = support.grid(*p.bulk)
    return (weights * p.log_prob(nodes.to(p.mean.dtype)).double().exp()).sum(0)


def by_hand(support: Support, p: Predictive) -> Tensor:
    """The same by enumeration of whole numbers, or by Gauss-Legendre on 400 panels that meet at the mean."""
    mean, stddev = (part.detach().double() for part in p.bulk)
    if support.is_probability and not support.contains(torch.tensor(1e6)):
        points = torch.arange(1000.0, dtype=mean.dtype)
        points = points[support.contains(points)].view(-1, *[1] * mean.dim())
        return p.log_prob(points.to(p.mean.dtype)).double().exp().sum(0)
    if support.is_probability:
        low = (mean - 8 * stddev).floor().clamp_min(1)
        reach = 16 * stddev + 20 * stddev.square() / mean.clamp_min(1)  # the tails of some are exponential
        few = reach * reach.numel() < MOST_POINTS
        points = low + torch.arange(float(reach[few].max()) + 60, dtype=torch.float64).view(-1, *[1] * mean.dim())
        points = torch.cat([torch.zeros_like(points[:1]), points])  # which may have mass of its own
        legal = torch.where(support.contains(points), points, support.fill)
        mass = p.log_prob(legal.to(p.mean.dtype)).double().exp()
        # Mass over billions of counts is left to the support's own sum.
        return torch.where(few, torch.where(support.contains(points), mass, 0.0).sum(0), 1.0)
    if not support.contains(torch.tensor(-1.0)) and support.contains(torch.tensor(2.0)):
        return by_logarithms(support, p)
    if not support.contains(torch.tensor([-1.0, 0.0, 1.0, 2.0])).any():
        return by_logits(p)
    nodes, weights = (torch.as_tensor(a) for a in np.polynomial.legendre.leggauss(20))
    share = ((torch.arange(200.0, dtype=torch.float64)[:, None] + (nodes + 1) / 2) / 200).view(-1, *[1] * mean.dim())
    weights = (weights / 400).repeat(200).view(-1, *[1] * mean.dim())
    if support.contains(torch.tensor(-1.0)):
        # Panels that grow from the mean on, 20,000 deviations far: some tails fall as a power of x.
        growth = math.asinh(2e5)
        far, wide = 0.1 * torch.sinh(growth * share) * stddev, 0.1 * growth * torch.cosh(growth * share) * stddev
        ends = [(mean + sign * far, wide) for sign in (-1, 1)]
    else:
        ends = [
            (a + (b - a) * share, b - a) for a, b in ((torch.zeros_like(mean), mean), (mean, torch.ones_like(mean)))
        ]
    return sum(  # type: ignore[return-value]
        (weights * p.log_prob(x.to(p.mean.dtype)).double().exp() * width).sum(0) for x, width in ends
    )


def by_logarithms(support: Support, p: Predictive) -> Tensor:
    """By Gauss-Legendre on 400 panels of log x, down to the least number there is."""
    mean, stddev = (part.detach().double() for part in p.bulk)
    ratio = (stddev / mean).square()
    wide = 10 * torch.log1p(ratio).sqrt()
    middle = mean.log() - torch.log1p(ratio) / 2
    # Eight deviations of a log-normal hold its mass; a gamma's falls as a power of x, whose exponent is 1 / ratio.
    low = torch.maximum(torch.minimum(middle - wide, mean.log() - 20 * ratio), torch.tensor(math.log(TINY)).double())
    high = torch.maximum(middle + wide, mean.log() + torch.log1p(25 * ratio))
    nodes, weights = (torch.as_tensor(a) for a in np.polynomial.legendre.leggauss(20))
    share = ((torch.arange(400.0, dtype=torch.float64)[:, None] + (nodes + 1) / 2) / 400).view(-1, *[1] * mean.dim())
    x = (low + (high - low) * share).exp()
    density = torch.where(support.contains(x), p.log_prob(x.to(p.mean.dtype)).double(), -math.inf).exp()
    mass = ((weights / 800).repeat(400).view(-1, *[1] * mean.dim()) * density * x).sum(0) * (high - low)
    zero = torch.zeros_like(p.mean)
    return mass + p.log_prob(zero).double().exp() if support.contains(zero).all() else mass


def by_logits(p: Predictive) -> Tensor:
    """By Gauss-Legendre on 400 panels of log(x / (1 - x)), which grow from the mean's on as far as numbers go."""
    mean, stddev = (part.detach().double() for part in p.bulk)
    nodes, weights = (torch.as_tensor(a) for a in np.polynomial.legendre.leggauss(20))
    share = ((torch.arange(200.0, dtype=torch.float64)[:, None] + (nodes + 1) / 2) / 200).view(-1, *[1] * mean.dim())
    width = stddev / (mean * (1 - mean))
    growth = torch.asinh(100 / width)
    mass = torch.zeros_like(mean)
    for sign in (-1, 1):
        logit = torch.logit(mean) + sign * width * torch.sinh(growth * share)
        x = torch.sigmoid(logit).clamp(TINY, 1 - torch.finfo(torch.float64).eps / 2)
        slope = x * torch.sigmoid(-logit) * width * growth * torch.cosh(growth * share)
        density = p.log_prob(x.to(p.mean.dtype)).double().exp()
        mass += ((weights / 400).repeat(200).view(-1, *[1] * mean.dim()) * density * slope).sum(0)
    return mass


def are_fine(p: Predictive) -> Tensor:
    """Where floats near the mean are ten thousand times denser than the density is wide, so that it can be summed."""
    mean, stddev = p.bulk
    return torch.nextafter(mean, torch.full_like(mean, math.inf)) - mean < 1e-4 * stddev


@pytest.mark.parametrize(("total", "tolerance"), [(by_the_support, 2e-5), (by_hand, 1e-6)])
def test_mass_is_one_whatever_the_raw_output(
    make: Make, total: Callable[[Support, Predictive], Tensor], tolerance: float
) -> None:
    likelihood = make(1, torch.float64)
    for value in own_values(likelihood, -1e8, -2.0, 2.0, 1e8):
        own_parameters_at(likelihood, value)
        for raw in raw_grid(likelihood, (*EXTREMES, *MODERATE), torch.float64).split(32):
            p = likelihood(raw)
            mass = total(likelihood.supports[0], p)[are_fine(p)]
            torch.testing.assert_close(mass, torch.ones_like(mass), rtol=0, atol=tolerance)


@pytest.mark.parametrize("total", [by_the_support, by_hand])
def test_mass_is_one_in_single_precision(make: Make, total: Callable[[Support, Predictive], Tensor]) -> None:
    likelihood = make(1)
    mass = total(likelihood.supports[0], likelihood(raw_grid(likelihood, MODERATE, torch.float32)))
    torch.testing.assert_close(mass, torch.ones_like(mass), rtol=0, atol=2e-4)


@pytest.mark.parametrize("dtype", DTYPES)
def test_samples_lie_in_the_support(make: Make, dtype: torch.dtype) -> None:
    likelihood = make(1, dtype)
    raw = raw_grid(likelihood, (*EXTREMES, *MODERATE, 0.0), dtype)
    p = likelihood(raw.expand(500, *raw.shape))
    x = p.sample()
    assert x.shape == (500, len(raw), 1)
    assert not x.requires_grad
    assert likelihood.supports[0].contains(x).all()
    assert torch.isfinite(p.log_prob(x)).all()


def test_samples_have_the_mean_and_the_spread_that_the_distribution_states(make: Make) -> None:
    likelihood = make(1, torch.float64)
    raw = raw_grid(likelihood, MODERATE, torch.float64)
    p, x = likelihood(raw), likelihood(raw.expand(40_000, *raw.shape)).sample()
    error = torch.where(x.std(0) > 0, x.std(0), p.stddev) / 200  # none of so many draws need be a rare one
    assert ((x.mean(0) - p.mean).abs() < 5 * error).all()
    # What chance does to a standard deviation depends on the kurtosis: much where draws of a kind are rare.
    kurtosis = ((x - x.mean(0)) / x.std(0)).pow(4).mean(0)
    allowed = 5 * (kurtosis - 1).clamp_min(1e-9).sqrt() / 400 + 1e-3
    # Tails so heavy that no draws show the spread are left to the integral below.
    assert ((x.std(0) / p.stddev - 1).abs() < allowed)[kurtosis < 500].all()


def test_mean_and_spread_are_the_moments_of_the_density(make: Make) -> None:
    likelihood = make(1, torch.float64)
    p = likelihood(raw_grid(likelihood, MODERATE, torch.float64))
    nodes, weights = likelihood.supports[0].grid(*p.bulk)
    mass = weights * p.log_prob(nodes).exp()
    torch.testing.assert_close((mass * nodes).sum(0), p.mean, rtol=1e-4, atol=1e-4)
    second = (mass * (nodes - p.mean).square()).sum(0)
    torch.testing.assert_close(second.sqrt(), p.stddev.expand_as(second), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("scale", [1e-3, 1e-2, 0.1, 1.0])
def test_single_precision_agrees_with_double(make: Make, scale: float) -> None:
    """Mean, spread, log-density and its gradient: raw outputs near zero are where every training starts."""
    single, double = make(1), make(1, torch.float64)
    raw = scale * torch.linspace(-3, 3, 1001)[:, None].repeat(1, single.raw_size)
    x = data_like(single, 1001)
    results = []
    for likelihood, dtype in ((single, torch.float32), (double, torch.float64)):
        leaf = raw.to(dtype).requires_grad_()
        p = likelihood(leaf)
        log_prob = p.log_prob(x.to(dtype))
        (gradient,) = torch.autograd.grad(log_prob.sum(), leaf)
        results.append([value.detach().double() for value in (p.mean, p.stddev, log_prob, gradient)])
    for ours, truth in zip(*results, strict=True):
        torch.testing.assert_close(ours, truth, rtol=2e-4, atol=2e-4)


# The bound of the log-density.


def learn_constant_data(likelihood: Likelihood, dtype: torch.dtype) -> None:
    """Show the family rows without any spread, as often as it takes: what it does not learn shrinks to its floor."""
    batch = Batch(torch.zeros(8, 1, dtype=dtype))
    likelihood.start_from(RowsInMemory(batch))
    for _ in range(300 if likelihood.statistics_size else 0):
        likelihood.update(likelihood.statistics(likelihood(torch.zeros(8, likelihood.raw_size, dtype=dtype)), batch))


def likeliest(support: Support, p: Predictive) -> Tensor:
    """Legal values that are likely to have the greatest log-density: (K, ...)."""
    mean, stddev = (part.detach() for part in p.bulk)
    nodes, _ = support.grid(mean, stddev)
    x = torch.stack([mean, *nodes[[0, 1, -1]].to(mean.dtype), mean.round()])
    return torch.where(support.contains(x), x, p.sample())


def best_on_a_grid(likelihood: Likelihood, dtype: torch.dtype) -> float:
    """The largest log-density over raw outputs from -1e8 to 1e8 and the x that are likeliest to give it."""
    values = (*EXTREMES, *np.linspace(-40, 40, {1: 401, 2: 41}.get(likelihood.raw_size, 9)), -1e-3, 1e-3)
    p = likelihood(raw_grid(likelihood, tuple(map(float, values)), dtype))
    return p.log_prob(likeliest(likelihood.supports[0], p)).max().item()


def best_by_ascent(likelihood: Likelihood, dtype: torch.dtype) -> float:
    """The largest log-density that Adam finds over raw output and own parameters, x the likeliest at every step."""
    raw = raw_like(likelihood, 64, 3.0, dtype).requires_grad_()
    optimizer = torch.optim.Adam([raw, *likelihood.parameters()], lr=0.3)
    best = -math.inf
    for _ in range(150):
        p = likelihood(raw)
        log_prob = p.log_prob(likeliest(likelihood.supports[0], p)).amax(0)
        best = max(best, log_prob.max().item())
        optimizer.zero_grad()
        (-log_prob.sum()).backward()
        optimizer.step()
    return best


@pytest.mark.parametrize("dtype", DTYPES)
def test_max_log_prob_is_the_least_upper_bound(make: Make, dtype: torch.dtype) -> None:
    bound = make(1, dtype).max_log_prob()
    assert bound.shape == (1,)
    found = [best_by_ascent(make(1, dtype), dtype)]
    likelihood = make(1, dtype)
    for value in own_values(likelihood, -1e8, -10.0, 10.0, 1e8):
        own_parameters_at(likelihood, value)
        found.append(best_on_a_grid(likelihood, dtype))
    constant = make(1, dtype)
    learn_constant_data(constant, dtype)
    found.append(best_on_a_grid(constant, dtype))
    rounding = 1e-5 if dtype is torch.float32 else 1e-6
    assert max(found) <= bound.item() + rounding
    assert max(found) >= bound.item() - 1e-3, "the bound is never approached, so it is not the least"


def test_max_log_prob_of_a_probability_is_zero(make: Make) -> None:
    likelihood = make()
    assert likelihood.density_columns.tolist() == [not one.is_probability for one in likelihood.supports]
    assert likelihood.is_probability == (not likelihood.density_columns.any())
    assert (likelihood.max_log_prob()[~likelihood.density_columns] == 0).all()


# Gradients.


def test_extreme_raw_output_stays_finite_in_value_and_gradient(make: Make) -> None:
    likelihood = make()
    x = data_like(likelihood, 8)
    for extreme, own in product(EXTREMES, own_values(likelihood, *EXTREMES)):
        own_parameters_at(likelihood, own)
        likelihood.zero_grad()
        raw = raw_like(likelihood, 8)
        raw[:, ::2] = extreme
        raw[4:] = extreme
        raw.requires_grad_()
        p = likelihood(raw)
        log_prob = p.log_prob(x)
        log_prob.sum().backward()
        for tensor in (log_prob, p.mean, p.stddev, p.point, *(t.grad for t in (raw, *likelihood.parameters()))):
            assert torch.isfinite(tensor).all(), (extreme, own)


def test_every_raw_number_and_every_own_parameter_gets_a_gradient(make: Make) -> None:
    likelihood = make()
    x = data_like(likelihood, 100)
    raw = raw_like(likelihood, 100).requires_grad_()
    likelihood(raw).log_prob(x).sum().backward()
    assert (raw.grad != 0).any(0).all()  # of what lies under a zero nothing is said
    for parameter in likelihood.parameters():
        assert (parameter.grad != 0).all()


def test_gradients_are_those_of_finite_differences(make: Make) -> None:
    likelihood = make(dtype=torch.float64)
    x = data_like(likelihood, 3, torch.float64)
    raw = raw_like(likelihood, 3, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda raw, *_: likelihood(raw).log_prob(x), (raw, *likelihood.parameters()))


# Shapes.


def test_draws_are_leading_dimensions(make: Make) -> None:
    likelihood = make()
    x = data_like(likelihood, 5)
    raw = raw_like(likelihood, 3 * 5).view(3, 5, -1)
    p = likelihood(raw)
    shapes = [tuple(part.shape) for part in (p.mean, p.stddev, p.point, p.sample(), p.log_prob(x))]
    assert shapes == [(3, 5, C)] * 5
    one_by_one = [[likelihood(r).log_prob(row) for r, row in zip(draw, x, strict=True)] for draw in raw]
    torch.testing.assert_close(p.log_prob(x), torch.stack([torch.stack(rows) for rows in one_by_one]))


def test_one_columns_raw_numbers_do_not_touch_another_column(make: Make) -> None:
    likelihood = make()
    x = data_like(likelihood, 30)
    raw = raw_like(likelihood, 1)
    jacobian = torch.autograd.functional.jacobian(lambda r: likelihood(r).log_prob(x), raw).squeeze(2)
    touched = (jacobian != 0).any(0).int()
    assert (touched.sum(0) == 1).all()
    assert (touched.sum(1) == likelihood.raw_size // C).all()


def test_share_at_floor_is_a_share(make: Make) -> None:
    likelihood = make()
    for value in (None, -1e4, 1e4):
        own_parameters_at(likelihood, value)
        share = likelihood.at_floor(likelihood(raw_like(likelihood, 32)))
        assert share.shape == ()
        assert 0 <= share <= 1


def test_no_columns_is_an_error_in_one_sentence(make: Make) -> None:
    with pytest.raises(ValueError, match=r"^The 'num_columns' parameter of \w+ must be at least 1\. Got 0 instead\.$"):
        make(0)


def test_an_exposure_multiplies_the_means_of_counts_and_changes_nothing_else(make: Make) -> None:
    """A new family of counts that forgot of exposures would silently leave them out."""
    likelihood = make()
    raw, log_exposure = raw_like(likelihood, 5, dtype=torch.float64), torch.tensor([[-2.0], [0.0], [0.5], [1.0], [3.0]])
    likelihood.double()
    p = likelihood(raw)
    exposed = p.expose(log_exposure.double())
    factor = torch.where(likelihood.count_columns, log_exposure.exp(), 1.0).double()
    torch.testing.assert_close(exposed.mean, p.mean * factor)
    x = data_like(likelihood, 5, torch.float64)
    torch.testing.assert_close(p.expose(torch.zeros(5, 1)).log_prob(x), p.log_prob(x))
    twice = exposed.expose(-log_exposure.double())
    torch.testing.assert_close(twice.log_prob(x), p.log_prob(x))
    assert exposed.sample().shape == p.sample().shape
