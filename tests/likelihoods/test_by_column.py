"""Families side by side: each block of columns is its own family, in whatever order the columns come."""

import copy
import math
from itertools import permutations

import pytest
import torch
from torch import Tensor

from tests.likelihoods.families import rows_of
from vae_lightning.data.batch import Batch
from vae_lightning.errors import ConfigError
from vae_lightning.likelihoods.base import Likelihood
from vae_lightning.likelihoods.bernoulli import Bernoulli
from vae_lightning.likelihoods.by_column import ByColumn
from vae_lightning.likelihoods.gaussian import Gaussian
from vae_lightning.likelihoods.poisson import Poisson
from vae_lightning.likelihoods.support import BINARY, COUNT, REAL
from vae_lightning.model.vae import VAE
from vae_lightning.objectives.base import Weights
from vae_lightning.objectives.elbo import ELBO
from vae_lightning.training.step import loss_and_statistics

pytestmark = pytest.mark.usefixtures("one_thread")

ORDERS = [[0, 1, 2, 3, 4], [4, 1, 0, 3, 2], [2, 0, 4, 1, 3]]


def parts(variance: str = "predicted") -> list[Likelihood]:
    return [Gaussian(2, variance), Poisson(2), Bernoulli(1)]


def together(order: list[int], variance: str = "predicted") -> tuple[ByColumn, list[Likelihood], list[list[int]]]:
    """The same three blocks over columns in some order: the whole, its parts (copies), and each block's columns."""
    blocks = [order[:2], order[2:4], order[4:]]
    alone = parts(variance)
    return ByColumn(5, list(zip(copy.deepcopy(alone), blocks, strict=True))), alone, blocks


def rows(order: list[int], size: int = 40) -> Tensor:
    counts = torch.poisson(torch.tensor([0.5, 30.0]).expand(size, 2))
    in_blocks = torch.cat([3 * torch.randn(size, 2) + 1, counts, torch.rand(size, 1).round()], 1)
    return in_blocks[:, torch.tensor(order).argsort()]


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_every_number_is_that_of_the_part(order: list[int]) -> None:
    whole, alone, blocks = together(order)
    x = rows(order)
    assert whole.raw_size == 4 + 2 + 1
    raw = torch.randn(3, 40, whole.raw_size)
    p = whole(raw)
    assert p.sample().shape == p.stddev.shape == p.mean.shape == (3, 40, 5)
    pieces = raw.split([4, 2, 1], -1)
    fitted, start = whole.independent_columns(rows_of(x)), whole.start_from(rows_of(x))
    starts = start.split([4, 2, 1])
    for part, piece, columns, first in zip(alone, pieces, blocks, starts, strict=True):
        ours, own = part(piece), rows_of(x[:, columns])
        for name in ("mean", "stddev", "point"):
            torch.testing.assert_close(getattr(p, name)[..., columns], getattr(ours, name).expand(3, 40, -1))
        torch.testing.assert_close(p.log_prob(x)[..., columns], ours.log_prob(x[:, columns]))
        truth = part.independent_columns(own).log_prob(x[:, columns])
        torch.testing.assert_close(fitted.log_prob(x)[:, columns], truth)
        torch.testing.assert_close(first, part.start_from(own).float())
        torch.testing.assert_close(whole.max_log_prob()[columns], part.max_log_prob())
        torch.testing.assert_close(whole.entropy_floor(x)[:, columns], part.entropy_floor(x[:, columns]))
    assert [whole.supports[column] for column in order] == [REAL, REAL, COUNT, COUNT, BINARY]
    assert whole.density_columns[order].tolist() == [True, True, False, False, False]
    assert not whole.is_probability


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_draws_of_a_column_are_those_of_its_family(order: list[int]) -> None:
    whole, _, blocks = together(order)
    drawn = whole(torch.randn(whole.raw_size).expand(200, -1)).sample()
    assert (drawn[:, blocks[1]] == drawn[:, blocks[1]].round()).all()
    assert ((drawn[:, blocks[2]] == 0) | (drawn[:, blocks[2]] == 1)).all()
    assert (drawn[:, blocks[0]] != drawn[:, blocks[0]].round()).any()


def test_the_order_of_the_blocks_changes_nothing() -> None:
    x = rows(ORDERS[0])
    found = []
    for arrangement in permutations(zip(parts(), ([0, 1], [2, 3], [4]), strict=True)):
        whole = ByColumn(5, list(arrangement))
        found.append(whole(whole.start_from(rows_of(x))).log_prob(x))
    for other in found[1:]:
        torch.testing.assert_close(other, found[0])


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_what_is_fitted_in_closed_form_is_fitted_block_by_block(order: list[int]) -> None:
    blocks = [order[:2], order[2:4], order[4:]]
    alone = [Gaussian(2, "optimal", momentum=1.0), Poisson(2), Gaussian(1, "optimal", momentum=1.0)]
    whole = ByColumn(5, list(zip(copy.deepcopy(alone), blocks, strict=True)))
    x, raw = rows(order), torch.randn(2, 40, whole.raw_size)
    mask, weight = torch.rand(40, 5) < 0.7, torch.rand(40)
    batch = Batch(torch.where(mask, x, math.nan), mask, None, weight)
    assert whole.statistics_size == 4
    whole.update(whole.statistics(whole(raw), batch))
    for index, piece in ((0, raw[..., :2]), (2, raw[..., 4:])):
        part, columns = alone[index], blocks[index]
        part.update(part.statistics(part(piece), Batch(batch.x[:, columns], mask[:, columns], None, weight)))
        torch.testing.assert_close(whole.parts[index].scale.fitted, part.scale.fitted)


def test_the_share_at_the_floor_counts_columns() -> None:
    whole = ByColumn(5, [(Gaussian(2, "per_column"), [0, 3]), (Bernoulli(3), [1, 2, 4])])
    whole.parts[0].scale.raw_log_var.data[:] = -1e4
    assert whole.at_floor(whole(torch.zeros(7, 5))).item() == pytest.approx(0.4)


def test_a_vae_learns_mixed_columns() -> None:
    """One latent variable moves all columns: the model must end below independent columns."""
    order = ORDERS[-1]
    z = torch.randn(500, 1)
    numbers = z @ torch.tensor([[1.0, -2.0]]) + 0.3 * torch.randn(500, 2)
    counts = torch.poisson(torch.exp(z @ torch.tensor([[0.8, -0.5]]) + torch.tensor([1.0, 3.0])))
    bits = (torch.sigmoid(4 * z) > torch.rand(500, 1)).float()
    x = torch.cat([numbers, counts, bits], 1)[:, torch.tensor(order).argsort()]
    whole, _, _ = together(order, "optimal")
    vae = VAE(whole, latent_dim=2, hidden_dims=[16])
    vae.start_from(rows_of(x))
    baseline = -whole.independent_columns(rows_of(x)).log_prob(x).sum(-1).mean()
    optimizer = torch.optim.Adam(vae.parameters(), lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        loss, statistics = loss_and_statistics(vae, ELBO(), Batch(x), vae.noise(1, 500), Weights())
        loss.backward()
        optimizer.step()
        whole.update(statistics.fitted)
    assert loss < baseline - 0.5
    assert whole.parts[0].scale.fitted < 1


@pytest.mark.parametrize(
    "blocks",
    [
        [(Gaussian(2), [0, 1])],
        [(Gaussian(2), [0, 1]), (Poisson(2), [1, 2])],
        [(Gaussian(2), [0, 1]), (Poisson(1), [3])],
        [(Gaussian(3), [0, 1]), (Poisson(1), [2])],
    ],
    ids=["a column without a block", "a column with two", "a column that is not there", "a block of another size"],
)
def test_blocks_that_are_no_partition_are_refused(blocks: list) -> None:
    with pytest.raises(ConfigError, match=r"^The 'blocks' parameter of ByColumn must be likelihoods whose columns are"):
        ByColumn(3, blocks)


def test_no_configuration_names_it() -> None:
    assert "by_column" not in Likelihood.families()
