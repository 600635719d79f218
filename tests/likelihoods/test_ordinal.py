"""The ordinal family against its formula."""

from typing import Any

import numpy as np
import pytest
import scipy.special
import torch

from tests.likelihoods.families import rows_of
from vae_lightning.errors import ConfigError
from vae_lightning.likelihoods.ordinal import Ordinal


def test_agrees_with_the_differences_of_cumulative_probabilities() -> None:
    likelihood = Ordinal(3, 5).double()
    for parameter in likelihood.parameters():
        parameter.data.normal_()
    first = 40 * np.tanh(likelihood.raw_first.detach().numpy() / 40)
    raw_gaps = likelihood.raw_log_gaps.detach().numpy()
    gaps = np.exp(np.where(raw_gaps < 0, 9 * np.tanh(raw_gaps / 9), 4 * np.tanh(raw_gaps / 4)))
    cuts = np.concatenate([first, first + gaps.cumsum(1)], 1)
    raw = torch.randn(50, 3, dtype=torch.float64)
    below = scipy.special.expit(cuts - raw.numpy()[..., None])
    truth = np.diff(np.concatenate([np.zeros((50, 3, 1)), below, np.ones((50, 3, 1))], -1))
    p = likelihood(raw)
    for level in range(5):
        found = p.log_prob(torch.full((50, 3), float(level)).double()).exp().detach().numpy()
        np.testing.assert_allclose(found, truth[..., level], rtol=1e-8)


def test_a_higher_raw_number_means_higher_levels() -> None:
    means = Ordinal(1, 4)(torch.linspace(-5, 5, 21)[:, None]).mean.flatten()
    assert (means.diff() > 0).all()


def test_untrained_it_says_the_frequencies() -> None:
    x = torch.multinomial(torch.tensor([0.5, 0.1, 0.3, 0.1]), 800, replacement=True).float().view(400, 2)
    likelihood = Ordinal(2, 4)
    start, alone = likelihood(likelihood.start_from(rows_of(x))), likelihood.independent_columns(rows_of(x))
    torch.testing.assert_close(start.log_prob(x), alone.log_prob(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("levels", [1, 2.5, True, 513, [3, 1, 4], [3, 4]])
def test_levels_that_are_no_number_of_levels_are_refused(levels: Any) -> None:
    sentence = "^The 'levels' parameter of Ordinal must be a whole number from 2 to 512, or one for each column. Got "
    with pytest.raises(ConfigError, match=sentence):
        Ordinal(3, levels)


def test_columns_of_different_numbers_of_levels_are_those_columns_alone() -> None:
    x = torch.stack([torch.randint(size, (400,)) for size in (2, 7, 3)], 1).float()
    both, raw = Ordinal(3, [2, 7, 3]), torch.randn(5, 400, 3)
    start = both.start_from(rows_of(x))
    found = both(start + raw).log_prob(x)
    for column, size in enumerate((2, 7, 3)):
        alone, own = Ordinal(1, size), x[:, [column]]
        begun = alone.start_from(rows_of(own))
        torch.testing.assert_close(
            found[..., [column]], alone(begun + raw[..., [column]]).log_prob(own), rtol=1e-4, atol=1e-5
        )
        of_all = both.independent_columns(rows_of(x)).log_prob(x)[:, [column]]
        torch.testing.assert_close(of_all, alone.independent_columns(rows_of(own)).log_prob(own))


def test_draws_mean_and_spread_are_those_of_the_probabilities() -> None:
    likelihood = Ordinal(2, [3, 6])
    p = likelihood(torch.tensor([0.3, -0.8]).expand(40_000, 2))
    codes = torch.arange(6.0)
    log_probs = torch.stack([p.log_prob(code.clamp(max=torch.tensor([2.0, 5.0])))[0] for code in codes.unsqueeze(-1)])
    probs = torch.where(codes[:, None] < torch.tensor([3, 6]), log_probs.exp(), 0.0)
    torch.testing.assert_close(probs.sum(0), torch.ones(2))
    mean = (codes[:, None] * probs).sum(0)
    torch.testing.assert_close(p.mean[0], mean)
    torch.testing.assert_close(p.stddev[0], (probs * (codes[:, None] - mean).square()).sum(0).sqrt())
    drawn = p.sample()
    shares = torch.stack([(drawn == code).float().mean(0) for code in codes])
    torch.testing.assert_close(shares, probs, rtol=0, atol=0.01)  # four standard errors


def test_without_a_linear_model_raw_numbers_are_log_odds() -> None:
    """Among 200 codes a network's first numbers, near 1, were next to nothing: training was stopped before it began."""
    x = torch.arange(200.0).repeat(10)[:, None]
    likelihood = Ordinal(1, 200)
    start, codes = likelihood.start_from(rows_of(x)), torch.arange(200.0)[:, None]
    before, after = (likelihood(start + step).log_prob(codes).double().exp().cumsum(0)[:-1] for step in (0.0, 1.0))
    torch.testing.assert_close(before.logit() - after.logit(), torch.ones_like(before), rtol=0, atol=5e-3)


@pytest.mark.parametrize("explained", [0.0, 0.5, 0.9])
def test_with_a_linear_model_of_the_codes_it_says_the_frequencies_too(explained: float) -> None:
    """Whatever share of the variance the locations have, drawn from a normal, levels are as frequent as in the rows."""
    x = torch.multinomial(torch.tensor([0.55, 0.05, 0.1, 0.02, 0.28]), 20_000, replacement=True).float()[:, None]
    likelihood = Ordinal(1, 5)
    variance = x.var(0, correction=0).double()
    mean = likelihood.start_from(rows_of(x), (1 - explained) * variance)
    torch.testing.assert_close(mean, x.mean(0), rtol=1e-3, atol=0)
    raw = mean + (explained * variance).sqrt().float() * torch.randn(200_000, 1, generator=torch.manual_seed(0))
    levels = torch.arange(5.0)
    found = torch.stack([likelihood(raw).log_prob(level.expand_as(raw)).exp().mean() for level in levels])
    truth = torch.stack([(x == level).float().mean() for level in levels])
    torch.testing.assert_close(found.detach(), truth, rtol=0, atol=4e-3)
