"""The Chow-Liu tree against enumeration, against other trees and against published numbers."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.models import rows_of
from vae_lightning.controls import chow_liu
from vae_lightning.controls.chow_liu import ChowLiuTree
from vae_lightning.data.batch import Batch
from vae_lightning.data.store import RowsInMemory
from vae_lightning.likelihoods.bernoulli import Bernoulli

EVERY = torch.tensor(list(itertools.product((0.0, 1.0), repeat=6)))


def chain(num_rows: int, num_columns: int = 6, keep: float = 0.9) -> Tensor:
    """Each column repeats the one before it, or not."""
    flips = (torch.rand(num_rows, num_columns) > keep).float()
    flips[:, 0] = torch.rand(num_rows).round()
    return flips.cumsum(1) % 2


def edges(tree: ChowLiuTree) -> set[frozenset[int]]:
    return {frozenset((c, p)) for c, p in enumerate(tree.parent.tolist()) if p < len(tree.parent)}


@pytest.mark.parametrize("num_rows", [1, 3, 200])
def test_probabilities_of_all_rows_add_up_to_one(num_rows: int) -> None:
    tree = ChowLiuTree(rows_of(chain(num_rows)))
    assert tree.log_prob(Batch(EVERY)).exp().sum() == pytest.approx(1, abs=1e-12)


def test_the_edges_of_a_chain_are_found() -> None:
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    x = torch.empty(3000, 6)
    x[:, order] = chain(3000)
    assert edges(ChowLiuTree(rows_of(x))) == {frozenset(pair.tolist()) for pair in order.unfold(0, 2, 1)}


def test_no_other_tree_of_four_columns_fits_better() -> None:
    """By enumeration of all 16, each with the plain frequencies of the rows as its tables."""
    x = torch.rand(50, 3).round()
    x = torch.cat([x, (x.sum(1, keepdim=True) + (torch.rand(50, 1) < 0.2)) % 2], 1)
    x[:, 1] = torch.where(torch.rand(50) < 0.6, x[:, 0], x[:, 1])

    def information(i: int, j: int) -> float:
        cells = [((x[:, i] == a) & (x[:, j] == b)).double().mean() for a in (0, 1) for b in (0, 1)]
        p = torch.stack(cells).view(2, 2)
        return float(torch.xlogy(p, p / (p.sum(0, keepdim=True) * p.sum(1, keepdim=True))).sum())

    pairs = list(itertools.combinations(range(4), 2))
    trees = [t for t in itertools.combinations(pairs, 3) if len({c for pair in t for c in pair}) == 4 and acyclic(t)]
    best = max(sum(information(*pair) for pair in tree) for tree in trees)
    found = [tuple(sorted(edge)) for edge in edges(ChowLiuTree(rows_of(x.repeat(40, 1))))]
    assert len(trees) == 16
    assert sum(information(*pair) for pair in found) == pytest.approx(best)


def acyclic(tree: tuple[tuple[int, int], ...]) -> bool:
    groups = {column: {column} for pair in tree for column in pair}
    for i, j in tree:
        if groups[i] is groups[j]:
            return False
        groups[i] |= groups[j]
        for column in groups[i]:
            groups[column] = groups[i]
    return True


def test_columns_that_know_nothing_of_one_another_are_the_baseline() -> None:
    x = (torch.rand(500, 6) < torch.linspace(0.1, 0.9, 6)).float()
    tree, likelihood = ChowLiuTree(rows_of(x)), Bernoulli(6)
    assert edges(tree) == set()
    expected = likelihood.independent_columns(rows_of(x)).log_prob(EVERY).sum(-1).double()
    torch.testing.assert_close(tree.log_prob(Batch(EVERY)), expected, atol=1e-5, rtol=0)


def test_weights_are_numbers_of_rows() -> None:
    x, weight = chain(60), torch.randint(0, 4, (60,)).float()
    weighted = ChowLiuTree(RowsInMemory(Batch(x, weight=weight)))
    repeated = ChowLiuTree(rows_of(x.repeat_interleave(weight.long(), 0)))
    torch.testing.assert_close(weighted.log_prob(Batch(EVERY)), repeated.log_prob(Batch(EVERY)))


def test_masked_cells_are_summed_over() -> None:
    tree = ChowLiuTree(rows_of(chain(300)))
    x, mask = chain(20), torch.rand(20, 6) < 0.6
    agrees = ((x[:, None] == EVERY) | ~mask[:, None]).all(-1)
    expected = torch.where(agrees, tree.log_prob(Batch(EVERY)).exp(), 0.0).sum(-1).log()
    torch.testing.assert_close(tree.log_prob(Batch(x, mask)), expected)
    torch.testing.assert_close(tree.log_prob(Batch(torch.where(mask, x, torch.nan), mask)), expected)
    everything = torch.ones_like(mask)
    torch.testing.assert_close(tree.log_prob(Batch(x, everything)), tree.log_prob(Batch(x)))


def test_masked_cells_count_for_nothing_in_the_fit() -> None:
    x = chain(400)
    mask = torch.rand(400, 6) < 0.7
    first, second = (
        ChowLiuTree(RowsInMemory(Batch(torch.where(mask, x, other), mask))).log_prob(Batch(EVERY))
        for other in (0.0, torch.nan)
    )
    assert torch.equal(first, second)
    whole = ChowLiuTree(RowsInMemory(Batch(x, torch.ones_like(mask)))).log_prob(Batch(EVERY))
    torch.testing.assert_close(whole, ChowLiuTree(rows_of(x)).log_prob(Batch(EVERY)))


def test_grey_levels_are_the_rows_that_would_be_drawn_from_them() -> None:
    levels = torch.rand(1, 6)
    drawn = torch.bernoulli(levels.expand(200_000, 6))
    expected = ChowLiuTree(rows_of(drawn[:100_000])).log_prob(Batch(EVERY))
    found = ChowLiuTree(rows_of(levels.expand(100_000, 6))).log_prob(Batch(EVERY))
    torch.testing.assert_close(found, expected, atol=0.15, rtol=0)
    tree = ChowLiuTree(rows_of(chain(300)))
    assert float(tree.log_prob(Batch(levels))) == pytest.approx(float(tree.log_prob(Batch(drawn)).mean()), abs=0.05)


def test_batches_and_fewer_rows_change_little(monkeypatch: pytest.MonkeyPatch) -> None:
    x = chain(20_000)
    whole = ChowLiuTree(rows_of(x)).log_prob(Batch(x)).mean()
    monkeypatch.setattr(chow_liu, "MAX_PRODUCTS", 36 * 5000)
    few = ChowLiuTree(rows_of(x)).log_prob(Batch(x)).mean()
    assert few != whole
    assert float(few) == pytest.approx(float(whole), abs=0.01)


# Average test log-likelihood of Chow-Liu trees as published for these sets, which smooth otherwise: in the last of 180
# columns that makes 0.04 nats.
@pytest.mark.parametrize(
    ("name", "published", "tolerance"),
    [
        ("debd_nltcs.npz", -6.759, 0.002),
        ("debd_plants.npz", -16.524, 0.002),
        ("debd_mushrooms.npz", -21.022, 0.05),
        ("debd_dna.npz", -87.735, 0.05),
        ("mnist_static_binarized.npz", -134.99, 0.02),
    ],
)
def test_published_numbers_come_out(
    shared_data: Callable[[str], dict[str, np.ndarray]], name: str, published: float, tolerance: float
) -> None:
    data = shared_data(name)
    tree = ChowLiuTree(rows_of(torch.from_numpy(data["train"]).float()))
    total = float(tree.log_prob(Batch(torch.from_numpy(data["test"]).float())).mean())
    assert math.isclose(total, published, abs_tol=tolerance)
