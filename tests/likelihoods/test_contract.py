"""What every family promises, asked of every family in every mode it has."""

import importlib
import inspect
import math
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor
from torch.distributions import Distribution, constraints, transform_to

import vae_lightning.likelihoods as package
from vae_lightning.likelihoods.base import Likelihood

pytestmark = pytest.mark.usefixtures("one_thread")

FOLDER = Path(package.__file__).parent
CONF = FOLDER.parents[1] / "conf" / "likelihood"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in ("__init__", "base"))
EXTREMES = (-1e8, -1e4, 1e4, 1e8)
MODERATE = (-3.0, -1.0, -0.3, 0.4, 1.2, 2.5)
C = 4


def family(name: str) -> type[Likelihood]:
    """The one concrete family that the file ``name`` defines."""
    module = importlib.import_module(f"vae_lightning.likelihoods.{name}")
    found = [
        member
        for _, member in inspect.getmembers(module, inspect.isclass)
        if issubclass(member, Likelihood) and not inspect.isabstract(member) and member.__module__ == module.__name__
    ]
    assert len(found) == 1, f"{name}.py must define exactly one family, has {found}"
    return found[0]


def modes(name: str) -> list[dict[str, str]]:
    """Every combination of the choices that the constructor's ``Literal`` parameters offer."""
    hints = get_type_hints(family(name).__init__)
    choices = {key: get_args(hint) for key, hint in hints.items() if get_origin(hint) is Literal}
    return [dict(zip(choices, combination, strict=True)) for combination in product(*choices.values())]


MODES = [
    pytest.param((name, mode), id="-".join([name, *map(str, mode.values())])) for name in NAMES for mode in modes(name)
]
DTYPES = [torch.float32, torch.float64]

Make = Callable[..., Likelihood]


@pytest.fixture(params=MODES)
def make(request: pytest.FixtureRequest) -> Make:
    name, mode = request.param

    def build(num_columns: int = C, dtype: torch.dtype = torch.float32) -> Likelihood:
        return family(name)(num_columns, **mode).to(dtype)

    return build


def raw_like(likelihood: Likelihood, rows: int, scale: float = 1.5, dtype: torch.dtype = torch.float32) -> Tensor:
    return scale * torch.randn(rows, likelihood.raw_size * likelihood.num_columns, dtype=dtype)


def data_like(likelihood: Likelihood, rows: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Rows that the family itself calls likely: one draw with columns that differ from one another."""
    return likelihood(raw_like(likelihood, 1, dtype=dtype)).sample((rows,)).squeeze(1).detach()


def raw_grid(likelihood: Likelihood, values: tuple[float, ...], dtype: torch.dtype) -> Tensor:
    """Every combination of ``values`` for one column's raw numbers, repeated for all columns."""
    grid = torch.tensor(list(product(values, repeat=likelihood.raw_size)), dtype=dtype)
    return grid.repeat_interleave(likelihood.num_columns, dim=-1)


def total_mass(likelihood: Likelihood, p: Distribution) -> Tensor:
    """Σ or ∫ of p over its whole support, per column: enumeration or composite Gauss-Legendre quadrature."""
    if likelihood.discrete:
        wide = (p.mean + 60 * p.stddev).max().item()
        points = p.enumerate_support(expand=True) if p.has_enumerate_support else torch.arange(wide + 60)
        points = points if points.dim() > 1 else points.view(-1, *[1] * len(p.batch_shape))
        return p.log_prob(points.to(p.mean.dtype)).exp().sum(0)
    low, high = p.mean - 14 * p.stddev, p.mean + 14 * p.stddev
    support = likelihood.support
    low = low.clamp_min(getattr(support, "lower_bound", -math.inf))
    high = high.clamp_max(getattr(support, "upper_bound", math.inf))
    nodes, weights = (torch.as_tensor(a, dtype=p.mean.dtype) for a in np.polynomial.legendre.leggauss(20))
    panels = 200
    shape = (panels, 20, *[1] * len(p.batch_shape))
    left = torch.arange(panels, dtype=p.mean.dtype)[:, None]
    share = ((left + (nodes + 1) / 2) / panels).view(shape)
    density = p.log_prob(low + (high - low) * share).exp()
    return (density * (weights / (2 * panels)).view(1, 20, *shape[2:])).sum((0, 1)) * (high - low)


def own_parameters_at(likelihood: Likelihood, value: float | None) -> None:
    """Set every parameter of the family's own to ``value``; None leaves them."""
    if value is not None:
        for parameter in likelihood.parameters():
            parameter.data.fill_(value)


def learn_constant_data(likelihood: Likelihood, dtype: torch.dtype) -> None:
    """Show the family rows without any spread, as often as it takes: what it does not learn shrinks to its floor."""
    rows = torch.zeros(8, likelihood.num_columns, dtype=dtype)
    likelihood.start_from(rows)
    for _ in range(300):
        likelihood.observe(likelihood(raw_grid(likelihood, (0.0,), dtype)), rows)


@pytest.mark.parametrize("name", NAMES)
def test_a_family_is_one_file_one_yaml_and_one_test_file(name: str) -> None:
    target = yaml.safe_load((CONF / f"{name}.yaml").read_text())["_target_"]
    assert target == f"{family(name).__module__}.{family(name).__name__}"
    assert (Path(__file__).parent / f"test_{name}.py").is_file()


def test_no_yaml_and_no_test_file_lacks_its_family() -> None:
    assert sorted(path.stem for path in CONF.glob("*.yaml")) == NAMES
    tests = {path.stem.removeprefix("test_") for path in Path(__file__).parent.glob("test_*.py")}
    assert sorted(tests - {"contract", "base"}) == NAMES


def test_a_family_knows_the_name_it_is_chosen_by(make: Make) -> None:
    assert make().family in NAMES


@pytest.mark.parametrize("value", [None, -1e8, -2.0, 2.0, 1e8])
def test_mass_is_one_whatever_the_raw_output(make: Make, value: float | None) -> None:
    likelihood = make(1, torch.float64)
    own_parameters_at(likelihood, value)
    p = likelihood(raw_grid(likelihood, (*EXTREMES, *MODERATE), torch.float64))
    torch.testing.assert_close(total_mass(likelihood, p), torch.ones(p.batch_shape).double(), rtol=0, atol=1e-6)


def test_mass_is_one_in_single_precision(make: Make) -> None:
    likelihood = make(1)
    p = likelihood(raw_grid(likelihood, MODERATE, torch.float32))
    torch.testing.assert_close(total_mass(likelihood, p), torch.ones(p.batch_shape), rtol=0, atol=2e-4)


@pytest.mark.parametrize("dtype", DTYPES)
def test_samples_lie_in_the_support(make: Make, dtype: torch.dtype) -> None:
    likelihood = make(1, dtype)
    p = likelihood(raw_grid(likelihood, (*EXTREMES, *MODERATE, 0.0), dtype))
    x = p.sample((2000,))
    assert likelihood.support.check(x).all()
    assert torch.isfinite(p.log_prob(x)).all()


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


def test_samples_have_the_mean_and_the_spread_that_the_distribution_states(make: Make) -> None:
    likelihood = make(1, torch.float64)
    p = likelihood(raw_grid(likelihood, MODERATE, torch.float64))
    x = p.sample((40_000,))
    error = x.std(0) / 200
    assert ((x.mean(0) - p.mean).abs() < 5 * error).all()
    torch.testing.assert_close(x.std(0), p.stddev.expand_as(error), rtol=0.05, atol=0)


def best_on_a_grid(likelihood: Likelihood, dtype: torch.dtype) -> float:
    """The largest log-density over raw outputs from -1e8 to 1e8 and the x that are likeliest to give it."""
    values = (*EXTREMES, *np.linspace(-40, 40, 41 if likelihood.raw_size > 1 else 1601), -1e-3, 1e-3)
    p = likelihood(raw_grid(likelihood, tuple(map(float, values)), dtype))
    candidates = [p.mean, p.sample()]
    bounds = (getattr(likelihood.support, f"{side}_bound", None) for side in ("lower", "upper"))
    candidates += [torch.full_like(p.mean, float(bound)) for bound in bounds if bound is not None]
    return max(p.log_prob(x).max().item() for x in candidates)


def best_by_ascent(likelihood: Likelihood, dtype: torch.dtype) -> float:
    """The largest log-density that Adam finds over x, raw output and the family's own parameters together."""
    raw = raw_like(likelihood, 64, 3.0, dtype).requires_grad_()
    free_x = torch.randn(64, likelihood.num_columns, dtype=dtype, requires_grad=True)
    to_support = transform_to(likelihood.support)
    optimizer = torch.optim.Adam([raw, free_x, *likelihood.parameters()], lr=0.3)
    best = -math.inf
    for _ in range(200):
        log_prob = likelihood(raw).log_prob(to_support(free_x))
        best = max(best, log_prob.max().item())
        optimizer.zero_grad()
        (-log_prob.sum()).backward()
        optimizer.step()
    return best


def best_log_prob(make: Make, dtype: torch.dtype) -> float:
    found = []
    for value in (None, -1e8, -10.0, 10.0, 1e8):
        likelihood = make(1, dtype)
        own_parameters_at(likelihood, value)
        found.append(best_on_a_grid(likelihood, dtype))
    constant = make(1, dtype)
    learn_constant_data(constant, dtype)
    return max(*found, best_on_a_grid(constant, dtype), best_by_ascent(make(1, dtype), dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_max_log_prob_is_the_least_upper_bound(make: Make, dtype: torch.dtype) -> None:
    bound = make(1, dtype).max_log_prob()
    assert bound.shape == (1,)
    best = best_log_prob(make, dtype)
    rounding = 1e-5 if dtype is torch.float32 else 1e-6
    assert best <= bound.item() + rounding
    assert best >= bound.item() - 1e-3, "the bound is never approached, so it is not the least"


def test_max_log_prob_of_discrete_data_is_zero(make: Make) -> None:
    if make().discrete:
        assert (make().max_log_prob() == 0).all()


@pytest.mark.parametrize("extreme", EXTREMES)
@pytest.mark.parametrize("own", [None, *EXTREMES])
def test_extreme_raw_output_stays_finite_in_value_and_gradient(make: Make, extreme: float, own: float | None) -> None:
    likelihood = make()
    x = data_like(likelihood, 8)
    own_parameters_at(likelihood, own)
    raw = raw_like(likelihood, 8)
    raw[:, ::2] = extreme
    raw[4:] = extreme
    raw.requires_grad_()
    log_prob = likelihood(raw).log_prob(x)
    log_prob.sum().backward()
    assert torch.isfinite(log_prob).all()
    for tensor in (raw, *likelihood.parameters()):
        assert torch.isfinite(tensor.grad).all()


def test_every_raw_number_and_every_own_parameter_gets_a_gradient(make: Make) -> None:
    likelihood = make()
    x = data_like(likelihood, 16)
    raw = raw_like(likelihood, 16).requires_grad_()
    likelihood(raw).log_prob(x).sum().backward()
    for tensor in (raw, *likelihood.parameters()):
        assert (tensor.grad != 0).all()


def test_gradients_are_those_of_finite_differences(make: Make) -> None:
    likelihood = make(dtype=torch.float64)
    x = data_like(likelihood, 3, torch.float64)
    raw = raw_like(likelihood, 3, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda raw, *_: likelihood(raw).log_prob(x), (raw, *likelihood.parameters()))


def test_draws_are_leading_dimensions(make: Make) -> None:
    likelihood = make()
    x = data_like(likelihood, 5)
    raw = raw_like(likelihood, 3 * 5).view(3, 5, -1)
    p = likelihood(raw)
    assert tuple(p.batch_shape) == (3, 5, C)
    assert p.event_shape == ()
    one_by_one = torch.stack(
        [torch.stack([likelihood(r).log_prob(row) for r, row in zip(d, x, strict=True)]) for d in raw]
    )
    torch.testing.assert_close(p.log_prob(x), one_by_one)


def test_one_columns_raw_numbers_do_not_touch_another_column(make: Make) -> None:
    likelihood = make()
    x = data_like(likelihood, 1)
    raw = raw_like(likelihood, 1)
    jacobian = torch.autograd.functional.jacobian(lambda r: likelihood(r).log_prob(x).squeeze(0), raw).squeeze(1)
    touched = (jacobian != 0).int()
    assert (touched.sum(0) == 1).all()
    assert (touched.sum(1) == likelihood.raw_size).all()


def test_the_start_is_a_constant_that_never_beats_the_marginal(make: Make) -> None:
    likelihood = make(dtype=torch.float64)
    x = data_like(likelihood, 500, torch.float64)
    start = likelihood.start_from(x)
    assert start.shape == (likelihood.raw_size * C,)
    assert torch.isfinite(start).all()
    ours, best = (p.log_prob(x).mean(0) for p in (likelihood(start), likelihood.marginal(x)))
    assert (ours <= best + 1 / len(x)).all()


def test_no_constant_output_fits_better_than_the_marginal(make: Make) -> None:
    """An optimiser over constant outputs is the truth: over all rows it gains less than a nat a column."""
    likelihood = make(dtype=torch.float64)
    x = data_like(likelihood, 2000, torch.float64)
    raw = likelihood.start_from(x).requires_grad_()
    optimizer = torch.optim.LBFGS([raw, *likelihood.parameters()], max_iter=300, line_search_fn="strong_wolfe")

    def nll() -> Tensor:
        optimizer.zero_grad()
        loss = -likelihood(raw).log_prob(x).mean(0).sum()
        loss.backward()
        return loss

    optimizer.step(nll)
    fitted = likelihood.marginal(x).log_prob(x).mean(0).sum()
    assert (-nll() - fitted).abs() < C / len(x)


def test_the_marginal_ignores_the_order_of_the_rows_and_takes_new_ones(make: Make) -> None:
    likelihood = make()
    x = data_like(likelihood, 200)
    p, q = likelihood.marginal(x), likelihood.marginal(x.flip(0))
    new = data_like(likelihood, 7)
    assert p.log_prob(new).shape == (7, C)
    torch.testing.assert_close(p.log_prob(new), q.log_prob(new), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0, 1e4])
def test_no_prediction_falls_below_the_entropy_floor(make: Make, scale: float) -> None:
    likelihood = make(dtype=torch.float64)
    x = data_like(likelihood, 64, torch.float64)
    soft = torch.rand_like(x)
    for rows in (x, soft) if likelihood.support.check(soft).all() else (x,):
        for own in (None, -20.0, 20.0):
            own_parameters_at(likelihood, own)
            loss = -likelihood(raw_like(likelihood, 64, scale, torch.float64)).log_prob(rows).sum(-1)
            floor = likelihood.entropy_floor(rows)
            assert floor.shape == (64,)
            assert (loss >= floor - 1e-6).all()
            assert (floor >= -likelihood.max_log_prob().sum() - 1e-6).all()


def test_state_dict_carries_everything_the_family_has_learned(make: Make) -> None:
    first, second = make(), make()
    x = 3 * data_like(first, 100) if first.support is constraints.real else data_like(first, 100)
    raw = raw_like(first, 100)
    first.start_from(x)
    first.observe(first(raw), x)
    second.load_state_dict(first.state_dict(), strict=True)
    torch.testing.assert_close(first(raw).log_prob(x), second(raw).log_prob(x), rtol=0, atol=0)


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
