"""Linear models against their closed forms: probabilistic PCA, factor analysis, the gap of a diagonal posterior."""

import math
from typing import NamedTuple

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from tests.models import forward, rows_of, train
from vae_lightning.data.batch import Batch
from vae_lightning.inference import importance
from vae_lightning.likelihoods.bounds import smooth_bound_inverse
from vae_lightning.likelihoods.gaussian import Gaussian
from vae_lightning.model.vae import VAE
from vae_lightning.objectives.elbo import elbo

pytestmark = pytest.mark.usefixtures("one_thread", "flush_denormal")

COLUMNS, LATENTS, ROWS = 8, 4, 2000


# Linear VAE = probabilistic PCA (Tipping & Bishop 1999; Lucas et al. 2019).


class PPCA(NamedTuple):
    """The maximum-likelihood fit in closed form: mean, eigenvalues (descending), noise variance, covariance."""

    mean: np.ndarray
    eigenvalues: np.ndarray
    noise: float
    covariance: np.ndarray

    @classmethod
    def fit(cls, x: np.ndarray) -> "PPCA":
        values, vectors = np.linalg.eigh(np.cov(x.T, bias=True))
        values, vectors = values[::-1], vectors[:, ::-1]
        noise = values[LATENTS:].mean()
        weight = vectors[:, :LATENTS] * np.sqrt(values[:LATENTS] - noise)
        return cls(x.mean(0), values, noise, weight @ weight.T + noise * np.eye(COLUMNS))

    def log_prob(self, x: np.ndarray) -> float:
        return scipy.stats.multivariate_normal(self.mean, self.covariance).logpdf(x).mean()


class Linear(NamedTuple):
    """A linear VAE's numbers in double precision."""

    weight: np.ndarray
    bias: np.ndarray
    noise: float
    loc: np.ndarray
    var: np.ndarray

    @classmethod
    def of(cls, vae: VAE, x: Tensor) -> "Linear":
        with torch.no_grad():
            posterior, px = vae.encode(Batch(x)), vae.decode(torch.zeros(1, vae.latent_dim, dtype=x.dtype))
        noise = px.stddev.double().square().flatten()[0].item()
        weight, bias = vae.output.weight, vae.output.bias
        tensors = (weight, bias, posterior.mean, posterior.log_var.exp())
        weight, bias, loc, var = (t.detach().double().numpy() for t in tensors)
        return cls(weight, bias, noise, loc, var)

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        covariance = self.weight @ self.weight.T + self.noise * np.eye(len(self.bias))
        return scipy.stats.multivariate_normal(self.bias, covariance).logpdf(x)

    def kl(self) -> np.ndarray:
        return 0.5 * (self.loc**2 + self.var - 1 - np.log(self.var))

    def elbo(self, x: np.ndarray) -> np.ndarray:
        """E_q[log p(x|z)] - KL in closed form: no draws."""
        squares = ((x - self.loc @ self.weight.T - self.bias) ** 2).sum(1) + self.var @ (self.weight**2).sum(0)
        log_px = -0.5 * (len(self.bias) * np.log(2 * np.pi * self.noise) + squares / self.noise)
        return log_px - self.kl().sum(1)

    def precision(self) -> np.ndarray:
        return self.weight.T @ self.weight + self.noise * np.eye(self.weight.shape[1])


class Trained(NamedTuple):
    vae: VAE
    train: Tensor
    test: Tensor
    ppca: PPCA


@pytest.fixture(scope="module")
def linear() -> Trained:
    """A linear VAE trained on rows of a three-dimensional subspace with noise."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    weight = np.linalg.qr(rng.normal(size=(COLUMNS, 3)))[0] * [2.0, 1.4, 1.0]
    x = rng.normal(size=(2 * ROWS, 3)) @ weight.T + 0.5 * rng.normal(size=(2 * ROWS, COLUMNS))
    x += rng.normal(size=COLUMNS)
    rows, test = torch.tensor(x, dtype=torch.float32).split(ROWS)
    vae = VAE(Gaussian(COLUMNS, "shared"), LATENTS, hidden_dims=[], linear_path=False)
    vae.start_from(rows_of(rows))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    train(vae, rows, lr=2e-2, batch_size=ROWS, epochs=1500)
    torch.set_num_threads(threads)
    return Trained(vae, rows, test, PPCA.fit(rows.double().numpy()))


def test_the_closed_form_optimum_is_the_density_of_the_fit(linear: Trained) -> None:
    values, noise = linear.ppca.eigenvalues[:LATENTS], linear.ppca.noise
    log_det = np.log(values).sum() + (COLUMNS - LATENTS) * np.log(noise)
    optimum = -0.5 * (COLUMNS * np.log(2 * np.pi) + log_det + COLUMNS)
    assert linear.ppca.log_prob(linear.train.double().numpy()) == pytest.approx(optimum, abs=1e-9)


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_linear_vae_reaches_the_ppca_optimum_within_a_hundredth_of_a_nat(linear: Trained, part: str) -> None:
    rows = getattr(linear, part)
    x = rows.double().numpy()
    model, optimum = Linear.of(linear.vae, rows), linear.ppca.log_prob(x)
    assert model.log_prob(x).mean() == pytest.approx(optimum, abs=0.01)
    assert model.elbo(x).mean() == pytest.approx(optimum, abs=0.01)


def test_the_estimate_of_its_log_likelihood_is_exact(linear: Trained) -> None:
    log_prob, error, *_ = importance.log_prob(linear.vae, Batch(linear.test), num_samples=100)
    truth = Linear.of(linear.vae, linear.test).log_prob(linear.test.double().numpy())
    assert log_prob.double().mean().item() == pytest.approx(truth.mean(), abs=1e-3)
    assert ((log_prob.double().numpy() - truth) < 5 * error.numpy() + 1e-3).all()


def test_the_sampled_elbo_is_its_closed_form(linear: Trained) -> None:
    with torch.no_grad():
        sampled = elbo(forward(linear.vae, linear.test, 200)).double().numpy()
    exact = Linear.of(linear.vae, linear.test).elbo(linear.test.double().numpy())
    difference = sampled - exact
    assert abs(difference.mean()) < 5 * difference.std() / math.sqrt(len(difference))
    assert difference.std() < 0.5


def test_its_posterior_is_the_optimal_one(linear: Trained) -> None:
    """Mean M⁻¹Wᵀ(x - μ), covariance s²M⁻¹, M = WᵀW + s²I."""
    model = Linear.of(linear.vae, linear.test)
    inverse = np.linalg.inv(model.precision())
    covariance = model.noise * inverse
    mean = (linear.test.double().numpy() - model.bias) @ model.weight @ inverse
    assert np.sqrt(((model.loc - mean) ** 2).mean()) < 0.03
    np.testing.assert_allclose(model.var.mean(0), np.diag(covariance), rtol=0.05)
    off_diagonal = covariance - np.diag(np.diag(covariance))
    assert np.abs(off_diagonal).max() < 0.02


def test_its_mean_kl_per_latent_is_half_the_log_signal_to_noise(linear: Trained) -> None:
    kl = np.sort(Linear.of(linear.vae, linear.train).kl().mean(0))[::-1]
    values = linear.ppca.eigenvalues[:LATENTS]
    np.testing.assert_allclose(kl, 0.5 * np.log(values / linear.ppca.noise), atol=0.02)
    with torch.no_grad():
        package = forward(linear.vae, linear.train).kl.mean(0)
    np.testing.assert_allclose(np.sort(package.numpy())[::-1], kl, atol=1e-4)


def linear_vae_with_best_diagonal_posterior(weight: np.ndarray, noise: float) -> VAE:
    columns, latents = weight.shape
    precision = weight.T @ weight + noise * np.eye(latents)
    likelihood = Gaussian(columns, "fixed", scale=math.sqrt(noise))
    vae = VAE(likelihood, latents, hidden_dims=[], linear_path=False).double().eval()
    with torch.no_grad():
        vae.output.weight.copy_(torch.tensor(weight))
        vae.heads.weight[:latents] = torch.tensor(np.linalg.solve(precision, weight.T))
        vae.heads.bias.copy_(vae.posterior.raw_of(torch.tensor(np.sqrt(noise / np.diag(precision)))))
    return vae


@pytest.mark.parametrize("angle", [0.0, 0.3, math.pi / 4])
def test_a_rotated_decoder_costs_a_diagonal_posterior_the_known_gap(angle: float) -> None:
    """log p - ELBO = ½ (Σ log M_jj - log det M) for every row; nothing when the columns of W are orthogonal."""
    rng = np.random.default_rng(1)
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    weight = np.linalg.qr(rng.normal(size=(6, 2)))[0] * [3.0, 1.0] @ rotation
    vae = linear_vae_with_best_diagonal_posterior(weight, noise=0.3)
    x = torch.tensor(rng.normal(size=(200, 2)) @ weight.T + math.sqrt(0.3) * rng.normal(size=(200, 6)))
    model = Linear.of(vae, x)
    gap = 0.5 * (np.log(np.diag(model.precision())).sum() - np.linalg.slogdet(model.precision())[1])
    assert (gap > 0.1) == (angle > 0)
    truth = model.log_prob(x.numpy())
    np.testing.assert_allclose(truth - model.elbo(x.numpy()), gap, atol=1e-6)
    with torch.no_grad():
        sampled = elbo(forward(vae, x, 2000)).numpy()
    difference = truth - sampled
    assert difference.mean() == pytest.approx(gap, abs=5 * difference.std() / math.sqrt(200) + 1e-9)
    log_prob = importance.log_prob(vae, Batch(x), num_samples=2000).log_prob.mean().item()
    assert truth.mean() - gap / 4 - 1e-6 < log_prob < truth.mean() + 0.01


def test_factor_analysis_is_a_vae_without_a_gap() -> None:
    """x = μ + W z + ψ^½ ε with WᵀΨ⁻¹W diagonal: the exact posterior is diagonal, and the ELBO is log p(x)."""
    rng = np.random.default_rng(2)
    noise, mean, weight = rng.uniform(0.2, 2, 6), rng.normal(size=6), rng.normal(size=(6, 2))
    weight = weight @ np.linalg.svd(weight / np.sqrt(noise)[:, None])[2].T
    signal = np.diag(weight.T @ (weight / noise[:, None]))
    np.testing.assert_allclose(weight.T @ (weight / noise[:, None]), np.diag(signal), atol=1e-12)
    vae = VAE(Gaussian(6), 2, hidden_dims=[], linear_path=False).double().eval()
    gain = (weight / noise[:, None]).T / (1 + signal)[:, None]
    with torch.no_grad():
        vae.output.weight.copy_(torch.tensor(weight))
        vae.output.bias.copy_(torch.tensor(mean))
        vae.likelihood.scale.raw_log_var.copy_(
            smooth_bound_inverse(torch.tensor(noise).log(), vae.likelihood.scale.bound)
        )
        vae.heads.weight.copy_(torch.tensor(np.concatenate([gain, np.zeros((2, 6))])))
        vae.heads.bias.copy_(vae.posterior.raw_of(torch.tensor((1 + signal) ** -0.5)))
        vae.heads.bias[:2] = torch.tensor(-gain @ mean)
    truth = scipy.stats.multivariate_normal(mean, weight @ weight.T + np.diag(noise))
    x = truth.rvs(200, random_state=3)
    exact = truth.logpdf(x)
    with torch.no_grad():
        log_prob, error, *_ = importance.log_prob(vae, Batch(torch.tensor(x)), num_samples=3)
        nelbo = forward(vae, torch.tensor(x), 4000).nelbo.numpy()
    np.testing.assert_allclose(log_prob.numpy(), exact, rtol=1e-9)
    assert error.max() < 1e-6
    assert (-nelbo).mean() == pytest.approx(exact.mean(), abs=0.01)
