"""What every family of posteriors promises."""

import inspect
import math
from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor

from vae_lightning.config.overrides import CONF
from vae_lightning.posteriors.base import Posterior, PosteriorFamily

pytestmark = pytest.mark.usefixtures("one_thread")

FAMILIES = PosteriorFamily.families()
L, B, DRAWS = 3, 5, 40_000


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> type[PosteriorFamily]:
    return FAMILIES[request.param]


def some(family: type[PosteriorFamily], latent_dim: int = L, rows: int = B, scale: float = 1.0) -> Posterior:
    module = family(latent_dim).double()
    return module(scale * torch.randn(rows, module.raw_size, dtype=torch.float64))


def draws(family: type[PosteriorFamily], q: Posterior, count: int = DRAWS) -> Tensor:
    noise_size = family(q.mean.shape[-1]).noise_size
    return q.rsample(torch.randn(count, len(q.mean), noise_size, dtype=q.mean.dtype))


def standard_normal(z: Tensor) -> Tensor:
    return -0.5 * (z.square() + math.log(2 * math.pi)).sum(-1)


def test_a_family_is_one_file_one_yaml_and_one_test_file() -> None:
    files = {path.stem for path in Path(inspect.getfile(PosteriorFamily)).parent.glob("*.py")} - {"__init__", "base"}
    yamls = {path.stem: yaml.safe_load(path.read_text())["name"] for path in (CONF / "posterior").glob("*.yaml")}
    tests = {path.stem.removeprefix("test_") for path in Path(__file__).parent.glob("test_*.py")} - {"contract"}
    assert yamls == {name: name for name in FAMILIES}
    assert files == tests == set(FAMILIES)


def test_shapes(family: type[PosteriorFamily]) -> None:
    q = some(family)
    z = draws(family, q, 7)
    assert q.mean.shape == q.stddev.shape == (B, L)
    assert z.shape == (7, B, L)
    assert q.log_prob(z).shape == (7, B)
    assert (q.stddev > 0).all()


def test_draws_have_the_mean_and_the_spread_that_it_states(family: type[PosteriorFamily]) -> None:
    q = some(family)
    z = draws(family, q)
    assert ((z.mean(0) - q.mean).abs() < 5 * q.stddev / math.sqrt(DRAWS)).all()
    torch.testing.assert_close(z.std(0), q.stddev, rtol=0.05, atol=0)


def test_the_same_noise_gives_the_same_draws(family: type[PosteriorFamily]) -> None:
    q = some(family)
    noise = torch.randn(3, B, family(L).noise_size, dtype=torch.float64)
    torch.testing.assert_close(q.rsample(noise), q.rsample(noise), rtol=0, atol=0)


def test_the_density_of_one_dimension_integrates_to_one(family: type[PosteriorFamily]) -> None:
    q = some(family, latent_dim=1)
    steps = torch.linspace(-15, 15, 6001, dtype=torch.float64)[:, None, None]
    z = q.mean + q.stddev * steps
    mass = torch.trapezoid(q.log_prob(z).exp(), z.squeeze(-1), dim=0)
    torch.testing.assert_close(mass, torch.ones(B, dtype=torch.float64), rtol=0, atol=1e-6)


def test_the_density_is_that_of_the_draws(family: type[PosteriorFamily]) -> None:
    """E_q[N(z; 0, I) / q(z)] = 1 only where the density is that of what is drawn."""
    q = some(family, scale=0.3)
    z = draws(family, q)
    ratio = (standard_normal(z) - q.log_prob(z)).exp()
    assert ((ratio.mean(0) - 1).abs() < 6 * ratio.std(0) / math.sqrt(DRAWS)).all()


def test_an_exact_kl_is_never_negative_and_the_mean_of_the_log_ratio(family: type[PosteriorFamily]) -> None:
    q = some(family)
    kl = q.kl_to_standard_normal()
    assert (kl is not None) == family.kl_is_exact
    if kl is None:
        return
    assert kl.shape == (B, L)
    assert (kl >= 0).all()
    z = draws(family, q)
    ratio = q.log_prob(z) - standard_normal(z)
    assert ((ratio.mean(0) - kl.sum(-1)).abs() < 5 * ratio.std(0) / math.sqrt(DRAWS)).all()


@pytest.mark.parametrize("extreme", [-1e8, -1e4, 1e4, 1e8])
def test_extreme_raw_numbers_stay_finite_in_value_and_gradient(family: type[PosteriorFamily], extreme: float) -> None:
    module = family(L)
    raw = torch.randn(B, module.raw_size)
    raw[:, ::2] = extreme
    raw[3:] = extreme
    raw.requires_grad_()
    q = module(raw)
    z = q.rsample(torch.randn(2, B, module.noise_size))
    values = [q.mean, q.stddev, z, q.log_prob(z), *q.health().values()]
    assert all(torch.isfinite(value).all() for value in values)
    (q.log_prob(z).sum() + z.sum()).backward()
    assert torch.isfinite(raw.grad).all()


def test_draws_and_density_carry_a_gradient_to_every_raw_number(family: type[PosteriorFamily]) -> None:
    module = family(L)
    raw = torch.randn(B, module.raw_size, requires_grad=True)
    q = module(raw)
    z = q.rsample(torch.randn(2, B, module.noise_size))
    (standard_normal(z) - q.log_prob(z)).sum().backward()
    assert (raw.grad != 0).all()


def test_a_rows_posterior_does_not_depend_on_the_other_rows(family: type[PosteriorFamily]) -> None:
    module = family(L)
    raw, noise = torch.randn(B, module.raw_size), torch.randn(2, B, module.noise_size)
    whole = module(raw)
    for row in range(B):
        alone = module(raw[row, None])
        torch.testing.assert_close(alone.mean[0], whole.mean[row])
        z = alone.rsample(noise[:, row, None])
        torch.testing.assert_close(z[:, 0], whole.rsample(noise)[:, row])
        torch.testing.assert_close(alone.log_prob(z)[:, 0], whole.log_prob(whole.rsample(noise))[:, row])


def test_its_health_are_shares_whose_names_do_not_depend_on_the_rows(family: type[PosteriorFamily]) -> None:
    names = set()
    for scale in (0.0, 1.0, 1e6):
        health = some(family, scale=scale).health()
        names.add(tuple(health))
        for share in health.values():
            assert share.shape == (B,)
            assert ((share >= 0) & (share <= 1)).all()
    assert len(names) == 1


def test_it_starts_near_the_prior_but_not_on_a_saddle(family: type[PosteriorFamily]) -> None:
    """A head of unit-variance features and the usual weights, times the initial gain, says next to nothing."""
    module = family(L).double()
    gain = module.initial_gain()
    assert gain.shape == (module.raw_size,)
    assert (gain != 0).any()
    q = module(gain.double() * torch.randn(2000, module.raw_size, dtype=torch.float64) / math.sqrt(3))
    z = draws(family, q, 20)
    assert 0 < (q.log_prob(z) - standard_normal(z)).mean() < 0.02 * L


def test_no_latent_dimensions_are_an_error_in_one_sentence(family: type[PosteriorFamily]) -> None:
    with pytest.raises(ValueError, match=r"^The 'latent_dim' parameter of \w+ must be at least 1\. Got 0 instead\.$"):
        family(0)
