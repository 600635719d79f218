"""`scripts/counts.py`: a Gaussian of logarithms gives counts probabilities, and these compare with a Poisson's."""

import importlib
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch

from vae_lightning.likelihoods.base import ColumnDistribution


@pytest.fixture(scope="module")
def script() -> Any:
    return importlib.import_module("scripts.counts")


@pytest.mark.parametrize(("location", "stddev"), [(-1.0, 0.3), (0.5, 2.0), (3.0, 0.2), (1.0, 5.0)])
def test_the_probabilities_of_all_counts_sum_to_one(script: Any, location: float, stddev: float) -> None:
    mean, scale = torch.tensor([0.4], dtype=torch.float64), torch.tensor([1.7], dtype=torch.float64)
    at, spread = torch.tensor([[[location]], [[stddev]]], dtype=torch.float64)
    inner = ColumnDistribution(torch.distributions.Normal(at, spread))
    counts = torch.arange(20_000.0, dtype=torch.float64)[:, None]
    log_prob = script.IntervalPredictive(inner, mean, scale).log_prob((torch.log1p(counts) - mean) / scale)
    beyond = scipy.stats.norm(location, stddev).sf((np.log(20_000.5) - 0.4) / 1.7)
    assert log_prob.exp().sum().item() == pytest.approx(1 - beyond, abs=1e-9)
    assert torch.isfinite(log_prob).all()


def test_of_poisson_counts_the_poisson_is_the_likelier(script: Any) -> None:
    x = np.random.default_rng(0).poisson(3.0, (400, 4))
    found = {
        name: script.measure(x, name, 0, latent_dim=1, hidden_dims=(4,), max_epochs=10)["probability"]
        for name in ("poisson", "gaussian")
    }
    truth = scipy.stats.poisson(3.0).entropy()
    assert truth - 0.2 < found["poisson"] < found["gaussian"] < truth + 0.3
