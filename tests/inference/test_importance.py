"""Importance-sampled log p(x) against enumeration, Gauss-Hermite quadrature and models whose posterior is exact."""

import itertools
import logging
import math

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
from torch import Tensor

from tests.models import forward
from vae_lightning.data.batch import Batch
from vae_lightning.errors import ConfigError
from vae_lightning.inference import importance
from vae_lightning.inference.importance import Estimate, log_prob
from vae_lightning.likelihoods.bernoulli import Bernoulli
from vae_lightning.likelihoods.gaussian import Gaussian
from vae_lightning.model.vae import VAE
from vae_lightning.objectives.elbo import elbo
from vae_lightning.objectives.iwae import iwae

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
    likelihood = Gaussian(columns, "fixed", scale=math.sqrt(variance))
    vae = VAE(likelihood, latents, hidden_dims=[], linear_path=False).double().eval()
    gain = np.linalg.solve(precision, weight.T)
    stddev = np.sqrt(variance / np.diag(precision))
    with torch.no_grad():
        vae.output.weight.copy_(torch.tensor(weight))
        vae.output.bias.copy_(torch.tensor(mean))
        vae.heads.weight[:latents] = torch.tensor(gain)
        vae.heads.bias.copy_(vae.posterior.raw_of(torch.tensor(stddev)))
        vae.heads.bias[:latents] = torch.tensor(-gain @ mean)
    marginal = scipy.stats.multivariate_normal(mean, weight @ weight.T + variance * np.eye(columns))
    x = marginal.rvs(37, random_state=1)
    return vae, torch.tensor(x), marginal.logpdf(x)


@pytest.mark.parametrize("latent_dim", [1, 2])
def test_agrees_with_gauss_hermite_quadrature(latent_dim: int) -> None:
    vae = random_vae(latent_dim)
    found, error, *_ = log_prob(vae, Batch(STATES.double()), num_samples=20_000)
    truth = quadrature(vae, STATES.double())
    assert np.exp(truth).sum() == pytest.approx(1, abs=1e-6)
    z_scores = (found.numpy() - truth) / error.numpy()
    assert (np.abs(z_scores) < 5).all()
    assert 0 < error.max() < 0.1


def test_probabilities_of_all_states_sum_to_one() -> None:
    found, error, *_ = log_prob(random_vae(), Batch(STATES.double()), num_samples=20_000)
    probability = found.exp()
    spread = (probability * error).norm()
    assert spread < 0.01
    assert abs(probability.sum() - 1) < 5 * spread


def test_an_exact_posterior_makes_every_draw_exact() -> None:
    vae, x, truth = exact_vae()
    for num_samples in (1, 7):
        found, error, *_ = log_prob(vae, Batch(x), num_samples)
        np.testing.assert_allclose(found.numpy(), truth, rtol=1e-6)
    assert error.max() < 1e-3


def repeated(vae: VAE, x: Tensor, num_samples: int, repeats: int = 20_000) -> Estimate:
    return log_prob(vae, Batch(x.expand(repeats, -1)), num_samples)


def test_bounds_rise_with_the_number_of_draws_and_stay_below_the_truth() -> None:
    """ELBO = L_1 <= L_k <= L_{k+1} <= log p(x)."""
    vae, x = random_vae(), STATES[11:12].double()
    with torch.no_grad():
        single = elbo(forward(vae, x, 200_000))
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
    found, error, *_ = repeated(vae, x, num_samples, repeats=4000)
    assert error.square().mean().sqrt().item() == pytest.approx(found.std().item(), rel=0.1)


def test_iwae_is_the_same_number_and_the_terms_are_means_over_the_same_draws() -> None:
    vae, x = random_vae(), STATES.double()
    torch.manual_seed(3)
    ours = log_prob(vae, Batch(x), 50)
    torch.manual_seed(3)
    with torch.no_grad():
        terms = forward(vae, x, 50, densities=True)
    torch.testing.assert_close(ours.log_prob, iwae(terms))
    torch.testing.assert_close(ours.log_px, terms.log_px.sum(-1).mean(0))
    torch.testing.assert_close(ours.kl, (terms.log_qz - terms.log_pz).mean(0))


def test_the_sampled_kl_is_the_exact_one_up_to_its_error() -> None:
    vae, x = random_vae(), STATES.double()
    with torch.no_grad():
        terms = forward(vae, x, 5000, densities=True)
    error = (terms.log_qz - terms.log_pz).std(0) / math.sqrt(5000)
    sampled = log_prob(vae, Batch(x), 5000).kl
    assert ((sampled - terms.kl.sum(-1)).abs() < 5 * error).all()


def test_a_masked_model_of_fewer_columns_is_the_model_without_them() -> None:
    """log p of the observed cells: that of a decoder that has these columns alone."""
    vae, x = random_vae(), STATES.double()
    mask = torch.tensor([True, False, True, True, False]).expand_as(x)
    part = VAE(Bernoulli(3), 2, hidden_dims=[8], activation="tanh").double().eval()
    kept = [0, 2, 3]
    with torch.no_grad():
        for ours, theirs in zip(part.parameters(), vae.parameters(), strict=True):
            ours.copy_(theirs[:, kept] if theirs.shape == (8, 5) else theirs[kept] if len(theirs) == 5 else theirs)
        truth = quadrature(part, x[:, kept])
    found, error, *_ = log_prob(vae, Batch(x, mask), 5000)
    assert (np.abs(found.numpy() - truth) < 5 * error.numpy()).all()
    assert error.max() < 0.1


@pytest.mark.parametrize("max_elements", [1, 30, 100, 1000, 2**22])
def test_chunks_change_the_memory_and_not_the_answer(monkeypatch: pytest.MonkeyPatch, max_elements: int) -> None:
    vae, x, truth = exact_vae()
    with torch.no_grad():
        reference = forward(vae, x, 4000).reconstruction.mean()
    held, done = [], []
    vae.output.register_forward_hook(lambda _module, _inputs, output: held.append(output.numel()))
    monkeypatch.setattr(importance, "MAX_ELEMENTS", max_elements)
    found, error, log_px, kl = log_prob(vae, Batch(x), num_samples=60, progress=done.append)
    np.testing.assert_allclose(found.numpy(), truth, rtol=1e-6)
    assert found.shape == error.shape == log_px.shape == kl.shape == (37,)
    assert error.max() < 1e-3
    assert -log_px.mean().item() == pytest.approx(reference.item(), abs=0.15)
    torch.testing.assert_close(log_px - kl, found, rtol=1e-6, atol=1e-6)  # every draw is exact, so is their mean
    assert sum(held) == 37 * 60 * 4
    assert max(held) <= max(max_elements, 4)
    assert sum(done) == 37


@pytest.mark.parametrize("max_elements", [400, 4000])
def test_chunks_leave_the_standard_error_as_it_is(monkeypatch: pytest.MonkeyPatch, max_elements: int) -> None:
    vae, x = random_vae(), STATES.double()
    whole = log_prob(vae, Batch(x), 1000)
    monkeypatch.setattr(importance, "MAX_ELEMENTS", max_elements)
    parts = log_prob(vae, Batch(x), 1000)
    spread = (whole.standard_error**2 + parts.standard_error**2).sqrt()
    assert ((whole.log_prob - parts.log_prob).abs() < 5 * spread).all()
    torch.testing.assert_close(parts.standard_error.median(), whole.standard_error.median(), rtol=0.2, atol=0)


def test_hidden_units_count_as_memory_too(monkeypatch: pytest.MonkeyPatch) -> None:
    vae = VAE(Bernoulli(2), 2, hidden_dims=[64]).eval()
    held = []
    vae.decoder[0].register_forward_hook(lambda _module, _inputs, output: held.append(output.numel()))
    monkeypatch.setattr(importance, "MAX_ELEMENTS", 640)
    log_prob(vae, Batch(torch.zeros(9, 2)), num_samples=50)
    assert max(held) <= 640


def test_rows_thousands_of_nats_away_stay_finite() -> None:
    vae = VAE(Gaussian(100, "fixed", scale=0.1), 2).eval()
    x = torch.full((3, 100), 50.0)
    found, error, *_ = log_prob(vae, Batch(x), num_samples=10)
    truth = scipy.stats.norm(0, 0.1).logpdf(50.0) * 100
    assert found.tolist() == pytest.approx([truth] * 3, rel=1e-4)
    assert torch.isfinite(error).all()


def test_no_gradient_is_kept() -> None:
    assert not log_prob(random_vae(), Batch(STATES.double()), 3).log_prob.requires_grad


def test_no_draws_are_an_error_in_one_sentence() -> None:
    with pytest.raises(ConfigError, match=r"^The 'num_samples' parameter of log_prob must be at least 1\. Got 0 "):
        log_prob(random_vae(), Batch(STATES.double()), 0)


@pytest.mark.parametrize("masked", [False, True])
def test_compiled_densities_are_the_eager_ones(masked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine rows, four at a time: the last one is no full chunk, and stays eager."""
    torch.manual_seed(0)
    vae = VAE(Gaussian(3), latent_dim=2, hidden_dims=[4]).eval()
    x = torch.randn(9, 3)
    batch = Batch(x, mask=x > -1 if masked else None)
    monkeypatch.setattr("vae_lightning.inference.importance.MAX_ELEMENTS", 4 * 4 * 50)
    found = []
    for compile in (False, True):
        torch.manual_seed(1)
        found.append(log_prob(vae, batch, num_samples=100, compile=compile))
    torch.testing.assert_close(found[1], found[0], rtol=1e-5, atol=1e-5)


def test_where_densities_cannot_be_compiled_that_is_said_and_they_are_evaluated(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("No working C++ compiler was found\nand much more")

    torch.manual_seed(0)
    vae = VAE(Gaussian(3), latent_dim=2, hidden_dims=[4]).eval()
    batch = Batch(torch.randn(5, 3))
    torch.manual_seed(1)
    expected = log_prob(vae, batch, num_samples=10, compile=False)
    monkeypatch.setattr("vae_lightning.inference.importance.as_program", lambda _: broken)
    torch.manual_seed(1)
    with caplog.at_level(logging.INFO, "vae_lightning"):
        found = log_prob(vae, batch, num_samples=10, compile=True)
    assert all(map(torch.equal, found, expected))
    assert caplog.messages == [
        "Densities are not compiled: torch.compile has failed (No working C++ compiler was found)."
    ]
