"""The bits hang together as their documentation says: the truth is far better than independent columns."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, MultivariateNormal, Normal

from vae_lightning.data.sources.correlated_bits import CorrelatedBits
from vae_lightning.errors import DataError


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Batches of tiny linear systems are slower, by far, on several threads of a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def true_log_prob(source: CorrelatedBits, x: Tensor, num_samples: int) -> Tensor:
    """log p(x) per row by importance sampling around the posterior's mode, which Newton's method finds."""
    weight, bias = torch.from_numpy(source.weight), torch.from_numpy(source.bias)
    z = torch.zeros(len(x), weight.shape[1], dtype=torch.float64)

    squares = torch.einsum("ck,cl->ckl", weight, weight).flatten(1)

    def precision(probability: Tensor) -> Tensor:
        size = weight.shape[1]
        return ((probability * (1 - probability)) @ squares).unflatten(1, (size, size)) + torch.eye(size)

    for _ in range(40):
        probability = torch.sigmoid(z @ weight.T + bias)
        gradient = (x - probability) @ weight - z
        step = torch.linalg.solve(precision(probability), gradient)
        z = z + step / step.norm(dim=1, keepdim=True).clamp(min=1)
    assert gradient.abs().max() < 1e-6
    # A proposal somewhat wider than the posterior keeps the weights bounded.
    proposal = MultivariateNormal(z, precision_matrix=precision(torch.sigmoid(z @ weight.T + bias)) / 1.2)
    draws = proposal.sample((num_samples,))
    log_px = Bernoulli(logits=draws @ weight.T + bias).log_prob(x).sum(-1)
    log_weight = log_px + Normal(0, 1).log_prob(draws).sum(-1) - proposal.log_prob(draws)
    return log_weight.logsumexp(0) - np.log(num_samples)


@pytest.mark.usefixtures("one_thread")
def test_numbers_in_the_documentation() -> None:
    torch.manual_seed(0)
    source = CorrelatedBits()
    data = source.load()
    frequency = (data.train.x.sum(axis=0) + 1) / (len(data.train) + 2)
    test = data.test.x
    independent = -np.where(test, np.log(frequency), np.log(1 - frequency)).sum(axis=1).mean()
    parts = torch.from_numpy(test).double().split(71)
    truth = -torch.cat([true_log_prob(source, part, 100) for part in parts]).mean()
    assert f"need {independent:.1f} nats per test row, the truth {truth:.1f}." in (CorrelatedBits.__doc__ or "")


def test_rows() -> None:
    data = CorrelatedBits().load()
    assert [part.x.shape for part in (data.train, data.valid, data.test)] == [(3974, 224), (994, 224), (994, 224)]
    assert np.unique(data.train.x).tolist() == [0, 1]
    assert data.train.x.dtype == np.uint8
    assert data.columns[3].name == "bit_3"
    assert data.value_range == (0, 1)
    assert not data.constant_columns


def test_frequencies_vary() -> None:
    frequency = CorrelatedBits().load().train.x.mean(axis=0)
    assert frequency.min() < 0.15
    assert frequency.max() > 0.85


def test_seeds() -> None:
    prints = [CorrelatedBits(seed=seed).load().fingerprint for seed in (0, 0, 1)]
    assert prints[0] == prints[1] != prints[2]


def test_sizes() -> None:
    data = CorrelatedBits(num_columns=5, num_train=7, num_valid=3, num_test=2, num_factors=1).load()
    assert [part.x.shape for part in (data.train, data.valid, data.test)] == [(7, 5), (3, 5), (2, 5)]


@pytest.mark.parametrize("option", ["num_columns", "num_train", "num_valid", "num_test", "num_factors"])
def test_illegal_sizes(option: str) -> None:
    with pytest.raises(DataError, match=f"The '{option}' parameter of CorrelatedBits must be a whole number"):
        CorrelatedBits(**{option: 0})
