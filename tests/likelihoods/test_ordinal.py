"""The ordinal family against its formula."""

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
    first = 20 * np.tanh(likelihood.raw_first.detach().numpy() / 20)
    raw_gaps = likelihood.raw_log_gaps.detach().numpy()
    gaps = np.exp(np.where(raw_gaps < 0, 9 * np.tanh(raw_gaps / 9), 3 * np.tanh(raw_gaps / 3)))
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


@pytest.mark.parametrize("levels", [1, 2.5, True, 101])
def test_levels_that_are_no_number_of_levels_are_refused(levels: float) -> None:
    sentence = r"^The 'levels' parameter of Ordinal must be a whole number from 2 to 100\. Got .* instead\.$"
    with pytest.raises(ConfigError, match=sentence):
        Ordinal(3, levels)
