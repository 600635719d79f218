"""Supports: what they contain, what they advise, and the sums and integrals that everybody else takes from them."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats
import torch

from vae_lightning.data.preprocess.base import Scaling
from vae_lightning.errors import Setting
from vae_lightning.likelihoods import support as module
from vae_lightning.likelihoods.base import Likelihood
from vae_lightning.likelihoods.codes import categories, grey_levels, ordinal
from vae_lightning.likelihoods.support import (
    BINARY,
    COUNT,
    NONNEGATIVE,
    POSITIVE,
    REAL,
    SHARE,
    UNIT,
    Support,
)

SUPPORTS = [value for value in vars(module).values() if isinstance(value, Support)]
SUPPORTS += [categories(4), ordinal(4), grey_levels(4)]
VALUES = torch.tensor([-1e30, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 1e30, math.inf, -math.inf, math.nan])
RANGES = [(0.0, 1.0, None), (0.0, 16.0, (0.0, 16.0)), (-3.0, 900.0, None), (0.0, 7.0, None)]


@pytest.mark.parametrize(
    ("support", "legal"),
    [
        (REAL, [-1e30, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 1e30]),
        (UNIT, [0.0, 0.5, 1.0]),
        (BINARY, [0.0, 0.5, 1.0]),
        (COUNT, [0.0, 1.0, 2.0, 1e30]),
        (categories(2), [0.0, 1.0]),
        (ordinal(3), [0.0, 1.0, 2.0]),
        (grey_levels(3), [0.0, 1.0, 2.0]),
        (SHARE, [0.5]),
        (POSITIVE, [0.5, 1.0, 2.0, 1e30]),
        (NONNEGATIVE, [0.0, 0.5, 1.0, 2.0, 1e30]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_it_contains(support: Support, legal: list[float]) -> None:
    np.testing.assert_allclose(VALUES[support.contains(VALUES)].numpy(), legal)


@pytest.mark.parametrize("support", SUPPORTS)
def test_its_fill_is_legal_and_its_words_are_words(support: Support) -> None:
    assert support.contains(torch.tensor(support.fill))
    assert support.words


@pytest.mark.parametrize("support", SUPPORTS)
def test_what_it_advises_exists(support: Support) -> None:
    known = {"likelihood": Likelihood.families(), "data.preprocess": Scaling.families()}
    for preprocess in Scaling.families():
        for setting in support.alternatives(preprocess):
            assert isinstance(setting, Setting)
            assert setting.value in known[setting.key]
            assert setting != ("data.preprocess", preprocess, setting.effect), "what was done already is no advice"
    for low, high, value_range in RANGES:
        name, reason = support.default_preprocess(low, high, value_range)
        assert name in Scaling.families()
        assert reason.startswith("as ")


@pytest.mark.parametrize("support", SUPPORTS)
def test_features_of_legal_values_are_finite_and_tell_values_apart(support: Support) -> None:
    values = torch.tensor([0.0, 0.25, 1.0, 2.0, 100.0, 1e6])
    features = support.to_features(values[support.contains(values)])
    assert torch.isfinite(features).all()
    points = support.to_points(values[support.contains(values)][:, None])
    assert torch.unique(points, dim=0).shape[0] == len(features)
    assert (features.diff() > 0).all()


@pytest.mark.parametrize(
    ("support", "truth"),
    [
        (REAL, scipy.stats.norm(3, 0.1).pdf),
        (REAL, scipy.stats.laplace(-2, 5).pdf),
        (REAL, scipy.stats.logistic(0, 1).pdf),
        (UNIT, scipy.stats.beta(2, 5).pdf),
        (UNIT, scipy.stats.uniform().pdf),
        (SHARE, scipy.stats.beta(0.5, 0.5).pdf),
        (SHARE, scipy.stats.beta(2, 5).pdf),
        (SHARE, scipy.stats.beta(0.6, 3e5).pdf),
        (SHARE, scipy.stats.beta(4e4, 0.5).pdf),
        (SHARE, scipy.stats.beta(3e5, 3e5).pdf),
        (POSITIVE, scipy.stats.lognorm(2.0, scale=1e-3).pdf),
        (POSITIVE, scipy.stats.lognorm(1e-3, scale=1e5).pdf),
        (POSITIVE, scipy.stats.gamma(0.3, scale=1e4).pdf),
        (POSITIVE, scipy.stats.gamma(1e4, scale=1e-9).pdf),
        (BINARY, scipy.stats.bernoulli(0.3).pmf),
        (categories(5), scipy.stats.rv_discrete(values=(range(5), [0.5, 0.0, 0.1, 0.3, 0.1])).pmf),
        (COUNT, scipy.stats.poisson(0.01).pmf),
        (COUNT, scipy.stats.poisson(40).pmf),
        (COUNT, scipy.stats.poisson(1e8).pmf),
        (COUNT, scipy.stats.nbinom(0.5, 0.01).pmf),
        (COUNT, scipy.stats.nbinom(0.5, 1e-5).pmf),
        (COUNT, scipy.stats.nbinom(0.01, 1e-10).pmf),
    ],
)
def test_its_grid_sums_to_one_and_has_the_mean(support: Support, truth: Callable[[np.ndarray], np.ndarray]) -> None:
    frozen = truth.__self__
    mean, stddev = (torch.tensor([[float(value)]]) for value in (frozen.mean(), frozen.std()))
    nodes, weights = support.grid(mean, stddev)
    assert nodes.dtype == weights.dtype == torch.float64
    assert nodes.shape == weights.shape == (len(nodes), 1, 1)
    assert len(nodes) <= 4096
    assert support.contains(nodes).all()
    mass = weights.numpy() * truth(nodes.numpy())
    assert mass.sum() == pytest.approx(1, abs=1e-4)
    assert (mass * (nodes.numpy() - frozen.mean())).sum() == pytest.approx(0, abs=2e-3 * frozen.std())
