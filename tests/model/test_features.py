"""What the encoder sees: numbers as their supports show them, categories one-hot or embedded, holes as nothing."""

import math

import torch

from vae_lightning.data.batch import Batch
from vae_lightning.data.store import RowsInMemory
from vae_lightning.likelihoods.codes import categories
from vae_lightning.likelihoods.support import COUNT, REAL
from vae_lightning.model.features import MAX_ONE_HOT, Features

SUPPORTS = (categories(3), REAL, categories(MAX_ONE_HOT + 1), COUNT, categories(2), categories(100))


def rows(size: int = 6) -> torch.Tensor:
    highest = torch.tensor([3, 1, MAX_ONE_HOT + 1, 9, 2, 100])
    x = (torch.rand(size, 6) * highest).floor()
    x[:, 1] = torch.randn(size)
    return x


def test_real_columns_are_seen_as_they_are() -> None:
    features = Features((REAL,) * 4)
    x = torch.randn(5, 4)
    assert features.size == 4
    assert features.categories is None
    assert features.feature_of_column.tolist() == [0, 1, 2, 3]
    assert torch.equal(features(Batch(x)), x)


def test_numbers_first_then_one_hot_then_embeddings() -> None:
    features = Features(SUPPORTS, condition_size=1, sees_mask=True)
    x, width = rows(), 10  # the square root of 100
    assert features.size == 2 + (3 + 2) + 2 * width + 6 + 1
    assert features.feature_of_column.tolist() == [-1, 0, -1, 1, -1, -1]
    u = features(Batch(x, None, torch.full((6, 1), 7.0)))
    assert u.shape == (6, features.size)
    torch.testing.assert_close(u[:, :2], torch.stack([x[:, 1], x[:, 3].log1p()], 1))
    assert torch.equal(u[:, 2:5].argmax(1), x[:, 0].long())
    assert torch.equal(u[:, 5:7].argmax(1), x[:, 4].long())
    assert (u[:, 2:7].sum(1) == 2).all()
    table = features.categories.embedding.weight
    assert table.shape == (MAX_ONE_HOT + 1 + 100, width)
    torch.testing.assert_close(u[:, 7 : 7 + width], table[x[:, 2].long()])
    torch.testing.assert_close(u[:, 7 + width : 7 + 2 * width], table[MAX_ONE_HOT + 1 + x[:, 5].long()])
    assert (u[:, -7:-1] == 1).all()
    assert (u[:, -1] == 7).all()


def test_a_masked_cell_is_nothing_in_all_of_its_features() -> None:
    features = Features(SUPPORTS, sees_mask=True)
    mask = torch.zeros(6, 6, dtype=torch.bool)
    assert (features(Batch(torch.full((6, 6), math.nan), mask)) == 0).all()
    x = rows()
    mask[:, 2] = True
    u = features(Batch(torch.where(mask, x, math.nan), mask))
    assert (u[:, :7] == 0).all()
    assert (u[:, 7:17] != 0).any(1).all()
    assert (u[:, 17:27] == 0).all()
    assert u[:, 27:].tolist() == [[0, 0, 1, 0, 0, 0]] * 6


def test_what_is_fitted_leaves_codes_alone() -> None:
    features, x = Features(SUPPORTS), rows(400)
    before = features(Batch(x))
    features.fit(RowsInMemory(Batch(x)))
    after = features(Batch(x))
    assert torch.equal(before[:, 2:], after[:, 2:])
    torch.testing.assert_close(after[:, 1].std(correction=0), torch.tensor(1.0))


def test_memory_is_linear_in_the_categories_and_a_column_as_loud_as_a_number() -> None:
    features = Features((categories(10_000), REAL))
    assert features.size == 1 + 32
    assert sum(parameter.numel() for parameter in features.parameters()) == 32 * 10_000
    u = features(Batch(torch.stack([torch.arange(10_000.0), torch.zeros(10_000)], 1)))
    assert abs(u.square().sum(1).mean().item() - 1) < 0.05
