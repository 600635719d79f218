"""A shared value to a place of its own, all others to normal scores."""

import pytest
import torch

from vae_lightning.data.batch import Batch
from vae_lightning.data.preprocess.base import Scaling
from vae_lightning.data.preprocess.gaussianize import Gaussianize
from vae_lightning.data.preprocess.hurdle import Hurdle
from vae_lightning.data.store import RowsInMemory
from vae_lightning.likelihoods.support import SHARED
from vae_lightning.model.parts import build_part


@pytest.fixture
def x() -> torch.Tensor:
    torch.manual_seed(0)
    drawn = torch.randn(2000, 2).double().exp()
    return torch.where(torch.rand(2000, 2) < torch.tensor([0.6, 0.1]), torch.tensor([0.0, 5.0]).double(), drawn)


@pytest.fixture
def scaling(x: torch.Tensor) -> Hurdle:
    return Hurdle(2, [0.0, 5.0]).fit(RowsInMemory(Batch(x)))


def test_shared_values_and_only_these_lie_apart(x: torch.Tensor, scaling: Hurdle) -> None:
    u = scaling.transform(x)
    assert torch.equal(u == SHARED, x == torch.tensor([0.0, 5.0]))
    others = Gaussianize(1).fit(RowsInMemory(Batch(x[x[:, 0] != 0][:, :1])))
    assert torch.equal(u[x[:, 0] != 0][:, :1], others.transform(x[x[:, 0] != 0][:, :1]))
    torch.testing.assert_close(scaling.inverse(u), x, rtol=1e-5, atol=1e-6)


def test_the_slopes_are_those_of_densities_alone(x: torch.Tensor, scaling: Hurdle) -> None:
    u = scaling.transform(x)
    slopes = scaling.log_slopes(u)
    assert (slopes[u == SHARED] == 0).all()
    torch.testing.assert_close(slopes.mean(0), scaling.mean_log_slopes(), rtol=1e-4, atol=1e-4)
    assert (slopes <= scaling.max_log_slopes() + 1e-9).all()


def test_a_hole_stays_one(scaling: Hurdle) -> None:
    assert scaling.transform(torch.tensor([[torch.nan, 5.0]])).isnan().tolist() == [[True, False]]


def test_a_record_builds_it_again(x: torch.Tensor, scaling: Hurdle) -> None:
    node = {"name": "by_column", "blocks": [{"name": "hurdle", "columns": [0, 1], **scaling.options()}]}
    again = build_part(Scaling, node, "data.preprocess", num_columns=2)  # type: ignore[type-abstract]
    again.parts[0].load_state_dict(scaling.state_dict())
    assert torch.equal(again.transform(x), scaling.transform(x))
