"""Trained and hand-built models against truths that do not come from this package."""

import copy

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from tests.models import forward, rows_of, train
from vae_lightning.data.batch import Batch
from vae_lightning.inference import importance
from vae_lightning.likelihoods.bernoulli import Bernoulli
from vae_lightning.likelihoods.continuous_bernoulli import ContinuousBernoulli
from vae_lightning.likelihoods.gaussian import Gaussian
from vae_lightning.likelihoods.laplace import Laplace
from vae_lightning.likelihoods.poisson import Poisson
from vae_lightning.model.vae import VAE
from vae_lightning.objectives.elbo import elbo

pytestmark = pytest.mark.usefixtures("one_thread", "flush_denormal")


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
    vae = collapsed(VAE(likelihood, 3), likelihood.start_from(rows_of(x)))
    deviation = x.numpy().std(0)
    if variance in ("shared", "optimal"):
        deviation = np.sqrt((deviation**2).mean())
    truth = scipy.stats.norm(x.numpy().mean(0), deviation).logpdf(x.numpy()).sum(1)
    assert_collapsed(vae, x, truth)


@pytest.mark.parametrize("scale", ["shared", "per_column", "predicted", "optimal"])
def test_a_collapsed_laplace_vae_is_the_independent_column_model(scale: str) -> None:
    x = torch.randn(301, 5) * torch.tensor([0.5, 1.0, 2.0, 3.0, 0.1]) + 2
    likelihood = Laplace(5, scale)
    vae = collapsed(VAE(likelihood, 3), likelihood.start_from(rows_of(x)))
    median = np.median(x.numpy(), 0)
    deviation = np.abs(x.numpy() - median).mean(0)
    if scale in ("shared", "optimal"):
        deviation = deviation.mean()
    assert_collapsed(vae, x, scipy.stats.laplace(median, deviation).logpdf(x.numpy()).sum(1))


def test_a_collapsed_poisson_vae_is_the_independent_column_model() -> None:
    x = torch.poisson(torch.tensor([0.01, 0.5, 3.0, 40.0, 3000.0]).expand(300, 5))
    likelihood = Poisson(5)
    vae = collapsed(VAE(likelihood, 3), likelihood.start_from(rows_of(x)))
    rate = (x.double().numpy().sum(0) + 0.5) / 300
    assert_collapsed(vae, x, scipy.stats.poisson(rate).logpmf(x.numpy()).sum(1), tolerance=1e-2)


def independent_logits(likelihood: Bernoulli, x: Tensor) -> Tensor:
    return likelihood.independent_columns(rows_of(x)).distribution.logits


def test_a_collapsed_bernoulli_vae_is_the_independent_column_model() -> None:
    x = (torch.rand(300, 5) < torch.tensor([0.1, 0.3, 0.5, 0.7, 0.99])).float()
    frequency = (x.numpy().sum(0) + 1) / 302
    vae = collapsed(VAE(Bernoulli(5), 3), independent_logits(Bernoulli(5), x))
    assert_collapsed(vae, x, scipy.stats.bernoulli(frequency).logpmf(x.numpy()).sum(1))


def test_a_collapsed_continuous_bernoulli_vae_is_the_independent_column_model() -> None:
    x = torch.rand(300, 5) ** torch.tensor([0.5, 1.0, 1.5, 2.0, 3.0])
    logits = ContinuousBernoulli(5).independent_columns(rows_of(x)).distribution.logits.double()
    vae = collapsed(VAE(ContinuousBernoulli(5), 3), 10 * torch.atanh(logits / 10))
    slope = logits.numpy()
    truth = np.log(slope / np.expm1(slope)) + slope * x.numpy()
    assert_collapsed(vae, x, truth.sum(1), tolerance=2e-3)


def assert_collapsed(vae: VAE, x: Tensor, truth: np.ndarray, tolerance: float = 1e-3) -> None:
    with torch.no_grad():
        terms = forward(vae, x, 3)
    assert (terms.kl == 0).all()
    log_prob, error, *_ = importance.log_prob(vae, Batch(x), num_samples=20)
    np.testing.assert_allclose(elbo(terms).numpy(), truth, rtol=1e-4, atol=tolerance)
    np.testing.assert_allclose(log_prob.numpy(), truth, rtol=1e-4, atol=tolerance)
    assert error.max() < 1e-2


def test_a_collapsed_vae_on_grey_mnist_stands_at_205_65_nats(shared_data) -> None:
    """The test images under their own pixel means; the baseline's two imagined rows cost a hundredth of a nat."""
    x = torch.from_numpy(shared_data("mnist.npz")["test"]).float() / 255
    vae = collapsed(VAE(Bernoulli(784), 2, hidden_dims=[]), independent_logits(Bernoulli(784), x))
    with torch.no_grad():
        nelbo = forward(vae, x).nelbo.mean().item()
    assert nelbo == pytest.approx(205.65, abs=0.02)


# Affine equivariance.


@pytest.mark.parametrize("variance", ["per_column", "shared"])
def test_a_change_of_units_moves_the_log_likelihood_by_the_log_factors(variance: str) -> None:
    """The same model in other units: its ELBO and log p differ by exactly Σ log|a|, draw by draw."""
    factor = torch.tensor([2.0, -0.5, 3.0, 0.1] if variance == "per_column" else [-2.5] * 4, dtype=torch.float64)
    shift = torch.tensor([1.0, -2.0, 0.0, 5.0], dtype=torch.float64)
    # Beside a linear path the encoder's MLP sees bounded features, so it is the same in model units only.
    vae = VAE(Gaussian(4, variance), 2, hidden_dims=[6], activation="tanh", linear_path=False).double().eval()
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.normal_(0, 0.5)
        other = copy.deepcopy(vae)
        bound = vae.likelihood.scale.bound
        log_var = bound * torch.tanh(vae.likelihood.scale.raw_log_var / bound)
        log_var = log_var + 2 * factor.abs().log()[: len(log_var)]
        other.likelihood.scale.raw_log_var.copy_(bound * torch.atanh(log_var / bound))
        other.output.weight.mul_(factor[:, None])
        other.output.bias.mul_(factor).add_(shift)
        other.encoder[0].weight.div_(factor)
        other.encoder[0].bias.sub_(other.encoder[0].weight @ shift)
        x = torch.randn(30, 4, dtype=torch.float64)
        results = []
        for model, rows in ((vae, x), (other, factor * x + shift)):
            torch.manual_seed(1)
            bound_per_row = elbo(forward(model, rows, 5))
            results.append((bound_per_row, importance.log_prob(model, Batch(rows), 50).log_prob))
    moved = factor.abs().log().sum().expand(30)
    for before, after in zip(*results, strict=True):
        torch.testing.assert_close(before - after, moved, rtol=1e-6, atol=1e-6)


# NLTCS: 16 binary columns, 65,536 states (published: Chow-Liu tree -6.759, LearnSPN -6.11, ID-SPN -6.02).


def test_a_vae_on_nltcs_beats_published_models_and_its_probabilities_sum_to_one(shared_data) -> None:
    data = shared_data("debd_nltcs.npz")
    rows, test = (torch.from_numpy(data[part]).float() for part in ("train", "test"))
    vae = VAE(Bernoulli(16), 8, hidden_dims=[64, 64], activation="tanh")
    vae.start_from(rows_of(rows))
    train(vae, rows, lr=1e-2, batch_size=1024, epochs=60, warm_up=0.3)
    log_prob, error, *_ = importance.log_prob(vae, Batch(test), num_samples=200)
    assert error.norm() / len(test) < 0.002
    assert log_prob.mean().item() >= -6.10
    states = (torch.arange(2**16)[:, None] >> torch.arange(16) & 1).float()
    total = importance.log_prob(vae, Batch(states), num_samples=100).log_prob.double().exp().sum().item()
    print(f"NLTCS: {log_prob.mean():.4f} nats, probabilities sum to {total:.4f}")
    assert total == pytest.approx(1, abs=0.02)
