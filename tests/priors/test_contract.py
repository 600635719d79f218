"""What every prior promises."""

import inspect
import math
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch
import yaml
from torch import Tensor

from vae_lightning.config.overrides import CONF
from vae_lightning.posteriors.gaussian import DiagonalGaussian
from vae_lightning.priors.base import Prior

pytestmark = pytest.mark.usefixtures("one_thread")

FAMILIES = Prior.families()
L, B, DRAWS = 2, 6, 20_000
GRID = torch.linspace(-40, 40, 80_001, dtype=torch.float64)


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> type[Prior]:
    return FAMILIES[request.param]


def trained(family: type[Prior], latent_dim: int = L) -> Prior:
    """With parameters that training might have led to."""
    prior = family(latent_dim).double()
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.normal_()
    return prior


def posterior(latent_dim: int = L) -> DiagonalGaussian:
    return DiagonalGaussian(*torch.randn(2, B, latent_dim, dtype=torch.float64), 15.0)


def draws(q: DiagonalGaussian, count: int = DRAWS) -> Tensor:
    return q.rsample(torch.randn(count, *q.mean.shape, dtype=q.mean.dtype))


def test_a_prior_is_one_file_one_yaml_and_one_test_file() -> None:
    files = {path.stem for path in Path(inspect.getfile(Prior)).parent.glob("*.py")} - {"__init__", "base"}
    yamls = {path.stem: yaml.safe_load(path.read_text())["name"] for path in (CONF / "prior").glob("*.yaml")}
    tests = {path.stem.removeprefix("test_") for path in Path(__file__).parent.glob("test_*.py")} - {"contract"}
    assert yamls == {name: name for name in FAMILIES}
    assert files == tests == set(FAMILIES)


def test_shapes(family: type[Prior]) -> None:
    prior, q = trained(family), posterior()
    assert prior.sample(7).shape == (7, L)
    assert not prior.sample(7).requires_grad
    assert prior.log_prob(torch.zeros(4, 5, L, dtype=torch.float64)).shape == (4, 5)
    assert prior.kl(q, draws(q, 3)).shape == ((B, L) if prior.kl_is_exact else (B, 1))


def test_the_density_of_one_dimension_integrates_to_one(family: type[Prior]) -> None:
    for prior in (family(1).double(), trained(family, 1)):
        mass = torch.trapezoid(prior.log_prob(GRID[:, None]).exp(), GRID)
        assert mass.item() == pytest.approx(1, abs=1e-6)


def test_samples_follow_the_density(family: type[Prior]) -> None:
    """Kolmogorov-Smirnov against the integral of the density."""
    prior = trained(family, 1)
    cdf = torch.cumulative_trapezoid(prior.log_prob(GRID[:, None]).exp().detach(), GRID).numpy()
    z = prior.sample(DRAWS).squeeze(-1).numpy()
    assert scipy.stats.kstest(z, lambda x: np.interp(x, GRID[1:].numpy(), cdf)).pvalue > 1e-3


def test_samples_of_several_dimensions_follow_the_density(family: type[Prior]) -> None:
    """E_p[n(z) / p(z)] = 1 for a normal n that lies well within the draws: dimensions are drawn together."""
    prior = trained(family)
    z = prior.sample(DRAWS)
    narrow = scipy.stats.norm(z.mean(0).numpy(), 0.5 * z.std(0).numpy()).logpdf(z.numpy()).sum(-1)
    ratio = np.exp(narrow - prior.log_prob(z).detach().numpy())
    assert abs(ratio.mean() - 1) < 6 * ratio.std() / math.sqrt(DRAWS)


def test_the_same_seed_gives_the_same_sample(family: type[Prior]) -> None:
    prior = trained(family)
    found = []
    for _ in range(2):
        torch.manual_seed(3)
        found.append(prior.sample(5))
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)


def test_a_lower_temperature_draws_closer_together_and_zero_draws_no_noise(family: type[Prior]) -> None:
    prior = trained(family)
    spreads = [prior.sample(5000, temperature).std(0).norm() for temperature in (0.1, 0.5, 1.0, 2.0)]
    assert spreads == sorted(spreads)
    cold = prior.sample(1000, 0.0)
    assert torch.isfinite(cold).all()
    assert cold.mul(1e6).round().unique(dim=0).shape[0] <= 50, "at temperature 0 only the most likely points are left"


def test_kl_is_the_integral_of_the_log_ratio(family: type[Prior]) -> None:
    """In one dimension, by the trapezoidal rule: exact, or the mean of an unbiased estimate."""
    prior, q = trained(family, 1), posterior(1)
    z = GRID[:, None, None]
    log_q = q.log_prob(z.expand(-1, B, 1))
    truth = torch.trapezoid(log_q.exp() * (log_q - prior.log_prob(z)), GRID, dim=0).detach()
    sample = draws(q)
    ratio = q.log_prob(sample) - prior.log_prob(sample).detach()
    allowed = 1e-6 if prior.kl_is_exact else 5 * ratio.std(0) / math.sqrt(DRAWS)
    assert ((prior.kl(q, sample).sum(-1).detach() - truth).abs() < allowed).all()


def test_an_exact_kl_is_never_negative_whatever_the_draws(family: type[Prior]) -> None:
    prior, q = trained(family), posterior()
    if not prior.kl_is_exact:
        return
    one, other = prior.kl(q, draws(q, 1)), prior.kl(q, draws(q, 1))
    assert (one >= 0).all()
    torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_it_starts_as_good_as_standard_normal(family: type[Prior]) -> None:
    """An untrained encoder says N(0, I): the KL must start near 0."""
    q = DiagonalGaussian(torch.zeros(B, L), torch.zeros(B, L), 15.0)
    kl = family(L).kl(q, draws(q)).sum(-1)
    assert (kl.abs() < 0.02 * L).all()


def test_every_parameter_gets_a_gradient_and_extremes_stay_finite(family: type[Prior]) -> None:
    for value in (None, -1e8, 1e8):
        prior = family(L)
        q = DiagonalGaussian(torch.randn(B, L), torch.zeros(B, L), 15.0)
        for name, parameter in prior.named_parameters():
            if value is not None and "mean" not in name:  # where the prior stands far away, the KL is honestly huge
                parameter.data.fill_(value)
        kl = prior.kl(q, draws(q, 3))
        assert torch.isfinite(kl).all()
        assert torch.isfinite(prior.sample(5)).all()
        if list(prior.parameters()):
            kl.sum().backward()
        for parameter in prior.parameters():
            assert torch.isfinite(parameter.grad).all()
            assert value is not None or (parameter.grad != 0).all()


def test_no_latent_dimensions_are_an_error_in_one_sentence(family: type[Prior]) -> None:
    with pytest.raises(ValueError, match=r"^The 'latent_dim' parameter of \w+ must be at least 1\. Got 0 instead\.$"):
        family(0)
