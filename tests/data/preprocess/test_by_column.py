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
