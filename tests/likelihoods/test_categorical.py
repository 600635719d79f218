"""The categorical family against scipy, and how it counts."""

import numpy as np
import pytest
import scipy.stats
import torch

from tests.likelihoods.families import rows_of
from vae_lightning.errors import ConfigError
from vae_lightning.likelihoods.categorical import Categorical
from vae_lightning.likelihoods.codes import categories


def test_agrees_with_scipy() -> None:
    raw = 2 * torch.randn(50, 4, 7, dtype=torch.float64)
    x = torch.randint(0, 7, (50, 4)).double()
    probabilities = np.exp(raw.numpy()) / np.exp(raw.numpy()).sum(-1, keepdims=True)
    chosen = np.eye(7)[x.long().numpy()]
    truth = scipy.stats.multinomial(1, probabilities).logpmf(chosen)
    p = Categorical(4, 7)(raw.flatten(1))
    np.testing.assert_allclose(p.log_prob(x).numpy(), truth, rtol=1e-12)
    np.testing.assert_allclose(p.point.numpy(), probabilities.argmax(-1))
    np.testing.assert_allclose(p.mean.numpy(), probabilities @ np.arange(7), rtol=1e-12)


def test_codes_count_as_they_occur_with_two_imagined_rows_shared_by_all() -> None:
    x = torch.tensor([[0.0, 2.0], [0.0, 1.0], [3.0, 1.0]])
    p = Categorical(2, 4).independent_columns(rows_of(x, weight=torch.tensor([1.0, 2.0, 1.0])))
    truth = (np.array([[3, 0, 0, 1], [0, 3, 1, 0]]) + 0.5) / 6
    np.testing.assert_allclose(p.log_probs.exp().numpy(), truth, rtol=1e-6)


def test_untrained_it_is_the_independent_column_model() -> None:
    x = torch.randint(0, 5, (300, 4)).float()
    likelihood = Categorical(4, 5)
    start, alone = likelihood(likelihood.start_from(rows_of(x))), likelihood.independent_columns(rows_of(x))
    torch.testing.assert_close(start.log_prob(x), alone.log_prob(x))


def test_ten_thousand_categories_take_memory_linear_in_their_number() -> None:
    likelihood = Categorical(2, 10_000)
    x = torch.randint(0, 10_000, (64, 2)).float()
    p = likelihood(torch.zeros(64, likelihood.raw_size))
    torch.testing.assert_close(p.log_prob(x), torch.full((64, 2), -np.log(10_000).item()))
    assert sum(parameter.numel() for parameter in likelihood.parameters()) == 0
    assert likelihood.start_from(rows_of(x)).shape == (20_000,)


def test_the_only_category_is_certain() -> None:
    assert Categorical(2, 1)(torch.randn(3, 2)).log_prob(torch.zeros(3, 2)).tolist() == [[0, 0]] * 3


@pytest.mark.parametrize("levels", [0, -1, 2.5, True, 10_001])
def test_levels_that_are_no_number_of_categories_are_refused(levels: float) -> None:
    sentence = r"^The 'levels' parameter of Categorical must be a whole number from 1 to 10,000\. Got .* instead\.$"
    with pytest.raises(ConfigError, match=sentence):
        Categorical(3, levels)


def test_codes_are_legal_and_anything_else_is_not() -> None:
    legal = categories(3).contains(torch.tensor([0.0, 2.0, 3.0, -1.0, 0.5, torch.inf, torch.nan]))
    assert legal.tolist() == [True, True, False, False, False, False, False]
