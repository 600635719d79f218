"""Columns bound to one another by a curve are learned: a start whose z tells more is tried, and taken where it pays."""

import copy

import numpy as np
import pytest
import torch

from vae_lightning import VAEEstimator
from vae_lightning.data.batch import Batch
from vae_lightning.data.store import RowsInMemory
from vae_lightning.likelihoods.gaussian import Gaussian
from vae_lightning.model.start import start_model
from vae_lightning.model.vae import VAE
from vae_lightning.training.trial import choose_start

pytestmark = pytest.mark.usefixtures("one_thread")


def ring(num_rows: int) -> torch.Tensor:
    """A circle, its variances 1 and without any correlation, with noise of a twentieth."""
    draws = np.random.default_rng(0)
    angle = draws.uniform(0, 2 * np.pi, num_rows)
    circle = np.sqrt(2) * np.stack([np.cos(angle), np.sin(angle)], 1)
    return torch.tensor(circle + 0.05 * draws.normal(size=circle.shape), dtype=torch.float32)


def normals(num_rows: int) -> torch.Tensor:
    return torch.randn(num_rows, 2, generator=torch.Generator().manual_seed(0)) @ torch.tensor([[1.0, 0.9], [0.0, 0.4]])


def choose(x: torch.Tensor, num_steps: int = 4000, num_valid: int = 200) -> tuple[str | None, VAE, VAE]:
    """What was said, the model, and the model as it was before."""
    torch.manual_seed(0)
    vae = VAE(Gaussian(2), 2, activation="elu")
    train, valid = RowsInMemory(Batch(x[num_valid:])), RowsInMemory(Batch(x[:num_valid]))
    start = start_model(vae, train, valid)
    assert start is not None
    before, state = copy.deepcopy(vae), torch.get_rng_state()
    told = choose_start(vae, start, train, valid, 64, num_steps, seed=0)
    assert torch.equal(torch.get_rng_state(), state), "the run's own draws must not depend on a trial"
    return told, vae, before


def same(one: VAE, other: VAE) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_a_ring_begins_with_a_z_that_tells_of_it() -> None:
    told, vae, before = choose(ring(1200))
    assert told is not None
    assert told.startswith("factor analysis, z telling all but 10% of the noise")
    assert not same(vae, before)
    with torch.no_grad():
        x = Batch(ring(1200)[:200])
        assert before.encode(x).stddev.min() > 0.9
        assert vae.encode(x).stddev.max() < 0.4


def test_rows_that_factor_analysis_is_true_of_keep_its_start() -> None:
    told, vae, before = choose(normals(1200))
    assert told is not None
    assert told.startswith("factor analysis; with")
    assert same(vae, before)


@pytest.mark.parametrize(("num_steps", "num_valid"), [(500, 200), (4000, 20)])
def test_a_short_fit_or_few_validation_rows_try_nothing(num_steps: int, num_valid: int) -> None:
    told, vae, before = choose(ring(1200), num_steps, num_valid)
    assert told is None
    assert same(vae, before)


def test_the_defaults_learn_a_ring() -> None:
    """It has an entropy of 0.9 nats where a normal says 2.8; the model had collapsed on every such table."""
    x = ring(1500).double().numpy()
    vae = VAEEstimator(random_state=0, verbose=False).fit(x[:1200])
    entropy = np.log(2 * np.pi * np.sqrt(2)) + 0.5 * np.log(2 * np.pi * np.e * 0.05**2)
    found = -vae.score(x[1200:])
    assert entropy - 0.1 < found < 2.0
