"""Trained and hand-built models against truths that do not come from this package."""

import copy
import math
from typing import NamedTuple

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from vae_lightning.inference import importance as estimate
from vae_lightning.likelihoods.bernoulli import Bernoulli
from vae_lightning.likelihoods.continuous_bernoulli import ContinuousBernoulli
from vae_lightning.likelihoods.gaussian import Gaussian
from vae_lightning.model.vae import VAE
from vae_lightning.objectives.elbo import elbo

pytestmark = pytest.mark.usefixtures("one_thread", "flush_denormal")

COLUMNS, LATENTS, ROWS = 8, 4, 2000


def train(vae: VAE, x: Tensor, lr: float, batch_size: int, epochs: int, warm_up: float = 0.05) -> None:
    """The textbook loop: Adam on the mean ELBO, the learning rate warming up and decaying to nothing."""
    optimizer = torch.optim.Adam(vae.parameters(), lr=lr, fused=True)
    batches = len(x) // batch_size
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=epochs * batches, pct_start=warm_up)
    for _ in range(epochs):
        for index in torch.randperm(len(x)).split(batch_size)[:batches]:
            rows = x[index]
            optimizer.zero_grad()
            (-elbo(vae.terms(rows, vae(rows)))).mean().backward()
            optimizer.step()
            scheduler.step()
    vae.eval()


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
            posterior, px = vae.encode(x), vae.decode(torch.zeros(1, vae.latent_dim, dtype=x.dtype))
        noise = px.variance.double().flatten()[0].item()
        weight, bias = vae.output.weight, vae.output.bias
        tensors = (weight, bias, posterior.loc, posterior.log_var.exp())
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
    vae = VAE(Gaussian(COLUMNS, "shared"), LATENTS, hidden_dims=[])
    vae.start_from(rows)
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
    log_prob, error, _ = estimate.log_prob(linear.vae, linear.test, num_samples=100)
    truth = Linear.of(linear.vae, linear.test).log_prob(linear.test.double().numpy())
    assert log_prob.double().mean().item() == pytest.approx(truth.mean(), abs=1e-3)
    assert ((log_prob.double().numpy() - truth) < 5 * error.numpy() + 1e-3).all()


def test_the_sampled_elbo_is_its_closed_form(linear: Trained) -> None:
    with torch.no_grad():
        sampled = elbo(linear.vae.terms(linear.test, linear.vae(linear.test, 200))).double().numpy()
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
        package = linear.vae.terms(linear.train, linear.vae(linear.train)).kl.mean(0)
    np.testing.assert_allclose(np.sort(package.numpy())[::-1], kl, atol=1e-4)


def linear_vae_with_best_diagonal_posterior(weight: np.ndarray, noise: float) -> VAE:
    columns, latents = weight.shape
    precision = weight.T @ weight + noise * np.eye(latents)
    vae = VAE(Gaussian(columns, "fixed", scale=math.sqrt(noise)), latents, hidden_dims=[]).double().eval()
    log_var = np.log(noise / np.diag(precision))
    with torch.no_grad():
        vae.output.weight.copy_(torch.tensor(weight))
        vae.heads.weight[:latents] = torch.tensor(np.linalg.solve(precision, weight.T))
        vae.heads.bias[latents:] = torch.tensor(15.0 * np.arctanh(log_var / 15.0))
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
        sampled = elbo(vae.terms(x, vae(x, 2000))).numpy()
    difference = truth - sampled
    assert difference.mean() == pytest.approx(gap, abs=5 * difference.std() / math.sqrt(200) + 1e-9)
    log_prob = estimate.log_prob(vae, x, num_samples=2000).log_prob.mean().item()
    assert truth.mean() - gap / 4 - 1e-6 < log_prob < truth.mean() + 0.01


# A collapsed VAE is the independent-column model.


def collapsed(vae: VAE, raw: Tensor) -> VAE:
    """Posterior = prior and a decoder that ignores z."""
    with torch.no_grad():
        vae.heads.weight.zero_()
        vae.output.bias.copy_(raw)
    return vae.eval()


@pytest.mark.parametrize("variance", ["shared", "per_column", "predicted", "optimal"])
def test_a_collapsed_gaussian_vae_is_the_independent_column_model(variance: str) -> None:
    x = torch.randn(300, 5) * torch.tensor([0.5, 1.0, 2.0, 3.0, 0.1]) + 2
    likelihood = Gaussian(5, variance)
    vae = collapsed(VAE(likelihood, 3), likelihood.start_from(x))
    deviation = x.numpy().std(0)
    if variance in ("shared", "optimal"):
        deviation = np.sqrt((deviation**2).mean())
    truth = scipy.stats.norm(x.numpy().mean(0), deviation).logpdf(x.numpy()).sum(1)
    assert_collapsed(vae, x, truth)


def test_a_collapsed_bernoulli_vae_is_the_independent_column_model() -> None:
    x = (torch.rand(300, 5) < torch.tensor([0.1, 0.3, 0.5, 0.7, 0.99])).float()
    frequency = (x.numpy().sum(0) + 1) / 302
    vae = collapsed(VAE(Bernoulli(5), 3), Bernoulli(5).marginal(x).logits)
    assert_collapsed(vae, x, scipy.stats.bernoulli(frequency).logpmf(x.numpy()).sum(1))


def test_a_collapsed_continuous_bernoulli_vae_is_the_independent_column_model() -> None:
    x = torch.rand(300, 5) ** torch.tensor([0.5, 1.0, 1.5, 2.0, 3.0])
    logits = ContinuousBernoulli(5).marginal(x).logits.double()
    vae = collapsed(VAE(ContinuousBernoulli(5), 3), 10 * torch.atanh(logits / 10))
    slope = logits.numpy()
    truth = np.log(slope / np.expm1(slope)) + slope * x.numpy()
    assert_collapsed(vae, x, truth.sum(1), tolerance=2e-3)


def assert_collapsed(vae: VAE, x: Tensor, truth: np.ndarray, tolerance: float = 1e-3) -> None:
    with torch.no_grad():
        terms = vae.terms(x, vae(x, 3))
    assert (terms.kl == 0).all()
    log_prob, error, _ = estimate.log_prob(vae, x, num_samples=20)
    np.testing.assert_allclose(elbo(terms).numpy(), truth, rtol=1e-4, atol=tolerance)
    np.testing.assert_allclose(log_prob.numpy(), truth, rtol=1e-4, atol=tolerance)
    assert error.max() < 1e-2


def test_a_collapsed_vae_on_grey_mnist_stands_at_205_65_nats(shared_data) -> None:
    """The test images under their own pixel means; the marginal's two imagined rows cost a hundredth of a nat."""
    x = torch.from_numpy(shared_data("mnist.npz")["test"]).float() / 255
    vae = collapsed(VAE(Bernoulli(784), 2, hidden_dims=[]), Bernoulli(784).marginal(x).logits)
    with torch.no_grad():
        nelbo = -elbo(vae.terms(x, vae(x))).mean().item()
    assert nelbo == pytest.approx(205.65, abs=0.02)


# Affine equivariance.


@pytest.mark.parametrize("variance", ["per_column", "shared"])
def test_a_change_of_units_moves_the_log_likelihood_by_the_log_factors(variance: str) -> None:
    """The same model in other units: its ELBO and log p differ by exactly Σ log|a|, draw by draw."""
    factor = torch.tensor([2.0, -0.5, 3.0, 0.1] if variance == "per_column" else [-2.5] * 4, dtype=torch.float64)
    shift = torch.tensor([1.0, -2.0, 0.0, 5.0], dtype=torch.float64)
    vae = VAE(Gaussian(4, variance), 2, hidden_dims=[6], activation="tanh").double().eval()
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.normal_(0, 0.5)
        other = copy.deepcopy(vae)
        bound = -2 * math.log(0.0025)
        log_var = bound * torch.tanh(vae.likelihood.raw_log_var / bound)
        log_var = log_var + 2 * factor.abs().log()[: len(log_var)]
        other.likelihood.raw_log_var.copy_(bound * torch.atanh(log_var / bound))
        other.output.weight.mul_(factor[:, None])
        other.output.bias.mul_(factor).add_(shift)
        other.encoder[0].weight.div_(factor)
        other.encoder[0].bias.sub_(other.encoder[0].weight @ shift)
        x = torch.randn(30, 4, dtype=torch.float64)
        results = []
        for model, rows in ((vae, x), (other, factor * x + shift)):
            torch.manual_seed(1)
            bound_per_row = elbo(model.terms(rows, model(rows, 5)))
            results.append((bound_per_row, estimate.log_prob(model, rows, 50).log_prob))
    moved = factor.abs().log().sum().expand(30)
    for before, after in zip(*results, strict=True):
        torch.testing.assert_close(before - after, moved, rtol=1e-6, atol=1e-6)


# NLTCS: 16 binary columns, 65,536 states (published: Chow-Liu tree -6.759, LearnSPN -6.11, ID-SPN -6.02).


def test_a_vae_on_nltcs_beats_published_models_and_its_probabilities_sum_to_one(shared_data) -> None:
    data = shared_data("debd_nltcs.npz")
    rows, test = (torch.from_numpy(data[part]).float() for part in ("train", "test"))
    vae = VAE(Bernoulli(16), 8, hidden_dims=[64, 64], activation="tanh")
    vae.start_from(rows)
    train(vae, rows, lr=1e-2, batch_size=1024, epochs=60, warm_up=0.3)
    log_prob, error, _ = estimate.log_prob(vae, test, num_samples=200)
    assert error.norm() / len(test) < 0.002
    assert log_prob.mean().item() >= -6.10
    states = (torch.arange(2**16)[:, None] >> torch.arange(16) & 1).float()
    total = estimate.log_prob(vae, states, num_samples=100).log_prob.double().exp().sum().item()
    print(f"NLTCS: {log_prob.mean():.4f} nats, probabilities sum to {total:.4f}")
    assert total == pytest.approx(1, abs=0.02)
