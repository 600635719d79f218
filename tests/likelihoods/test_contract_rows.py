"""What every family takes from rows: a start, independent columns, what it fits in closed form."""

import math

import pytest
import torch
from torch import Tensor

from tests.likelihoods.families import C, Make, data_like, own_parameters_at, own_values, raw_like, rows_of
from vae_lightning.data.batch import Batch
from vae_lightning.data.store import RowsInMemory

pytestmark = pytest.mark.usefixtures("one_thread")


def test_the_start_is_a_constant_that_never_beats_independent_columns(make: Make) -> None:
    likelihood = make(dtype=torch.float64)
    x = data_like(likelihood, 500, torch.float64)
    start = likelihood.start_from(rows_of(x)).double()
    assert start.shape == (likelihood.raw_size,)
    assert torch.isfinite(start).all()
    ours, best = (p.log_prob(x).mean(0) for p in (likelihood(start), likelihood.independent_columns(rows_of(x))))
    assert (ours <= best + 1 / len(x)).all()


def test_no_constant_output_fits_better_than_independent_columns(make: Make) -> None:
    """An optimiser over constant outputs is the truth: over all rows it gains less than a nat a column."""
    likelihood = make(dtype=torch.float64)
    x = data_like(likelihood, 2000, torch.float64)
    raw = likelihood.start_from(rows_of(x)).double().requires_grad_()
    optimizer = torch.optim.LBFGS([raw, *likelihood.parameters()], max_iter=200, line_search_fn="strong_wolfe")

    def nll() -> Tensor:
        optimizer.zero_grad()
        loss = -likelihood(raw).log_prob(x).mean(0).sum()
        loss.backward()
        return loss

    optimizer.step(nll)
    fitted = likelihood.independent_columns(rows_of(x)).log_prob(x).mean(0).sum()
    assert (-nll() - fitted).abs() < C / len(x)


def fits(make: Make, rows: RowsInMemory, new: Tensor) -> list[Tensor]:
    """What a family takes from rows, as log-densities of new ones: independent columns, start and closed form."""
    likelihood = make(dtype=torch.float64)
    found = [likelihood.independent_columns(rows).log_prob(new).double()]
    start = likelihood.start_from(rows)
    found.append(likelihood(start.double()).log_prob(new).detach())
    for batch in rows.batches(64):
        if likelihood.statistics_size:
            p = likelihood(torch.zeros(1, batch.num_rows, likelihood.raw_size, dtype=torch.float64))
            likelihood.update(likelihood.statistics(p, batch))
    return [*found, likelihood(start.double()).log_prob(new).detach()]


def assert_same_fits(one: list[Tensor], other: list[Tensor], tolerance: float = 1e-9) -> None:
    for ours, truth in zip(one, other, strict=True):
        assert torch.isfinite(ours).all()
        torch.testing.assert_close(ours, truth, rtol=tolerance, atol=tolerance)


def test_the_order_of_the_rows_changes_nothing(make: Make) -> None:
    x, new = (data_like(make(dtype=torch.float64), n, torch.float64) for n in (60, 7))
    assert_same_fits(fits(make, rows_of(x), new), fits(make, rows_of(x.flip(0)), new), 1e-5)


def test_what_stands_in_a_masked_cell_changes_nothing(make: Make) -> None:
    x, new = (data_like(make(dtype=torch.float64), n, torch.float64) for n in (60, 7))
    mask = torch.rand(60, C) < 0.7
    truth = fits(make, rows_of(x, mask), new)
    for junk in (math.nan, math.inf, -1e30):
        assert_same_fits(fits(make, rows_of(torch.where(mask, x, junk), mask), new), truth, 0)
    seen = (torch.arange(60) % 3 > 0)[:, None].expand(60, C)
    rows = rows_of(torch.where(seen, x, math.nan), seen)
    assert_same_fits(fits(make, rows, new), fits(make, rows_of(x[seen[:, 0]]), new), 1e-6)


def test_a_row_of_weight_two_is_the_row_twice_and_one_of_weight_zero_is_none(make: Make) -> None:
    x, new = (data_like(make(dtype=torch.float64), n, torch.float64) for n in (30, 7))
    weight = torch.arange(30) % 3
    weighted = fits(make, rows_of(x, weight=weight.double()), new)
    assert_same_fits(weighted, fits(make, rows_of(x.repeat_interleave(weight, 0)), new), 1e-6)


@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0, 1e4])
def test_no_prediction_falls_below_the_entropy_floor(make: Make, scale: float) -> None:
    likelihood = make(dtype=torch.float64)
    x = data_like(likelihood, 64, torch.float64)
    soft = torch.rand_like(x)
    for rows in (x, soft) if likelihood.supports[0].contains(soft).all() else (x,):
        for own in own_values(likelihood, -20.0, 20.0):
            own_parameters_at(likelihood, own)
            loss = -likelihood(raw_like(likelihood, 64, scale, torch.float64)).log_prob(rows)
            floor = likelihood.entropy_floor(rows)
            assert floor.shape == (64, C)
            assert (loss >= floor - 1e-6).all()
            assert (floor >= -likelihood.max_log_prob() - 1e-6).all()


def test_state_dict_carries_everything_the_family_has_learned(make: Make) -> None:
    first, second = make(), make()
    batch = Batch(data_like(first, 100))
    raw = raw_like(first, 100)
    first.start_from(RowsInMemory(batch))
    if first.statistics_size:
        first.update(first.statistics(first(raw), batch))
    second.load_state_dict(first.state_dict(), strict=True)
    torch.testing.assert_close(first(raw).log_prob(batch.x), second(raw).log_prob(batch.x), rtol=0, atol=0)


def test_gradients_are_taken_after_the_closed_form_has_moved_on(make: Make) -> None:
    """As in training: the update comes between the loss and its gradients, which are those of the loss."""
    batch = Batch(data_like(make(), 20))
    raw = raw_like(make(), 20)
    gradients = []
    for updates in (False, True):
        likelihood, leaf = make(), raw.clone().requires_grad_()
        p = likelihood(leaf)
        loss = p.log_prob(batch.x).sum()
        if updates and likelihood.statistics_size:
            likelihood.update(likelihood.statistics(p, batch))
        loss.backward()
        gradients.append(leaf.grad)
    torch.testing.assert_close(*gradients, rtol=0, atol=0)


def test_closed_form_statistics_add_up_over_batches(make: Make) -> None:
    likelihood = make()
    if not likelihood.statistics_size:
        return
    raw, batch = raw_like(likelihood, 3 * 20).view(3, 20, -1), Batch(data_like(likelihood, 20))
    whole = likelihood.statistics(likelihood(raw), batch)
    assert whole.shape == (likelihood.statistics_size,)
    assert whole.dtype == torch.float64
    halves = [likelihood.statistics(likelihood(r), b) for r, b in zip(raw.split(12, 1), batch.split(12), strict=True)]
    torch.testing.assert_close(sum(halves), whole)
