"""Several scalings side by side."""

import pytest
import torch

from vae_lightning.data.batch import Batch
from vae_lightning.data.preprocess.base import Scaling
from vae_lightning.data.preprocess.by_column import ByColumn
from vae_lightning.data.preprocess.gaussianize import Gaussianize
from vae_lightning.data.preprocess.none import Identity
from vae_lightning.data.preprocess.standardize import Standardize
from vae_lightning.data.store import RowsInMemory
from vae_lightning.errors import ConfigError
from vae_lightning.likelihoods.moments import SomeColumns
from vae_lightning.model.parts import build_part


@pytest.fixture
def x() -> torch.Tensor:
    rows = torch.randn(500, 4, generator=torch.Generator().manual_seed(0)).double()
    return torch.stack([(rows[:, 0] * 300).round() / 10, rows[:, 1].exp(), rows[:, 2].round(), rows[:, 3]], 1)


@pytest.fixture
def scaling(x: torch.Tensor) -> ByColumn:
    blocks = [(Standardize(2), [3, 0]), (Gaussianize(1), [1]), (Identity(1), [2])]
    return ByColumn(4, blocks, bounded=True, decimals=[1, None, 0, None]).fit(RowsInMemory(Batch(x)))


def test_each_column_is_mapped_by_its_own(x: torch.Tensor, scaling: ByColumn) -> None:
    u = scaling.transform(x)
    for part, columns in ((Standardize(2), [3, 0]), (Gaussianize(1), [1]), (Identity(1), [2])):
        part.fit(SomeColumns(RowsInMemory(Batch(x)), columns))
        assert torch.equal(u[:, columns], part.transform(x[:, columns]))
        assert torch.equal(scaling.log_slopes(u)[:, columns], part.log_slopes(u[:, columns]))
        assert torch.equal(scaling.mean_log_slopes()[columns], part.mean_log_slopes())
        assert torch.equal(scaling.max_log_slopes()[columns], part.max_log_slopes())
        assert torch.equal(scaling.inverse_stddev(u, u)[:, columns], part.inverse_stddev(u[:, columns], u[:, columns]))
    torch.testing.assert_close(scaling.inverse(u), x, rtol=1e-4, atol=1e-4)


def test_draws_keep_the_range_and_the_decimals_of_the_rows(x: torch.Tensor, scaling: ByColumn) -> None:
    drawn = scaling.bound(scaling.inverse(5 * torch.randn(1000, 4, generator=torch.Generator().manual_seed(1))))
    assert (drawn >= x.amin(0)).all()
    assert (drawn <= x.amax(0)).all()
    assert torch.equal((10 * drawn[:, 0]).round() / 10, drawn[:, 0])
    assert torch.equal(drawn[:, 2].round(), drawn[:, 2])
    assert not torch.equal(drawn[:, 3].round(), drawn[:, 3])


def test_a_record_builds_it_again(x: torch.Tensor, scaling: ByColumn) -> None:
    again = build_part(Scaling, {"name": "by_column", **scaling.options()}, "data.preprocess", num_columns=4)  # type: ignore[type-abstract]
    again.load_state_dict(scaling.state_dict())
    assert again.options() == scaling.options()
    assert torch.equal(again.transform(x), scaling.transform(x))
    assert torch.equal(again.bound(x * 9), scaling.bound(x * 9))


@pytest.mark.parametrize("columns", [[0, 1], [0, 0, 1], [0, 1, 3]], ids=str)
def test_columns_without_or_with_two_scalings_are_refused(columns: list[int]) -> None:
    with pytest.raises(ConfigError, match="must be scalings whose columns are 0 to 2, each once"):
        ByColumn(3, [(Standardize(len(columns)), columns)])


def test_columns_that_are_one_number_together_keep_its_range() -> None:
    """A Sunday in the last week lay beyond a last date on a Tuesday, though neither part was out of its range."""
    draws = torch.Generator().manual_seed(0)
    number = torch.randint(123, 4_321, (600,), generator=draws)
    x = torch.stack([number // 1000, torch.randn(600, generator=draws), number // 100 % 10, number % 100], 1).double()
    mask = torch.ones_like(x, dtype=torch.bool)
    x[0], mask[0, 2] = torch.tensor([4.0, 0.0, torch.nan, 99.0]), False
    scaling = ByColumn(4, [(Identity(4), [0, 1, 2, 3])], bounded=True, together=[[0, 2, 3]])
    scaling.fit(RowsInMemory(Batch(x, mask)))
    known = number[1:]
    assert (scaling.last[0] * 1000 + scaling.last[2] * 100 + scaling.last[3]) == known.max()
    assert (scaling.first[0] * 1000 + scaling.first[2] * 100 + scaling.first[3]) == known.min()
    drawn = torch.stack([torch.randint(high, (2, 900), generator=draws) for high in (9, 9, 15, 130)], -1).double()
    drawn[..., 1] = 0.0
    bounded = scaling.bound_rows(drawn.clone())
    alone = scaling.bound(drawn)
    whole = bounded[..., 0] * 1000 + bounded[..., 2] * 100 + bounded[..., 3]
    wanted = (alone[..., 0] * 1000 + alone[..., 2] * 100 + alone[..., 3]).clamp(known.min(), known.max())
    assert torch.equal(whole, wanted)
    again = build_part(Scaling, {"name": "by_column", **scaling.options()}, "data.preprocess", num_columns=4)  # type: ignore[type-abstract]
    again.load_state_dict(scaling.state_dict())
    assert torch.equal(again.bound_rows(drawn.clone()), bounded)
    free = ByColumn(4, [(Identity(4), [0, 1, 2, 3])], together=[[0, 2, 3]]).fit(RowsInMemory(Batch(x, mask)))
    assert torch.equal(free.bound_rows(drawn.clone()), drawn)
