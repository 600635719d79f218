"""The learned mixture of Gaussians against scipy and closed forms."""

import math

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
from torch.distributions import Normal, kl_divergence

from vae_lightning.errors import ConfigError
from vae_lightning.posteriors.gaussian import DiagonalGaussian
from vae_lightning.priors.mixture import Mixture


def mixture(num_components: int = 3, latent_dim: int = 2) -> Mixture:
    prior = Mixture(latent_dim, num_components).double()
    for parameter in prior.parameters():
        parameter.data.normal_()
    return prior


def test_log_prob_is_the_log_of_the_weighted_sum() -> None:
    prior = mixture()
    z = 2 * torch.randn(4, 5, 2, dtype=torch.float64)
    means, logits, raw = (p.detach().numpy() for p in (prior.means, prior.logits, prior.raw_log_vars))
    stddev = np.exp(5 * np.tanh(raw / 10))
    parts = scipy.stats.norm(means, stddev).logpdf(z.numpy()[..., None, :]).sum(-1)
    truth = scipy.special.logsumexp(parts + scipy.special.log_softmax(logits), axis=-1)
    np.testing.assert_allclose(prior.log_prob(z).detach().numpy(), truth, rtol=1e-12)


def test_the_kl_of_one_component_is_unbiased_against_its_closed_form() -> None:
    prior, repeats = mixture(num_components=1), 4000
    mean, log_var = torch.randn(2, 6, 2, dtype=torch.float64)
    component = prior.distribution().component_distribution.base_dist
    truth = kl_divergence(
        Normal(mean, (log_var / 2).exp()), Normal(component.mean.detach(), component.stddev.detach())
    ).sum(-1)
    q = DiagonalGaussian(mean.repeat(repeats, 1), log_var.repeat(repeats, 1), 15.0)
    estimates = prior.kl(q, q.rsample(torch.randn(2, 6 * repeats, 2).double())).detach().view(repeats, 6)
    assert ((estimates.mean(0) - truth).abs() < 5 * estimates.std(0) / math.sqrt(repeats)).all()


def test_samples_come_from_the_components_by_their_weights() -> None:
    prior = mixture()
    prior.means.data.copy_(torch.tensor([[-50.0, 0.0], [0.0, 50.0], [50.0, 0.0]]))
    prior.logits.data.copy_(torch.tensor([0.5, 0.3, 0.2]).log())
    z = prior.sample(20_000)
    nearest = torch.cdist(z, prior.means.detach()).argmin(-1)
    shares = nearest.bincount(minlength=3) / 20_000
    torch.testing.assert_close(shares, torch.tensor([0.5, 0.3, 0.2]), rtol=0, atol=0.02)


def test_temperature_narrows_the_components_and_leaves_their_means() -> None:
    prior = mixture()
    z = prior.sample(500, 0.0)
    assert torch.cdist(z, prior.means.detach()).amin(-1).max() < 1e-6
    cold, warm = prior.distribution(0.5), prior.distribution()
    half = cold.component_distribution.base_dist.stddev / warm.component_distribution.base_dist.stddev
    torch.testing.assert_close(half, torch.full_like(half, 0.5))


def test_it_learns_where_the_codes_lie() -> None:
    """Two clouds of points: maximum likelihood ends at the entropy of what drew them, far from N(0, I)'s."""
    truth = scipy.stats.norm(2.0, 0.3)
    z = torch.randn(500, 1) * 0.3 + 2 * torch.randn(500, 1).sign()
    prior = Mixture(1, num_components=2)
    optimizer = torch.optim.Adam(prior.parameters(), lr=0.1)
    for _ in range(120):
        optimizer.zero_grad()
        loss = -prior.log_prob(z).mean()
        loss.backward()
        optimizer.step()
    assert loss.item() == pytest.approx(truth.entropy() + math.log(2), abs=0.1)
    assert -scipy.stats.norm.logpdf(z.numpy()).mean() > loss.item() + 1


def test_no_components_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"^The 'num_components' parameter of Mixture must be at least 1\. Got 0"):
        Mixture(2, num_components=0)
