"""Importance-sampled log p(x) against enumeration, Gauss-Hermite quadrature and models whose posterior is exact."""

import itertools
import math

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
from torch import Tensor

from vae_lightning.errors import ConfigError
from vae_lightning.inference import importance as estimate
from vae_lightning.likelihoods.bernoulli import Bernoulli
from vae_lightning.likelihoods.gaussian import Gaussian
from vae_lightning.model.vae import VAE
from vae_lightning.objectives.elbo import elbo, iwae

pytestmark = pytest.mark.usefixtures("one_thread")

STATES = torch.tensor(list(itertools.product([0.0, 1.0], repeat=5)))


def random_vae(latent_dim: int = 2) -> VAE:
    """Five binary columns under a posterior as wide as the prior: far from the truth, but with bounded weights."""
    vae = VAE(Bernoulli(5), latent_dim, hidden_dims=[8], activation="tanh")
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.normal_(0, 0.6)
        vae.heads.weight.mul_(0.5)
        vae.heads.weight[latent_dim:] = 0.0
        vae.heads.bias.zero_()
        vae.output.weight.mul_(2)
    return vae.double().eval()


def quadrature(vae: VAE, x: Tensor, points: int = 60) -> np.ndarray:
    """log ∫ p(x|z) N(z; 0, I) dz by Gauss-Hermite on a product grid."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(points)
    log_weights = np.log(weights / weights.sum())
    grid = torch.tensor(list(itertools.product(nodes, repeat=vae.latent_dim)), dtype=torch.float64)
    log_w = np.array([sum(w) for w in itertools.product(log_weights, repeat=vae.latent_dim)])
    with torch.no_grad():
        log_px = vae.decode(grid[:, None]).log_prob(x).sum(-1).numpy()
    return scipy.special.logsumexp(log_px + log_w[:, None], axis=0)


def exact_vae(columns: int = 4, latents: int = 2) -> tuple[VAE, Tensor, np.ndarray]:
    """A linear VAE whose encoder is its exact posterior, rows of it and their log p: all weights are equal."""
    rng = np.random.default_rng(0)
    weight = np.linalg.qr(rng.normal(size=(columns, latents)))[0] * np.arange(1, latents + 1)
    variance, mean = 0.49, rng.normal(size=columns)
    precision = weight.T @ weight + variance * np.eye(latents)
    vae = VAE(Gaussian(columns, "fixed", scale=math.sqrt(variance)), latents, hidden_dims=[]).double().eval()
    gain = np.linalg.solve(precision, weight.T)
    log_var = np.log(variance / np.diag(precision))
    with torch.no_grad():
        vae.output.weight.copy_(torch.tensor(weight))
        vae.output.bias.copy_(torch.tensor(mean))
        vae.heads.weight[:latents] = torch.tensor(gain)
        vae.heads.bias[:latents] = torch.tensor(-gain @ mean)
        vae.heads.bias[latents:] = torch.tensor(15.0 * np.arctanh(log_var / 15.0))
    marginal = scipy.stats.multivariate_normal(mean, weight @ weight.T + variance * np.eye(columns))
    x = marginal.rvs(37, random_state=1)
    return vae, torch.tensor(x), marginal.logpdf(x)


@pytest.mark.parametrize("latent_dim", [1, 2])
def test_agrees_with_gauss_hermite_quadrature(latent_dim: int) -> None:
    vae = random_vae(latent_dim)
    log_prob, error, _ = estimate.log_prob(vae, STATES.double(), num_samples=20_000)
    truth = quadrature(vae, STATES.double())
    assert np.exp(truth).sum() == pytest.approx(1, abs=1e-6)
    z_scores = (log_prob.numpy() - truth) / error.numpy()
    assert (np.abs(z_scores) < 5).all()
    assert 0 < error.max() < 0.1


def test_probabilities_of_all_states_sum_to_one() -> None:
    log_prob, error, _ = estimate.log_prob(random_vae(), STATES.double(), num_samples=20_000)
    probability = log_prob.exp()
    spread = (probability * error).norm()
    assert spread < 0.01
    assert abs(probability.sum() - 1) < 5 * spread


def test_an_exact_posterior_makes_every_draw_exact() -> None:
    vae, x, truth = exact_vae()
    for num_samples in (1, 7):
        log_prob, error, _ = estimate.log_prob(vae, x, num_samples)
        np.testing.assert_allclose(log_prob.numpy(), truth, rtol=1e-6)
    assert error.max() < 1e-3


def repeated(vae: VAE, x: Tensor, num_samples: int, repeats: int = 20_000) -> estimate.Estimate:
    return estimate.log_prob(vae, x.expand(repeats, -1), num_samples)


def test_bounds_rise_with_the_number_of_draws_and_stay_below_the_truth() -> None:
    """ELBO = L_1 <= L_k <= L_{k+1} <= log p(x)."""
    vae, x = random_vae(), STATES[11:12].double()
    with torch.no_grad():
        single = elbo(vae.terms(x, vae(x, 200_000)))
    estimates = [repeated(vae, x, k).log_prob for k in (1, 2, 4, 16)]
    means = [e.mean().item() for e in estimates]
    errors = [e.std().item() / math.sqrt(len(e)) for e in estimates]
    truth = quadrature(vae, x)[0]
    assert means[0] == pytest.approx(single.item(), abs=5 * errors[0])
    for lower, higher, error in zip(means, means[1:], errors, strict=False):
        assert higher > lower + 5 * error, "the model must have a gap for this test to say anything"
    assert means[-1] < truth


@pytest.mark.parametrize("num_samples", [1, 5])
def test_the_exponential_of_the_estimate_is_unbiased(num_samples: int) -> None:
    vae, x = random_vae(), STATES[11:12].double()
    probability = repeated(vae, x, num_samples).log_prob.exp()
    error = probability.std() / math.sqrt(len(probability))
    truth = math.exp(quadrature(vae, x)[0])
    assert error < 0.05 * truth
    assert abs(probability.mean() - truth) < 5 * error


@pytest.mark.parametrize("num_samples", [100, 400])
def test_the_standard_error_is_the_spread_over_repeats(num_samples: int) -> None:
    vae, x = random_vae(), STATES[20:21].double()
    log_prob, error, _ = repeated(vae, x, num_samples, repeats=4000)
    assert error.square().mean().sqrt().item() == pytest.approx(log_prob.std().item(), rel=0.1)


def test_iwae_is_the_same_number() -> None:
    vae, x = random_vae(), STATES.double()
    torch.manual_seed(3)
    ours = estimate.log_prob(vae, x, 50)
    torch.manual_seed(3)
    terms = vae.terms(x, vae(x, 50), densities=True)
    torch.testing.assert_close(ours.log_prob, iwae(terms).detach())
    torch.testing.assert_close(ours.log_px.double(), terms.log_px.mean(0).detach(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("max_elements", [1, 30, 100, 1000, 2**22])
def test_chunks_change_the_memory_and_not_the_answer(monkeypatch: pytest.MonkeyPatch, max_elements: int) -> None:
    vae, x, truth = exact_vae()
    with torch.no_grad():
        reference = vae.terms(x, vae(x, 4000)).log_px.mean()
    held, done = [], []
    vae.output.register_forward_hook(lambda _module, _inputs, output: held.append(output.numel()))
    monkeypatch.setattr(estimate, "MAX_ELEMENTS", max_elements)
    log_prob, error, log_px = estimate.log_prob(vae, x, num_samples=60, progress=done.append)
    np.testing.assert_allclose(log_prob.numpy(), truth, rtol=1e-6)
    assert log_prob.shape == error.shape == log_px.shape == (37,)
    assert error.max() < 1e-3
    assert log_px.mean().item() == pytest.approx(reference.item(), abs=0.15)
    assert sum(held) == 37 * 60 * 4
    assert max(held) <= max(max_elements, 4)
    assert sum(done) == 37


@pytest.mark.parametrize("max_elements", [400, 4000])
def test_chunks_leave_the_standard_error_as_it_is(monkeypatch: pytest.MonkeyPatch, max_elements: int) -> None:
    vae, x = random_vae(), STATES.double()
    whole = estimate.log_prob(vae, x, 1000)
    monkeypatch.setattr(estimate, "MAX_ELEMENTS", max_elements)
    parts = estimate.log_prob(vae, x, 1000)
    spread = (whole.standard_error**2 + parts.standard_error**2).sqrt()
    assert ((whole.log_prob - parts.log_prob).abs() < 5 * spread).all()
    torch.testing.assert_close(parts.standard_error.median(), whole.standard_error.median(), rtol=0.2, atol=0)


def test_hidden_units_count_as_memory_too(monkeypatch: pytest.MonkeyPatch) -> None:
    vae = VAE(Bernoulli(2), 2, hidden_dims=[64]).eval()
    held = []
    vae.decoder[0].register_forward_hook(lambda _module, _inputs, output: held.append(output.numel()))
    monkeypatch.setattr(estimate, "MAX_ELEMENTS", 640)
    estimate.log_prob(vae, torch.zeros(9, 2), num_samples=50)
    assert max(held) <= 640


def test_rows_thousands_of_nats_away_stay_finite() -> None:
    vae = VAE(Gaussian(100, "fixed", scale=0.1), 2).eval()
    x = torch.full((3, 100), 50.0)
    log_prob, error, _ = estimate.log_prob(vae, x, num_samples=10)
    truth = scipy.stats.norm(0, 0.1).logpdf(50.0) * 100
    assert log_prob.tolist() == pytest.approx([truth] * 3, rel=1e-4)
    assert torch.isfinite(error).all()


def test_no_gradient_is_kept() -> None:
    assert not estimate.log_prob(random_vae(), STATES.double(), 3).log_prob.requires_grad


def test_no_draws_are_an_error_in_one_sentence() -> None:
    with pytest.raises(ConfigError, match=r"^The 'num_samples' parameter of log_prob must be at least 1\. Got 0 "):
        estimate.log_prob(random_vae(), STATES.double(), 0)
